"""merge: one Mesh out of many facts, whatever their order; who wins, and what is said of the rest."""

import random

from plait.compiler.merge import merge
from plait.model.catalog import Member
from plait.model.finding import Finding, Severity
from plait.model.mesh import Mesh
from plait.model.policy import MtlsMode
from plait.model.reading import Fact
from tests.compiler.facts import (
    NS,
    SETTINGS,
    destination,
    host,
    peers,
    policy,
    routes,
    rule,
    service,
    to,
    workload,
)

BISTRO: tuple[Fact, ...] = (
    workload("frontend"),
    workload("reservations-v1", app="reservations", version="v1"),
    workload("reservations-v2", app="reservations", version="v2"),
    service("frontend"),
    service("reservations"),
    destination("reservations", "v1", "v2"),
    routes("reservations", rules=[rule(to("reservations", "v1"))]),
    policy("allow", app="reservations"),
    peers("default", MtlsMode.STRICT),
)


def merged(*facts: Fact) -> tuple[Mesh, dict[str, Finding]]:
    mesh, findings = merge(facts, SETTINGS)
    by_code = {finding.code: finding for finding in findings}
    assert len(by_code) == len(findings), findings
    return mesh, by_code


def test_the_order_of_facts_changes_nothing() -> None:
    facts = [
        *BISTRO,
        routes("reservations", rules=[], name="other"),
        destination("reservations", "v1", name="z"),
    ]
    expected = merge(facts, SETTINGS)
    for seed in range(20):
        random.Random(seed).shuffle(facts)
        mesh, findings = merge(facts, SETTINGS)
        assert (mesh, findings) == expected
        assert list(mesh.services) == list(expected[0].services)
        assert list(mesh.common.routes) == list(expected[0].common.routes)


def test_a_mesh_without_mistakes_has_no_findings() -> None:
    assert merge(BISTRO, SETTINGS)[1] == ()


def test_of_two_owners_of_a_host_the_first_by_namespace_and_name_wins() -> None:
    first = routes("reservations", rules=[rule(to("reservations", "v1"))], name="a")
    second = routes("reservations", "frontend", rules=[rule(to("reservations", "v2"))], name="b")
    mesh, findings = merged(*BISTRO[:6], second, first)
    owners = {of: [table.rules for table in tables] for of, tables in mesh.common.routes.items()}
    assert owners == {host("frontend"): [second.rules], host("reservations"): [first.rules]}
    found = findings.pop("route.host-owned-twice")
    assert (found.severity, found.ref, found.field) == (Severity.ERROR, second.origin.ref, "spec")
    assert "VirtualService bistro/a" in found.message
    assert not findings


def test_subsets_of_several_objects_for_a_host_are_joined_and_the_first_of_a_name_holds() -> None:
    mesh, findings = merged(
        *BISTRO[:5],
        destination("reservations", "v1", name="a"),
        destination("reservations", "v1", "v2", name="b"),
    )
    joined = mesh.common.destinations[host("reservations")]
    assert [(subset.name, subset.origin.ref.name) for subset in joined.subsets] == [("v1", "a"), ("v2", "b")]
    found = findings.pop("destination.subset-twice")
    assert found.ref is not None
    assert (found.ref.name, found.field) == ("b", "spec.subsets[0]")
    assert not findings


def test_settings_for_a_host_come_from_the_client_then_the_service_then_the_root_namespace() -> None:
    """https://istio.io/latest/docs/reference/config/networking/destination-rule: the order of looking them up."""
    mesh, findings = merge(
        (
            *BISTRO[:5],
            destination("reservations", "v1"),
            destination("reservations", "v2", namespace="another"),
            destination("reservations", "v3", namespace="istio-system"),
            destination("frontend", "v4", name="other", namespace="istio-system"),
        ),
        SETTINGS,
    )

    def subsets(namespace: str, of: str) -> list[str]:
        return [one.name for one in mesh.sight(namespace).destinations[host(of)].subsets]

    assert subsets(NS, "reservations") == ["v1"]
    assert subsets("another", "reservations") == ["v2"]
    assert subsets("istio-system", "reservations") == ["v1"]
    assert subsets("another", "frontend") == ["v4"]
    assert set(mesh.sights) == {"another"}
    told = [one for one in findings if one.code != "destination.empty-subset"]
    assert [(one.code, one.severity, one.ref and one.ref.namespace) for one in told] == [
        ("destination.clients", Severity.INFO, "another")
    ]


def test_an_object_defined_twice_is_said_once_and_one_of_them_holds() -> None:
    mesh, findings = merged(*BISTRO, service("frontend", app="reservations"))
    assert len(mesh.services) == 2
    assert findings.pop("object.duplicate").ref == mesh.services[host("frontend")].origin.ref
    assert not findings


def test_members_are_those_documented_and_those_that_run() -> None:
    gone = Member(NS, (("app", "old"),), "old")
    mesh, _ = merge(BISTRO, SETTINGS, frozenset({gone}))
    assert gone in mesh.members
    assert len(mesh.members) == 4
