"""Where an application listens, against where it should."""

# pathlib would cost the shim memory.
# ruff: noqa: PTH115, PTH123, PTH208

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Sequence

from plait.agent.shim.spec import Place

_LISTEN = "0A"


def listening(pids: Sequence[int]) -> frozenset[Place]:
    """The places at which any of these processes listens for TCP (Linux; nothing elsewhere)."""
    inodes = {inode for pid in pids for inode in _socket_inodes(pid)}
    if not inodes:
        return frozenset()
    return frozenset(
        place for table in ("tcp", "tcp6") for place in _listeners(f"/proc/{pids[0]}/net/{table}", inodes)
    )


def misplaced(ports: Sequence[Place], found: Collection[Place], *, answering: bool, exactly: bool) -> str:
    """What to tell somebody whose application does not listen where it should; empty when nothing is wrong.

    `answering`: its ports could be reached, so that only the address of a listener can be wrong.  `exactly`: as in
    AppSpec.  Whether a listener on [::] takes IPv4 too can't be seen, and is left to the probe.
    """
    accepted = {place: {place} if exactly else {place, *_anywhere(place)} for place in ports}
    missing = [place for place in ports if accepted[place].isdisjoint(found)]
    if not missing:
        return ""
    _, port = missing[0]
    wrong = set(found).difference(*accepted.values())
    places = ", ".join(_text(place) for place in sorted(wrong) if place[1] == port or not answering)
    if not places:
        return ""
    where = must_listen(ports, missing[0]) if exactly else f"is reached at {_text(missing[0])}"
    return f"listens on {places}, but {where}"


def must_listen(ports: Sequence[Place], place: Place) -> str:
    """Where one port belongs, in the words of the environment that the application was given."""
    name = "$HOST:$PORT" if place == ports[0] else f"$HOST:{place[1]}"
    return f"in explicit mode it must listen on {name} ({_text(place)})"


def _anywhere(place: Place) -> tuple[Place, Place]:
    return ("0.0.0.0", place[1]), ("::", place[1])  # noqa: S104 - looked for, not listened on


def _text(place: Place) -> str:
    address, port = place
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _socket_inodes(pid: int) -> list[int]:
    inodes: list[int] = []
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:  # gone, or not ours to look at
        return inodes
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.append(int(target[8:-1]))
    return inodes


def _listeners(path: str, inodes: Collection[int]) -> list[Place]:
    found: list[Place] = []
    try:
        with open(path, encoding="ascii") as file:
            lines = file.readlines()[1:]
    except OSError:
        return found
    for line in lines:
        fields = line.split()
        if fields[3] == _LISTEN and int(fields[9]) in inodes:
            found.append(_place(fields[1]))
    return found


def _place(text: str) -> Place:
    """An address as /proc/net/tcp writes it: 32-bit words in the machine's order, then the port."""
    words, _, port = text.partition(":")
    packed = b"".join(
        struct.pack("=I", int(words[index : index + 8], 16)) for index in range(0, len(words), 8)
    )
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    address = socket.inet_ntop(family, packed)
    return address.removeprefix("::ffff:"), int(port, 16)
