"""What the simulated proxies read and write are the messages that Envoy and Plait read and write."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.control_plane.simulated import discovery
from bench.control_plane.simulated.discovery import Named, Reader, asked_by
from plait.envoy import api
from plait.envoy.build import frame
from plait.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SCOPED_ROUTES, Resource
from plait.xds.messages import Request, Response
from plait.xds.wire import decode, encode
from tests.stream.rendered import cluster, led_listener, listener, scope

MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def framed(name: str, version: str, body: bytes, type_url: str = CLUSTER) -> Resource:
    return Resource(type_url, name, version, body, frame(type_url, name, version, body))


def body_of(data: bytes) -> bytes:
    """A message of gRPC without what stands before it."""
    assert data[:1] == b"\0"
    assert int.from_bytes(data[1:5], "big") == len(data) - 5
    return data[5:]


@given(
    bodies=st.lists(st.binary(max_size=400), max_size=5),
    removed=st.lists(st.text(max_size=200), max_size=3),
    nonce=st.integers(min_value=1),
)
def test_a_response_is_read_without_its_bodies(bodies: list[bytes], removed: list[str], nonce: int) -> None:
    resources = tuple(framed(f"r{index}", f"v{len(body)}", body, ROUTES) for index, body in enumerate(bodies))
    data = b"".join(
        encode(Response(type_url=ROUTES, nonce=str(nonce), resources=resources, removed=tuple(removed)))
    )
    read = Reader().read(data)
    assert read.news.type_url == ROUTES
    assert [(one.name, one.version) for one in read.news.resources] == [
        (one.name, one.version) for one in resources
    ]
    assert read.news.removed == tuple(removed)
    assert read.nonce == str(nonce) == data[slice(*read.place)].decode()


def test_what_is_no_response_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a type"):
        Reader().read(b"")
    with pytest.raises(ValueError, match="cut off"):
        Reader().read(b"".join(encode(Response(type_url=ROUTES, nonce="1")))[:-1])


@pytest.mark.parametrize(
    ("type_url", "message", "asked"),
    [
        (CLUSTER, cluster("A"), [(ENDPOINTS, "A")]),
        (CLUSTER, api.message("envoy.config.cluster.v3.Cluster")(name="A", type="STATIC"), []),
        (SCOPED_ROUTES, scope("shop:8080", "shop"), [(ROUTES, "shop")]),
        (LISTENER, listener("A", Path("in")), [(SCOPED_ROUTES, "*")]),
        (LISTENER, led_listener("A", Path("led"), "way"), [(EXTENSION, "way")]),
    ],
)
def test_a_resource_is_seen_to_ask_for_others(
    type_url: str, message: Any, asked: list[tuple[str, str]]
) -> None:
    resource = framed("A", "1", api.serialize(message), type_url)
    news = Reader().read(b"".join(encode(Response(type_url=type_url, nonce="1", resources=(resource,))))).news
    assert {(wanted, name) for wanted, names in news.asks.items() for name in names} >= set(asked)
    assert bool(news.asks) == bool(asked)


def test_every_filter_chain_of_a_listener_asks_for_its_routes() -> None:
    def chain(route: str) -> dict[str, Any]:
        manager = api.message(MANAGER)(stat_prefix="x", rds={"route_config_name": route})
        return {"filters": [{"name": "manager", "typed_config": api.pack(manager)}]}

    message = api.message("envoy.config.listener.v3.Listener")(
        name="A", filter_chains=[chain("one"), chain("two")], default_filter_chain=chain("three")
    )
    found = list(asked_by(LISTENER, "A", api.serialize(message)))
    assert found == [(ROUTES, "one"), (ROUTES, "two"), (ROUTES, "three")]


def test_requests_are_what_the_control_plane_reads() -> None:
    had = discovery._had("a", "1")
    first = discovery.request(
        ENDPOINTS, names=frozenset(("b", "a")), had=(Named(name="a", version="1", asks=(), had=had),)
    )
    greeting = b"".join(discovery.greeting("ns/w/0", first))
    assert decode(body_of(greeting)) == Request(
        node="ns/w/0", type_url=ENDPOINTS, subscribe=("a", "b"), versions={"a": "1"}
    )
    assert decode(discovery.request(CLUSTER)) == Request(type_url=CLUSTER)
    acknowledged = discovery.acknowledgement(CLUSTER, "7")
    assert decode(body_of(acknowledged)) == Request(type_url=CLUSTER, nonce="7")


def test_a_node_is_as_large_as_one_of_envoys() -> None:
    assert 60_000 < len(b"".join(discovery.greeting("ns/w/0", b""))) < 65_000
