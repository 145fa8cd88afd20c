"""RequestAuthentications, IstioOperators and CUSTOM policies that say everything which is honoured."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.properties import telemetry
from tests.properties.values import (
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
_ED25519 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
_P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
"""Of RFC 8037, A.2, and RFC 7515, A.3."""
_KEYS = st.lists(
    one_of(
        (_ED25519, _P256, _ED25519 | {"kid": "é\"'\\", "alg": "EdDSA"}, _P256 | {"kid": "", "use": "sig"})
    ),
    min_size=1,
    max_size=3,
).map(lambda keys: json.dumps({"keys": keys}))
_URIS = st.tuples(one_of(SERVICES), one_of(("", *(f".{one}" for one in NAMESPACES))), one_of(PORTS)).map(
    lambda parts: f"http://{parts[0]}{parts[1]}:{parts[2]}/keys?a=%2F"
)
_TEXTS = one_of(("https://issuer.example", "a", "é🙂'\"\\%{}", "a" * 3000, " ", "*"))
_NAMES = one_of(("x-token", "X-T", "t", "!#$&'*+-.^_`|~", "a|b*.c", "x-" + "a" * 254))
_PLACED = st.fixed_dictionaries({"name": _NAMES}) | st.fixed_dictionaries(
    {"name": _NAMES, "prefix": one_of(("Bearer ", "Token ", " ", "", "\"'\\%{}()*+?[", "a" * 256))}
)
_TOLD = one_of(("x-user", "X-Out", "o!#$&'*+-.^_`|~", "x-" + "b" * 200))
_CLAIMS = st.fixed_dictionaries({"header": _TOLD, "claim": one_of(("sub", "a.b.c", "é", ".", "a" * 300))})
_SAID = {
    "audiences": some(_TEXTS, 3),
    "fromHeaders": st.lists(_PLACED, min_size=1, max_size=3),
    "fromParams": some(_NAMES, 2),
    "fromCookies": some(_NAMES, 2),
    "forwardOriginalToken": st.booleans(),
    "outputPayloadToHeader": _TOLD,
    "outputClaimToHeaders": st.lists(_CLAIMS, min_size=1, max_size=3),
    "spaceDelimitedClaims": some(one_of(("roles", "é", "a.b")), 2),
    "timeout": one_of(("1ms", "5s", "1h")),
}
_RULES = optional({"issuer": _TEXTS, "jwks": _KEYS}, **_SAID) | optional(
    {"issuer": _TEXTS, "jwksUri": _URIS}, **_SAID
)
_SELECTOR = labels().map(lambda found: {"matchLabels": found})
_TARGETS = st.lists(
    optional({"kind": st.just("Service"), "name": one_of(SERVICES)}, group=st.just("")),
    min_size=1,
    max_size=2,
)


def request_authentication(name: str, namespace: str) -> Strategy:
    rules = {"jwtRules": st.lists(_RULES, min_size=1, max_size=3)}
    spec = optional(rules, selector=_SELECTOR) | optional(rules, targetRefs=_TARGETS)
    return document(_SECURITY, "RequestAuthentication", name, namespace, spec)


PROVIDERS = ("checks", "checks-é🙂'\"\\")
_HOSTS = st.tuples(one_of(SERVICES), one_of(NAMESPACES)).map(
    lambda parts: f"{parts[0]}.{parts[1]}.svc.cluster.local"
)
_WHERE = {"service": _HOSTS, "port": one_of(PORTS)}
_ANYHOW = {
    "timeout": one_of(("1ms", "2s", "1h")),
    "failOpen": st.booleans(),
    "statusOnError": one_of(("", "400", "403", "500", "511")),
    "includeRequestBodyInCheck": optional(
        {"maxRequestBytes": one_of((1, 4096, 2**32 - 1))}, allowPartialMessage=st.booleans()
    ),
}
_MATCHED = some(one_of(("x-a", "X-B", "x-c-*", "*-d", "authorization", "cookie", "!#$&'+-.^_`|~*")), 3)
_HTTP = optional(
    _WHERE,
    **_ANYHOW,
    pathPrefix=one_of(("/", "/check", "/é🙂", "/" + "a" * 3000)),
    includeRequestHeadersInCheck=_MATCHED,
    includeAdditionalHeadersInCheck=st.dictionaries(_NAMES, one_of(("", "é", '"\\', "a" * 3000)), max_size=2),
    headersToUpstreamOnAllow=_MATCHED,
    headersToDownstreamOnAllow=_MATCHED,
    headersToDownstreamOnDeny=_MATCHED,
)


def _provider(name: str) -> Strategy:
    over_http = optional({"name": st.just(name), "envoyExtAuthzHttp": _HTTP})
    return over_http | optional({"name": st.just(name), "envoyExtAuthzGrpc": optional(_WHERE, **_ANYHOW)})


def istio_operator(name: str, namespace: str) -> Strategy:
    providers = st.tuples(*(_provider(one) for one in PROVIDERS), *telemetry.PROVIDERS).map(list)
    config = optional(
        {"extensionProviders": providers},
        trustDomain=st.just("cluster.local"),
        accessLogFile=one_of(("", "/dev/stdout")),
        accessLogEncoding=one_of(("TEXT", "JSON")),
        enableTracing=st.booleans(),
    )
    spec = st.fixed_dictionaries({"meshConfig": config})
    return document("install.istio.io/v1alpha1", "IstioOperator", name, namespace, spec)


def custom_policy(name: str, namespace: str) -> Strategy:
    operation = st.fixed_dictionaries({"operation": st.just({"paths": ["/asked*"], "notMethods": ["GET"]})})
    rule = optional(to=st.lists(operation, min_size=1, max_size=1))
    asking = {
        "action": st.just("CUSTOM"),
        "provider": st.fixed_dictionaries({"name": one_of(PROVIDERS)}),
        "rules": st.lists(rule, min_size=1, max_size=2),
    }
    return document(_SECURITY, "AuthorizationPolicy", name, namespace, optional(asking, selector=_SELECTOR))
