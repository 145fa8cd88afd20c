"""A VirtualService and an HTTPRoute or a GRPCRoute that mean the same give equal Meshes.

Left out is what the APIs can't both say: prefixes are letters to the one and segments to the other, a subset is
nothing that a backendRef can name, and a redirect to another host keeps no port with Istio and the one that was
called with the Gateway API, unless it is said.  What differs by default (the weight of a single destination, the
status of a redirect, where a redirect leads) is written out in both.
"""

from dataclasses import dataclass
from typing import Any

import pytest

from plait import dialects
from plait.compiler.merge import merge
from plait.model.change import Stated
from plait.model.finding import Severity
from plait.model.mesh import Mesh
from plait.model.reading import Fact
from plait.sources.files.parse import parse
from tests.compiler.facts import SETTINGS, port, service, workload
from tests.parity.alike import with_one_nobody, without_origins

SERVICES: tuple[Fact, ...] = (
    workload("frontend"),
    workload("v1"),
    workload("v2"),
    service("reservations", port(8080), port(8081)),
    service("v1", port(8080), port(9090)),
    service("v2", port(8080), port(9090)),
)

_VIRTUAL_SERVICE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: it, namespace: bistro}}
spec:
  hosts: [reservations]
  http: [{rules}]
"""
_ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: it, namespace: bistro}}
spec:
  parentRefs: [{{group: "", kind: Service, name: reservations}}]
  rules: [{rules}]
"""

V1 = "route: [{destination: {host: v1, port: {number: 8080}}}]"
TO_V1 = "backendRefs: [{name: v1, port: 8080, weight: 100}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The rules of both, as YAML."""

    istio: str
    gateway_api: str
    kind: str = "HTTPRoute"


PAIRS = {
    "all that is sent to a service": Pair(istio=f"{{{V1}}}", gateway_api=f"{{{TO_V1}}}"),
    "an exact path": Pair(
        istio=f"{{match: [{{uri: {{exact: /a}}}}], {V1}}}",
        gateway_api=f"{{matches: [{{path: {{type: Exact, value: /a}}}}], {TO_V1}}}",
    ),
    "a path by a regular expression": Pair(
        istio=f"{{match: [{{uri: {{regex: '/a|/b.*'}}}}], {V1}}}",
        gateway_api=f"{{matches: [{{path: {{type: RegularExpression, value: '/a|/b.*'}}}}], {TO_V1}}}",
    ),
    "headers": Pair(
        istio=f"{{match: [{{headers: {{x-a: {{exact: b}}, x-c: {{regex: 'd.*'}}}}}}], {V1}}}",
        gateway_api=f"""{{matches: [{{headers: [
            {{name: X-A, value: b}}, {{name: x-c, type: RegularExpression, value: 'd.*'}}]}}], {TO_V1}}}""",
    ),
    "parameters of the query": Pair(
        istio=f"{{match: [{{queryParams: {{a: {{exact: b}}, c: {{regex: 'd.*'}}}}}}], {V1}}}",
        gateway_api=f"""{{matches: [{{queryParams: [
            {{name: a, value: b}}, {{name: c, type: RegularExpression, value: 'd.*'}}]}}], {TO_V1}}}""",
    ),
    "a method": Pair(
        istio=f"{{match: [{{method: {{exact: PATCH}}}}], {V1}}}",
        gateway_api=f"{{matches: [{{method: PATCH}}], {TO_V1}}}",
    ),
    "several rules, each with several matches": Pair(
        istio=f"""{{name: first, match: [{{uri: {{exact: /aa}}}}, {{uri: {{exact: /a}}}}], {V1}}},
            {{match: [{{method: {{exact: GET}}}}, {{headers: {{x-a: {{exact: b}}}}}}], {V1}}}, {{{V1}}}""",
        gateway_api=f"""{{name: first, matches: [
            {{path: {{type: Exact, value: /aa}}}}, {{path: {{type: Exact, value: /a}}}}], {TO_V1}}},
            {{matches: [{{method: GET}}, {{headers: [{{name: x-a, value: b}}]}}], {TO_V1}}}, {{{TO_V1}}}""",
    ),
    "shares": Pair(
        istio="""{route: [
            {destination: {host: v1, port: {number: 8080}}, weight: 90},
            {destination: {host: v2, port: {number: 8080}}, weight: 10}]}""",
        gateway_api="{backendRefs: [{name: v1, port: 8080, weight: 90}, {name: v2, port: 8080, weight: 10}]}",
    ),
    "a service of another namespace that is not there": Pair(
        istio="{route: [{destination: {host: v1.bistro.svc.cluster.local, port: {number: 9999}}}]}",
        gateway_api="{backendRefs: [{name: v1, namespace: bistro, port: 9999, weight: 100}]}",
    ),
    "headers that are changed": Pair(
        istio=f"""{{headers: {{
            request: {{set: {{x-a: 100 %%, x-b: c}}, add: {{x-d: e}}, remove: [x-f]}},
            response: {{set: {{x-a: b}}, add: {{x-d: e}}, remove: [x-f]}}}}, {V1}}}""",
        gateway_api=f"""{{filters: [
            {{type: RequestHeaderModifier, requestHeaderModifier: {{
                set: [{{name: X-A, value: 100 %}}, {{name: x-b, value: c}}],
                add: [{{name: x-d, value: e}}], remove: [X-F]}}}},
            {{type: ResponseHeaderModifier, responseHeaderModifier: {{
                set: [{{name: x-a, value: b}}], add: [{{name: x-d, value: e}}], remove: [x-f]}}}}], {TO_V1}}}""",
    ),
    "headers that are changed for one of several": Pair(
        istio="""{route: [
            {destination: {host: v1, port: {number: 8080}}, weight: 1, headers: {
                request: {set: {x-a: b}}, response: {remove: [x-c]}}},
            {destination: {host: v2, port: {number: 8080}}, weight: 1}]}""",
        gateway_api="""{backendRefs: [
            {name: v1, port: 8080, filters: [
                {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: b}]}},
                {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [x-c]}}]},
            {name: v2, port: 8080}]}""",
    ),
    "another authority for one destination": Pair(
        istio="""{route: [{destination: {host: v1, port: {number: 8080}},
            headers: {request: {set: {host: a.example}}}}]}""",
        gateway_api="""{backendRefs: [{name: v1, port: 8080, weight: 100,
            filters: [{type: URLRewrite, urlRewrite: {hostname: a.example}}]}]}""",
    ),
    "a redirect": Pair(
        istio="""{redirect: {authority: a.example, scheme: https, port: 8443, redirectCode: 302, uri: /b}}""",
        gateway_api="""{filters: [{type: RequestRedirect, requestRedirect: {hostname: a.example, scheme: https,
            port: 8443, path: {type: ReplaceFullPath, replaceFullPath: /b}}}]}""",
    ),
    "a redirect to the port that was called": Pair(
        istio="""{redirect: {authority: a.example, derivePort: FROM_REQUEST_PORT}}""",
        gateway_api="""{filters: [{type: RequestRedirect,
            requestRedirect: {hostname: a.example, statusCode: 301}}]}""",
    ),
    "another host": Pair(
        istio=f"{{rewrite: {{authority: a.example}}, {V1}}}",
        gateway_api=f"{{filters: [{{type: URLRewrite, urlRewrite: {{hostname: a.example}}}}], {TO_V1}}}",
    ),
    "another prefix for every path": Pair(
        istio=f"{{rewrite: {{uri: /a/}}, {V1}}}",
        gateway_api=f"""{{filters: [{{type: URLRewrite,
            urlRewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: /a}}}}}}], {TO_V1}}}""",
    ),
    "copies": Pair(
        istio=f"""{{mirrors: [
            {{destination: {{host: v2, port: {{number: 8080}}}}, percentage: {{value: 12}}}},
            {{destination: {{host: v2, port: {{number: 9090}}}}, percentage: {{value: 0.1}}}}], {V1}}}""",
        gateway_api=f"""{{filters: [
            {{type: RequestMirror, requestMirror: {{backendRef: {{name: v2, port: 8080}}, percent: 12}}}},
            {{type: RequestMirror, requestMirror: {{backendRef: {{name: v2, port: 9090}},
                fraction: {{numerator: 1, denominator: 1000}}}}}}], {TO_V1}}}""",
    ),
    "a timeout": Pair(
        istio=f"{{timeout: 1500ms, {V1}}}", gateway_api=f"{{timeouts: {{request: 1500ms}}, {TO_V1}}}"
    ),
    "no timeout": Pair(
        istio=f"{{timeout: 0s, {V1}}}",
        gateway_api=f"{{timeouts: {{request: 0s, backendRequest: 0s}}, {TO_V1}}}",
    ),
    "retries": Pair(
        istio=f"""{{timeout: 2s, retries: {{attempts: 3, perTryTimeout: 500ms, backoff: 10ms, retryOn:
            "connect-failure,refused-stream,unavailable,reset-before-request,retriable-headers,reset,500"}}, {V1}}}""",
        gateway_api=f"""{{timeouts: {{request: 2s, backendRequest: 500ms}},
            retry: {{attempts: 3, backoff: 10ms, codes: [500]}}, {TO_V1}}}""",
    ),
    "no retries": Pair(
        istio=f"{{retries: {{attempts: 0}}, {V1}}}", gateway_api=f"{{retry: {{attempts: 0}}, {TO_V1}}}"
    ),
    "other origins": Pair(
        istio=f"""{{corsPolicy: {{
            allowOrigins: [{{exact: "https://a.example"}}, {{regex: "https://[^/:]+\\\\.b\\\\.example"}}],
            allowMethods: [GET], allowHeaders: [x-a], exposeHeaders: [x-b], maxAge: 5s, allowCredentials: true,
            unmatchedPreflights: IGNORE}}, {V1}}}""",
        gateway_api=f"""{{filters: [{{type: CORS, cors: {{
            allowOrigins: ["https://a.example", "https://*.b.example"],
            allowMethods: [GET], allowHeaders: [x-a], exposeHeaders: [x-b], allowCredentials: true}}}}],
            {TO_V1}}}""",
    ),
    "a method of gRPC": Pair(
        istio=f"{{name: book, match: [{{uri: {{exact: /a.B/C}}, headers: {{x-a: {{exact: b}}}}}}], {V1}}}",
        gateway_api=f"""{{name: book, matches: [{{method: {{service: a.B, method: C}},
            headers: [{{name: x-a, value: b}}]}}], {TO_V1}}}""",
        kind="GRPCRoute",
    ),
    "a service of gRPC, and methods of any": Pair(
        istio=f"""{{match: [{{uri: {{prefix: /a.B/}}}}], {V1}}},
            {{match: [{{uri: {{regex: "/[^/]+/(?:Get.*)"}}}}], {V1}}},
            {{match: [{{uri: {{regex: "/[^/]+/C"}}}}], {V1}}}, {{{V1}}}""",
        gateway_api=f"""{{matches: [{{method: {{service: a.B}}}}], {TO_V1}}},
            {{matches: [{{method: {{type: RegularExpression, method: "Get.*"}}}}], {TO_V1}}},
            {{matches: [{{method: {{method: C}}}}], {TO_V1}}}, {{{TO_V1}}}""",
        kind="GRPCRoute",
    ),
    "filters of gRPC": Pair(
        istio="""{headers: {request: {set: {x-a: b}}, response: {add: {x-c: d}}},
            mirrors: [{destination: {host: v2, port: {number: 9090}}, percentage: {value: 50}}],
            route: [
                {destination: {host: v1, port: {number: 9090}}, weight: 9},
                {destination: {host: v2, port: {number: 9090}}, weight: 1, headers: {request: {remove: [x-e]}}}]}""",
        gateway_api="""{filters: [
            {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: b}]}},
            {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-c, value: d}]}},
            {type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 9090}, percent: 50}}],
            backendRefs: [{name: v1, port: 9090, weight: 9}, {name: v2, port: 9090, filters: [
                {type: RequestHeaderModifier, requestHeaderModifier: {remove: [x-e]}}]}]}""",
        kind="GRPCRoute",
    ),
}


def mesh(text: str) -> Mesh:
    change = parse("in.yaml", text.encode())
    assert isinstance(change, Stated), change
    facts: list[Fact] = []
    for one in change.documents:
        reading = dialects.read(one.document)
        assert [found for found in reading.findings if found.severity is not Severity.INFO] == []
        facts += reading.facts
    return merge((*SERVICES, *facts), SETTINGS)[0]


def alike(of: Any) -> Any:
    return with_one_nobody(without_origins(of))


@pytest.mark.parametrize("intent", PAIRS)
def test_the_same_intent_is_the_same_mesh(intent: str) -> None:
    pair = PAIRS[intent]
    istio = mesh(_VIRTUAL_SERVICE.format(rules=pair.istio))
    gateway_api = mesh(_ROUTE.format(rules=pair.gateway_api, kind=pair.kind))
    assert istio.common.routes
    assert alike(gateway_api) == alike(istio)


def test_every_pair_means_something_else() -> None:
    meant = [repr(alike(mesh(_VIRTUAL_SERVICE.format(rules=pair.istio)))) for pair in PAIRS.values()]
    assert len(set(meant)) == len(meant)


def test_one_port_is_named_by_the_match_of_the_one_and_by_the_parent_of_the_other() -> None:
    istio = mesh(_VIRTUAL_SERVICE.format(rules=f"{{match: [{{port: 8081}}], {V1}}}, {{{V1}}}"))
    both = _ROUTE.format(rules=f"{{{TO_V1}}}", kind="HTTPRoute")
    one = both.replace("name: it", "name: a").replace("name: reservations", "name: reservations, port: 8081")
    ((found,),) = mesh(f"{one}---{both}").common.routes.values()
    ((table,),) = istio.common.routes.values()
    assert alike(found.rules) == alike(table.rules)


def test_nobody_is_answered_503_by_the_one_and_500_by_the_other() -> None:
    found = []
    for text in (
        _VIRTUAL_SERVICE.format(rules=f"{{{V1}}}"),
        _ROUTE.format(rules=f"{{{TO_V1}}}", kind="HTTPRoute"),
        _ROUTE.format(rules=f"{{{TO_V1}}}", kind="GRPCRoute"),
    ):
        ((table,),) = mesh(text).common.routes.values()
        found.append([rule.nobody_status for rule in table.rules])
    assert found == [[503], [500], [503]]
