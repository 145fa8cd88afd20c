"""Whom a selector means: the members behind a service, the services and policies over a member.

Either question is asked of an index that each build makes anew, so that nobody looks at everybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from plait.compiler.sharing import Made, PerMesh
from plait.model.authentication import RequestAuthentication
from plait.model.catalog import Labels, Member, Replica, Service, Workload, selects
from plait.model.limits import LimitTarget, RateLimit, TargetKind
from plait.model.mesh import Mesh
from plait.model.names import service_host
from plait.model.policy import AuthorizationPolicy, MtlsMode, PeerAuthentication
from plait.model.rollout import TRIED, Version

Policy = AuthorizationPolicy | PeerAuthentication | RequestAuthentication
Targets = Mapping[tuple[str, LimitTarget], Sequence[RateLimit]]
"""By namespace and object."""
_Pair = tuple[str, str]


class Labelled(Protocol):
    """Whoever can be selected: a Member, a Workload."""

    @property
    def namespace(self) -> str: ...
    @property
    def labels(self) -> Labels: ...


class Selecting(Protocol):
    """Whatever selects: a Service, a policy."""

    @property
    def namespace(self) -> str: ...
    @property
    def selector(self) -> Labels: ...


L = TypeVar("L", bound=Labelled)
S = TypeVar("S", bound=Selecting)


@dataclass(frozen=True, slots=True)
class Population(Generic[L]):
    """Whoever can be selected, by namespace and by label; in the order in which they were given."""

    inside: Mapping[str, Sequence[L]]
    carrying: Mapping[tuple[str, _Pair], Sequence[L]]

    @staticmethod
    def of(everybody: Iterable[L]) -> Population[L]:
        inside: dict[str, list[L]] = {}
        carrying: dict[tuple[str, _Pair], list[L]] = {}
        for one in everybody:
            namespace = one.namespace
            inside.setdefault(namespace, []).append(one)
            for pair in one.labels:
                carrying.setdefault((namespace, pair), []).append(one)
        return Population(inside, carrying)

    def selected(self, namespace: str, selector: Labels) -> Sequence[L]:
        """Those of a namespace that a selector selects: looked for among those with the rarest of its labels."""
        if not selector:
            return ()
        few = min((self.carrying.get((namespace, pair), ()) for pair in selector), key=len)
        return few if len(selector) == 1 else [one for one in few if selects(selector, one.labels)]

    def under(self, policy: Policy, root_namespace: str) -> list[L]:
        """Those that a policy is over: one of the root namespace reaches the whole mesh."""
        places = self.inside if policy.namespace == root_namespace else (policy.namespace,)
        return [
            one
            for place in places
            for one in (
                self.selected(place, policy.selector) if policy.selector else self.inside.get(place, ())
            )
        ]


@dataclass(frozen=True, slots=True)
class Selectors(Generic[S]):
    """Whatever selects, by namespace and by the rarest label that it asks for; with its place in the order given."""

    anyone: Mapping[str, Sequence[tuple[int, S]]]
    """Those without a selector."""
    asking: Mapping[tuple[str, _Pair], Sequence[tuple[int, S]]]

    @staticmethod
    def of(everything: Iterable[S]) -> Selectors[S]:
        everything = tuple(everything)
        common = Counter((one.namespace, pair) for one in everything for pair in one.selector)
        anyone: dict[str, list[tuple[int, S]]] = {}
        asking: dict[tuple[str, _Pair], list[tuple[int, S]]] = {}
        for numbered in enumerate(everything):
            _, one = numbered
            if one.selector:
                rarest = min(((one.namespace, pair) for pair in one.selector), key=common.__getitem__)
                asking.setdefault(rarest, []).append(numbered)
            else:
                anyone.setdefault(one.namespace, []).append(numbered)
        return Selectors(anyone, asking)

    def selecting(self, namespace: str, labels: Labels) -> tuple[S, ...]:
        """Those of a namespace whose selector selects these labels; none without a selector."""
        return _in_order(self._selecting(namespace, labels))

    def over(self, member: Member, root_namespace: str) -> tuple[S, ...]:
        """Those over a member: of its namespace and of the root namespace, without a selector or selecting it."""
        return _in_order(
            numbered
            for namespace in {member.namespace, root_namespace}
            for numbered in (*self.anyone.get(namespace, ()), *self._selecting(namespace, member.labels))
        )

    def _selecting(self, namespace: str, labels: Labels) -> list[tuple[int, S]]:
        return [
            numbered
            for pair in labels
            for numbered in self.asking.get((namespace, pair), ())
            if selects(numbered[1].selector, labels)
        ]


@dataclass(frozen=True, slots=True)
class Policies:
    """Authorization policies, by whom they are for."""

    selecting: Selectors[AuthorizationPolicy]
    """Those without targets."""
    targeting: Mapping[_Pair, Sequence[AuthorizationPolicy]]
    """The others, by the namespace and the name of a service."""

    @staticmethod
    def of(policies: Iterable[AuthorizationPolicy]) -> Policies:
        targeting: dict[_Pair, list[AuthorizationPolicy]] = {}
        untargeted = []
        for one in policies:
            if not one.targets:
                untargeted.append(one)
            for name in one.targets:
                targeting.setdefault((one.namespace, name), []).append(one)
        return Policies(Selectors.of(untargeted), targeting)


def _in_order(numbered: Iterable[tuple[int, S]]) -> tuple[S, ...]:
    return tuple(one for _, one in sorted(numbered, key=lambda pair: pair[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Who selects whom in one Mesh, from either side."""

    root_namespace: str
    members: Population[Member]
    workloads: Population[Workload]
    services: Selectors[Service]
    there: Mapping[str, Service]
    """By host."""
    policies: Policies
    peer_authentications: Selectors[PeerAuthentication]
    request_authentications: Selectors[RequestAuthentication]
    limits: Selectors[RateLimit]
    """Those without a target."""
    targets: Targets

    def behind(self, service: Service, subset: Labels = ()) -> Sequence[Member]:
        """The members that a service (and a subset of it) selects."""
        found = self.members.selected(service.namespace, service.selector)
        return [member for member in found if selects(subset, member.labels)] if subset else found

    def workloads_behind(self, service: Service, subset: Labels = ()) -> Sequence[Workload]:
        """The workloads, as they are documented, that a service (and a subset of it) selects."""
        found = self.workloads.selected(service.namespace, service.selector)
        return [workload for workload in found if selects(subset, workload.labels)] if subset else found

    def under(self, policy: Policy) -> Sequence[Member]:
        """The members that a policy is over."""
        return self._under(policy, self.members)

    def workloads_under(self, policy: Policy) -> Sequence[Workload]:
        """The workloads, as they are documented, that a policy is over."""
        return self._under(policy, self.workloads)

    def _under(self, policy: Policy, population: Population[L]) -> Sequence[L]:
        if isinstance(policy, PeerAuthentication) or not policy.targets:
            return population.under(policy, self.root_namespace)
        hosts = (service_host(policy.namespace, name) for name in policy.targets)
        found = [self.there[host] for host in hosts if host in self.there]
        return tuple(
            dict.fromkeys(
                one for service in found for one in population.selected(service.namespace, service.selector)
            )
        )

    def policies_over(self, member: Member) -> tuple[AuthorizationPolicy, ...]:
        """The authorization policies over a member, in the order of their objects."""
        found = self.policies.selecting.over(member, self.root_namespace)
        if not self.policies.targeting:
            return found
        services = self.services.selecting(member.namespace, member.labels)
        named = (self.policies.targeting.get((one.namespace, one.name), ()) for one in services)
        targeting = dict.fromkeys(policy for policies in named for policy in policies)
        return tuple(sorted((*found, *targeting), key=lambda one: one.origin))

    def peer_authentications_over(self, member: Member) -> tuple[PeerAuthentication, ...]:
        """Those over a member, the narrowest first: its own, its namespace's, the mesh's; one of each at most.

        Istio's order.  Of several in one scope the first by namespace and name holds; the others are Findings.
        """
        found: dict[int, PeerAuthentication] = {}
        for one in self.peer_authentications.over(member, self.root_namespace):
            if not is_void(one, self.root_namespace):
                found.setdefault(scope(one, self.root_namespace), one)
        return tuple(found[level] for level in sorted(found))

    def request_authentications_over(self, member: Member) -> tuple[RequestAuthentication, ...]:
        """Those over a member, in the order of the Mesh; of some, only what comes in for some services."""
        return self.request_authentications.over(member, self.root_namespace)

    def limits_over(self, replica: Replica, services: Iterable[Service]) -> tuple[RateLimit, ...]:
        """The rate limits over a replica behind these services: of its namespace alone, by name.

        Those of a workload are over the version of it that is tried as well.
        """
        namespace, name = replica.key.workload.namespace, replica.key.workload.name
        workload = name.removesuffix(f"-{Version.CANARY}") if TRIED in replica.labels else name
        targets = [
            LimitTarget(TargetKind.WORKLOAD, workload),
            *(LimitTarget(TargetKind.SERVICE, service.name) for service in services),
        ]
        named = (one for target in targets for one in self.targets.get((namespace, target), ()))
        found = (*self.limits.over(replica.member, namespace), *named)
        return tuple(sorted(found, key=lambda one: one.name))


def _of(mesh: Mesh, made: Made) -> Selection:
    return Selection(
        root_namespace=mesh.settings.root_namespace,
        members=made.of("members", (mesh.members,), Population.of),
        workloads=made.of("workloads", (mesh.workloads,), lambda them: Population.of(them.values())),
        services=made.of("services", (mesh.services,), lambda them: Selectors.of(them.values())),
        there=mesh.services,
        policies=made.of("policies", (mesh.policies,), Policies.of),
        peer_authentications=made.of("peers", (mesh.peer_authentications,), Selectors.of),
        request_authentications=made.of("tokens", (mesh.request_authentications,), Selectors.of),
        limits=made.of("limits", (mesh.rate_limits,), _untargeted),
        targets=made.of("targets", (mesh.rate_limits,), _targets),
    )


def _untargeted(limits: Iterable[RateLimit]) -> Selectors[RateLimit]:
    return Selectors.of(one for one in limits if one.target is None)


def _targets(limits: Iterable[RateLimit]) -> Targets:
    found: dict[tuple[str, LimitTarget], list[RateLimit]] = {}
    for one in limits:
        if one.target is not None:
            found.setdefault((one.namespace, one.target), []).append(one)
    return found


selection = PerMesh(_of)
"""Who selects whom in a Mesh."""


def is_void(one: PeerAuthentication, root_namespace: str) -> bool:
    """Whether it reaches nobody: one of the root namespace is for the whole mesh, and chooses no workloads (Istio)."""
    return bool(one.selector) and one.namespace == root_namespace


def scope(one: PeerAuthentication, root_namespace: str) -> int:
    """How wide it reaches: 0 chosen workloads, 1 a namespace, 2 the mesh."""
    if one.selector:
        return 0
    return 2 if one.namespace == root_namespace else 1


def mtls_mode(over: Iterable[PeerAuthentication], port: int) -> MtlsMode:
    """The mode at a port of the application, from what is over the member, the narrowest first."""
    for one in over:
        if one.selector and port in dict(one.ports):
            return dict(one.ports)[port]
        if one.mode is not None:
            return one.mode
    return MtlsMode.STRICT
