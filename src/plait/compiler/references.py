"""Whether everything that is named exists.  Each thing that does not is a Finding; nothing here changes a Mesh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from plait.compiler import rate_limits
from plait.compiler.hosts import covers, covers_egress, destination_port, hint, is_wildcard, service_of_host
from plait.compiler.selection import Selection, is_void, scope, selection
from plait.compiler.sharing import Made
from plait.compiler.sights import Stated, speaks_for_clients
from plait.model.catalog import Labels, Member, Protocol, Service, ServicePort, Workload
from plait.model.finding import Finding, Severity
from plait.model.mesh import Mesh
from plait.model.names import Identity, Origin
from plait.model.policy import AuthorizationPolicy, PeerAuthentication, PolicyRule
from plait.model.routing import Backend, HostRoutes, RouteRule, RouteTable, Session, SessionKind
from plait.model.scope import EgressHosts, EgressScope, Sight
from plait.model.settings import OutboundTrafficPolicy
from plait.model.traffic import DestinationSettings, Subset


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What policies may name."""

    namespaces: frozenset[str]
    accounts: frozenset[tuple[str, str]]
    """(namespace, service account)"""


def check(mesh: Mesh, stated: Stated, known: Known, made: Made) -> Iterator[Finding]:
    """Every name that leads nowhere, in a Mesh and what it was made from; `made` knows what was found before."""
    selected = selection(mesh)
    services, settings = mesh.services, mesh.settings
    running = (mesh.members, mesh.workloads)

    def part(name: str, depends_on: tuple[object, ...], lazily: Iterator[Finding]) -> tuple[Finding, ...]:
        return made.of(("check", name), depends_on, lambda *_: tuple(lazily))

    yield from part("services", (services, *running), _services(mesh, selected))
    seen = (services, mesh.common, mesh.sights)
    yield from part("hosts", (stated.owned, *seen), _hosts(mesh, stated.owned))
    yield from part("routes", seen, _all_routes(mesh))
    yield from part(
        "destinations",
        (stated.destinations, mesh.for_clients, services, settings, *running),
        _destinations(mesh, selected, (*stated.destinations, *mesh.for_clients)),
    )
    yield from part(
        "egress",
        (mesh.egress, services, mesh.common, mesh.sights, settings, *running),
        _egress(mesh, selected),
    )
    yield from part("policies", (mesh.policies, known, settings, *running), _policies(mesh, selected, known))
    yield from part(
        "peers", (mesh.peer_authentications, settings, *running), _peer_authentications(mesh, selected)
    )
    yield from part("limits", (mesh.rate_limits, services, *running), rate_limits.check(mesh, selected))


def _services(mesh: Mesh, selected: Selection) -> Iterator[Finding]:
    for service in mesh.services.values():
        yield from _service(service, selected)


def _hosts(mesh: Mesh, owned: Iterable[HostRoutes]) -> Iterator[Finding]:
    for routes in owned:
        for host in routes.hosts:
            yield from _routed_host(mesh, routes, host)


def _all_routes(mesh: Mesh) -> Iterator[Finding]:
    """What is wrong with the routes of anybody; what is the same for several is looked at once."""
    looked_at: set[tuple[object, ...]] = set()
    for sight in mesh.every_sight:
        for host, tables in sight.routes.items():
            for table in tables:
                backends = [backend for rule in table.rules for backend in rule.destinations]
                settings = (sight.destinations.get(backend.host) for backend in backends)
                hidden = tuple(backend.host in sight.services for backend in backends)
                place = (host, id(table), hidden, *map(id, settings))
                if place not in looked_at:
                    looked_at.add(place)
                    called = called_ports(sight, host, table)
                    for backend in backends:
                        yield from _backend(mesh, sight, backend, called)
                    for rule in table.rules:
                        if rule.session is not None:
                            yield from _session(rule, rule.session)


def _destinations(
    mesh: Mesh, selected: Selection, stated: Iterable[DestinationSettings]
) -> Iterator[Finding]:
    for settings in stated:
        yield from _destination(mesh, selected, settings)


def _policies(mesh: Mesh, selected: Selection, known: Known) -> Iterator[Finding]:
    for policy in mesh.policies:
        yield from _policy(mesh, selected, known, policy)


def _error(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.ERROR, code, message, origin.ref, origin.field)


def _warning(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.WARNING, code, message, origin.ref, origin.field)


def _service(service: Service, selected: Selection) -> Iterator[Finding]:
    if not selected.behind(service):
        message = "no workload has the labels that this service selects"
        if not service.selector:
            message = "without a selector this service has no workloads"
        yield _warning("service.no-workloads", message, service.origin)
    workloads = selected.workloads.selected(service.namespace, service.selector)
    for port in service.ports:
        if port.protocol is not Protocol.UDP:  # its dialect has said that UDP is not carried
            yield from _service_port(service, port, workloads)


def _service_port(service: Service, port: ServicePort, workloads: Iterable[Workload]) -> Iterator[Finding]:
    without = []
    for workload in workloads:
        target = next((one for one in workload.process.ports if port.target in (one.number, one.name)), None)
        if target is None:
            without.append(workload)
        elif Protocol.UNDECLARED in (target.protocol, port.protocol):
            pass  # what the other says holds
        elif target.protocol.is_http != port.protocol.is_http:
            message = (
                f"port {port.number} is {port.protocol} here and {target.protocol} in {workload.key}: "
                "declare one protocol on both"
            )
            yield _warning("service.protocol-conflict", message, service.origin)
    if without:
        keys = ", ".join(str(workload.key) for workload in without)
        message = f"port {port.number} leads to port {port.target}, which {keys} does not declare"
        yield _warning("service.unknown-target-port", message, service.origin)
    if not port.protocol.is_http:
        message = (
            f"port {port.number} is {port.protocol}: in explicit mode only what is declared as HTTP is called "
            "through the mesh; name it http, http2 or grpc if it is one"
        )
        yield Finding(Severity.INFO, "port.tcp-explicit", message, service.origin.ref, service.origin.field)


def _routed_host(mesh: Mesh, routes: HostRoutes, host: str) -> Iterator[Finding]:
    if is_wildcard(host):
        if not any(covers(host, service) for service in mesh.services):
            message = f"no service has a host like {host}"
            yield _warning("route.wildcard-without-service", message, routes.origin)
    elif host not in mesh.services:
        meant = hint(host, mesh.services)
        if meant or service_of_host(host):
            message = f"there is no service {host}; requests to this very name are routed all the same{meant}"
            yield _warning("route.host-without-service", message, routes.origin)


def called_ports(sight: Sight, host: str, table: RouteTable, *, undeclared: bool = True) -> tuple[int, ...]:
    """The ports at which a host may be called: a service's HTTP ports; for other names 80 and its backends' own.

    `undeclared`: ports count too of which nobody says what is spoken there.
    """

    def numbers(services: Iterable[Service]) -> set[int]:
        return {
            port.number
            for one in services
            for port in one.ports
            if port.protocol.is_http or (undeclared and port.protocol.may_be_http)
        }

    if is_wildcard(host):
        matching = (
            one for name, one in sight.services.items() if covers(host, name) and name not in sight.routes
        )
        return _of_table(numbers(matching), table)
    service = sight.services.get(host)
    if service is not None:
        return _of_table(numbers((service,)), table)
    backends = (backend.host for rule in table.rules for backend in rule.backends)
    found = {80} | numbers(sight.services[name] for name in backends if name in sight.services)
    return _of_table(found, table)


def _of_table(ports: Iterable[int], table: RouteTable) -> tuple[int, ...]:
    return tuple(sorted(port for port in ports if not table.ports or port in table.ports))


def _backend(mesh: Mesh, sight: Sight, backend: Backend, called: Iterable[int]) -> Iterator[Finding]:
    if not backend.host:
        return  # whoever made it nobody has told why
    service = sight.services.get(backend.host)
    if service is None and backend.host in mesh.services:
        message = f"{backend.host} is not exported to the clients of this route"
        yield _error("route.hidden-host", message, backend.origin)
        return
    if service is None:
        message = f"there is no service {backend.host}{hint(backend.host, mesh.services)}"
        yield _error("route.unknown-host", message, backend.origin)
        return
    if backend.subset and backend.subset not in _subset_names(sight.destinations.get(backend.host)):
        message = f"no destination rule defines subset {backend.subset} of {backend.host}"
        yield _error("route.missing-subset", message, backend.origin)
    ports = ", ".join(str(port.number) for port in service.ports)
    for port in dict.fromkeys(destination_port(service, backend, caller) for caller in called):
        found = service.port(port)
        if found is None and not backend.port:
            message = f"{backend.host} has several ports ({ports}): name the one that requests for port {port} go to"
            yield _error("route.ambiguous-port", message, backend.origin)
        elif found is None:
            message = f"{backend.host} has no port {port}; it has {ports}"
            yield _error("route.unknown-port", message, backend.origin)
        elif not found.protocol.may_be_http:
            message = f"port {port} of {backend.host} is {found.protocol}, not HTTP"
            yield _error("route.port-not-http", message, backend.origin)


def _session(rule: RouteRule, session: Session) -> Iterator[Finding]:
    if session.kind is SessionKind.HEADER and len(rule.backends) > 1:
        message = (
            f"weights come first, and header {session.name} leads back only within the backend that they choose: "
            "keep the session by a cookie, or send to one backend"
        )
        yield _warning("session.split", message, rule.origin)


def _subset_names(settings: DestinationSettings | None) -> frozenset[str]:
    return frozenset(subset.name for subset in settings.subsets) if settings else frozenset()


def _heeded(mesh: Mesh, selected: Selection, settings: DestinationSettings) -> Iterator[Finding]:
    """Whether only some clients heed settings, or none."""
    namespace = settings.origin.ref.namespace
    if settings.clients and not selected.members.selected(namespace, settings.clients):
        message = "no workload of its namespace has the labels that workloadSelector names: nobody heeds it"
        yield _warning("destination.no-clients", message, settings.origin)
    elif not settings.clients and namespace != mesh.settings.root_namespace and speaks_for_clients(settings):
        message = f"said outside the namespace of the service: it holds for clients in {namespace} alone"
        yield Finding(
            Severity.INFO, "destination.clients", message, settings.origin.ref, settings.origin.field
        )


def _destination(mesh: Mesh, selected: Selection, settings: DestinationSettings) -> Iterator[Finding]:
    yield from _heeded(mesh, selected, settings)
    service = mesh.services.get(settings.host)
    if service is None:
        known = is_wildcard(settings.host) and any(covers(settings.host, host) for host in mesh.services)
        if not known:
            message = f"there is no service {settings.host}{hint(settings.host, mesh.services)}"
            yield _warning("destination.unknown-host", message, settings.origin)
        return
    ports = ", ".join(str(port.number) for port in service.ports)
    told = ((settings.origin, settings.policies), *((one.origin, one.policies) for one in settings.subsets))
    for origin, policies in told:
        for number, _ in policies.ports:
            if service.port(number) is None:
                message = f"a policy for port {number}, and {settings.host} has {ports}"
                yield _warning("destination.unknown-port", message, origin)
    yield from _without_effect(selected, service, settings)
    if not selected.behind(service):
        return
    for subset in settings.subsets:
        if not selected.behind(service, subset.labels):
            message = f"no workload of {settings.host} has the labels of subset {subset.name}"
            yield _warning("destination.empty-subset", message, subset.origin)


def _egress(mesh: Mesh, selected: Selection) -> Iterator[Finding]:
    root = mesh.settings.root_namespace
    whole: dict[str, EgressScope] = {}
    for one in mesh.egress:
        if one.selector and one.namespace == root:
            message = (
                f"it has no effect: in {root} a selector is not looked at, say it where the workloads are"
            )
            yield _error("sidecar.selector-in-root", message, one.origin)
            continue
        if one.selector and not selected.members.selected(one.namespace, one.selector):
            message = "no workload has the labels that this selects"
            yield _warning("sidecar.no-workloads", message, one.origin)
        first = whole.setdefault(one.namespace, one) if not one.selector else one
        if first is not one:
            message = f"{first.origin.ref} already says it for the whole namespace and stays in force"
            yield _error("sidecar.said-twice", message, one.origin)
        yield from _way_out(mesh, one)
        for hosts in one.hosts or ():
            if not _names_any(mesh, hosts):
                message = f"there is nothing to call like {hosts.namespace}/{hosts.host}{hint(hosts.host, mesh.services)}"
                yield _warning("egress.unknown-host", message, hosts.origin)


def _names_any(mesh: Mesh, hosts: EgressHosts) -> bool:
    named = ((one.namespace, host) for host, one in mesh.services.items())
    routed = (
        (origin.ref.namespace, host)
        for sight in mesh.every_sight
        for host, tables in sight.routes.items()
        for table in tables
        for origin in table.origins
    )
    return any(covers_egress(hosts, namespace, host) for namespace, host in (*named, *routed))


def _way_out(mesh: Mesh, one: EgressScope) -> Iterator[Finding]:
    """Of a policy for what is outside that is another than the mesh's: what of it can't hold."""
    wanted, given = one.outbound_traffic_policy, mesh.settings.outbound_traffic_policy
    if wanted in (None, given):
        return
    message = "a mesh that is started with REGISTRY_ONLY has no way out: start it with ALLOW_ANY"
    if wanted is OutboundTrafficPolicy.REGISTRY_ONLY:
        message = (
            "what is sent over UDP still gets out: only a mesh that is started with REGISTRY_ONLY shuts it in"
        )
    yield _warning("sidecar.outbound-policy", message, one.origin)


def _without_effect(
    selected: Selection, service: Service, settings: DestinationSettings
) -> Iterator[Finding]:
    """What the policies of a destination ask for, and what can't be for those whom they reach."""
    parts: tuple[DestinationSettings | Subset, ...] = (settings, *settings.subsets)
    for part in parts:
        name, labels = (part.name, part.labels) if isinstance(part, Subset) else ("", ())
        reached = [(port, settings.policy(name, port.number)) for port in service.ports]
        streams = [port for port, policy in reached if policy.connections and policy.connections.is_of_http]
        if streams and not any(port.protocol.may_be_http for port in streams):
            message = "no port that it reaches is HTTP: maxConcurrentStreams and maxRequestsPerConnection have no effect"
            yield _warning("destination.not-http", message, part.origin)
        replicas = sum(one.replicas for one in selected.workloads_behind(service, labels))
        for most in sorted({policy.outliers.most_ejected for _, policy in reached if policy.outliers}):
            if replicas > 1 and replicas * most < 100:
                message = (
                    f"nobody is left alone, for one of {replicas} replicas is more than {most} %: "
                    f"set maxEjectionPercent to {-(-100 // replicas)} at least"
                )
                yield _warning("destination.too-few-to-eject", message, part.origin)


def _policy(mesh: Mesh, selected: Selection, known: Known, policy: AuthorizationPolicy) -> Iterator[Finding]:
    if policy.selector and not selected.under(policy):
        message = "no workload has the labels that this policy selects"
        yield _warning("policy.no-workloads", message, policy.origin)
    for rule in policy.rules:
        yield from _sources(mesh, known, rule)
        yield from _policy_ports(selected, policy, rule)


def _sources(mesh: Mesh, known: Known, rule: PolicyRule) -> Iterator[Finding]:
    for source in rule.sources:
        for principal in (*source.principals, *source.not_principals):
            problem = None if "*" in principal else _principal_problem(mesh, known, principal)
            if problem:
                yield _warning("policy.unknown-principal", f"{principal}: {problem}", rule.origin)
        for namespace in (*source.namespaces, *source.not_namespaces):
            if "*" not in namespace and namespace not in known.namespaces:
                message = f"there is no namespace {namespace}"
                yield _warning("policy.unknown-namespace", message, rule.origin)


def _principal_problem(mesh: Mesh, known: Known, principal: str) -> str | None:
    identity = Identity.parse(f"spiffe://{principal}")
    if identity is None:
        return "not of the form TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT"
    if identity.trust_domain != mesh.settings.trust_domain:
        return f"the trust domain of this mesh is {mesh.settings.trust_domain}"
    if (identity.namespace, identity.service_account) not in known.accounts:
        return f"there is no service account {identity.service_account} in namespace {identity.namespace}"
    return None


def _policy_ports(selected: Selection, policy: AuthorizationPolicy, rule: PolicyRule) -> Iterator[Finding]:
    named = {port for operation in rule.operations for port in (*operation.ports, *operation.not_ports)}
    if not named:
        return
    declared = _declared_ports(selected, policy)
    for port in sorted(named - declared):
        message = f"no workload under this policy declares port {port}; ports are those of workloads, not of services"
        yield _warning("policy.unknown-port", message, rule.origin)


def _order(member: Member) -> tuple[str, Labels, str]:
    """That of Members, told in what is compared faster."""
    return member.namespace, member.labels, member.service_account


def _declared_ports(selected: Selection, policy: AuthorizationPolicy | PeerAuthentication) -> set[int]:
    return {port.number for workload in selected.workloads_under(policy) for port in workload.process.ports}


def _peer_authentications(mesh: Mesh, selected: Selection) -> Iterator[Finding]:
    root = mesh.settings.root_namespace
    scopes: dict[object, PeerAuthentication] = {}
    for one in mesh.peer_authentications:
        if is_void(one, root):
            message = (
                f"it has no effect: in {root} a selector is not looked at, say it where the workloads are"
            )
            yield _error("mtls.selector-in-root", message, one.origin)
            continue
        over = sorted(selected.under(one), key=_order) if one.selector else []
        if one.selector and not over:
            message = "no workload has the labels that this policy selects"
            yield _warning("policy.no-workloads", message, one.origin)
        if over:
            declared = _declared_ports(selected, one)
            for port in sorted(port for port, _ in one.ports if port not in declared):
                message = f"no workload under this policy declares port {port}"
                yield _warning("policy.unknown-port", message, one.origin)
        taken = over if one.selector else [(scope(one, root), one.namespace)]
        for place in taken:
            first = scopes.setdefault(place, one)
            if first is not one:
                message = (
                    f"{first.origin.ref} already says the mode for the same workloads and stays in force"
                )
                yield _error("mtls.said-twice", message, one.origin)
                break
