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
_PATHS = one_of(("/", "/a", "/b*", "*.jpg", "*", "/é🙂", "/%2F", "/" + "a" * 3000, "/a?b"))
_PORTS = one_of(tuple(map(str, PORTS)))

_SOURCES = (
    optional({"principals": some(_PRINCIPALS, 3)}, notNamespaces=some(_NAMESPACES))
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
        for first, values in (("methods", some(_METHODS)), ("paths", some(_PATHS)), ("ports", some(_PORTS)))
    )
)
_RULES = optional(
    **{
        "from": st.lists(st.fixed_dictionaries({"source": _SOURCES}), min_size=1, max_size=2),
        "to": st.lists(st.fixed_dictionaries({"operation": _OPERATIONS}), min_size=1, max_size=2),
    }
)


def authorization_policy(name: str, namespace: str) -> Strategy:
    spec = optional(rules=st.lists(_RULES, max_size=3), selector=_SELECTOR)
    denying = optional(
        {"action": st.just("DENY"), "rules": st.lists(_RULES, min_size=1, max_size=2)}, selector=_SELECTOR
    )
    return document(_SECURITY, "AuthorizationPolicy", name, namespace, spec | denying)


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
