"""RateLimits that say everything which is honoured."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.properties.values import (
    HEADERS,
    PATHS,
    REGEXES,
    SERVICES,
    TEXTS,
    WRITTEN_REGEXES,
    Strategy,
    document,
    labels,
    one_of,
    optional,
    tests,
)

_PATHS = tests(PATHS.map(lambda path: path.partition("?")[0]), WRITTEN_REGEXES)
_METHODS = tests(one_of(("GET", "POST", "é")), WRITTEN_REGEXES)
_HEADERS: Strategy = st.dictionaries(HEADERS, tests(TEXTS, REGEXES) | st.just({}), min_size=1, max_size=2)
_MATCHES = st.one_of(
    optional({"path": _PATHS}, method=_METHODS, headers=_HEADERS),
    optional({"method": _METHODS}, headers=_HEADERS),
    optional({"headers": _HEADERS}),
)
_LIMITS = optional(
    {"requests": one_of((1, 7, 1_000_000_000))},
    name=TEXTS,
    per=one_of(("50ms", "1s", "1h", "8760h")),
    burst=one_of((1, 7, 1_000_000_000)),
    scope=one_of(("Everybody", "EachIdentity")),
    matches=st.lists(_MATCHES, min_size=1, max_size=3),
)
_TARGETS = optional({"kind": st.just("Service"), "name": one_of(SERVICES)}, group=st.just("")) | optional(
    {"kind": st.just("Workload"), "name": st.just("web-1")}, group=st.just("plait.dev")
)


def rate_limit(name: str, namespace: str) -> Strategy:
    limits = {"limits": st.lists(_LIMITS, min_size=1, max_size=3)}
    spec = optional(limits, selector=labels().map(lambda found: {"matchLabels": found})) | optional(
        limits, targetRef=_TARGETS
    )
    return document("plait.dev/v1alpha1", "RateLimit", name, namespace, spec)
