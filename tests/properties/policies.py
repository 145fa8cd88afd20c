"""Sidecars, PeerAuthentications and AuthorizationPolicies that say everything which is honoured."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.properties.values import (
    LONG,
    NAMESPACES,
    PORTS,
    SERVICES,
    Strategy,
    document,
    labels,
    one_of,
    optional,
    some,
)

_SECURITY = "security.istio.io/v1"
_MODES = one_of(("STRICT", "PERMISSIVE", "DISABLE", "UNSET"))

_SELECTOR = labels().map(lambda found: {"matchLabels": found})
_PRINCIPALS = one_of(
    (
        "cluster.local/ns/bistro/sa/web",
        "*",
        "*/sa/web",
        "cluster.local/ns/*",
        "é🙂'\"\\%{}",
        "a" * 500,
        f"cluster.local/ns/{LONG}/sa/{LONG}",
    )
)
_NAMESPACES = one_of((*NAMESPACES, "*", "b*", "*o", "é'%", "a.b(c"))
_ACCOUNTS = one_of(("web", "bistro/web", "kitchens/a.b", LONG))
_METHODS = one_of(("GET", "*", "P*", "*T", "É"))
_PATHS = one_of(("/", "/a", "/b*", "*.jpg", "*", "/é🙂", "/%2F", "/" + "a" * 2000, "/a?b"))
_PORTS = one_of(tuple(map(str, PORTS)))

_HOSTS = one_of(("*", "a", "*.example", "a.example:80", "a.*", "A.Example.", "[::1]:80", "*:80", "a:*"))
_BLOCKS = one_of(("10.0.0.0/8", "127.0.0.1", "10.1.2.3/9", "fd00::/8", "::1", "0.0.0.0/0"))
_SUBJECTS = one_of(("i/s", "*", "https://i.example/*", "*/s", "*s", "i*", "a/b/c", "/", "é/'\"\\%"))
_TEMPLATES = one_of(("/{*}", "/a/{*}/b/{**}", "/{**}.jpg", "/a.(b/{*}"))
_TEXTS = one_of(("a", "*", "a*", "*a", "é🙂'\"\\%{}", "[a]", "a" * 500))

_SOURCES = (
    optional({"principals": some(_PRINCIPALS, 3)}, notNamespaces=some(_NAMESPACES))
    | optional(
        {"requestPrincipals": some(_SUBJECTS)}, notIpBlocks=some(_BLOCKS), remoteIpBlocks=some(_BLOCKS)
    )
    | optional(
        {"ipBlocks": some(_BLOCKS)}, notRequestPrincipals=some(_SUBJECTS), notRemoteIpBlocks=some(_BLOCKS)
    )
    | optional({"notPrincipals": some(_PRINCIPALS)}, namespaces=some(_NAMESPACES))
    | optional({"serviceAccounts": some(_ACCOUNTS)}, notServiceAccounts=some(_ACCOUNTS))
)
_OPERATIONS = st.one_of(
    *(
        optional(
            {first: values},
            **{
                name: others
                for name, others in (
                    ("notMethods", some(_METHODS)),
                    ("notPaths", some(_PATHS)),
                    ("notPorts", some(_PORTS)),
                )
                if name != first
            },
        )
        for first, values in (
            ("methods", some(_METHODS)),
            ("paths", some(_PATHS | _TEMPLATES)),
            ("ports", some(_PORTS)),
            ("hosts", some(_HOSTS)),
            ("notHosts", some(_HOSTS)),
        )
    )
)


def _condition(keys: tuple[str, ...], values: Strategy) -> Strategy:
    return optional({"key": one_of(keys), "values": some(values)}, notValues=some(values)) | optional(
        {"key": one_of(keys), "notValues": some(values)}
    )


_CONDITIONS = st.one_of(
    _condition(("source.ip", "remote.ip", "destination.ip"), _BLOCKS),
    _condition(("source.principal",), _PRINCIPALS),
    _condition(("source.namespace",), _NAMESPACES),
    _condition(("source.serviceAccount",), _ACCOUNTS),
    _condition(("request.auth.principal",), _SUBJECTS),
    _condition(("destination.port",), _PORTS),
    _condition(
        (
            "request.headers[X-User]",
            "request.headers[:path]",
            "request.auth.audiences",
            "request.auth.presenter",
            "request.auth.claims[a.b][é]",
            "connection.sni",
            "experimental.envoy.filters.http.a[b.c]",
        ),
        _TEXTS,
    ),
)
_RULES = optional(
    **{
        "from": st.lists(st.fixed_dictionaries({"source": _SOURCES}), min_size=1, max_size=2),
        "to": st.lists(st.fixed_dictionaries({"operation": _OPERATIONS}), min_size=1, max_size=2),
        "when": st.lists(_CONDITIONS, min_size=1, max_size=2),
    }
)


_TARGETS = st.fixed_dictionaries({"group": st.just(""), "kind": st.just("Service"), "name": one_of(SERVICES)})
_TARGETED = optional(
    {"targetRefs": st.lists(_TARGETS, min_size=1, max_size=2)}, rules=st.lists(_RULES, max_size=2)
)


def authorization_policy(name: str, namespace: str) -> Strategy:
    spec = optional(rules=st.lists(_RULES, max_size=3), selector=_SELECTOR)
    denying = optional(
        {"action": one_of(("DENY", "AUDIT")), "rules": st.lists(_RULES, min_size=1, max_size=2)},
        selector=_SELECTOR,
    )
    return document(_SECURITY, "AuthorizationPolicy", name, namespace, spec | denying | _TARGETED)


def peer_authentication(name: str, namespace: str) -> Strategy:
    mode = st.fixed_dictionaries({"mode": _MODES})
    by_port = st.dictionaries(_PORTS, mode, min_size=1, max_size=3)
    spec = optional(mtls=mode) | optional({"selector": _SELECTOR}, mtls=mode, portLevelMtls=by_port)
    return document(_SECURITY, "PeerAuthentication", name, namespace, spec)


def sidecar(name: str, namespace: str) -> Strategy:
    full = [f"{one}.{place}.svc.cluster.local" for one in SERVICES for place in NAMESPACES]
    names = one_of(("*", *SERVICES, *full, "*.example.com", "*.bistro.svc.cluster.local", "www.example.com"))
    hosts = st.tuples(one_of((*NAMESPACES, "*", ".", "~")), names).map("/".join)
    spec = optional(
        workloadSelector=st.fixed_dictionaries({"labels": labels()}),
        egress=st.lists(st.fixed_dictionaries({"hosts": some(hosts, 3)}), min_size=1, max_size=2),
        outboundTrafficPolicy=st.fixed_dictionaries({"mode": one_of(("REGISTRY_ONLY", "ALLOW_ANY"))}),
    )
    return document("networking.istio.io/v1", "Sidecar", name, namespace, spec)
