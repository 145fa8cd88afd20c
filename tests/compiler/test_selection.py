"""selection: what the indexes find is what looking at everybody finds."""

from hypothesis import given
from hypothesis import strategies as st

from plait.compiler.merge import merge
from plait.compiler.selection import Policy, selection
from plait.model.catalog import Labels, Member, Service, selects
from plait.model.mesh import Mesh
from plait.model.policy import Action, AuthorizationPolicy, MtlsMode, PeerAuthentication
from tests.compiler.facts import SETTINGS, origin

ROOT = SETTINGS.root_namespace
namespaces = st.sampled_from(["bistro", "market", ROOT])


@st.composite
def labels(draw: st.DrawFn) -> Labels:
    found = draw(st.dictionaries(st.sampled_from(["app", "tier", "version"]), st.sampled_from("xy")))
    return tuple(sorted(found.items()))


members = st.builds(Member, namespaces, labels(), st.sampled_from(["default", "own"]))


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    """Some services and policies with any selectors, and whoever runs."""
    places = st.lists(st.tuples(namespaces, labels()), max_size=8)
    services = [
        Service(
            namespace=namespace,
            name=f"service-{number}",
            ports=(),
            selector=selector,
            origin=origin("Service", f"service-{number}", namespace=namespace),
        )
        for number, (namespace, selector) in enumerate(draw(places))
    ]
    policies = [
        kind(
            namespace=namespace,
            name=f"policy-{number}",
            selector=selector,
            origin=origin(kind.__name__, f"policy-{number}", namespace=namespace),
            **rest,
        )
        for kind, rest in (
            (AuthorizationPolicy, {"action": "ALLOW"}),
            (PeerAuthentication, {"mode": MtlsMode.STRICT}),
        )
        for number, (namespace, selector) in enumerate(draw(places))
    ]
    names = st.lists(st.sampled_from([f"service-{number}" for number in range(4)]), min_size=1, max_size=2)
    policies += [
        AuthorizationPolicy(
            namespace=namespace,
            name=f"targeted-{number}",
            action=Action.DENY,
            targets=tuple(draw(names)),
            origin=origin("AuthorizationPolicy", f"targeted-{number}", namespace=namespace),
        )
        for number, namespace in enumerate(draw(st.lists(namespaces, max_size=3)))
    ]
    return merge([*services, *policies], SETTINGS, draw(st.frozensets(members, max_size=12)))[0]


def is_over(mesh: Mesh, policy: Policy, member: Member) -> bool:
    """The plain definition."""
    near = policy.namespace in (member.namespace, ROOT)
    if isinstance(policy, AuthorizationPolicy) and policy.targets:
        return any(
            service.name in policy.targets
            and service.namespace == policy.namespace
            and is_behind(service, member)
            for service in mesh.services.values()
        )
    return near and (not policy.selector or selects(policy.selector, member.labels))


def is_behind(service: Service, member: Member) -> bool:
    return service.namespace == member.namespace and selects(service.selector, member.labels)


@given(meshes(), labels())
def test_behind_a_service_is_whom_its_selector_selects(mesh: Mesh, subset: Labels) -> None:
    selected = selection(mesh)
    for service in mesh.services.values():
        behind = {member for member in mesh.members if is_behind(service, member)}
        assert sorted(selected.behind(service)) == sorted(behind)
        part = {member for member in behind if not subset or selects(subset, member.labels)}
        assert sorted(selected.behind(service, subset)) == sorted(part)


@given(meshes(), members)
def test_a_member_has_the_services_that_select_it_in_their_order(mesh: Mesh, member: Member) -> None:
    found = selection(mesh).services.selecting(member.namespace, member.labels)
    assert found == tuple(service for service in mesh.services.values() if is_behind(service, member))


@given(meshes(), members)
def test_over_a_member_are_the_policies_that_apply_to_it_in_their_order(mesh: Mesh, member: Member) -> None:
    selected = selection(mesh)
    assert selected.policies_over(member) == tuple(one for one in mesh.policies if is_over(mesh, one, member))
    found = selected.peer_authentications.over(member, ROOT)
    assert found == tuple(one for one in mesh.peer_authentications if is_over(mesh, one, member))


@given(meshes())
def test_under_a_policy_are_the_members_that_it_applies_to(mesh: Mesh) -> None:
    selected = selection(mesh)
    policies: tuple[Policy, ...] = (*mesh.policies, *mesh.peer_authentications)
    for policy in policies:
        expected = [member for member in mesh.members if is_over(mesh, policy, member)]
        assert sorted(selected.under(policy)) == sorted(expected)
