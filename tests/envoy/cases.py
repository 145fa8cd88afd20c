"""The golden cases: small meshes, each with the proxy that is looked at and what is shown of its resources."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy.render import Renderer
from plait.model.catalog import Binding, Protocol, Replica, SidecarAddresses
from plait.model.limits import LimitScope, LimitTarget, TargetKind
from plait.model.locality import Distribution, Locality, LocalityBalancing
from plait.model.mesh import View
from plait.model.names import ReplicaKey, WorkloadKey
from plait.model.policy import Action, MtlsMode, Operation, Source
from plait.model.reading import Fact
from plait.model.routing import Retries, Session, SessionKind
from plait.model.settings import MeshSettings, OutboundTrafficPolicy
from plait.model.traffic import ConnectionPool, LoadBalancing, OutlierDetection, TrafficPolicy
from plait.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    ROUTES,
    SCOPED_ROUTES,
    TYPES,
    Snapshot,
)
from tests.compiler.facts import (
    PRESENT,
    SETTINGS,
    allows,
    destination,
    exact,
    hidden,
    limit,
    limited,
    listens,
    match,
    peers,
    policy,
    port,
    prefix,
    principal,
    regex,
    replica,
    routes,
    rule,
    service,
    to,
    workload,
)
from tests.dialects.reading import document, reading
from tests.dialects.whole import WHOLE
from tests.fields.mesh import facts

FRONTEND = workload("frontend")
V1 = workload("reservations-v1", app="reservations", version="v1")
V2 = workload("reservations-v2", app="reservations", version="v2")
BISTRO: tuple[Fact, ...] = (
    FRONTEND, V1, V2, service("frontend"), service("reservations"), destination("reservations", "v1", "v2"),
)  # fmt: skip
REPLICAS = (
    replica(FRONTEND, address="127.77.0.1", app_address="127.78.0.1"),
    replica(V1, address="127.77.0.2", app_address="127.78.0.2"),
    replica(V2, address="127.77.0.3", app_address="127.78.0.3"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one proxy of a mesh is told; `types` and `names` (how they begin) choose what the golden file shows."""

    facts: tuple[Fact, ...]
    settings: MeshSettings = SETTINGS
    replicas: tuple[Replica, ...] = REPLICAS
    proxy: int = 1
    types: tuple[str, ...] = TYPES
    names: tuple[str, ...] = ("",)

    def view(self) -> View:
        return view(merge(self.facts, self.settings)[0], self.replicas[self.proxy])

    def snapshot(self) -> Snapshot:
        mesh, _ = merge(self.facts, self.settings)
        return Renderer().render(view(mesh, self.replicas[self.proxy]), endpoints(mesh, self.replicas))


_LOGS = facts("""
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec:
  meshConfig:
    extensionProviders:
    - {name: file, envoyFileAccessLog: {path: access.log, logFormat: {text: "%RESPONSE_CODE% %REQ(:PATH)%"}}}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: all, namespace: istio-system}
spec:
  accessLogging:
  - providers: [{name: envoy}, {name: file}]
  - match: {mode: SERVER}
    providers: [{name: envoy}]
    filter: {expression: "response.code >= 400"}
""")

_MATCHES = [
    match(exact("/exact")),
    match(prefix("/prefix"), ignore_case=True),
    match(regex("/[a-z]+"), method=exact("GET")),
    match(method=exact("POST"), headers={"x-user": exact("a"), "x-any": PRESENT, "x-some": regex("a|b")}),
    match(method=regex("GET|POST"), query={"beta": exact("1"), "any": PRESENT, "some": regex("[0-9]+")}),
    match(without={"x-old": prefix("1"), "x-gone": PRESENT}),
]

_ROUTING = routes(
    "reservations",
    rules=[
        *(
            rule(to("reservations", "v2"), match=one, name="matches", retries=Retries(attempts=0))
            for one in _MATCHES
        ),
        rule(
            to("reservations", "v1", weight=90),
            to("reservations", "v2", weight=10),
            match=match(prefix("/split")),
            timeout=1.5,
        ),
        rule(to("reservations", "v1"), to("nobody", weight=3), match=match(prefix("/missing"))),
        rule(to("reservations", weight=0), match=match(prefix("/nothing"))),
        rule(
            to("reservations"),
            retries=Retries(attempts=3, per_try_timeout=0.25, on=("reset", "503")),
            match=match(prefix("/asked")),
        ),
        rule(to("reservations"), retries=Retries(attempts=1), timeout=2.0),
    ],
)

_COOKIE = Session(kind=SessionKind.COOKIE, name="stay", lifetime=600)
_SESSIONS = routes(
    "reservations",
    rules=[
        rule(to("reservations"), match=match(exact("/cookie")), session=_COOKIE),
        rule(
            to("reservations"),
            match=match(regex("/h.*")),
            session=Session(kind=SessionKind.HEADER, name="x-stay"),
        ),
        rule(
            to("reservations", "v1", weight=9),
            to("reservations", "v2"),
            match=match(prefix("/split")),
            session=Session(kind=SessionKind.COOKIE, name="stay"),
        ),
        rule(to("reservations", "v1"), to("reservations", "v2", weight=0), session=_COOKIE),
    ],
)

_POLICIES = (
    policy(
        "deny",
        Action.DENY,
        allows(Source(principals=("*",), not_namespaces=("bistro", "m*"))),
        allows(
            operations=[Operation(paths=("/admin/*", "*/secret", "/exact", "*"), not_methods=("GET",))],
            index=1,
        ),
        allows(operations=[Operation(ports=(1234,))], index=2),
    ),
    policy("allow", Action.ALLOW, allows(principal("frontend")), app="reservations"),
    policy(
        "more",
        Action.ALLOW,
        allows(
            Source(
                principals=("cluster.local/ns/bistro/*", "*/sa/x"),
                not_principals=("cluster.local/ns/b/sa/c",),
            ),
            Source(namespaces=("bistro",)),
            operations=[Operation(methods=("GET", "P*")), Operation(not_paths=("/x",), not_ports=(1,))],
        ),
    ),
)

_CONDITIONS = facts("""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow, namespace: bistro}
spec:
  targetRefs: [{kind: Service, name: reservations}]
  rules:
  - from: [{source: {requestPrincipals: [i/s], ipBlocks: [10.0.0.0/8], notRemoteIpBlocks: [10.1.2.3]}}]
    to:
    - operation: {hosts: ["a.b", "*.c"], notHosts: ["d:*"], paths: ["/a/{*}/{**}"]}
    when:
    - {key: "request.headers[x-user]", values: [a, "*"], notValues: ["b*"]}
    - {key: "request.auth.claims[a][b]", values: [c]}
    - {key: request.auth.audiences, notValues: [d]}
    - {key: destination.ip, values: ["fd00::/8"]}
    - {key: destination.port, values: ["8080"]}
    - {key: connection.sni, values: ["*.e"]}
    - {key: "experimental.envoy.filters.http.f[g]", values: ["[h]", i]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: bistro}
spec:
  action: DENY
  rules:
  - from: [{source: {requestPrincipals: [i/j/s], notRequestPrincipals: ["*"]}}]
    to: [{operation: {hosts: ["a.b"], notHosts: [c]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: dry, namespace: bistro, annotations: {istio.io/dry-run: "true"}}
spec: {action: CUSTOM, provider: {name: x}, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: audit, namespace: bistro}
spec: {action: AUDIT, rules: [{}]}
""")

_LIMITS = (
    limited("all", limit(1000, per=0.5, burst=2000)),
    limited(
        "reservations",
        limit(60, per=60.0, scope=LimitScope.EACH_IDENTITY),
        limit(
            5,
            match(exact("/ex.act"), method=exact("GET")),
            match(regex("/[a-z]+"), headers={"x-user": prefix("t"), "x-any": PRESENT}),
            match(prefix("/prefix"), method=regex("PUT|POST")),
            scope=LimitScope.EACH_IDENTITY,
        ),
        target=LimitTarget(TargetKind.SERVICE, "reservations"),
    ),
    limited("frontend", limit(7), target=LimitTarget(TargetKind.WORKLOAD, "frontend")),
)

_MANY = workload(
    "many",
    listens(8080),
    listens(8081),
    listens(8082),
    listens(9000, Protocol.TCP),
    listens(9090, Protocol.GRPC),
)
_ALLOCATED = Replica(
    key=ReplicaKey(WorkloadKey("bistro", "many"), 3),
    labels=_MANY.labels,
    service_account="many",
    sidecar=SidecarAddresses(address="127.0.0.1", outbound=41001, inbound=41006, health=41021, metrics=41090),
    bindings=tuple(
        Binding(
            name=one.name,
            number=one.number,
            protocol=one.protocol,
            address="127.0.0.1",
            port=42000 + index,
            app_address="127.0.0.1",
            app_port=43000 + index,
        )
        for index, one in enumerate(_MANY.process.ports)
    ),
    serving=True,
)

_DATABASE = workload("database", listens(5432, Protocol.TCP), listens(9000, Protocol.UNDECLARED, "odd"))
_HIDDEN = (
    FRONTEND,
    _DATABASE,
    service("database", port(5432, Protocol.TCP), port(9001, Protocol.UNDECLARED, "odd")),
)
_POOL = TrafficPolicy(
    connections=ConnectionPool(idle_timeout=60, tcp_idle_timeout=900, max_connection_duration=7200)
)
_PLACES = (hidden(FRONTEND, "198.18.0.1"), hidden(_DATABASE, "198.18.0.2"))

_WIDE = tuple(
    workload(name, app="wide", account=name, locality=place)
    for name, place in (("first", "west.a"), ("second", "west.b"), ("third", "east.a"), ("fourth", "north.a"))
)
_WIDE_PLACES = tuple(
    replica(one, number, address=f"127.77.1.{index}{number}", app_address=f"127.78.1.{index}{number}")
    for index, one in enumerate(_WIDE, 1)
    for number in range(2 if one.name == "second" else 1)
)


def _wide(balancing: LocalityBalancing, outliers: OutlierDetection | None) -> Case:
    """What the first of four is told of them, who stand at three places of which two are of one region."""
    told = TrafficPolicy(load_balancing=LoadBalancing(locality=balancing), outliers=outliers)
    return Case(
        facts=(*_WIDE, service("wide"), destination("wide", policy=told)),
        replicas=_WIDE_PLACES,
        proxy=0,
        types=(CLUSTER, ENDPOINTS),
        names=("outbound",),
    )


_WEB = workload("web", listens(8080), version="v1", namespace="shop")
_SHOP: tuple[Fact, ...] = (
    _WEB,
    service("web", port(80, target=8080), namespace="shop"),
    *(
        fact
        for kind in ("VirtualService", "DestinationRule")
        for fact in reading(json.dumps(WHOLE[kind])).facts
    ),
)
"""With every field that these kinds have."""

_ATTACHED = reading(
    document(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        """
parentRefs: [{group: "", kind: Service, name: reservations}]
rules:
- matches: [{path: {value: /strip}}]
  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
  backendRefs: [{name: reservations, port: 8080}]
  timeouts: {backendRequest: 500ms}
- matches: [{path: {value: /shared}, method: POST}]
  filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: x-a, value: rule}]}}]
  backendRefs:
  - {kind: Bucket, name: reservations}
  - name: reservations
    port: 8080
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: x-a, value: backend}]}}]
- matches: [{path: {value: /secret}}]
  filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]
- matches: [{path: {value: /shield}}]
  filters: [{type: ExtensionRef}]
""",
        namespace="bistro",
    )
).facts
"""What is for nobody, and what only the Gateway API says so."""

_KEYS = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
_USERS = reading(
    document(
        "security.istio.io/v1",
        "RequestAuthentication",
        f"""
selector: {{matchLabels: {{app: reservations}}}}
jwtRules:
- {{issuer: https://issuer.example, audiences: [bistro], jwks: '{_KEYS}', outputPayloadToHeader: x-payload}}
- issuer: https://other.example
  jwksUri: http://frontend:8080/keys?of=other
  timeout: 2s
  fromHeaders: [{{name: x-token, prefix: "Token "}}]
  fromCookies: [session]
  outputClaimToHeaders: [{{header: x-user, claim: sub}}]
  forwardOriginalToken: true
- {{issuer: https://nobody.example, jwksUri: http://nobody/keys, fromParams: [t]}}
""",
        namespace="bistro",
    )
).facts
_ASKED = (
    *reading(
        document(
            "install.istio.io/v1alpha1",
            "IstioOperator",
            """
meshConfig:
  extensionProviders:
  - name: checks
    envoyExtAuthzHttp:
      service: frontend.bistro.svc.cluster.local
      port: 8080
      timeout: 2s
      pathPrefix: /check
      statusOnError: "503"
      includeRequestHeadersInCheck: [x-shown, "x-a-*"]
      includeAdditionalHeadersInCheck: {x-from: bistro}
      includeRequestBodyInCheck: {maxRequestBytes: 4096}
      headersToUpstreamOnAllow: [x-user, x-shown, authorization, "x-set-*", "*-tail"]
      headersToDownstreamOnAllow: [x-told]
      headersToDownstreamOnDeny: [x-why]
""",
            namespace="bistro",
        )
    ).facts,
    replace(
        policy(
            "custom", Action.CUSTOM, allows(operations=[Operation(paths=("/admin*",))]), app="reservations"
        ),
        provider="checks",
    ),
)

CASES = {
    "plain": Case(facts=BISTRO),
    "client-without-ports": Case(
        facts=(*BISTRO, workload("job")),
        replicas=(*REPLICAS, Replica(
            key=ReplicaKey(WorkloadKey("bistro", "job"), 0),
            labels=(("app", "job"),),
            service_account="job",
            sidecar=SidecarAddresses(address="127.77.0.4"),
        )),
        proxy=3,
        types=(LISTENER,),
    ),
    "routing": Case(facts=(*BISTRO, _ROUTING), types=(ROUTES,), names=("outbound|8080|reservations",)),
    "sessions": Case(facts=(*BISTRO, _SESSIONS), types=(ROUTES,), names=("outbound|8080|reservations",)),
    "attached": Case(facts=(*BISTRO, *_ATTACHED), types=(ROUTES,), names=("outbound|8080|reservations",)),
    "fields": Case(
        facts=_SHOP,
        replicas=(replica(_WEB, address="127.77.0.5", app_address="127.78.0.5"),),
        proxy=0,
        types=(CLUSTER, ROUTES),
        names=("outbound|80",),
    ),
    "names": Case(
        facts=(
            *BISTRO,
            service("shop", port(80), port(8080), namespace="market"),
            routes("shop.example", "*.market.svc.cluster.local", rules=[rule(to("reservations"))]),
        ),
        types=(SCOPED_ROUTES, ROUTES),
        names=("shop", "outbound|80|shop", "outbound|8080|shop"),
    ),
    "policies": Case(facts=(*BISTRO, *_POLICIES), types=(ROUTES,), names=("inbound",)),
    "conditions": Case(facts=(*BISTRO, *_CONDITIONS), types=(ROUTES,), names=("inbound",)),
    "end-users": Case(facts=(*BISTRO, *_USERS), types=(EXTENSION, ROUTES), names=("inbound",)),
    "asked": Case(facts=(*BISTRO, *_ASKED), types=(EXTENSION, ROUTES), names=("inbound",)),
    "limits": Case(facts=(*BISTRO, *_LIMITS), types=(ROUTES,), names=("inbound",)),
    "shut": Case(facts=(*BISTRO, policy("nobody")), types=(ROUTES,), names=("inbound",)),
    "ports-and-modes": Case(
        facts=(
            *BISTRO,
            _MANY,
            service("many", port(80, target=8080), port(9090, Protocol.GRPC)),
            peers(
                "modes", None, (8081, MtlsMode.PERMISSIVE), (8082, MtlsMode.DISABLE), (9000, MtlsMode.PERMISSIVE),
                app="many",
            ),
            policy("deny", Action.DENY, allows(principal("frontend"), operations=[Operation(methods=("GET",))])),
            policy("allow", Action.ALLOW, allows(principal("frontend"), operations=[Operation(ports=(9000,))])),
        ),
        replicas=(*REPLICAS, _ALLOCATED),
        proxy=3,
        types=(CLUSTER, LISTENER, EXTENSION, ROUTES),
        names=("inbound", "BlackHole"),
    ),
    "transparent-client": Case(
        facts=_HIDDEN, replicas=_PLACES, proxy=0, types=(CLUSTER, ENDPOINTS, LISTENER, SCOPED_ROUTES)
    ),
    "transparent-limits": Case(
        facts=(*_HIDDEN, destination("database", policy=_POOL)),
        replicas=_PLACES,
        proxy=0,
        types=(CLUSTER, LISTENER),
        names=("outbound|",),
    ),
    "transparent-server": Case(
        facts=(
            *_HIDDEN,
            policy("deny", Action.DENY, allows(operations=[Operation(paths=("/admin/*",), ports=(9000,))])),
            policy("allow", Action.ALLOW, allows(principal("frontend"))),
            peers("modes", None, (9000, MtlsMode.PERMISSIVE), app="database"),
        ),
        replicas=_PLACES,
        types=(CLUSTER, LISTENER, EXTENSION, ROUTES),
        names=("inbound",),
    ),
    "transparent-anywhere": Case(
        facts=(FRONTEND, service("frontend")),
        settings=replace(SETTINGS, outbound_traffic_policy=OutboundTrafficPolicy.ALLOW_ANY),
        replicas=_PLACES,
        proxy=0,
        types=(CLUSTER, LISTENER),
        names=("outbound", "BlackHole", "Passthrough"),
    ),
    "access-logs": Case(facts=(*BISTRO, *_LOGS), types=(LISTENER,)),
    "disabled": Case(
        facts=(*BISTRO, peers("off", MtlsMode.DISABLE)), types=(ENDPOINTS,), names=("outbound|8080||",)
    ),
    "nearest": _wide(LocalityBalancing(failover=(("west", "north"),)), OutlierDetection()),
    "labelled": _wide(
        LocalityBalancing(priority=(("topology.kubernetes.io/zone", None), ("istio-locality", "east.a"))),
        OutlierDetection(),
    ),
    "shares": _wide(
        LocalityBalancing(
            distributions=(
                Distribution(clients=Locality.parse("east"), shares=((Locality.parse("east"), 100),)),
                Distribution(
                    clients=Locality.parse("west/a"),
                    shares=((Locality.parse("west"), 90), (Locality.parse("east"), 10)),
                ),
            )
        ),
        None,
    ),
}  # fmt: skip
