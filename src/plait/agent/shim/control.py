"""Who speaks to the shim: connections on its socket, a JSON object a line in both directions.

A connection is told the status when it opens and at each change.  Commands:

    {"command": "stop", "drain_seconds": 5.0}
    {"command": "kill"}
    {"command": "exec", "argv": ["ls"]}     with the files for its stdin, stdout and stderr (SCM_RIGHTS)

An exec is answered by {"exit": code} or {"exit": code, "error": why}; the command ends with its connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from typing import Any, Protocol

_LINE_BYTES = 1 << 18
_UNREAD_BYTES = 1 << 20
_FILES = 3


class Service(Protocol):
    """Who carries the commands out."""

    def stop(self, drain_seconds: float) -> None: ...

    def kill(self) -> None: ...

    def execute(self, argv: tuple[str, ...], files: list[int], connection: Connection) -> None:
        """Runs a command; closes nothing.  Its answer goes to `connection`."""

    def abandoned(self, connection: Connection) -> None:
        """A connection is gone."""


class Door:
    """The listening socket and the connections that came in through it."""

    def __init__(self, selector: selectors.BaseSelector, path: str, service: Service) -> None:
        self._selector = selector
        self._path = path
        self._service = service
        self._greeting = b""
        self._connections: list[Connection] = []
        _remove(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.bind(path)  # 0600 by the shim's umask
        self._socket.listen(16)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def tell(self, status: dict[str, Any]) -> None:
        """A new status, for everybody who is connected and who will be."""
        self._greeting = _line({"status": status})
        for connection in tuple(self._connections):
            connection.send(self._greeting)

    def close(self) -> None:
        """Nobody can come in any more; what was told is still delivered where it can be at once."""
        for connection in tuple(self._connections):
            connection.close()
        self._selector.unregister(self._socket)
        self._socket.close()
        _remove(self._path)

    def _accept(self, _: int) -> None:
        try:
            accepted, _address = self._socket.accept()
        except OSError:  # it has gone again, or there are too many files open: it may try again
            return
        connection = Connection(self._selector, accepted, self._service, self._connections)
        connection.send(self._greeting)


class Connection:
    """One who speaks to the shim."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        accepted: socket.socket,
        service: Service,
        connections: list[Connection],
    ) -> None:
        self._selector = selector
        self._socket = accepted
        self._service = service
        self._connections = connections
        self._files: list[int] = []
        self._input = b""
        self._output = b""
        self.closed = False
        accepted.setblocking(False)
        connections.append(self)
        selector.register(accepted, selectors.EVENT_READ, self._serve)

    def answer(self, what: dict[str, Any]) -> None:
        self.send(_line(what))

    def send(self, data: bytes) -> None:
        if self.closed:
            return
        self._output += data
        if len(self._output) > _UNREAD_BYTES:  # nobody reads there
            self.close()
            return
        self._flush()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._connections.remove(self)
        self._selector.unregister(self._socket)
        self._socket.close()
        self._drop_files()
        self._service.abandoned(self)

    def _serve(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if mask & selectors.EVENT_READ and not self.closed:
            self._read()

    def _flush(self) -> None:
        try:
            while self._output:
                self._output = self._output[self._socket.send(self._output) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._output else 0)
        self._selector.modify(self._socket, events, self._serve)

    def _read(self) -> None:
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        try:
            data, files, _, _ = socket.recv_fds(self._socket, 1 << 16, _FILES, flags)
        except BlockingIOError:
            return
        except OSError:
            data, files = b"", []
        for file in files:
            os.set_inheritable(file, False)
        self._files += files
        self._input += data
        if not data or len(self._input) > _LINE_BYTES:
            self.close()
            return
        while b"\n" in self._input and not self.closed:
            line, _, self._input = self._input.partition(b"\n")
            self._obey(line)

    def _obey(self, line: bytes) -> None:
        try:
            command = json.loads(line)
            match command:
                case {"command": "stop", "drain_seconds": float() | int() as drain}:
                    self._service.stop(float(drain))
                case {"command": "kill"}:
                    self._service.kill()
                case {"command": "exec", "argv": [_, *_] as argv} if len(self._files) == _FILES:
                    self._service.execute(tuple(str(word) for word in argv), self._files, self)
                case _:
                    self.answer({"error": "not understood"})
        except ValueError:
            self.answer({"error": "not JSON"})
        finally:
            self._drop_files()

    def _drop_files(self) -> None:
        files, self._files = self._files, []
        for file in files:
            os.close(file)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - pathlib would cost the shim memory


def _line(what: dict[str, Any]) -> bytes:
    return json.dumps(what, separators=(",", ":")).encode() + b"\n"
