"""HTTPRoutes, GRPCRoutes and ReferenceGrants that say everything which is honoured."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.properties.values import (
    HEADERS,
    NAMESPACE_NAMES,
    PORT_NUMBERS,
    SERVICES,
    TIMES,
    TOKENS,
    WHOLE_TIMES,
    WRITTEN,
    WRITTEN_REGEXES,
    Strategy,
    document,
    one_of,
    optional,
    some,
)

GROUP = "gateway.networking.k8s.io"

_METHODS = one_of(("GET", "HEAD", "POST", "CONNECT", "PATCH"))
_SEGMENTS = one_of(("/", "/a", "/a/", "/a.b(c)", "/a%20b", "/~!$&'()*+,;=:@", "/%c3%a9", "/" + "a" * 1023))
_NEW_PATHS = one_of(("/", "/b", "/b/", "/é🙂", "/%2F", "/\\1", "/%", "/" + "b" * 1023))
_HOSTS = one_of(("shop.example", "a", "x" * 63 + ".example"))
_VALUES = WRITTEN | one_of(("%", "100 %%", "%REQ(x)%", "a" * 4096, "é🙂"))
_WEIGHTS = one_of((1, 0, 90, 1_000_000))
_ORIGINS = one_of(
    (["*"], ["https://shop.example", "https://*.shop.example:8443"], ["http://*", "http://a_b:80"], [])
)


def _changes(draw: st.DrawFn) -> dict[str, Any]:
    """Each header is changed in one way."""
    names = draw(st.lists(HEADERS, max_size=4, unique_by=str.lower))
    found: dict[str, Any] = {}
    for name in names:
        how = draw(one_of(("set", "add", "remove")))
        found.setdefault(how, []).append(name if how == "remove" else {"name": name, "value": draw(_VALUES)})
    return found


_CHANGES = st.composite(_changes)()
_HEADERS_FILTERS = (
    _CHANGES.map(lambda said: {"type": "RequestHeaderModifier", "requestHeaderModifier": said}),
    _CHANGES.map(lambda said: {"type": "ResponseHeaderModifier", "responseHeaderModifier": said}),
)


def _reference() -> Strategy:
    """A Service, here or elsewhere."""
    return optional(
        {"name": one_of((*SERVICES, "gone"))},
        namespace=NAMESPACE_NAMES,
        group=st.just(""),
        kind=st.just("Service"),
        port=PORT_NUMBERS,
    )


_BACKEND_REFERENCES = st.tuples(_reference(), PORT_NUMBERS).map(lambda pair: pair[0] | {"port": pair[1]})
_FRACTIONS = st.fixed_dictionaries(
    {"numerator": one_of((0, 1, 7)), "denominator": one_of((7, 1000, 2**31 - 1))}
)
_MIRRORS = optional({"backendRef": _BACKEND_REFERENCES}, percent=st.integers(0, 100)) | st.fixed_dictionaries(
    {"backendRef": _BACKEND_REFERENCES, "fraction": _FRACTIONS}
)
_MIRROR = _MIRRORS.map(lambda said: {"type": "RequestMirror", "requestMirror": said})
_FULL_PATH = _NEW_PATHS.map(lambda path: {"type": "ReplaceFullPath", "replaceFullPath": path})
_PREFIX = (_NEW_PATHS | st.just("")).map(
    lambda path: {"type": "ReplacePrefixMatch", "replacePrefixMatch": path}
)
_CORS = optional(
    allowOrigins=_ORIGINS,
    allowCredentials=st.booleans(),
    allowMethods=st.just(["*"]) | some(_METHODS, least=0),
    allowHeaders=some(TOKENS, least=0),
    exposeHeaders=some(TOKENS, least=0),
    maxAge=one_of((1, 60, 2**31 - 1)),
).map(lambda said: {"type": "CORS", "cors": said})


def _test(values: Strategy, names: Strategy) -> Strategy:
    return st.fixed_dictionaries(
        {"name": names, "value": values}, optional={"type": st.just("Exact")}
    ) | st.fixed_dictionaries({"name": names, "type": st.just("RegularExpression"), "value": WRITTEN_REGEXES})


_TESTED = st.lists(_test(WRITTEN, TOKENS), min_size=1, max_size=2)
_OTHERS = {"headers": _TESTED, "queryParams": _TESTED, "method": _METHODS}
_PATH = optional({"value": _SEGMENTS}, type=one_of(("Exact", "PathPrefix"))) | st.fixed_dictionaries(
    {"type": st.just("RegularExpression"), "value": WRITTEN_REGEXES}
)
_MATCHES = st.lists(optional(path=_PATH, **_OTHERS), min_size=1, max_size=2)
_ONE_PREFIX = st.lists(
    optional(path=st.fixed_dictionaries({"value": _SEGMENTS}), **_OTHERS), min_size=1, max_size=1
)


@st.composite
def _backends(draw: st.DrawFn, *, grpc: bool) -> list[dict[str, Any]]:
    rewrites = (
        () if grpc else (_HOSTS.map(lambda host: {"type": "URLRewrite", "urlRewrite": {"hostname": host}}),)
    )
    found = []
    for _ in range(draw(st.integers(1, 3))):
        filters = [draw(one) for one in (*_HEADERS_FILTERS, *rewrites) if draw(st.booleans())]
        said = draw(optional(weight=_WEIGHTS))
        found.append(draw(_BACKEND_REFERENCES) | said | ({"filters": filters} if filters else {}))
    return found


_SESSIONS = st.one_of(
    optional(
        sessionName=one_of(("stay", "x" * 128, "!#$%&'*+-.^_`|~")),
        type=one_of(("Cookie", "Header")),
        idleTimeout=TIMES,
    ),
    optional({"absoluteTimeout": WHOLE_TIMES, "cookieConfig": st.just({"lifetimeType": "Permanent"})}),
)


@st.composite
def _http_rule(draw: st.DrawFn) -> dict[str, Any]:
    prefixed, redirects = draw(st.booleans()), draw(st.booleans())
    rule: dict[str, Any] = {"matches": draw(_ONE_PREFIX if prefixed else _MATCHES)}
    path = _FULL_PATH | _PREFIX if prefixed else _FULL_PATH
    filters = [draw(one) for one in (_HEADERS_FILTERS[1], _CORS) if draw(st.booleans())]
    if redirects:
        said = optional(
            path=path,
            hostname=_HOSTS,
            scheme=one_of(("http", "https")),
            port=PORT_NUMBERS,
            statusCode=one_of((301, 302, 303, 307, 308)),
        )
        filters.append({"type": "RequestRedirect", "requestRedirect": draw(said)})
        return rule | {"filters": filters}
    rewritten = optional(path=path, hostname=_HOSTS).map(
        lambda said: {"type": "URLRewrite", "urlRewrite": said}
    )
    filters += [
        draw(one) for one in (_HEADERS_FILTERS[0], rewritten, _MIRROR, _MIRROR) if draw(st.booleans())
    ]
    more = optional(
        name=WRITTEN,
        timeouts=optional(request=TIMES | st.just("0s"), backendRequest=TIMES),
        retry=optional(
            codes=st.lists(st.integers(400, 599), max_size=3), attempts=one_of((0, 1, 100)), backoff=TIMES
        ),
        backendRefs=_backends(grpc=False),
        sessionPersistence=_SESSIONS,
    )
    rule |= draw(more)
    return rule | ({"filters": filters} if filters else {})


_NAMES = one_of(("shop", "a.b_c.D"))
_CALLED = st.one_of(
    optional({"service": _NAMES}, method=st.just("Book"), type=st.just("Exact")),
    st.just({"method": "Book"}),
    optional({"type": st.just("RegularExpression"), "service": WRITTEN_REGEXES}, method=WRITTEN_REGEXES),
    st.fixed_dictionaries({"type": st.just("RegularExpression"), "method": WRITTEN_REGEXES}),
)


@st.composite
def _grpc_rule(draw: st.DrawFn) -> dict[str, Any]:
    filters = [draw(one) for one in (*_HEADERS_FILTERS, _MIRROR, _MIRROR) if draw(st.booleans())]
    more = optional(
        name=WRITTEN,
        matches=st.lists(optional(method=_CALLED, headers=_TESTED), min_size=1, max_size=2),
        backendRefs=_backends(grpc=True),
        sessionPersistence=_SESSIONS,
    )
    rule: dict[str, Any] = draw(more)
    return rule | ({"filters": filters} if filters else {})


def _parents() -> Strategy:
    whole = optional(
        {"group": st.just(""), "kind": st.just("Service"), "name": one_of((*SERVICES, "gone"))},
        namespace=NAMESPACE_NAMES,
        port=PORT_NUMBERS,
        sectionName=one_of(("http", "grpc-a", "odd")),
    )
    return st.lists(
        whole,
        min_size=1,
        max_size=3,
        unique_by=lambda one: (one["name"], one.get("port"), one.get("sectionName")),
    )


_MADE = one_of((None, "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"))


def http_route(name: str, namespace: str) -> Strategy:
    spec = optional({"parentRefs": _parents(), "rules": st.lists(_http_rule(), min_size=1, max_size=3)})
    return document(f"{GROUP}/v1", "HTTPRoute", name, namespace, spec, creationTimestamp=_MADE)


def grpc_route(name: str, namespace: str) -> Strategy:
    spec = optional({"parentRefs": _parents(), "rules": st.lists(_grpc_rule(), min_size=1, max_size=3)})
    return document(f"{GROUP}/v1", "GRPCRoute", name, namespace, spec, creationTimestamp=_MADE)


def reference_grant(namespace: str) -> Strategy:
    kinds = one_of(("HTTPRoute", "GRPCRoute"))
    source = st.fixed_dictionaries({"group": st.just(GROUP), "kind": kinds, "namespace": NAMESPACE_NAMES})
    target = optional({"group": st.just(""), "kind": st.just("Service")}, name=one_of(SERVICES))
    spec = st.fixed_dictionaries({"from": some(source), "to": some(target)})
    return document(f"{GROUP}/v1beta1", "ReferenceGrant", "grant", namespace, spec)
