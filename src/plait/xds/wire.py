"""The bytes of requests and responses: Envoy's message classes one way, joined bytes the other."""

from __future__ import annotations

from sys import intern
from typing import Any

from google.protobuf.message import DecodeError

from plait.envoy import api
from plait.xds.messages import Request, Response

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "DeltaAggregatedResources"

# The keys of DeltaDiscoveryResponse's fields: number * 8 + 2, which stands for bytes with their length before.
_TYPE_URL, _NONCE, _REMOVED = (bytes((number << 3 | 2,)) for number in (4, 5, 6))


def decode(data: bytes) -> Request:
    """What a DeltaDiscoveryRequest says; ValueError if the bytes are none.

    Names are interned: a thousand proxies ask for the same.
    """
    try:
        message: Any = api.message("envoy.service.discovery.v3.DeltaDiscoveryRequest").FromString(data)
    except DecodeError as error:
        raise ValueError(f"not a DeltaDiscoveryRequest: {error}") from error
    versions = message.initial_resource_versions
    return Request(
        type_url=message.type_url,
        subscribe=tuple(map(intern, message.resource_names_subscribe)),
        unsubscribe=tuple(map(intern, message.resource_names_unsubscribe)),
        versions={intern(name): versions[name] for name in versions},
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
        node=message.node.id,
    )


def encode(response: Response) -> list[bytes]:
    """A DeltaDiscoveryResponse in parts to be joined; the resources' own are shared by all who are sent them."""
    parts = [resource.framed for resource in response.resources]
    fields = [(_TYPE_URL, response.type_url), (_NONCE, response.nonce)]
    fields += [(_REMOVED, name) for name in response.removed]
    for key, text in fields:
        data = text.encode()
        parts.append(key + varint(len(data)) + data)
    return parts


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)
