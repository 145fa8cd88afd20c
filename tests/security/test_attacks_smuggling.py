"""Smuggling: bytes that one program reads as one request and the next one as two, in HTTP/1.1 and HTTP/2.

Each attack hides a request for /admin/smuggled, which is denied, in one that is let through; or has Envoy write what
the application could read in two ways.  The application is as strict as can be, and notes whatever it could.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from hpack import Encoder

from tests.security.fortress import FRONTEND, HTTP, Application, Fortress, Seen, fortress, status
from tests.streams import speaking

pytestmark = pytest.mark.asyncio(loop_scope="module")

HIDDEN = b"GET /admin/smuggled HTTP/1.1\r\nhost: payments\r\n\r\n"
LAST = b"GET /open/last HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Fortress]:
    async with fortress() as made:
        yield made


# HTTP/1.1 ------------------------------------------------------------------------------------------------


def post(*lines: bytes, body: bytes = b"", end: bytes = b"\r\n", version: bytes = b"1.1") -> bytes:
    """A request to /open with these lines as they are, and a body."""
    return end.join([b"POST /open HTTP/" + version, b"host: payments", *lines, b"", b""]) + body


def length(of: bytes) -> bytes:
    return b"content-length: %d" % len(of)


CHUNKED = b"transfer-encoding: chunked"
ENDED = b"0\r\n\r\n" + HIDDEN
"""A body that is over for who reads chunks, and goes on for who counts bytes."""

HTTP1 = {
    "length, then chunks": post(length(ENDED), CHUNKED, body=ENDED),
    "chunks, then length": post(CHUNKED, length(ENDED), body=ENDED),
    "chunks and length 0": post(
        CHUNKED, b"content-length: 0", body=b"2d\r\n" + HIDDEN[:45] + b"\r\n0\r\n\r\n"
    ),
    "chunks of another name": post(length(ENDED), b"transfer-encoding: xchunked", body=ENDED),
    "a space before the colon": post(length(ENDED), b"transfer-encoding : chunked", body=ENDED),
    "a tab before the value": post(length(ENDED), b"transfer-encoding:\tchunked", body=ENDED),
    "a vertical tab before the value": post(length(ENDED), b"transfer-encoding:\x0bchunked", body=ENDED),
    "a space before the name": post(length(ENDED), b" transfer-encoding: chunked", body=ENDED),
    "folded": post(length(ENDED), b"x: a\r\n transfer-encoding: chunked", body=ENDED),
    "folded value": post(length(ENDED), b"transfer-encoding:\r\n chunked", body=ENDED),
    "in quotes": post(length(ENDED), b'transfer-encoding: "chunked"', body=ENDED),
    "upper case": post(length(ENDED), b"TRANSFER-ENCODING: CHUNKED", body=ENDED),
    "identity": post(length(ENDED), b"transfer-encoding: identity", body=ENDED),
    "chunked, identity": post(length(ENDED), b"transfer-encoding: chunked, identity", body=ENDED),
    "identity, chunked": post(length(ENDED), b"transfer-encoding: identity, chunked", body=ENDED),
    "gzip, chunked": post(length(ENDED), b"transfer-encoding: gzip, chunked", body=ENDED),
    "chunked twice": post(length(ENDED), CHUNKED, CHUNKED, body=ENDED),
    "chunked, then another": post(length(ENDED), CHUNKED, b"transfer-encoding: x", body=ENDED),
    "with a parameter": post(length(ENDED), b"transfer-encoding: chunked; x=y", body=ENDED),
    "after a bare line feed": post(length(ENDED), b"x: y\ntransfer-encoding: chunked", body=ENDED),
    "after a bare carriage return": post(length(ENDED), b"x: y\rtransfer-encoding: chunked", body=ENDED),
    "after a null": post(length(ENDED), b"x: \0y\r\ntransfer-encoding: chunked", body=ENDED),
    "in HTTP/1.0": post(length(ENDED), CHUNKED, body=ENDED, version=b"1.0"),
    "underscore": post(
        length(b"0"), b"content_length: 99", b"transfer_encoding: chunked", body=b"0" + HIDDEN
    ),
    "two lengths": post(b"content-length: 0", length(HIDDEN), body=HIDDEN),
    "two lengths, the longer first": post(length(HIDDEN), b"content-length: 0", body=HIDDEN),
    "two lengths in one": post(b"content-length: 0, %d" % len(HIDDEN), body=HIDDEN),
    "a length with a sign": post(b"content-length: +0", body=HIDDEN),
    "a negative length": post(b"content-length: -1", body=HIDDEN),
    "a length in hexadecimal": post(b"content-length: 0x0", body=HIDDEN),
    "a length with a space": post(b"content-length: 0 %d" % len(HIDDEN), body=HIDDEN),
    "a length of another name": post(b"content-length : %d" % len(HIDDEN), b"content-length: 0", body=HIDDEN),
    "an empty length": post(b"content-length: ", body=HIDDEN),
    "a length beyond 64 bits": post(b"content-length: 18446744073709551616", body=HIDDEN),
    "an extension of a chunk that hides lines": post(
        CHUNKED, body=b"1;x\n\r\n0\r\n\r\n" + HIDDEN + b"0\r\n\r\n"
    ),
    "a chunk's size that overflows": post(CHUNKED, body=b"10000000000000000\r\n" + ENDED),
    "a chunk's size with a prefix": post(CHUNKED, body=b"0x0\r\n\r\n" + HIDDEN),
    "a chunk's size with a sign": post(CHUNKED, body=b"-0\r\n\r\n" + HIDDEN),
    "a chunk that is longer than it says": post(CHUNKED, body=b"1\r\nxGET\r\n0\r\n\r\n" + HIDDEN),
    "chunks with bare line feeds": post(CHUNKED, body=b"1\nx\n0\n\n" + HIDDEN),
    "a trailer that is a length": post(
        CHUNKED, body=b"0\r\ncontent-length: 50\r\ntransfer-encoding: x\r\n\r\n" + HIDDEN
    ),
    "bare line feeds": post(b"content-length: 0", end=b"\n", body=HIDDEN),
    "bare carriage returns": post(b"content-length: 0", end=b"\r", body=HIDDEN),
    "a line without a colon": post(b"content-length: 0", b"transfer-encoding chunked", body=HIDDEN),
    "a name with a space": post(b"content-length: 0", b"a b: c", body=HIDDEN),
    "no name": post(b"content-length: 0", b": x", body=HIDDEN),
    "the length is hop by hop": post(length(HIDDEN), b"connection: content-length", body=HIDDEN),
    "the chunks are hop by hop": post(CHUNKED, b"connection: transfer-encoding", body=ENDED),
    "an upgrade to h2c": post(
        b"content-length: 0",
        b"connection: upgrade, http2-settings",
        b"upgrade: h2c",
        b"http2-settings: AAMAAABk",
        body=HIDDEN,
    ),
    "an upgrade that is not taken": post(
        b"content-length: 0",
        b"connection: upgrade",
        b"upgrade: websocket",
        b"sec-websocket-version: 777",
        body=HIDDEN,
    ),
    "a request in a request's line": b"GET /open HTTP/1.1\r\nhost: payments\r\n\r\n".replace(
        b" HTTP", b" HTTP/1.1\tx: y HTTP"
    )
    + HIDDEN,
}


Outcomes = dict[str, tuple[Any, list[Seen]]]
"""Of each attack what was answered, and what reached the application."""


async def tried(
    mesh: Fortress, attacks: dict[str, bytes], send: Callable[[Fortress, bytes], Any]
) -> Outcomes:
    """All attacks side by side, for Envoy keeps a connection a second before it closes it; told apart by their host."""
    hosts = {name: b"pay%05d" % number for number, name in enumerate(attacks)}
    words = [attacks[name].replace(b"payments", host) for name, host in hosts.items()]
    before = len(mesh.application.requests)
    answers = await asyncio.gather(*(send(mesh, one) for one in words))
    requests = [(seen, seen.header("host")[0].encode()) for seen in mesh.application.requests[before:]]
    return {
        name: (answer, [seen for seen, of in requests if host in of])
        for (name, host), answer in zip(hosts.items(), answers, strict=True)
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def over_http1(mesh: Fortress) -> Outcomes:
    return await tried(mesh, {name: words + LAST for name, words in HTTP1.items()}, said)


@pytest.mark.parametrize("name", HTTP1)
async def test_one_request_stays_one_request(mesh: Fortress, over_http1: Outcomes, name: str) -> None:
    answers, seen = over_http1[name]
    assert not mesh.application.ambiguous
    assert not [one for one in mesh.application.requests if "smuggled" in one.path]
    assert not [one for one in seen if one.header("transfer_encoding") or one.header("upgrade") == ["h2c"]]
    # Each request that Envoy found is answered for itself; what it could not read ends the connection.
    assert answers.count(200) == len(seen), (answers, seen)
    assert set(answers) <= {200, 400, 403, 404, 426, 501}, answers


@pytest.mark.parametrize("name", HTTP1)
async def test_past_envoy_each_of_them_is_what_it_is_feared_to_be(name: str) -> None:
    """The honest twin of the attacks: the application itself tells that they could be read in two ways."""
    application = Application()
    async with speaking(application.http, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(HTTP1[name] + LAST)
        writer.write_eof()
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
    assert application.ambiguous or any("smuggled" in one.path for one in application.requests)


async def test_what_is_hidden_is_found_where_it_is_honest(mesh: Fortress) -> None:
    """The same bytes are one body, whole, in either framing; and a request of its own is denied."""
    before = len(mesh.application.requests)
    body = ENDED
    for one in (
        post(length(body), body=body),
        post(CHUNKED, body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)),
    ):
        assert await said(mesh, one + LAST) == [200, 200]
    waiting = post(length(body), b"expect: 100-continue", body=body)
    assert await said(mesh, waiting + LAST) == [200, 200]
    assert await said(mesh, post(b"content-length: 0") + HIDDEN, most=2) == [200, 403]
    bodies = [seen.body for seen in mesh.application.requests[before:] if seen.method == "POST"]
    assert bodies == [body, body, body, b""]


async def said(mesh: Fortress, words: bytes, most: int = 9) -> list[int]:
    """The status of every answer, but for those that only say that more may come; of `most` at the most."""
    reader, writer = await asyncio.open_connection(mesh.place(), HTTP, ssl=mesh.holder())
    heard = b""
    try:
        writer.write(words)
        async with asyncio.timeout(5):
            while len(statuses(heard)) < most and (part := await reader.read(65536)):
                heard += part
    except ConnectionError:
        pass
    except TimeoutError:  # what waits for the rest of a body that never comes
        pass
    finally:
        writer.close()
    return statuses(heard)


def statuses(heard: bytes) -> list[int]:
    found = [status(b"HTTP/1.1" + part) for part in heard.split(b"HTTP/1.1")[1:]]
    return [one for one in found if one != 100]


# HTTP/2 --------------------------------------------------------------------------------------------------

Headers = list[tuple[bytes, bytes]]
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x7
END_STREAM, END_HEADERS = 0x1, 0x4
OPEN: Headers = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/open"),
    (b":authority", b"payments"),
]
ADMIN = b"/admin/smuggled"


def frame(kind: int, flags: int, payload: bytes, stream: int = 1) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def asked(headers: Iterable[tuple[bytes, bytes]], body: bytes | None = None) -> bytes:
    """A request by hand, with every byte as it is."""
    block = Encoder().encode([*headers], huffman=False)
    flags = END_HEADERS | (END_STREAM if body is None else 0)
    data = b"" if body is None else frame(DATA, END_STREAM, body)
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, b"", 0) + frame(HEADERS, flags, block) + data
    )


def but(name: bytes, value: bytes) -> Headers:
    return [(known, value if known == name else before) for known, before in OPEN]


POST2 = but(b":method", b"POST")
HTTP2: dict[str, bytes] = {
    "a name in upper case": asked([*OPEN, (b"X-Upper", b"x")]),
    "connection": asked([*OPEN, (b"connection", b"close")]),
    "keep-alive": asked([*OPEN, (b"keep-alive", b"1")]),
    "proxy-connection": asked([*OPEN, (b"proxy-connection", b"close")]),
    "transfer-encoding": asked([*POST2, (b"transfer-encoding", b"chunked")], ENDED),
    "transfer-encoding and a length": asked(
        [*POST2, (b"content-length", b"5"), (b"transfer-encoding", b"chunked")], b"0\r\n\r\n"
    ),
    "upgrade": asked([*OPEN, (b"upgrade", b"h2c")]),
    "te: chunked": asked([*OPEN, (b"te", b"chunked")]),
    "a length too short": asked([*POST2, (b"content-length", b"0")], HIDDEN),
    "a length too long": asked([*POST2, (b"content-length", b"999")], HIDDEN),
    "a length without a body": asked([*POST2, (b"content-length", b"50")]),
    "two lengths": asked(
        [*POST2, (b"content-length", b"0"), (b"content-length", b"%d" % len(HIDDEN))], HIDDEN
    ),
    "a length that is none": asked([*POST2, (b"content-length", b"0x0")], HIDDEN),
    "a length with a list": asked([*POST2, (b"content-length", b"0,%d" % len(HIDDEN))], HIDDEN),
    "a path with a request": asked(but(b":path", b"/open HTTP/1.1\r\nhost: x\r\n\r\nGET /admin/smuggled")),
    "a path with a space": asked(but(b":path", b"/open HTTP/1.1 x")),
    "a path with a tab": asked(but(b":path", b"/open\tHTTP/1.1")),
    "a path with a null": asked(but(b":path", b"/open\0/../admin")),
    "a path without a slash": asked(but(b":path", b"admin/smuggled")),
    "an empty path": asked(but(b":path", b"")),
    "a path that is a URL": asked(but(b":path", b"http://payments/admin/smuggled")),
    "a path behind a fragment": asked(but(b":path", b"/admin/smuggled#/open")),
    "two paths": asked([*OPEN, (b":path", ADMIN)]),
    "two paths, the denied first": asked([(b":path", ADMIN), *OPEN]),
    "no path": asked([pair for pair in OPEN if pair[0] != b":path"]),
    "a method with a request": asked(but(b":method", b"GET /admin/smuggled HTTP/1.1\r\nx: ")),
    "a method with a space": asked(but(b":method", b"GET /admin/smuggled")),
    "an empty method": asked(but(b":method", b"")),
    "two methods": asked([*OPEN, (b":method", b"POST")]),
    "no method": asked([pair for pair in OPEN if pair[0] != b":method"]),
    "a scheme with a path": asked(but(b":scheme", b"http://payments/admin/smuggled?")),
    "two schemes": asked([*OPEN, (b":scheme", b"http")]),
    "an authority with a path": asked(but(b":authority", b"payments/admin/smuggled")),
    "an authority with lines": asked(
        but(b":authority", b"payments\r\n\r\nGET /admin/smuggled HTTP/1.1\r\nx: y")
    ),
    "an authority with a user": asked(but(b":authority", b"user@payments")),
    "two authorities": asked([*OPEN, (b":authority", b"elsewhere")]),
    "a host beside the authority": asked([*OPEN, (b"host", b"elsewhere")]),
    "two hosts": asked([*OPEN[:3], (b"host", b"payments"), (b"host", b"elsewhere")]),
    "a pseudo-header after the others": asked([*OPEN[:2], OPEN[3], (b"x", b"y"), (b":path", ADMIN)]),
    "a pseudo-header again after the others": asked([*OPEN, (b"x", b"y"), (b":path", ADMIN)]),
    "an unknown pseudo-header": asked([*OPEN[:3], (b":x", b"y"), OPEN[3]]),
    "a pseudo-header of an answer": asked([(b":status", b"200"), *OPEN]),
    "lines in a value": asked([*OPEN, (b"x", b"y\r\ntransfer-encoding: chunked\r\n\r\n" + HIDDEN)]),
    "a line feed in a value": asked([*OPEN, (b"x", b"y\n\n" + HIDDEN)]),
    "a null in a value": asked([*OPEN, (b"x", b"y\0z")]),
    "lines in a name": asked([*OPEN, (b"x: y\r\ntransfer-encoding", b"chunked")]),
    "a colon in a name": asked([*OPEN, (b"transfer-encoding: chunked\r\nx", b"y")]),
    "a space in a name": asked([*OPEN, (b"transfer-encoding ", b"chunked")]),
    "an empty name": asked([*OPEN, (b"", b"x")]),
    "an extended CONNECT to what is denied": asked(
        [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *but(b":path", ADMIN)[1:]]
    ),
    "an extended CONNECT of another protocol": asked(
        [(b":method", b"CONNECT"), (b":protocol", b"connect-udp"), *but(b":path", ADMIN)[1:]]
    ),
    "a CONNECT": asked([(b":method", b"CONNECT"), (b":authority", b"127.0.0.1:22")]),
    "a protocol without CONNECT": asked([(b":protocol", b"websocket"), *but(b":path", ADMIN)]),
    "headers after the end": asked([*POST2, (b"content-length", b"0")], b"")
    + frame(HEADERS, END_HEADERS | END_STREAM, Encoder().encode(but(b":path", ADMIN))),
    "pseudo-headers in trailers": asked(POST2, b"x")[: -1 - 9]
    + frame(DATA, 0, b"x")
    + frame(HEADERS, END_HEADERS | END_STREAM, Encoder().encode([(b":path", ADMIN)])),
    "a length in trailers": asked(POST2, b"x")[: -1 - 9]
    + frame(DATA, 0, b"x")
    + frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        Encoder().encode([(b"content-length", b"99"), (b"transfer-encoding", b"chunked")]),
    ),
}


@dataclass(slots=True)
class Answered:
    """What came back on the first stream: whether it was reset or the connection ended, or a block of headers."""

    reset: bool = False
    headers: bytes = b""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def over_http2(mesh: Fortress) -> Outcomes:
    return await tried(mesh, HTTP2, answered)


@pytest.mark.parametrize("name", HTTP2)
async def test_an_http2_request_becomes_at_most_the_one_that_was_judged(
    mesh: Fortress, over_http2: Outcomes, name: str
) -> None:
    answer, seen = over_http2[name]
    assert not mesh.application.ambiguous
    assert len(seen) <= 1
    assert not [one for one in seen if not one.path.startswith("/open") or "smuggled" in one.path]
    for one in seen:  # it was taken, and what made it odd was taken away
        assert one.header("connection") == one.header("upgrade") == one.header("keep-alive") == []
        assert one.header("proxy-connection") == []
        assert all(name == name.lower() for name, _ in one.headers)
    assert answer.reset or answer.headers, "it was answered, one way or the other"


async def test_an_honest_http2_request_is_let_through(mesh: Fortress) -> None:
    before = len(mesh.application.requests)
    for words in (
        asked(OPEN),
        asked([*POST2, (b"content-length", b"%d" % len(HIDDEN))], HIDDEN),
        asked([*OPEN, (b"te", b"trailers")]),
    ):
        assert (await answered(mesh, words)).headers
    assert [seen.path for seen in mesh.application.requests[before:]] == ["/open"] * 3
    assert mesh.application.requests[-2].body == HIDDEN
    assert not (await answered(mesh, asked(but(b":path", ADMIN)))).reset
    assert len(mesh.application.requests) == before + 3


async def answered(mesh: Fortress, words: bytes) -> Answered:
    reader, writer = await asyncio.open_connection(mesh.place(), HTTP, ssl=mesh.holder(FRONTEND, "h2"))
    found = Answered()
    try:
        writer.write(words)
        async with asyncio.timeout(5):
            while not (found.reset or found.headers):
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3]))
                if head[3] in {RST_STREAM, GOAWAY}:
                    found.reset = True
                elif head[3] == HEADERS:
                    found.headers = payload
    except (ConnectionError, asyncio.IncompleteReadError):
        found.reset = True
    finally:
        writer.close()
    return found
