"""Responses are recognised: whatever comes in between, each stream gets what it was sent."""

from hypothesis import given
from hypothesis import strategies as st

from bench.control_plane.simulated.discovery import message
from bench.control_plane.simulated.library import Incoming, Library
from plait.resource import ROUTES
from plait.xds.messages import Response
from plait.xds.wire import encode
from tests.bench.control_plane.test_discovery import framed

CONTENTS = tuple(
    tuple(framed(f"r{index}", version, version.encode() * 40, ROUTES) for index in range(count))
    for version in ("one", "two")
    for count in (1, 3)
)
"""Two of each length, which differ everywhere or nowhere but in versions."""

Sent = tuple[int, int]


def data(sent: Sent) -> bytes:
    content, nonce = sent
    return message(b"".join(encode(Response(type_url=ROUTES, nonce=str(nonce), resources=CONTENTS[content]))))


@given(
    streams=st.lists(
        st.lists(st.tuples(st.sampled_from(range(len(CONTENTS))), st.integers(1, 200)), max_size=5),
        min_size=1,
        max_size=4,
    ),
    turns=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400)), min_size=1, max_size=60),
)
def test_each_stream_gets_its_own(streams: list[list[Sent]], turns: list[tuple[int, int]]) -> None:
    library = Library()
    incoming = [Incoming(library) for _ in streams]
    waiting = [b"".join(map(data, sent)) for sent in streams]
    got: list[list[tuple[list[str], int]]] = [[] for _ in streams]

    def take(stream: int, size: int) -> None:
        piece, waiting[stream] = waiting[stream][:size], waiting[stream][size:]
        for news, nonce in incoming[stream].take(piece):
            got[stream].append(([one.version for one in news.resources], int(nonce)))

    for stream, size in turns:
        take(stream % len(streams), size)
    for stream in range(len(streams)):
        take(stream, len(waiting[stream]))
    assert got == [
        [([one.version for one in CONTENTS[content]], nonce) for content, nonce in sent] for sent in streams
    ]


def test_equal_responses_are_one_value_whatever_their_nonces() -> None:
    library = Library()
    first, second = Incoming(library), Incoming(library)
    ((one, _),) = first.take(data((0, 11)))
    ((other, nonce),) = second.take(data((0, 22)))
    assert one is other
    assert nonce == "22"
