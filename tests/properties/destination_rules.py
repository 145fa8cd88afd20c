"""DestinationRules that say everything which is honoured."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.properties.values import (
    ANY_TIMES,
    COUNTS,
    EXPORTS,
    PATHS,
    PERCENTS,
    PORTS,
    SHARES,
    SUBSETS,
    TEXTS,
    TIMES,
    TOKENS,
    WHOLE_TIMES,
    WRITTEN,
    Strategy,
    document,
    hosts_of,
    labels,
    one_of,
    optional,
    some,
)

_API = "networking.istio.io/v1"
_WILDCARDS = ("*.bistro.svc.cluster.local", "*.svc.cluster.local", "*.example.com")

_RINGS = one_of((0, 1, 1024, 4096))
_TABLE: Strategy = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"ringHash": st.fixed_dictionaries({"minimumRingSize": _RINGS})}),
    st.fixed_dictionaries({"maglev": st.fixed_dictionaries({"tableSize": one_of((0, 2, 101, 65537))})}),
    st.fixed_dictionaries({"minimumRingSize": _RINGS}),
    st.just({"maglev": {}}),
)
_ATTRIBUTES = some(
    optional(
        {"name": one_of(("SameSite", "Secure", "Max-Age", "!"))},
        value=one_of(("", "Strict", "é🙂", "%", "a" * 300)),
    )
)
_KEY = st.one_of(
    st.fixed_dictionaries({"httpHeaderName": TOKENS}),
    st.fixed_dictionaries(
        {"httpCookie": optional({"name": TOKENS}, path=PATHS | TEXTS, ttl=ANY_TIMES, attributes=_ATTRIBUTES)}
    ),
    st.fixed_dictionaries({"httpQueryParameterName": WRITTEN | st.just("q" * 2000)}),
    st.just({"useSourceIp": True}),
)
_WARM_UP = optional(
    {"duration": WHOLE_TIMES}, minimumPercent=PERCENTS, aggression=one_of((1, 1.5, 100, 2**31 - 1))
)
_REGIONS = one_of(("us", "é", "a b"))
_PLACES = one_of(("us/a/*", "us/b/*", "us/a/1", "us/b", "eu", "us/*", "*", "é/z/1"))
_SPREADS = one_of(
    ({"us/a/*": 80, "us/b/*": 20}, {"*": 100}, {"us": 1, "é/z": 99}, {"us/a/1": 50, "us/a/2": 50})
)
_LOCALITIES = st.one_of(
    optional(
        enabled=st.booleans(),
        distribute=_PLACES.flatmap(
            lambda place: _SPREADS.map(lambda shares: [{"from": place, "to": shares}])
        ),
    ),
    optional(
        failover=_REGIONS.map(lambda region: [{"from": region, "to": "eu"}]),
        failoverPriority=some(one_of(("version", "app=web", "example.com/tier=", "app=é"))),
    ),
    optional(
        failoverPriority=some(
            one_of(("topology.kubernetes.io/region", "topology.istio.io/subzone", "app")), 3
        )
    ),
)
_BALANCE = st.one_of(
    optional(
        {"consistentHash": st.tuples(_KEY, _TABLE).map(lambda pair: pair[0] | pair[1])},
        localityLbSetting=_LOCALITIES,
    ),
    optional(
        localityLbSetting=_LOCALITIES,
        simple=one_of(("LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", "LEAST_CONN", "UNSPECIFIED")),
        warmup=_WARM_UP,
    ),
    st.fixed_dictionaries({"warmupDurationSecs": WHOLE_TIMES}),
)
_POOL = optional(
    tcp=optional(
        maxConnections=COUNTS,
        connectTimeout=TIMES,
        maxConnectionDuration=TIMES,
        idleTimeout=ANY_TIMES,
        tcpKeepalive=optional(probes=COUNTS, time=WHOLE_TIMES, interval=WHOLE_TIMES),
    ),
    http=optional(
        http1MaxPendingRequests=COUNTS,
        http2MaxRequests=COUNTS,
        maxRequestsPerConnection=COUNTS,
        maxRetries=COUNTS,
        maxConcurrentStreams=COUNTS,
        idleTimeout=TIMES,
        h2UpgradePolicy=one_of(("DEFAULT", "UPGRADE", "DO_NOT_UPGRADE")),
        useClientProtocol=st.booleans(),
    ),
)
_OUTLIERS = optional(
    consecutiveGatewayErrors=COUNTS,
    splitExternalLocalOriginErrors=st.booleans(),
    consecutiveLocalOriginFailures=COUNTS,
    consecutive5xxErrors=COUNTS,
    interval=TIMES,
    baseEjectionTime=TIMES,
    maxEjectionPercent=SHARES,
    minHealthPercent=SHARES,
) | st.fixed_dictionaries({"consecutiveErrors": COUNTS})
_PARTS: dict[str, Strategy] = {
    "loadBalancer": _BALANCE,
    "connectionPool": _POOL,
    "outlierDetection": _OUTLIERS,
    "tls": st.fixed_dictionaries({"mode": one_of(("DISABLE", "ISTIO_MUTUAL", "SIMPLE"))}),
}


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    found = draw(optional(**_PARTS, retryBudget=optional(percent=PERCENTS, minRetryConcurrency=COUNTS)))
    numbers = draw(st.lists(one_of(PORTS), max_size=2, unique=True))
    if numbers:
        found["portLevelSettings"] = [
            {"port": {"number": number}, **draw(optional(**_PARTS))} for number in numbers
        ]
    return dict(found)


@st.composite
def _subsets(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(one_of(SUBSETS), min_size=1, max_size=3, unique=True))
    return [{"name": name, **draw(optional(labels=labels(), trafficPolicy=policies()))} for name in names]


def destination_rule(name: str, namespace: str) -> Strategy:
    spec = optional(
        {"host": hosts_of(namespace) | one_of(_WILDCARDS)},
        exportTo=EXPORTS,
        workloadSelector=labels().map(lambda found: {"matchLabels": found}),
        trafficPolicy=policies(),
        subsets=_subsets(),
    )
    return document(_API, "DestinationRule", name, namespace, spec)
