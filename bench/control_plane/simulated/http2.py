"""HTTP/2 as far as a client with one gRPC stream needs it: no sockets, no table of headers, windows without end.

Windows are opened once, by two gigabytes for the stream and for the connection, and never again.
"""

from __future__ import annotations

import struct
from collections import deque

_HEAD = struct.Struct(">IBI")
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_END_HEADERS, _PADDED = 4, 8
_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 4, 5
_STREAM = 1
_FIRST_WINDOW, _LARGEST_WINDOW = 65_535, 2**31 - 1


class ProtocolError(Exception):
    """The other end has ended the stream, or says what it should not."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def opening(authority: str, path: str) -> bytes:
    """What a client says first: the preface, its settings, its window, and the headers of its one request."""
    settings = struct.pack(">HIHI", _HEADER_TABLE_SIZE, 0, _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)
    window = struct.pack(">I", _LARGEST_WINDOW - _FIRST_WINDOW)
    post, https = b"\x83", b"\x87"  # of the static table
    headers = (
        post
        + https
        + _literal(b"\x04", path)
        + _literal(b"\x01", authority)
        + _literal(b"\x0f\x10", "application/grpc")  # content-type
        + b"\x00\x02te"
        + _text("trailers")
    )
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(_SETTINGS, 0, 0, settings)
        + frame(_WINDOW_UPDATE, 0, 0, window)
        + frame(_HEADERS, _END_HEADERS, _STREAM, headers)
    )


def _literal(name: bytes, value: str) -> bytes:
    """A header that nobody keeps, its name by its number in the static table."""
    return name + _text(value)


def _text(text: str) -> bytes:
    data = text.encode()
    assert len(data) < 127, "a longer text has a longer length"
    return bytes((len(data),)) + data


class Connection:
    """One connection with its one stream: bytes in, the stream's data out; `outgoing` is to be written."""

    __slots__ = (
        "_first",
        "_largest",
        "_left",
        "_partial",
        "_stream_window",
        "_waiting",
        "_window",
        "outgoing",
    )

    def __init__(self, said: bytes) -> None:
        """`said` is the opening."""
        self.outgoing = bytearray(said)
        self._partial = b""
        self._left = 0
        """Of the data frame that is being received."""
        self._window = self._stream_window = self._first = _FIRST_WINDOW
        self._largest = 16_384
        self._waiting: deque[memoryview] = deque()

    def send(self, data: bytes) -> None:
        """Send this as soon as the windows allow; it may be shared with others, and is not copied before."""
        size = len(data)
        if self._waiting or size > self._window or size > self._stream_window or size > self._largest:
            self._waiting.append(memoryview(data))
            self._flush()
            return
        self._window -= size
        self._stream_window -= size
        self.outgoing += _HEAD.pack(size << 8 | _DATA, 0, _STREAM)
        self.outgoing += data

    def receive(self, data: bytes) -> list[bytes]:
        """The pieces of the stream's data in this; ProtocolError."""
        if self._partial:
            data, self._partial = self._partial + data, b""
        pieces = []
        at, end = 0, len(data)
        while at < end:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
                continue
            if end - at < _HEAD.size:
                break
            head, flags, stream = _HEAD.unpack_from(data, at)
            length, kind = head >> 8, head & 0xFF
            body = at + _HEAD.size
            if kind == _DATA:
                if flags & (_END_STREAM | _PADDED):
                    raise ProtocolError(f"a data frame with flags {flags}")
                self._left = length
                at = body
                continue
            if end - body < length:
                break
            self._control(kind, flags, stream, data[body : body + length])
            at = body + length
        self._partial = data[at:]
        return pieces

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._settings(payload)
            self.outgoing += frame(_SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            self.outgoing += frame(_PING, _ACK, 0, payload)
        elif kind == _WINDOW_UPDATE:
            (size,) = struct.unpack(">I", payload)
            if stream:
                self._stream_window += size
            else:
                self._window += size
            self._flush()
        elif kind in (_RST_STREAM, _GOAWAY):
            raise ProtocolError(f"{'RST_STREAM' if kind == _RST_STREAM else 'GOAWAY'}: {payload!r}")
        elif kind == _HEADERS and flags & _END_STREAM:
            raise ProtocolError(f"the stream is ended: {payload!r}")

    def _settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._first
                self._first = value
            elif name == _MAX_FRAME_SIZE:
                self._largest = value
        self._flush()

    def _flush(self) -> None:
        """Frame what waits, as far as the windows reach."""
        while self._waiting and (room := min(self._window, self._stream_window, self._largest)) > 0:
            data = self._waiting.popleft()
            part, rest = data[:room], data[room:]
            if rest:
                self._waiting.appendleft(rest)
            self._window -= len(part)
            self._stream_window -= len(part)
            self.outgoing += _HEAD.pack(len(part) << 8 | _DATA, 0, _STREAM)
            self.outgoing += part
