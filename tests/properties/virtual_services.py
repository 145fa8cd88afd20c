"""VirtualServices that say everything which is honoured."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

from tests.properties.values import (
    ANY_TIMES,
    AUTHORITIES,
    EXPORTS,
    HEADER_VALUES,
    HEADERS,
    NAMESPACE_NAMES,
    PATHS,
    PERCENTS,
    PORT_NUMBERS,
    REGEXES,
    REWRITES,
    SUBSETS,
    TEXTS,
    TIMES,
    TOKENS,
    WRITTEN,
    WRITTEN_REGEXES,
    Strategy,
    document,
    hosts_of,
    labels,
    one_of,
    optional,
    some,
    tests,
)

API = "networking.istio.io/v1"
MOST_WEIGHTS = 2**32 - 1
_OWN_NAMES = (
    "www.example.com",
    "*.example.com",
    "*.bistro.svc.cluster.local",
    "*-a.example",
    "10.9.8.7",
    "a.b",
)
_CONDITIONS = (
    "5xx",
    "gateway-error,503",
    "503",
    "connect-failure, refused-stream",
    "cancelled,unavailable,599",
    "retriable-status-codes,100",
    "reset-before-request",
)
_GRPC = ("OK", "UNAVAILABLE", "UNAUTHENTICATED")


def _tests(names: Strategy) -> Strategy:
    """Tests by name; an empty one is of presence."""
    return st.dictionaries(names, tests(TEXTS, REGEXES) | st.just({}), min_size=1, max_size=2)


_PARTS: dict[str, Strategy] = {
    "name": TEXTS,
    "uri": tests(PATHS, WRITTEN_REGEXES),
    "method": tests(one_of(("GET", "POST", "PURGE", "é")), WRITTEN_REGEXES),
    "scheme": tests(one_of(("http", "https")), WRITTEN_REGEXES),
    "authority": tests(AUTHORITIES, WRITTEN_REGEXES),
    "port": PORT_NUMBERS,
    "headers": _tests(HEADERS),
    "withoutHeaders": _tests(HEADERS),
    "queryParams": _tests(WRITTEN | st.just("é" * 512)),
    "ignoreUriCase": st.booleans(),
    "gateways": st.just(["mesh"]),
}
MATCHES = st.one_of(
    optional(**_PARTS),
    optional({"sourceNamespace": NAMESPACE_NAMES}, sourceLabels=labels(), **_PARTS),
    optional({"sourceLabels": labels()}, **_PARTS),
)


def _once(values: dict[str, str]) -> dict[str, str]:
    """Each name once, whatever its case."""
    named = {name.lower(): name for name in values}
    return {name: values[name] for name in named.values()}


_VALUES = st.dictionaries(HEADERS, HEADER_VALUES, max_size=2).map(_once)
_RESPONSE = optional(set=_VALUES, add=_VALUES, remove=some(HEADERS, least=0))
_HOSTS = st.fixed_dictionaries({"host": AUTHORITIES})
_REQUEST = optional(set=_VALUES | _HOSTS, add=_VALUES, remove=some(HEADERS, least=0))
CHANGES = optional(request=_REQUEST, response=_RESPONSE)
_PERCENTAGE: Strategy = st.fixed_dictionaries({"value": PERCENTS}) | st.just({})

_FAULT = st.one_of(
    *(
        optional({name: one}, **{other: two})
        for name, one, other, two in (
            (
                "delay",
                optional({"fixedDelay": TIMES}, percentage=_PERCENTAGE)
                | st.fixed_dictionaries({"fixedDelay": TIMES, "percent": PERCENTS}),
                "abort",
                optional({"httpStatus": st.integers(200, 599)}, percentage=_PERCENTAGE),
            ),
            (
                "abort",
                optional({"grpcStatus": one_of(_GRPC)}, percentage=_PERCENTAGE),
                "delay",
                optional({"fixedDelay": TIMES}, percentage=_PERCENTAGE),
            ),
        )
    )
)
CORS = optional(
    allowOrigins=some(tests(WRITTEN, WRITTEN_REGEXES) | st.just({"exact": "*"})),
    allowOrigin=some(TEXTS),
    allowMethods=some(TOKENS, least=0),
    allowHeaders=some(TOKENS, least=0),
    exposeHeaders=some(TOKENS, least=0),
    maxAge=ANY_TIMES,
    allowCredentials=st.booleans(),
    unmatchedPreflights=one_of(("FORWARD", "IGNORE", "UNSPECIFIED")),
)
RETRIES = optional(
    {"attempts": st.integers(1, 100)},
    perTryTimeout=ANY_TIMES,
    retryOn=one_of(_CONDITIONS),
    backoff=TIMES,
    retryIgnorePreviousHosts=st.booleans(),
) | st.just({"attempts": 0})
REWRITE = (
    optional({"uri": PATHS}, authority=AUTHORITIES)
    | st.fixed_dictionaries({"authority": AUTHORITIES})
    | optional(
        {"uriRegexRewrite": REWRITES.map(lambda pair: {"match": pair[0], "rewrite": pair[1]})},
        authority=AUTHORITIES,
    )
)
_REDIRECT = st.one_of(
    *(
        optional(
            needed,
            redirectCode=one_of((301, 302, 303, 307, 308)),
            scheme=one_of(("http", "https")),
            port=PORT_NUMBERS,
        )
        for needed in ({"uri": PATHS}, {"authority": AUTHORITIES}, {"uri": PATHS, "authority": AUTHORITIES})
    ),
    optional(
        {"derivePort": one_of(("FROM_REQUEST_PORT", "FROM_PROTOCOL_DEFAULT")), "uri": PATHS},
        authority=AUTHORITIES,
    ),
)
_BODIES = TEXTS | one_of(("", "é" * 3000, "a" * 4096, "a" * 4097, "100 %\r\n"))
_DIRECT = optional(
    {"status": st.integers(200, 599)},
    body=st.fixed_dictionaries({"string": _BODIES})
    | st.binary(max_size=20).map(lambda body: {"bytes": base64.b64encode(body).decode()}),
)


def _destination(namespace: str) -> Strategy:
    return optional(
        {"host": hosts_of(namespace)},
        subset=one_of(SUBSETS),
        port=st.fixed_dictionaries({"number": PORT_NUMBERS}),
    )


def _weighed(route: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With weights of which there are some, and not too many."""
    whole = sum(one.get("weight", 0) for one in route)
    return route if 0 < whole <= MOST_WEIGHTS else [*route[:-1], route[-1] | {"weight": 1}]


def _route(namespace: str) -> Strategy:
    weights = one_of((1, 50, 0, 2**31 - 1))
    share = optional({"destination": _destination(namespace), "weight": weights}, headers=CHANGES)
    alone = optional({"destination": _destination(namespace)}, headers=CHANGES).map(lambda one: [one])
    return alone | st.lists(share, min_size=1, max_size=3).map(_weighed)


def _mirrors(namespace: str) -> Strategy:
    one = optional({"destination": _destination(namespace)}, percentage=_PERCENTAGE)
    many = st.fixed_dictionaries({"mirrors": some(one)})
    single = optional({"mirror": _destination(namespace)}, mirrorPercentage=_PERCENTAGE)
    old = st.fixed_dictionaries({"mirror": _destination(namespace), "mirrorPercent": PERCENTS})
    return st.just({}) | many | single | old


def _joined(parts: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


def rules(namespace: str, *, delegating: bool) -> Strategy:
    """A rule: it sends, answers, or leaves that to a delegate."""
    everywhere = optional(
        name=TEXTS,
        match=st.lists(MATCHES, min_size=1, max_size=2),
        headers=CHANGES,
        fault=_FAULT,
        corsPolicy=CORS,
    )
    sent = optional({"route": _route(namespace)}, rewrite=REWRITE, timeout=ANY_TIMES, retries=RETRIES)
    answered = st.fixed_dictionaries({"redirect": _REDIRECT}) | st.fixed_dictionaries(
        {"directResponse": _DIRECT}
    )
    left = optional(
        {"delegate": optional({"name": st.just("delegate")}, namespace=NAMESPACE_NAMES)},
        rewrite=REWRITE,
        timeout=ANY_TIMES,
        retries=RETRIES,
    )
    sends = st.tuples(everywhere, sent, _mirrors(namespace)).map(_joined)
    answers = st.tuples(everywhere, answered).map(_joined)
    leaves = st.tuples(everywhere, left, _mirrors(namespace)).map(_joined)
    return sends | answers | leaves if delegating else sends | answers


def virtual_service(name: str, namespace: str) -> Strategy:
    spec = optional(
        {
            "hosts": st.lists(
                hosts_of(namespace) | one_of(_OWN_NAMES), min_size=1, max_size=2, unique_by=_whole(namespace)
            ),
            "http": st.lists(rules(namespace, delegating=True), min_size=1, max_size=3),
        },
        exportTo=EXPORTS,
        gateways=st.just(["mesh"]),
    )
    return document(API, "VirtualService", name, namespace, spec)


def _whole(namespace: str) -> Any:
    """The host that a text of a namespace means."""

    def whole(host: str) -> str:
        return host.lower() if "." in host else f"{host.lower()}.{namespace}.svc.cluster.local"

    return whole


def delegate(namespace: str) -> Strategy:
    spec = optional(
        {"http": st.lists(rules(namespace, delegating=False), min_size=1, max_size=2)}, exportTo=EXPORTS
    )
    return document(API, "VirtualService", "delegate", namespace, spec)
