"""One service as the mesh has it: how requests to it are routed, who may call it, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from plait.api.services import (
    DestinationView,
    InstanceView,
    PolicyRuleView,
    PolicyView,
    PortView,
    RoutesView,
    RuleView,
    ServiceView,
)
from plait.api.targets import NotFound
from plait.api.views import Written
from plait.compiler.selection import mtls_mode, selection
from plait.compiler.shifting import TRIED_SUBSET
from plait.compiler.view import policies as policies_over
from plait.compiler.ways import Way, ways
from plait.explain import policy_words, route_words
from plait.explain.phrases import few, percent
from plait.link.messages import ReplicaReport
from plait.model.catalog import Member, Service, Workload, selects
from plait.model.mesh import ClusterKey, Mesh, OutboundRoutes
from plait.model.names import Origin, WorkloadKey, service_host
from plait.model.policy import AuthorizationPolicy, MtlsMode
from plait.model.rollout import Version
from plait.model.routing import Backend, RouteRule
from plait.run.places import written
from plait.run.views import iso
from plait.sources.store import Store

Places = Callable[[Origin], Written]
Reports = tuple[ReplicaReport, ...]


def service(  # noqa: PLR0913, PLR0917 - what is known, and what is asked for
    mesh: Mesh,
    reports: Reports,
    ejections: Mapping[str, tuple[str, ...]],
    store: Store,
    namespace: str,
    name: str,
) -> ServiceView:
    """A service and all that is said of it; `ejections`: who leaves which replica alone, by node.  NotFound."""
    found = mesh.services.get(service_host(namespace, name))
    if found is None:
        raise NotFound(f"there is no service {namespace}/{name}; {_known(mesh, namespace)}")
    behind = tuple(one for one in reports if _is_behind(found, one))
    transparent = all(one.replica.sidecar.transparent for one in reports)

    def place(origin: Origin) -> Written:
        return written(origin, store)

    return ServiceView(
        namespace=namespace,
        name=name,
        host=found.host,
        ports=tuple(
            PortView(name=port.name, number=port.number, protocol=port.protocol) for port in found.ports
        ),
        routes=routes(found, ways(mesh, found, transparent=transparent), place, transparent=transparent),
        policies=tuple(policies(mesh, _members(mesh, found, behind), place)),
        mtls=tuple(mtls(mesh, found)),
        instances=instances(behind, ejections),
        written=place(found.origin),
    )


def _known(mesh: Mesh, namespace: str) -> str:
    inside = sorted(one.name for one in mesh.services.values() if one.namespace == namespace)
    if inside:
        return f"in {namespace} there are {few(inside, 20)}"
    namespaces = sorted({one.namespace for one in mesh.services.values()})
    return f"services are in {few(namespaces, 20)}" if namespaces else "there are none at all"


def _is_behind(service: Service, report: ReplicaReport) -> bool:
    replica = report.replica
    return replica.key.workload.namespace == service.namespace and selects(service.selector, replica.labels)


# How it is routed ---------------------------------------------------------------------------------------


def routes(
    service: Service, found: Iterable[Way], place: Places, *, transparent: bool
) -> tuple[RoutesView, ...]:
    """The rules at each port, in the order in which they are asked; ports with the same rules are told together."""
    by_port: dict[int, list[RuleView]] = {port: [] for port in _ports(service, transparent=transparent)}
    for way in found:
        who = route_words.callers(way.namespaces, way.workloads)
        asked = (who,) if who else ()
        at = {one.port: one for one in way.routes}
        for port, rules in by_port.items():
            if way.hidden:
                rules.append(_hidden(way, service, asked, place))
            elif port in at:
                rules.extend(_rules(at[port], way, asked, place))
            else:
                rules.append(_whole(service, asked))
    together: dict[tuple[RuleView, ...], list[int]] = {}
    for port, rules in by_port.items():
        together.setdefault(tuple(rules), []).append(port)
    return tuple(RoutesView(ports=tuple(ports), rules=rules) for rules, ports in together.items())


def _ports(service: Service, *, transparent: bool) -> tuple[int, ...]:
    """Those that can be called: in explicit mode those of HTTP alone."""
    return tuple(
        port.number
        for port in service.ports
        if port.protocol.is_http or (transparent and (port.protocol.may_be_http or port.protocol.may_be_tcp))
    )


def _hidden(way: Way, service: Service, asked: tuple[str, ...], place: Places) -> RuleView:
    kept = way.hidden[0]
    by = "it is not exported to them" if kept == service.origin else f"their {kept.ref.kind} leaves it out"
    return RuleView(
        name="",
        matches=asked,
        answer=f"not called: {by}",
        destinations=(),
        more=(),
        written=place(kept) if len(way.hidden) == 1 else None,
    )


def _whole(service: Service, asked: tuple[str, ...]) -> RuleView:
    """What holds where no rule can: connections go to the service."""
    destination = DestinationView(host=service.host, subset="", port=0, share=100.0)
    return RuleView(name="", matches=asked, answer="", destinations=(destination,), more=(), written=None)


def _rules(routes: OutboundRoutes, way: Way, asked: tuple[str, ...], place: Places) -> Iterator[RuleView]:
    """The rules as they are asked; whatever none matches is answered 404."""
    over = False
    for rule in routes.rules:
        view = _rule(rule, routes, way, place)
        if over:
            view = replace(view, more=(*view.more, "never asked: a rule before it takes every request"))
        over = over or not view.matches
        yield replace(view, matches=(*asked, *view.matches)) if asked else view
    if not over:
        yield RuleView(
            name="", matches=asked, answer="404: no rule matches", destinations=(), more=(), written=None
        )


def _rule(rule: RouteRule, routes: OutboundRoutes, way: Way, place: Places) -> RuleView:
    answer = route_words.answer(rule)
    by_default = rule.origin.ref.kind == "Service"
    return RuleView(
        name=rule.name,
        matches=route_words.matches(rule.match),
        answer=answer,
        destinations=() if answer else tuple(_destinations(rule, routes.port)),
        more=(*route_words.more(rule), *(() if answer else _of_destinations(rule, way.missing))),
        written=None if by_default else place(rule.origin),
    )


def _destinations(rule: RouteRule, called: int) -> Iterator[DestinationView]:
    total = sum(one.weight for one in rule.backends)
    for one in rule.backends:
        if one.host:
            yield _destination(one, called, 100 * one.weight / total)
    for mirror in rule.mirrors:
        yield replace(_destination(mirror.backend, called, mirror.millionths / 10_000), mirrored=True)


def _destination(backend: Backend, called: int, share: float) -> DestinationView:
    return DestinationView(
        host=backend.host,
        subset=_subset(backend),
        port=0 if backend.port == called else backend.port,
        share=share,
    )


def _subset(backend: Backend) -> str:
    """Its name; of the version that is tried, what a Canary calls it."""
    return Version.CANARY.value if backend.subset == TRIED_SUBSET else backend.subset


def _of_destinations(rule: RouteRule, missing: frozenset[ClusterKey]) -> Iterator[str]:
    """What is to be said of single destinations: who changes what, who is not there."""
    total = sum(one.weight for one in rule.backends)
    for one in rule.backends:
        yield from route_words.of_destination(rule, one, _called(one))
        if one.weight and not one.host:
            yield f"{percent(100 * one.weight / total)} answered {rule.nobody_status}: there is nobody to send to"
    for one in dict.fromkeys((*rule.backends, *(mirror.backend for mirror in rule.mirrors))):
        if ClusterKey(one.host, one.port, one.subset) in missing:
            yield f"{_called(one)} is not there: answered {rule.nobody_status}"


def _called(backend: Backend) -> str:
    subset = _subset(backend)
    return f"{backend.host.split('.')[0]}:{backend.port}{f' subset {subset}' if subset else ''}"


# Who may call it ----------------------------------------------------------------------------------------


def _members(mesh: Mesh, service: Service, behind: Reports) -> Mapping[WorkloadKey, Member]:
    """The workloads behind a service: as they are written, and else as they run."""
    running = {one.replica.key.workload: one.replica.member for one in behind}
    return running | {one.key: one.member for one in _workloads(mesh, service)}


def _workloads(mesh: Mesh, service: Service) -> Iterable[Workload]:
    return selection(mesh).workloads_behind(service)


def policies(mesh: Mesh, members: Mapping[WorkloadKey, Member], place: Places) -> Iterator[PolicyView]:
    """The policies over each workload, in the order in which its proxy asks."""
    for key in sorted(members):
        over = policies_over(mesh, members[key])
        for policy in sorted(over, key=lambda one: policy_words.ORDER.index(one.action)):
            yield _policy(policy, key, mesh.settings.trust_domain, place)


def _policy(
    policy: AuthorizationPolicy, workload: WorkloadKey, trust_domain: str, place: Places
) -> PolicyView:
    return PolicyView(
        action=policy.action,
        dry_run=policy.dry_run,
        workload=str(workload),
        rules=tuple(
            PolicyRuleView(
                who=policy_words.who(rule, trust_domain),
                what=policy_words.what(rule),
                when=policy_words.when(rule),
                written=place(rule.origin),
            )
            for rule in policy.rules
        ),
        written=place(policy.origin),
    )


def mtls(mesh: Mesh, service: Service) -> Iterator[MtlsMode]:
    """The modes of mutual TLS at the ports of the workloads behind a service, the strictest first."""
    found = {
        mtls_mode(selection(mesh).peer_authentications_over(workload.member), port.number)
        for workload in _workloads(mesh, service)
        for port in workload.process.ports
        for led in service.ports
        if led.target in (port.number, port.name)
    }
    return (mode for mode in MtlsMode if mode in found)


# Who answers --------------------------------------------------------------------------------------------


def instances(behind: Reports, ejections: Mapping[str, tuple[str, ...]]) -> tuple[InstanceView, ...]:
    """The replicas as their agents reported them, and who leaves which of them alone."""
    return tuple(
        InstanceView(
            node=str(one.replica.key),
            version=dict(one.replica.labels).get("version", ""),
            state=one.state,
            address=one.replica.sidecar.address,
            restarts=one.restarts,
            certificate_expires=iso(one.certificate_expires) if one.certificate_expires else None,
            message=one.message,
            ejected_by=ejections.get(str(one.replica.key), ()),
        )
        for one in behind
    )
