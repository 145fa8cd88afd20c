"""The files by which a workload finds names: they are laid over /etc/hosts, /etc/resolv.conf and the like.

Every name of a service stands in the hosts file of its client's namespace, for each C library reads that file
before it asks anybody.  Other names go to the host's resolver where the mesh is open, and nowhere where it is not.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from plait.compiler.hosts import service_of_host
from plait.link.messages import HostAddress
from plait.local.network.egress import RESOLVER
from plait.model.names import aliases
from plait.model.settings import OutboundTrafficPolicy

_HOSTS, _RESOLV_CONF = Path("/etc/hosts"), Path("/etc/resolv.conf")
_READABLE = 0o644
"""Nobody but root gets to where these files are; what is shown of them, all of a replica may read."""


class Names:
    """The files of one mesh under one policy, in a directory of their own; those of another policy are not touched."""

    def __init__(self, directory: Path, policy: OutboundTrafficPolicy) -> None:
        self._directory = directory
        self._policy = policy
        self._hosts: tuple[HostAddress, ...] | None = None

    @property
    def resolv_conf(self) -> Path:
        return self._directory / f"{self._policy}.resolv.conf"

    def hosts(self, namespace: str) -> Path:
        return self._directory / f"{namespace}.{self._policy}.hosts"

    def tell(self, hosts: tuple[HostAddress, ...]) -> None:
        """These are the names from now on, for everybody who runs, whichever agent started it."""
        if hosts != self._hosts:
            self._hosts = hosts
            for path in sorted(self._directory.glob(self.hosts("*").name)):
                self._write(path.name.partition(".")[0])

    def prepare(self, namespace: str) -> None:
        """The files for a workload of a namespace.  OSError."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if not self.resolv_conf.exists():
            _replace(self.resolv_conf, resolv_conf(self._policy))
        self._write(namespace)

    def _write(self, namespace: str) -> None:
        path = self.hosts(namespace)
        wanted = tuple(lines(self._hosts or (), namespace))
        try:
            old = path.read_text()
        except FileNotFoundError:
            _replace(path, merged(base(self._policy), wanted))
            return
        new = merged(old, wanted)
        if new != old:
            # In place, since what is mounted is this very file; every line that stays, stays where it is.
            file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.pwrite(file, new.encode(), 0)
            finally:
                os.close(file)


def lines(hosts: Iterable[HostAddress], namespace: str) -> Iterator[str]:
    """The line of each host: its address, and every name that a client of `namespace` may call it by."""
    for one in hosts:
        service = service_of_host(one.host)
        names = aliases(*service, namespace) if service else (one.host,)
        yield f"{one.address} {' '.join(names)}"


_MARK = "# Services of the mesh:"


def base(policy: OutboundTrafficPolicy) -> str:
    """What a hosts file begins with; where the mesh is open, what the host's own says of others."""
    name = socket.gethostname()
    found = [f"127.0.0.1 localhost {name}" if name != "localhost" else "127.0.0.1 localhost"]
    found.append("::1 localhost ip6-localhost ip6-loopback")
    if policy is OutboundTrafficPolicy.ALLOW_ANY:
        with suppress(OSError):
            found += [line for line in _HOSTS.read_text().splitlines() if _of_others(line)]
    return "\n".join((*found, _MARK, ""))


def _of_others(line: str) -> bool:
    words = line.partition("#")[0].split()
    return len(words) > 1 and not words[0].startswith("127.") and ":" not in words[0]


def merged(old: str, wanted: Sequence[str]) -> str:
    """The hosts file with the wanted lines: what was there and stays keeps its place, byte for byte.

    Who reads while it is written in place then finds every name that is in both.  Lines that go become blanks, which
    new ones fill.
    """
    head, mark, rest = old.partition(_MARK + "\n")
    kept = rest.splitlines()
    present = {line.rstrip() for line in kept}
    new = [line for line in wanted if line not in present]
    keep = set(wanted)
    result: list[str] = []
    for line in kept:
        if line.rstrip() in keep and line.strip():
            result.append(line)
            continue
        fitting = next((one for one in new if len(one) <= len(line)), None)
        if fitting is not None:
            new.remove(fitting)
        result.append((fitting or "").ljust(len(line)))
    return head + mark + "".join(f"{line}\n" for line in (*result, *new))


def resolv_conf(policy: OutboundTrafficPolicy) -> str:
    """Whom to ask for names that no file has."""
    if policy is OutboundTrafficPolicy.REGISTRY_ONLY:
        return "# Names outside the mesh are not looked up: its outbound traffic policy is REGISTRY_ONLY.\n"
    own: list[str] = []
    with suppress(OSError):
        own = _RESOLV_CONF.read_text().splitlines()
    kept = [line for line in own if line.split()[:1] in (["search"], ["domain"], ["options"])]
    return "\n".join((f"nameserver {RESOLVER}", *kept, ""))


def _replace(path: Path, text: str) -> None:
    """A whole new file."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text)
    aside.chmod(_READABLE)
    aside.replace(path)
