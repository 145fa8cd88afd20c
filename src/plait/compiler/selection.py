"""Whom a selector means: the services of a namespace, the members behind a service, the policies over a member."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plait.model.catalog import Labels, Member, Service, selects
from plait.model.mesh import Mesh
from plait.model.policy import AuthorizationPolicy, MtlsMode, PeerAuthentication


def applies(namespace: str, selector: Labels, root_namespace: str, member: Member) -> bool:
    """Whether a policy of `namespace` is over a member; those of the root namespace reach the whole mesh."""
    if namespace not in (member.namespace, root_namespace):
        return False
    return not selector or selects(selector, member.labels)


def behind(service: Service, members: Iterable[Member], subset: Labels = ()) -> tuple[Member, ...]:
    """The members that a service (and a subset of it) selects, sorted."""
    return tuple(
        sorted(
            member
            for member in members
            if member.namespace == service.namespace
            and selects(service.selector, member.labels)
            and (not subset or selects(subset, member.labels))
        )
    )


def by_namespace(members: Iterable[Member]) -> Mapping[str, tuple[Member, ...]]:
    """The members of each namespace."""
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(member.namespace, []).append(member)
    return {namespace: tuple(inside) for namespace, inside in found.items()}


def policies_over(mesh: Mesh, member: Member) -> tuple[AuthorizationPolicy, ...]:
    """The authorization policies over a member, in the order of the Mesh."""
    root = mesh.settings.root_namespace
    return tuple(
        policy for policy in mesh.policies if applies(policy.namespace, policy.selector, root, member)
    )


def peer_authentications_over(mesh: Mesh, member: Member) -> tuple[PeerAuthentication, ...]:
    """Those over a member, the narrowest first: its own, its namespace's, the mesh's; one of each at most.

    Istio's order.  Of several in one scope the first by namespace and name holds; the others are Findings.
    """
    root = mesh.settings.root_namespace
    found: dict[int, PeerAuthentication] = {}
    for one in mesh.peer_authentications:
        if not is_void(one, root) and applies(one.namespace, one.selector, root, member):
            found.setdefault(scope(one, root), one)
    return tuple(found[level] for level in sorted(found))


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
