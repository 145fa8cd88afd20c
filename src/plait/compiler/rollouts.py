"""Where the rollouts stand becomes what everybody else reads: workloads, services, and how far requests have moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from plait.compiler.sharing import Made
from plait.compiler.shifting import Move
from plait.dialects.protocols import declared
from plait.model.catalog import Labels, Protocol, Service, ServicePort, Workload
from plait.model.finding import Finding, Severity
from plait.model.names import Origin, WorkloadKey
from plait.model.reading import Fact
from plait.model.rollout import (
    NO_PLANS,
    TRIED,
    AlertProvider,
    Canary,
    MetricTemplate,
    Plans,
    Shift,
    Shifts,
    Version,
    canary_key,
)

P = TypeVar("P", Canary, MetricTemplate, AlertProvider)

Found = tuple[Finding, ...]
PLANNED = (Canary, MetricTemplate, AlertProvider)
"""The facts that are about rollouts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    """The facts as they hold now, what is planned, and how far requests have moved."""

    facts: tuple[Fact, ...]
    plans: Plans = NO_PLANS
    moves: tuple[Move, ...] = ()
    """Of the Canaries that hold: one of a target, and one of a host."""
    findings: Found = ()

    @property
    def canaries(self) -> tuple[Canary, ...]:
        """Those that hold."""
        return tuple(move.canary for move in self.moves)


def rolled(facts: Iterable[Fact], shifts: Shifts, made: Made | None = None) -> Rolled:
    """The facts as they hold now: a target that has a Shift is what serves, and beside it stands what is tried.

    `plans.targets` are the targets as they are written, of those Canaries that hold: of several for a target or a
    host it is the first by namespace and name.
    """
    shared = made if made is not None else Made()
    facts = tuple(facts)
    canaries = _first(one for one in facts if isinstance(one, Canary))
    workloads, services = _named(facts, canaries)
    held = tuple(_holding(canaries, workloads))
    targets = {canary.key: workloads[canary.target] for canary in held}
    findings: list[Finding] = []
    versions: dict[WorkloadKey, tuple[Workload, ...]] = {}
    added: list[Service] = []
    moves: list[Move] = []
    for canary in held:
        target, shift = targets[canary.key], shifts.get(canary.key)
        if (
            shift is not None and shift.primary.key != target.key
        ):  # it is about what the Canary was for before
            shift = None
        if shift is not None:
            inputs = (target, shift.primary, shift.candidate)
            versions[target.key] = shared.of(("versions", canary.key), inputs, _versions)
        taken = canary_key(target.key)
        if taken in workloads:
            message = (
                f"there is a Workload {taken} already: new versions of {target.key} have to run under that name, "
                "and none is tried"
            )
            findings.append(_error("canary.name-taken", message, canary.origin))
            versions[target.key] = versions.get(target.key, (target,))[:1]
        known = services.get(canary.host)
        called = shared.of(("called", canary.key), (canary, target, known), _called)
        added += (one for one in called if one.host not in services)
        both_run = len(versions.get(target.key, ())) > 1
        moves += (
            _move(canary, one, shift if both_run else None) for one in called if one.host == canary.host
        )
    plans = Plans(
        canaries=canaries,
        templates=_first(one for one in facts if isinstance(one, MetricTemplate)),
        providers=_first(one for one in facts if isinstance(one, AlertProvider)),
        targets=targets,
    )
    return Rolled(
        facts=(*_replaced(facts, versions), *added),
        plans=shared.same("plans", plans),
        moves=shared.same("moves", tuple(moves)),
        findings=tuple(findings),
    )


def _first(stated: Iterable[P]) -> tuple[P, ...]:
    """By namespace and name, one of each."""
    found: dict[tuple[str, str], P] = {}
    for one in sorted(stated, key=repr):
        found.setdefault((one.namespace, one.name), one)
    return tuple(found[key] for key in sorted(found))


def _named(
    facts: Iterable[Fact], canaries: Iterable[Canary]
) -> tuple[Mapping[WorkloadKey, Workload], Mapping[str, Service]]:
    """The workloads and services that rollouts are about, or whose names they take."""
    keys = {key for one in canaries for key in (one.target, canary_key(one.target))}
    wanted = {(key.namespace, key.name) for key in keys}
    called = {(one.namespace, name) for one in canaries for name in (one.service, *_names(one))}
    workloads: dict[WorkloadKey, Workload] = {}
    services: dict[str, Service] = {}
    for fact in facts:
        if type(fact) is Workload and (fact.namespace, fact.name) in wanted:
            workloads.setdefault(fact.key, fact)
        elif type(fact) is Service and (fact.namespace, fact.name) in called:
            services.setdefault(fact.host, fact)
    return workloads, services


def _names(canary: Canary) -> tuple[str, ...]:
    """Under which services the versions are called apart from each other, as Flagger has it."""
    return tuple(f"{canary.service}-{version}" for version in Version)


def _holding(canaries: Iterable[Canary], workloads: Mapping[WorkloadKey, Workload]) -> Iterator[Canary]:
    """Those with a target, the first of each target and of each host."""
    taken: set[object] = set()
    for canary in canaries:
        if canary.target in workloads and taken.isdisjoint((canary.target, canary.host)):
            taken |= {canary.target, canary.host}
            yield canary


def _replaced(facts: Iterable[Fact], versions: Mapping[WorkloadKey, tuple[Workload, ...]]) -> Iterator[Fact]:
    for fact in facts:
        if type(fact) is Workload and (key := WorkloadKey(fact.namespace, fact.name)) in versions:
            yield from versions[key]
        else:
            yield fact


def _versions(target: Workload, primary: Workload, candidate: Workload | None) -> tuple[Workload, ...]:
    """The workload that serves, and the one that is tried."""
    serving = _kept(primary, target)
    if candidate is None:
        return (serving,)
    tried = _kept(candidate, target)
    return serving, replace(tried, name=canary_key(target.key).name, labels=_and_tried(tried.labels))


def _kept(version: Workload, target: Workload) -> Workload:
    """A version of a target: its replicas are as many as is written now, and all is as written where it is the same revision."""
    process, written = version.process, target.process
    same = (process.command, process.env, process.working_dir) == (
        written.command,
        written.env,
        written.working_dir,
    )
    return target if same else replace(version, replicas=target.replicas, origin=target.origin)


def _and_tried(labels: Labels) -> Labels:
    return tuple(sorted({**dict(labels), **dict((TRIED,))}.items()))


def _called(canary: Canary, target: Workload, known: Service | None) -> tuple[Service, ...]:
    """The service that a Canary names, made of what the Canary says where there is none, and those of its versions.

    These have the origin of the service, so that it stands before them wherever the first of several counts.
    """
    service = known or _service(canary, target)
    if service is None:
        return ()
    primary, tried = _names(canary)
    return (
        service,
        replace(service, name=primary),
        replace(service, name=tried, selector=_and_tried(service.selector)),
    )


def _service(canary: Canary, target: Workload) -> Service | None:
    if not canary.port:
        return None
    labels = dict(target.labels)
    chosen = {"app": labels["app"]} if "app" in labels else labels
    port = ServicePort(
        name=canary.port_name,
        number=canary.port,
        protocol=declared(canary.port_name, "", canary.port) or Protocol.UNDECLARED,
        target=canary.target_port or canary.port,
    )
    return Service(
        namespace=canary.namespace,
        name=canary.service,
        ports=(port,),
        selector=tuple(sorted((name, value) for name, value in chosen.items() if name != "version")),
        origin=canary.origin,
    )


def _move(canary: Canary, service: Service, shift: Shift | None) -> Move:
    """How far requests have moved; `shift`: of two versions that run."""
    others = any(port.number != canary.port for port in service.ports)
    port = canary.port if others else 0
    if shift is None:
        return Move(canary=canary, port=port)
    return Move(
        canary=canary,
        port=port,
        runs=True,
        weight=shift.weight,
        mirrored=shift.mirrored,
        matched=shift.matched,
        cookie=shift.cookie,
    )


def _error(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.ERROR, code, message, origin.ref, origin.field)
