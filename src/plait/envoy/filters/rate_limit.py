"""How many requests come in: rate limits, by buckets of tokens in this Envoy.

Each limit asks for its bucket by a descriptor of its own.  The filter comes after authorization, so that who is
not let in takes nothing from those who are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from plait.envoy import api, build, names
from plait.envoy.filters.kind import HttpFilter
from plait.model.limits import Limit, LimitScope
from plait.model.mesh import InboundPort
from plait.model.routing import MatchKind, RequestMatch, StringMatch

_CONFIG = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
_EXPRESSION = "envoy.extensions.rate_limit_descriptors.expr.v3.Descriptor"
_STATUS = 429

MOST_IDENTITIES = 10_000
"""With a bucket each in one limit: of more, who has been silent for longest begins with a full one again."""

_LIMIT, _MATCH, _IDENTITY = "limit", "match", "identity"
_MET = "met"
_CALLER = "connection.mtls ? connection.uri_san_peer_certificate : 'nobody'"
"""The SPIFFE ID of the caller (CEL), or one word for all who show none."""
_NEVER_EMPTY = {
    "max_tokens": 4294967295,
    "tokens_per_fill": {"value": 4294967295},
    "fill_interval": {"seconds": 1},
}
"""The bucket that Envoy wants for requests which no limit is for."""


def _nothing() -> Any:
    return api.message(_CONFIG)(stat_prefix="inbound")


def _on_inbound(port: InboundPort) -> Any | None:
    if not port.limits:
        return None
    always = {"default_value": build.share(1_000_000)}
    return api.message(_CONFIG)(
        stat_prefix="inbound",
        filter_enabled=always,
        filter_enforced=always,
        token_bucket=_NEVER_EMPTY,
        always_consume_default_token_bucket={"value": False},
        descriptors=[_bucket(limit) for limit in port.limits],
        rate_limits=[one for limit in port.limits for one in _askings(limit)],
        max_dynamic_descriptors={"value": MOST_IDENTITIES},
        rate_limited_as_resource_exhausted=True,
        enable_retry_after_header=True,
    )


RATE_LIMIT = HttpFilter(
    name="envoy.filters.http.local_ratelimit",
    on_listener=_nothing,
    outbound=False,
    inbound=True,
    waits=True,
    on_inbound=_on_inbound,
)


def explanation() -> dict[str, Any]:
    """What is told to whoever comes too often, as one of the local replies of a manager."""
    asked = {"comparison": {"op": "EQ", "value": {"default_value": _STATUS}}}
    text = "too many requests: a RateLimit is used up; retry-after says in how many seconds to try again"
    return {"filter": {"status_code_filter": asked}, "body": {"inline_string": text}}


def _bucket(limit: Limit) -> dict[str, Any]:
    """The bucket of a limit, or with an open value one for each; entries are those that `_askings` makes."""
    entries = [{"key": _LIMIT, "value": names.limit(limit)}]
    entries += [{"key": _MATCH, "value": _MET}] * len(limit.matches)
    if limit.scope is LimitScope.EACH_IDENTITY:
        entries.append({"key": _IDENTITY})
    return {
        "entries": entries,
        "token_bucket": {
            "max_tokens": limit.burst,
            "tokens_per_fill": {"value": limit.requests},
            "fill_interval": build.seconds(limit.per),
        },
    }


def _askings(limit: Limit) -> Iterator[dict[str, Any]]:
    """For each alternative the way to the bucket; of those that a request meets only the first leads there.

    All of them make the same entries, since these name the bucket.
    """
    whose = [_identity()] if limit.scope is LimitScope.EACH_IDENTITY else []
    for number in range(max(1, len(limit.matches))):
        actions = [_text(_LIMIT, names.limit(limit)), *_alternative(limit.matches, number), *whose]
        yield {"actions": actions, "x_ratelimit_option": "DRAFT_VERSION_03"}


def _alternative(matches: tuple[RequestMatch, ...], number: int) -> Iterator[dict[str, Any]]:
    """One match, and none of those before it."""
    for index, match in enumerate(matches):
        if index > number:
            yield _text(_MATCH, _MET)
        else:
            yield {
                "header_value_match": {
                    "descriptor_key": _MATCH,
                    "descriptor_value": _MET,
                    "expect_match": {"value": index == number},
                    "headers": list(_tests(match)),
                }
            }


def _text(key: str, value: str) -> dict[str, Any]:
    return {"generic_key": {"descriptor_key": key, "descriptor_value": value}}


def _identity() -> dict[str, Any]:
    expression = build.extension(
        "envoy.rate_limit_descriptors.expr", _EXPRESSION, descriptor_key=_IDENTITY, text=_CALLER
    )
    return {"extension": expression}


def _tests(match: RequestMatch) -> Iterator[dict[str, Any]]:
    if match.path is not None:
        yield build.header(":path", _before_query(match.path))
    if match.method is not None:
        yield build.header(":method", match.method)
    for name, test in match.headers:
        yield build.header(name, test)


def _before_query(test: StringMatch) -> StringMatch:
    """The test of a path, as one of what Envoy calls the path, which has the query in it."""
    if test.kind is MatchKind.PREFIX:
        return test
    pattern = test.value if test.kind is MatchKind.REGEX else re.escape(test.value)
    return StringMatch(MatchKind.REGEX, rf"(?:{pattern})(?:\?.*)?")
