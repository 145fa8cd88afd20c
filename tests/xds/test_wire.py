"""The bytes on the wire are those that Envoy's own message classes read and write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.envoy import api
from plait.envoy.build import frame
from plait.resource import CLUSTER, Resource
from plait.xds.messages import Request, Response
from plait.xds.wire import decode, encode


def framed(name: str, body: bytes) -> Resource:
    return Resource(CLUSTER, name, "v", body, frame(CLUSTER, name, "v", body))


@given(
    bodies=st.lists(st.binary(max_size=400), max_size=5),
    removed=st.lists(st.text(max_size=200), max_size=5),
)
def test_a_response_is_the_message_that_envoy_reads(bodies: list[bytes], removed: list[str]) -> None:
    resources = tuple(framed(f"r{index}", body) for index, body in enumerate(bodies))
    response = Response(type_url=CLUSTER, nonce="7", resources=resources, removed=tuple(removed))
    message = api.message("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(
        b"".join(encode(response))
    )
    assert message.type_url == CLUSTER
    assert message.nonce == "7"
    assert list(message.removed_resources) == removed
    assert [(one.name, one.version, one.resource.value) for one in message.resources] == [
        (f"r{index}", "v", body) for index, body in enumerate(bodies)
    ]


def test_a_request_is_read_whole() -> None:
    message = api.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")(
        node={"id": "ns/w/0"},
        type_url=CLUSTER,
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"c": "1"},
        response_nonce="3",
        error_detail={"message": "no"},
    )
    assert decode(api.serialize(message)) == Request(
        node="ns/w/0",
        type_url=CLUSTER,
        subscribe=("a",),
        unsubscribe=("b",),
        versions={"c": "1"},
        nonce="3",
        error="no",
    )


def test_a_rejection_without_words_is_one() -> None:
    message = api.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")(error_detail={})
    assert decode(api.serialize(message)).error == ""
    assert decode(b"").error is None


def test_bytes_that_are_no_request_are_an_error() -> None:
    with pytest.raises(ValueError, match="not a DeltaDiscoveryRequest"):
        decode(b"\xff\xff\xff")
