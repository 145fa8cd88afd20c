"""Small words for making Envoy's messages: extensions, durations, string tests, and framed Resources."""

from __future__ import annotations

from hashlib import blake2b
from sys import intern
from typing import Any

from plait.envoy import api
from plait.model.names import Origin
from plait.model.routing import MatchKind, StringMatch
from plait.resource import Resource

ADS = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": {}}
"""From the one stream, waiting for as long as it takes: half a configuration is worse than a late one."""

_RESPONSE = "envoy.service.discovery.v3.DeltaDiscoveryResponse"


def extension(name: str, message_name: str, **fields: Any) -> dict[str, Any]:
    """A named extension with its typed configuration."""
    return {"name": name, "typed_config": api.pack(api.message(message_name)(**fields))}


def seconds(value: float) -> dict[str, int]:
    """A google.protobuf.Duration."""
    nanos = round(value * 1_000_000_000)
    return {"seconds": nanos // 1_000_000_000, "nanos": nanos % 1_000_000_000}


def share(millionths: int) -> dict[str, Any]:
    """A FractionalPercent."""
    return {"numerator": millionths, "denominator": "MILLION"}


def string_match(match: StringMatch) -> dict[str, Any]:
    """A StringMatcher for a test that is not of presence alone."""
    match match.kind:
        case MatchKind.EXACT:
            return {"exact": match.value}
        case MatchKind.PREFIX | MatchKind.SEGMENTS:  # segments are those of paths alone
            return {"prefix": match.value}
        case MatchKind.REGEX:
            return {"safe_regex": {"regex": match.value}}
        case MatchKind.PRESENT:
            return {"safe_regex": {"regex": ".*"}}


def header(name: str, test: StringMatch) -> dict[str, Any]:
    """A HeaderMatcher."""
    if test.kind is MatchKind.PRESENT:
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": string_match(test)}


def resource(type_url: str, name: str, message: Any, origins: tuple[Origin, ...] = ()) -> Resource:
    """A message as a Resource: serialised, hashed and framed once."""
    body = api.serialize(message)
    version = blake2b(body, digest_size=8).hexdigest()
    return Resource(type_url, intern(name), version, body, frame(type_url, name, version, body), origins)


def frame(type_url: str, name: str, version: str, body: bytes) -> bytes:
    """A DeltaDiscoveryResponse of one resource and nothing else; see Resource."""
    sent = {"name": name, "version": version, "resource": {"type_url": type_url, "value": body}}
    return api.serialize(api.message(_RESPONSE)(resources=[sent]))
