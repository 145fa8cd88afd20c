"""One question over a socket, asked without waiting: connect, send, read the answer, driven by a selector."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from plait.agent.shim.spec import Place

_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`status` is of HTTP, 0 when only a connection was wanted.  `error` says why there is no answer."""

    status: int = 0
    body: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    target: Place | str
    data: bytes
    whole: bool
    deadline: float


def request(method: str, path: str, host: str) -> bytes:
    """An HTTP/1.1 request whose answer ends with the connection."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: plait\r\nAccept: */*\r\n"
    return f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


class Exchanges:
    """All questions that wait for an answer."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._open: list[Exchange] = []

    def ask(
        self,
        target: Place | str,
        question: bytes,
        done: Callable[[Answer], None],
        *,
        timeout: float,
        whole: bool = False,
    ) -> Exchange:
        """Asks one; `done` is called once, with the answer, unless the exchange is cancelled before.

        `question` empty: to be connected is the answer.  `whole`: the body is wanted, not just the status.
        `timeout` in seconds; an answer that does not come in time is an error like any other.
        """
        exchange = Exchange(
            self._selector,
            _Question(target=target, data=question, whole=whole, deadline=time.monotonic() + timeout),
            done,
        )
        self._open.append(exchange)
        return exchange

    @property
    def next_at(self) -> float | None:
        """When `expire` is due."""
        self._open = [exchange for exchange in self._open if not exchange.over]
        return min((exchange.deadline for exchange in self._open), default=None)

    def expire(self, now: float) -> None:
        for exchange in tuple(self._open):
            if exchange.deadline <= now:
                exchange.expire()


class Exchange:
    """One question that waits for its answer."""

    def __init__(
        self, selector: selectors.BaseSelector, question: _Question, done: Callable[[Answer], None]
    ) -> None:
        self.deadline = question.deadline
        self._selector = selector
        self._target = target = question.target
        self._unsent = question.data
        self._whole = question.whole
        self._done: Callable[[Answer], None] | None = done
        self._answer = bytearray()
        if isinstance(target, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        # The outcome is told from the selector's round alone, never from inside the call that asked.
        self._failed = self._socket.connect_ex(target)
        selector.register(self._socket, selectors.EVENT_WRITE, self._connected)

    @property
    def over(self) -> bool:
        return self._done is None

    def cancel(self) -> None:
        """No answer is wanted any more."""
        if self._done is not None:
            self._done = None
            self._selector.unregister(self._socket)
            self._socket.close()

    def expire(self) -> None:
        """Its time is up."""
        self._finish(Answer(error=f"no answer in time at {self._where()}"))

    def _finish(self, answer: Answer) -> None:
        done = self._done
        self.cancel()
        if done is not None:
            done(answer)

    def _where(self) -> str:
        return "its socket" if isinstance(self._target, str) else f"{self._target[0]}:{self._target[1]}"

    def _connected(self, _: int) -> None:
        failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if self._failed not in (0, errno.EINPROGRESS):
            failed = self._failed
        # A port of the ephemeral range can be connected to itself while nobody listens there.
        if not failed and self._socket.getsockname() == self._target:
            failed = errno.ECONNREFUSED
        if failed:
            self._finish(Answer(error=f"{os.strerror(failed).lower()} at {self._where()}"))
        elif not self._unsent:
            self._finish(Answer())
        else:
            self._selector.modify(self._socket, selectors.EVENT_WRITE, self._send)

    def _send(self, _: int) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(Answer(error=f"{error.strerror} at {self._where()}"))
            return
        if not self._unsent:
            self._selector.modify(self._socket, selectors.EVENT_READ, self._receive)

    def _receive(self, _: int) -> None:
        try:
            chunk = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(Answer(error=f"{error.strerror} at {self._where()}"))
            return
        self._answer += chunk
        ended = not chunk or len(self._answer) > _ANSWER_BYTES
        if ended or (not self._whole and b"\r\n" in self._answer):
            self._finish(parse(bytes(self._answer), self._where()))


def parse(answer: bytes, where: str) -> Answer:
    """The status and the body of an HTTP/1.1 answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    version, _, rest = head.partition(b" ")
    number = rest[:3]
    if not version.startswith(b"HTTP/1.") or len(number) != 3 or not number.isdigit():
        return Answer(error=f"no HTTP at {where}")
    if b"transfer-encoding: chunked" in head.lower():
        body = _joined(body)
    return Answer(status=int(number), body=body)


def _joined(chunks: bytes) -> bytes:
    """A body that came in chunks; an answer cut short gives what there is of it."""
    body = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        try:
            length = int(size.partition(b";")[0], 16)
        except ValueError:
            break
        if length == 0:
            break
        body += rest[:length]
        chunks = rest[length + 2 :]
    return body
