"""The streams in an HTTP/2 connection (RFC 9113): frames by the library h2, all else here.

A message is framed as far as the windows of HTTP/2 and the socket allow, and a stream is `ready` for the next
when all of it has left: what a peer does not read costs the rest of one message.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from plait.xds.conversation import Call, Exchange, Peer
from plait.xds.status import End
from plait.xds.transport import grpc, plain
from plait.xds.transport.forms import Form, Headers, Refused, Said
from plait.xds.transport.tls import Link

log = logging.getLogger(__name__)

_WINDOW, _FIRST_WINDOW = 1024 * 1024, 65_535
"""Bytes that a peer may send before we have read any, on a stream and on all; and before we said so."""
_HEADERS = 16_384
"""Bytes that the headers of a request may have."""
_IDLE = 10.0
"""Seconds that a connection may be without a stream."""
_FRAME = 16_384
"""Bytes of the largest frame that we send: every peer takes as many, and those that take megabytes get no more."""
_AT_ONCE = 64 * 1024
"""Bytes that are framed before they are handed to the socket."""
_BUDGET, _REFILL = 1000.0, 10.0
"""How many frames that carry no message a peer may send at once, and a second."""
_STREAM_COSTS = 5.0
"""An opened stream counts as so many frames."""

_CONFIG = H2Configuration(client_side=False, header_encoding=None)


@dataclass(frozen=True, slots=True)
class Service:
    """What is served at one path.

    `opened` is told of each stream, and says who is to be told what comes of it; `form` says how messages stand in it,
    and None of a content type that is not taken.
    """

    opened: Callable[[Call, Form], Exchange]
    form: Callable[[Said], Form | None]


Services = Mapping[bytes, Service]
"""By path."""


class Connection:
    """One connection of a peer who may open streams of these services."""

    __slots__ = (
        "_begun",
        "_budget",
        "_calls",
        "_closed",
        "_counted",
        "_framed",
        "_h2",
        "_held",
        "_idle",
        "_services",
        "link",
    )

    def __init__(self, services: Services, most_streams: int) -> None:
        self._services = services
        self._calls: dict[int, _Call] = {}
        self._begun = self._closed = False
        self._held = False
        """Whether writing is put off until all that was received has been looked at."""
        self._framed = 0
        """Bytes that are framed and not handed over."""
        self._budget, self._counted = _BUDGET, time.monotonic()
        self._idle: asyncio.TimerHandle | None = None
        self._h2 = H2Connection(_CONFIG)
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: most_streams,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: _HEADERS,
            },
        )
        self._h2.decoder.max_header_list_size = _HEADERS
        self.link: Link

    # What TLS says (`tls.Clear`)

    def begun(self, link: Link) -> None:
        self.link = link
        self._begun = True
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW - _FIRST_WINDOW)
        self._rest()
        self.hand_over()

    def received(self, data: bytes) -> None:
        """Take what has come, then let those speak who were spoken to, then write all of it at once."""
        if self._closed:
            return
        self._held = True
        heard: dict[_Call, None] = {}
        try:
            for event in self._h2.receive_data(data):
                if self._closed:
                    break
                self._take(event, heard)
            for call in heard:
                call.go_on()
        except ProtocolError as error:
            log.info("a connection is ended: %s", error)
            self._held = False
            self.close(said=True)
            return
        finally:
            self._held = False
        if not self._closed:
            self.hand_over()

    def writable(self) -> None:
        for call in tuple(self._calls.values()):
            call.go_on()

    def lost(self) -> None:
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        for call in tuple(self._calls.values()):
            call.lost()
        self._calls.clear()
        vars(self._h2).clear()  # it refers to itself, and would be in memory until garbage is collected

    # What its streams ask

    def close(self, error: ErrorCodes = ErrorCodes.NO_ERROR, *, said: bool = False) -> None:
        """End the connection, and say so unless it is said already."""
        if self._closed or not self._begun:
            return
        self._closed = True
        if not said:
            with suppress(ProtocolError):  # the peer has closed it
                self._h2.close_connection(error)
        self.hand_over()
        self.link.close()
        self.lost()

    def window(self, stream: int) -> int:
        """Bytes that may be sent in a frame of this stream now.  ProtocolError if it is no more."""
        return min(self._h2.local_flow_control_window(stream), _FRAME)

    def send(self, stream: int, data: bytes) -> None:
        self._h2.send_data(stream, data)
        self._framed += len(data)
        self._budget = _BUDGET
        if self._framed >= _AT_ONCE:
            self.hand_over()

    def begin(self, stream: int, headers: Headers) -> None:
        self._h2.send_headers(stream, headers)

    def end(self, stream: int, headers: Headers, *, heard_all: bool) -> None:
        """The last headers of a stream, if any; a peer that still has something to say is told to keep it."""
        self._calls.pop(stream, None)
        if self._closed:
            return
        with suppress(ProtocolError):  # it is no more
            if headers:
                self._h2.send_headers(stream, headers, end_stream=True)
            else:
                self._h2.end_stream(stream)
            if not heard_all:
                self._h2.reset_stream(stream, ErrorCodes.NO_ERROR)
        self._rest()
        self.done()

    def done(self) -> None:
        """Somebody has framed all that he has for now."""
        if not self._held:
            self.hand_over()

    def hand_over(self) -> None:
        self._framed = 0
        data = self._h2.data_to_send()
        if data:
            self.link.write(data)

    def _take(self, event: Event, heard: dict[_Call, None]) -> None:
        if isinstance(event, DataReceived):
            self._data(event, heard)
            return
        self._charge(_STREAM_COSTS if isinstance(event, RequestReceived) else 1.0)
        if self._closed:
            return
        match event:
            case RequestReceived():
                self._request(event)
            case StreamEnded():
                call = self._calls.get(event.stream_id)
                if call is not None:
                    call.finished()
            case StreamReset():
                call = self._calls.pop(event.stream_id, None)
                if call is not None:
                    call.lost()
                    self._rest()
            case WindowUpdated() | RemoteSettingsChanged():
                heard.update(dict.fromkeys(self._calls.values()))
            case ConnectionTerminated():
                self.close(said=True)  # h2 sends nothing any more

    def _data(self, event: DataReceived, heard: dict[_Call, None]) -> None:
        size = event.flow_controlled_length
        if size:
            self._h2.acknowledge_received_data(size, event.stream_id)
        call = self._calls.get(event.stream_id)
        if call is not None and event.data and call.receive(event.data):
            self._budget = _BUDGET
            heard[call] = None
        elif len(event.data) < _AT_ONCE // 64:
            self._charge(1.0)

    def _request(self, event: RequestReceived) -> None:
        said = {bytes(name): bytes(value) for name, value in event.headers or ()}
        service = self._services.get(said.get(b":path", b""))
        form = service.form(said) if service is not None and said.get(b":method") == b"POST" else None
        if service is None or form is None:
            refusal = _refusal(said, known=service is not None)
            self.end(event.stream_id, refusal, heard_all=event.stream_ended is not None)
            return
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        call = _Call(self, event.stream_id, form)
        self._calls[event.stream_id] = call
        call.exchange = service.opened(call, form)

    def _charge(self, frames: float) -> None:
        """Whoever sends nothing but frames without a message is sent away."""
        now = time.monotonic()
        self._budget = min(_BUDGET, self._budget + (now - self._counted) * _REFILL) - frames
        self._counted = now
        if self._budget < 0:
            log.info("a connection is ended: its peer sends too much that says nothing")
            self.close(ErrorCodes.ENHANCE_YOUR_CALM)

    def _rest(self) -> None:
        """Whoever has no stream is to open one soon."""
        if not self._calls and self._idle is None and not self._closed:
            self._idle = asyncio.get_running_loop().call_later(_IDLE, self.close)


class _Call:
    """One stream (`conversation.Call`)."""

    __slots__ = ("_begun", "_connection", "_form", "_heard_all", "_left", "_stream", "exchange")

    def __init__(self, connection: Connection, stream: int, form: Form) -> None:
        self._connection = connection
        self._stream = stream
        self._form = form
        self._left: deque[bytes | memoryview] = deque()
        """What is not framed yet of the last message; shared with others that are sent the same."""
        self._begun = False
        """Whether the response's first headers were sent."""
        self._heard_all = False
        self.exchange: Exchange

    @property
    def peer(self) -> Peer:
        return self._connection.link.peer

    @property
    def ready(self) -> bool:
        return not self._left and not self._connection.link.paused

    def send(self, message: Sequence[bytes]) -> None:
        assert not self._left
        self._left.extend(self._form.framed(message))
        try:
            if not self._begun:
                self._begun = True
                self._connection.begin(self._stream, self._form.response)
        except ProtocolError:
            return  # it is no more, and we hear of it in a moment
        self._flush()
        self._connection.done()

    def end(self, end: End) -> None:
        self._left.clear()
        headers = self._form.ending(end, begun=self._begun)
        self._connection.end(self._stream, headers, heard_all=self._heard_all)

    # What the connection says

    def receive(self, data: bytes) -> bool:
        """Take a piece of what the peer says; whether a message came to its end."""
        self.exchange.hear(len(data))
        if self.exchange.over:
            return False
        try:
            messages = self._form.take(data)
        except Refused as refused:
            self.exchange.end(refused.end)
            return False
        self._pass_on(messages)
        return bool(messages)

    def go_on(self) -> None:
        """More may be sent, or there may be more to say."""
        if self.exchange.over:
            return
        if self._left:
            self._flush()
            self._connection.done()
        if self.ready:
            self.exchange.speak()

    def finished(self) -> None:
        self._heard_all = True
        try:
            messages = self._form.rest()
        except Refused as refused:
            self.exchange.end(refused.end)
            return
        self._pass_on(messages)
        if not self.exchange.over:
            self.exchange.finished()

    def lost(self) -> None:
        self._left.clear()
        self.exchange.closed()

    def _pass_on(self, messages: list[bytes]) -> None:
        for message in messages:
            if not self.exchange.over:
                self.exchange.receive(message)

    def _flush(self) -> None:
        """Frame what is left as far as the windows and the socket allow."""
        connection = self._connection
        try:
            while self._left and not connection.link.paused:
                size = connection.window(self._stream)
                if size <= 0:
                    break
                connection.send(self._stream, self._cut(size))
        except ProtocolError:
            return  # it is no more, and we hear of it in a moment

    def _cut(self, room: int) -> bytes:
        """The next bytes of what is left, this many at most."""
        left, cut = self._left, []
        while left and room:
            part = left.popleft()
            if len(part) > room:
                part = memoryview(part)
                left.appendleft(part[room:])
                part = part[:room]
            cut.append(part)
            room -= len(part)
        return b"".join(cut)


def _refusal(said: Said, *, known: bool) -> Headers:
    """The whole answer to a request that opens no stream; `known`: that its path is one of ours."""
    if known or said.get(b":method") != b"POST":
        return plain.status(plain.UNSUPPORTED)
    if grpc.speaks(said.get(b"content-type", b"")):
        return grpc.no_such_method()
    return plain.status(plain.NOT_FOUND)
