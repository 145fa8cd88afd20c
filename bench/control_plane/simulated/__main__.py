"""The process: it reads a file that says who its proxies are, then commands from stdin, a line of JSON each.

Every command is answered by one line of JSON on stdout.  Times are nanoseconds of the clock that all processes
of a machine share (`time.monotonic_ns`).

    mark      forget what was counted; from now on a change of the resource `name` of `type` is awaited
    await     acknowledgements of the awaited change, by `proxies` proxies or as many as come `within` seconds
    complete  the same, where a proxy counts once it has everything that it asked for
    dial      connect every proxy that is not, as soon as there is somebody to connect to
    prepare   make ready what the proxies will say when they come back
    hang up   drop all connections
    redial    the same, and dial again
    count     what came since the mark
"""

from __future__ import annotations

import gc
import json
import select
import socket
import ssl
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.control_plane.simulated import http2
from bench.control_plane.simulated.discovery import News
from bench.control_plane.simulated.library import Incoming, Library
from bench.control_plane.simulated.proxy import Proxy
from plait.xds.wire import METHOD, SERVICE

_RECORD = 16_384
"""Bytes that TLS hands out at once; what comes in fewer is all there is."""
_PAUSE = 0.05
"""Seconds between two tries to connect."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the control plane is, and how one proxy proves itself to it."""

    path: str
    server_name: str
    context: ssl.SSLContext


class Link:
    """One proxy's connection, and its own again after it was dropped."""

    def __init__(self, name: str, place: Place, library: Library) -> None:
        self.name = name
        self.proxy = Proxy(name)
        self.prepared: list[bytes] = []
        self.socket: ssl.SSLSocket | None = None
        self.connected = False
        self.events = 0
        """What epoll watches for."""
        self._place = place
        self._library = library
        self._connection = http2.Connection(b"")
        self._incoming = Incoming(library)

    def dial(self) -> bool:
        """Connect; False when nobody listens, or too many wait already."""
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.setblocking(False)
        try:
            plain.connect(self._place.path)
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            plain.close()
            return False
        self.socket = self._place.context.wrap_socket(
            plain, server_hostname=self._place.server_name, do_handshake_on_connect=False
        )
        return True

    def drop(self) -> None:
        assert self.socket is not None
        self.socket.close()
        self.socket, self.connected, self.events = None, False, 0

    def shake_hands(self) -> int:
        """Go on with the handshake, and begin to talk after it; what to watch for now."""
        assert self.socket is not None
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT
        self.connected = True
        self._incoming = Incoming(self._library)
        path = f"/{SERVICE}/{METHOD}"
        self._connection = http2.Connection(http2.opening(self._place.server_name, path))
        for said in self.prepared or self.proxy.opening():
            self._connection.send(said)
        self.prepared = []
        return self.write()

    def read(self, log: list[tuple[int, Link, News]]) -> int:
        """Take what is there, answer it, and note when; the number of bytes."""
        assert self.socket is not None
        taken = 0
        while True:
            try:
                data = self.socket.recv(_RECORD)
            except ssl.SSLWantReadError:
                break
            if not data:
                raise http2.ProtocolError("the connection is closed")
            heard = []
            for piece in self._connection.receive(data):
                taken += len(piece)
                for news, nonce in self._incoming.take(piece):
                    for said in self.proxy.take(news, nonce):
                        self._connection.send(said)
                    heard.append(news)
            if self._connection.outgoing:
                self.write()
            if heard:
                now = time.monotonic_ns()
                log += [(now, self, news) for news in heard]
            if len(data) < _RECORD:
                break
        return taken

    def write(self) -> int:
        """Write what there is to say; what to watch for now."""
        assert self.socket is not None
        outgoing = self._connection.outgoing
        try:
            while outgoing:
                del outgoing[: self.socket.send(outgoing)]
        except ssl.SSLWantWriteError:
            return select.EPOLLIN | select.EPOLLOUT
        return select.EPOLLIN


@dataclass(slots=True)
class Awaited:
    """A command that is answered later: by when, at how many proxies, and what each had at the mark."""

    deadline: float
    proxies: int
    complete: bool
    read: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)


class Simulation:
    """All proxies, in one loop."""

    def __init__(self, links: list[Link]) -> None:
        self.links = links
        self.log: list[tuple[int, Link, News]] = []
        self.bytes = self.handshakes = 0
        self.began = time.process_time()
        self.type_url = self.awaited_name = ""
        self.before: dict[str, str | None] = {}
        self.awaited: Awaited | None = None
        self.undialled: list[Link] = []
        self.epoll = select.epoll()
        self.by_descriptor: dict[int, Link] = {}

    def run(self) -> None:
        """Until stdin ends."""
        commands = sys.stdin.fileno()
        self.epoll.register(commands, select.EPOLLIN)
        again = 0.0
        while True:
            for descriptor, events in self.epoll.poll(_PAUSE if self.undialled else 0.5):
                if descriptor == commands:
                    line = sys.stdin.buffer.readline()
                    if not line:
                        return
                    self._obey(json.loads(line))
                elif (link := self.by_descriptor.get(descriptor)) is not None:
                    self._serve(link, events)
            if self.undialled and time.monotonic() > again:
                self._dial()
                again = time.monotonic() + _PAUSE
            if self.awaited is not None:
                self._look(self.awaited)

    def _obey(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "mark":
                self.log, self.bytes, self.handshakes = [], 0, 0
                self.type_url, self.awaited_name = command["type"], command["name"]
                self.before = {
                    link.name: link.proxy.version(self.type_url, self.awaited_name) for link in self.links
                }
                self.began = time.process_time()
            case "await" | "complete" as what:
                deadline = time.monotonic() + command["within"]
                self.awaited = Awaited(deadline, command["proxies"], what == "complete")
                return
            case "dial":
                self.undialled = [link for link in self.links if link.socket is None]
            case "prepare":
                for link in self.links:
                    link.prepared = link.proxy.opening(probe=True)
            case "hang up" | "redial" as what:
                for link in self.links:
                    self._drop(link)
                self.undialled = list(self.links) if what == "redial" else []
            case "count":
                self._answer(self._counts())
                return
            case unknown:
                raise ValueError(f"what is {unknown}?")
        self._answer({})

    def _counts(self) -> dict[str, float]:
        return {
            "pushes": len(self.log),
            "bytes": self.bytes,
            "resources": sum(len(news.resources) for _, _, news in self.log),
            "touched": len({link.name for _, link, _ in self.log}),
            "handshakes": self.handshakes,
            "cpu": time.process_time() - self.began,
        }

    def _look(self, awaited: Awaited) -> None:
        """Note the new acknowledgements, and answer once there are enough, or time is up."""
        found, new = awaited.acknowledged, self.log[awaited.read :]
        if awaited.complete:
            latest = {link: when for when, link, _ in new if link.name not in found}
            found |= {link.name: when for link, when in latest.items() if link.proxy.complete}
        else:
            for when, link, news in new:
                if link.name not in found and self._is_awaited(link, news):
                    found[link.name] = when
        awaited.read = len(self.log)
        if len(found) >= awaited.proxies or time.monotonic() > awaited.deadline:
            self.awaited = None
            self._answer({"times": sorted(found.values())})

    def _is_awaited(self, link: Link, news: News) -> bool:
        if news.type_url != self.type_url:
            return False
        version = news.version(self.awaited_name)
        return version is not None and version != self.before[link.name]

    def _serve(self, link: Link, events: int) -> None:
        try:
            if not link.connected:
                self._watch(link, link.shake_hands())
                self.handshakes += link.connected
                return
            if events & ~select.EPOLLOUT:
                self.bytes += link.read(self.log)
            self._watch(link, link.write())
        except ssl.SSLZeroReturnError:
            raise http2.ProtocolError("the connection is closed") from None
        except (http2.ProtocolError, ValueError, OSError) as error:
            raise RuntimeError(f"{link.name}: {error}") from error

    def _watch(self, link: Link, events: int) -> None:
        assert link.socket is not None
        if events != link.events:
            self.epoll.modify(link.socket, events)
            link.events = events

    def _dial(self) -> None:
        waiting, self.undialled = self.undialled, []
        for link in waiting:
            if link.dial():
                assert link.socket is not None
                self.by_descriptor[link.socket.fileno()] = link
                link.events = select.EPOLLOUT
                self.epoll.register(link.socket, link.events)
            else:
                self.undialled.append(link)

    def _drop(self, link: Link) -> None:
        assert link.socket is not None
        self.epoll.unregister(link.socket)
        del self.by_descriptor[link.socket.fileno()]
        link.drop()

    @staticmethod
    def _answer(said: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


def context(roots: Path, identity: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(roots)
    made.load_cert_chain(identity)
    made.set_alpn_protocols(["h2"])
    return made


def main() -> None:
    said = json.loads(Path(sys.argv[1]).read_text())
    library = Library()
    roots = Path(said["roots"])
    links = [
        Link(name, Place(said["path"], said["server_name"], context(roots, Path(identity))), library)
        for name, identity in said["proxies"]
    ]
    gc.disable()  # nothing here goes in circles, and looking for that costs more than the proxies
    Simulation(links).run()


if __name__ == "__main__":
    main()
