"""Short ways to say what a mesh is made of, for the tests of the compiler and of what Envoy is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from plait.model.catalog import (
    Binding,
    Process,
    Protocol,
    Replica,
    Service,
    ServicePort,
    SidecarAddresses,
    Workload,
    WorkloadPort,
)
from plait.model.limits import Limit, LimitScope, LimitTarget, RateLimit
from plait.model.names import Export, ObjectRef, Origin, ReplicaKey, WorkloadKey, qualify
from plait.model.policy import (
    Action,
    AuthorizationPolicy,
    MtlsMode,
    Operation,
    PeerAuthentication,
    PolicyRule,
    Source,
)
from plait.model.routing import (
    Backend,
    HostRoutes,
    MatchKind,
    RequestMatch,
    Retries,
    RouteRule,
    Session,
    StringMatch,
)
from plait.model.settings import MeshSettings
from plait.model.traffic import NO_POLICY, DestinationSettings, PortPolicies, Subset, TrafficPolicy

NS = "bistro"
SETTINGS = MeshSettings()


def origin(kind: str, name: str, field: str = "", namespace: str = NS) -> Origin:
    groups = {"Service": "", "Workload": "plait.dev", "RateLimit": "plait.dev"}
    return Origin(ObjectRef(groups.get(kind, "networking.istio.io"), kind, namespace, name), field)


def host(name: str, namespace: str = NS) -> str:
    return qualify(name, namespace)


def service(
    name: str,
    *ports: ServicePort,
    app: str | None = None,
    namespace: str = NS,
    selector: tuple[tuple[str, str], ...] | None = None,
) -> Service:
    return Service(
        namespace=namespace,
        name=name,
        ports=ports or (port(8080),),
        selector=(("app", app or name),) if selector is None else selector,
        origin=origin("Service", name, namespace=namespace),
    )


def port(number: int, protocol: Protocol = Protocol.HTTP, target: int | str | None = None) -> ServicePort:
    return ServicePort(name=f"{protocol}-{number}", number=number, protocol=protocol, target=target or number)


def workload(  # noqa: PLR0913  # what is said of one
    name: str,
    *ports: WorkloadPort,
    app: str | None = None,
    version: str = "",
    account: str | None = None,
    namespace: str = NS,
    locality: str = "",
) -> Workload:
    labels = {"app": app or name} | ({"version": version} if version else {})
    labels |= {"istio-locality": locality} if locality else {}
    return Workload(
        namespace=namespace,
        name=name,
        labels=tuple(sorted(labels.items())),
        service_account=account or app or name,
        process=Process(command=("true",), ports=ports or (listens(8080),)),
        origin=origin("Workload", name, namespace=namespace),
    )


def listens(number: int, protocol: Protocol = Protocol.HTTP, name: str = "") -> WorkloadPort:
    return WorkloadPort(name=name, number=number, protocol=protocol)


def replica(  # noqa: PLR0913  # what an agent tells of one
    of: Workload,
    number: int = 0,
    *,
    address: str = "127.77.0.1",
    app_address: str = "127.78.0.1",
    serving: bool = True,
    transparent: bool = False,
) -> Replica:
    return Replica(
        key=ReplicaKey(WorkloadKey(of.namespace, of.name), number),
        labels=of.labels,
        service_account=of.service_account,
        sidecar=SidecarAddresses(address=address, transparent=transparent),
        bindings=tuple(
            Binding(
                name=one.name,
                number=one.number,
                protocol=one.protocol,
                address=address,
                port=one.number,
                app_address=app_address,
                app_port=one.number,
            )
            for one in of.process.ports
        ),
        serving=serving,
    )


def hidden(of: Workload, address: str, number: int = 0) -> Replica:
    """A replica in transparent mode."""
    return replica(of, number, address=address, app_address="127.0.0.1", transparent=True)


def to(
    name: str, subset: str = "", *, weight: int = 1, port: int = 0, at: str = "spec.http[0].route[0]"
) -> Backend:
    return Backend(
        host=host(name),
        subset=subset,
        port=port,
        weight=weight,
        origin=origin("VirtualService", "routes", at),
    )


def match(  # noqa: PLR0913  # a part of a request each
    path: StringMatch | None = None,
    *,
    method: StringMatch | None = None,
    headers: dict[str, StringMatch] | None = None,
    without: dict[str, StringMatch] | None = None,
    query: dict[str, StringMatch] | None = None,
    ignore_case: bool = False,
) -> RequestMatch:
    return RequestMatch(
        path=path,
        method=method,
        ignore_path_case=ignore_case,
        headers=tuple((headers or {}).items()),
        without_headers=tuple((without or {}).items()),
        query=tuple((query or {}).items()),
        origin=origin("VirtualService", "routes", "spec.http[0].match[0]"),
    )


def exact(value: str) -> StringMatch:
    return StringMatch(MatchKind.EXACT, value)


def prefix(value: str) -> StringMatch:
    return StringMatch(MatchKind.PREFIX, value)


def regex(value: str) -> StringMatch:
    return StringMatch(MatchKind.REGEX, value)


PRESENT = StringMatch(MatchKind.PRESENT)


def rule(
    *backends: Backend,
    match: RequestMatch | None = None,
    timeout: float | None = None,
    retries: Retries | None = None,
    name: str = "",
    session: Session | None = None,
) -> RouteRule:
    return RouteRule(
        name=name,
        session=session,
        match=match,
        backends=backends,
        timeout=timeout,
        retries=retries,
        origin=origin("VirtualService", "routes", "spec.http[0]"),
    )


def routes(
    *hosts: str,
    rules: Iterable[RouteRule],
    name: str = "routes",
    namespace: str = NS,
    export: Export = None,
) -> HostRoutes:
    return HostRoutes(
        export=export,
        hosts=tuple(host(one) for one in hosts),
        rules=tuple(rules),
        origin=origin("VirtualService", name, "spec", namespace),
    )


def destination(  # noqa: PLR0913  # a part of a rule each
    of: str,
    *subsets: str,
    name: str = "destination",
    namespace: str = NS,
    labels: dict[str, str] | None = None,
    export: Export = None,
    policy: TrafficPolicy = NO_POLICY,
    ports: dict[int, TrafficPolicy] | None = None,
) -> DestinationSettings:
    """Subsets named as the value of label `version` that they choose."""
    return DestinationSettings(
        export=export,
        policies=PortPolicies(everywhere=policy, ports=tuple((ports or {}).items())),
        host=host(of),
        subsets=tuple(
            Subset(
                name=one,
                labels=tuple(sorted((labels or {"version": one}).items())),
                origin=origin("DestinationRule", name, f"spec.subsets[{index}]", namespace),
            )
            for index, one in enumerate(subsets)
        ),
        origin=origin("DestinationRule", name, "spec", namespace),
    )


def policy(
    name: str,
    action: Action = Action.ALLOW,
    *rules: PolicyRule,
    app: str = "",
    namespace: str = NS,
) -> AuthorizationPolicy:
    return AuthorizationPolicy(
        namespace=namespace,
        name=name,
        action=action,
        selector=(("app", app),) if app else (),
        rules=rules,
        origin=origin("AuthorizationPolicy", name, "spec", namespace),
    )


def allows(
    *sources: Source, operations: Iterable[Operation] = (), index: int = 0, policy: str = "policy"
) -> PolicyRule:
    return PolicyRule(
        index=index,
        sources=sources,
        operations=tuple(operations),
        origin=origin("AuthorizationPolicy", policy, f"spec.rules[{index}]"),
    )


def principal(account: str, namespace: str = NS) -> Source:
    return Source(principals=(f"cluster.local/ns/{namespace}/sa/{account}",))


def peers(
    name: str,
    mode: MtlsMode | None,
    *ports: tuple[int, MtlsMode],
    app: str = "",
    namespace: str = NS,
) -> PeerAuthentication:
    return PeerAuthentication(
        namespace=namespace,
        name=name,
        selector=(("app", app),) if app else (),
        mode=mode,
        ports=ports,
        origin=origin("PeerAuthentication", name, "spec", namespace),
    )


def limited(
    name: str,
    *limits: Limit,
    app: str = "",
    target: LimitTarget | None = None,
    namespace: str = NS,
) -> RateLimit:
    """Limits that know whose they are and which of them."""
    return RateLimit(
        namespace=namespace,
        name=name,
        selector=(("app", app),) if app else (),
        target=target,
        limits=tuple(
            replace(one, index=index, origin=origin("RateLimit", name, f"spec.limits[{index}]", namespace))
            for index, one in enumerate(limits)
        ),
        origin=origin("RateLimit", name, "spec", namespace),
    )


def limit(
    requests: int,
    *matches: RequestMatch,
    per: float = 1.0,
    burst: int = 0,
    scope: LimitScope = LimitScope.EVERYBODY,
) -> Limit:
    """A limit of somebody; the burst is that of so many requests when none is given."""
    return Limit(
        index=0,
        requests=requests,
        per=per,
        burst=burst or requests,
        scope=scope,
        matches=matches,
        origin=origin("RateLimit", "it"),
    )
