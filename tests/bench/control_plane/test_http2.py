"""The simulated proxies' HTTP/2: what is received in any pieces, what is sent as far as windows reach."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.control_plane.simulated.http2 import Connection, ProtocolError, frame

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8


def sent(connection: Connection) -> list[tuple[int, int, int, bytes]]:
    """The frames that it has for the other end: kind, flags, stream, payload."""
    data, frames = bytes(connection.outgoing), []
    connection.outgoing.clear()
    while data:
        size = int.from_bytes(data[:3], "big")
        frames.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]))
        data = data[9 + size :]
    return frames


@given(
    payloads=st.lists(st.binary(max_size=300), max_size=6),
    cuts=st.lists(st.integers(min_value=1, max_value=200), min_size=1),
)
def test_data_is_the_same_in_whatever_pieces_it_comes(payloads: list[bytes], cuts: list[int]) -> None:
    stream = frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 4, 1, b"whatever")
    for payload in payloads:
        stream += frame(DATA, 0, 1, payload) + frame(PING, 0, 0, b"12345678")
    connection, got, number = Connection(b""), b"", 0
    while stream:
        piece = cuts[number % len(cuts)]
        got += b"".join(connection.receive(stream[:piece]))
        stream, number = stream[piece:], number + 1
    assert got == b"".join(payloads)
    assert sent(connection) == [
        (SETTINGS, 1, 0, b""),
        *[(PING, 1, 0, b"12345678")] * len(payloads),
    ]


def test_what_is_larger_than_a_frame_or_a_window_waits_for_its_turn() -> None:
    connection, large = Connection(b""), bytes(range(256)) * 400
    connection.send(large)
    connection.send(b"behind")
    first = b"".join(payload for _, _, _, payload in sent(connection))
    assert first == large[:65_535]
    connection.receive(frame(WINDOW, 0, 1, struct.pack(">I", 100_000)))
    assert sent(connection) == []
    connection.receive(frame(WINDOW, 0, 0, struct.pack(">I", 100_000)))
    frames = sent(connection)
    assert b"".join(payload for _, _, _, payload in frames) == large[65_535:] + b"behind"
    assert max(len(payload) for _, _, _, payload in frames) <= 16_384


def test_settings_move_the_window_of_the_stream_and_the_size_of_frames() -> None:
    connection = Connection(b"")
    connection.receive(frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, 10, 5, 20_000)))
    connection.send(b"x" * 30)
    assert sent(connection) == [(DATA, 0, 1, b"x" * 10), (SETTINGS, 1, 0, b"")][::-1]
    connection.receive(frame(WINDOW, 0, 1, struct.pack(">I", 20)))
    assert sent(connection) == [(DATA, 0, 1, b"x" * 20)]


@pytest.mark.parametrize(
    "ends",
    [
        frame(GOAWAY, 0, 0, b"\0" * 8),
        frame(RST, 0, 1, b"\0" * 4),
        frame(HEADERS, 5, 1, b"trailers"),
        frame(DATA, 1, 1, b""),
    ],
)
def test_an_end_is_an_error(ends: bytes) -> None:
    with pytest.raises(ProtocolError):
        Connection(b"").receive(ends)
