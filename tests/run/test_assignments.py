"""assignments: what agents are asked to run, and which names their workloads can resolve."""

from dataclasses import replace
from pathlib import Path

from plait.compiler.merge import merge
from plait.compiler.virtual_addresses import virtual_addresses
from plait.link.messages import WorkloadAssignment
from plait.model.finding import Place
from plait.model.names import ObjectRef, WorkloadKey
from plait.model.reading import Fact
from plait.model.rollout import Analysis, Canary, Shift
from plait.run.assignments import assignments
from tests.compiler.facts import NS, SETTINGS, host, origin, routes, rule, service, to, workload

BISTRO: tuple[Fact, ...] = (workload("reservations"), service("reservations"))


def locate(_ref: ObjectRef, _field: str) -> Place:
    return Place("/mesh/bistro.yaml")


def test_every_host_that_may_be_called_resolves_to_its_virtual_address() -> None:
    mesh, _ = merge((*BISTRO, routes("shop.example", rules=[rule(to("reservations"))])), SETTINGS)
    found = assignments(mesh, locate)
    assert [one.host for one in found.hosts] == [host("reservations"), "shop.example"]
    assert {one.host: one.address for one in found.hosts} == virtual_addresses(mesh)


def test_a_new_host_rolls_nothing_over() -> None:
    before = assignments(merge(BISTRO, SETTINGS)[0], locate)
    after = assignments(merge((*BISTRO, service("more")), SETTINGS)[0], locate)
    assert before.workloads == after.workloads
    assert before.hosts != after.hosts


def test_a_process_works_in_the_folder_where_its_file_lies_whatever_leads_there(tmp_path: Path) -> None:
    for folder in ("shop", "linked"):
        (tmp_path / folder).mkdir()
    (tmp_path / "shop" / "mesh.yaml").touch()
    (tmp_path / "linked" / "mesh.yaml").symlink_to(tmp_path / "shop" / "mesh.yaml")
    (tmp_path / "other").symlink_to(tmp_path / "shop")
    mesh, _ = merge(BISTRO, SETTINGS)
    for folder in ("shop", "linked", "other"):
        place = Place(str(tmp_path / folder / "mesh.yaml"))
        (found,) = assignments(mesh, lambda _ref, _field, place=place: place).workloads  # type: ignore[misc]
        assert found.process.working_dir == str(tmp_path / "shop")


def test_what_did_not_change_is_the_very_same_object() -> None:
    facts = (*BISTRO, workload("frontend"))
    before = assignments(merge(facts, SETTINGS)[0], locate)
    after = assignments(merge((*facts, service("more")), SETTINGS)[0], locate)
    assert all(one is other for one, other in zip(before.workloads, after.workloads, strict=True))


def test_two_versions_of_a_workload_follow_the_same_file_and_neither_is_made_anew() -> None:
    old = workload("reservations")
    new = replace(old, process=replace(old.process, env=(("VERSION", "2"),), working_dir="app"))
    key = WorkloadKey(NS, "reservations")
    plan = Canary(
        namespace=NS,
        name="reservations",
        target=key,
        service="reservations",
        port=8080,
        analysis=Analysis(steps=(10,)),
        origin=origin("Canary", "reservations"),
    )

    def assigned(weight: int) -> dict[str, WorkloadAssignment]:
        shift = Shift(primary=old, candidate=new, weight=weight)
        mesh, _ = merge((new, service("reservations"), plan), SETTINGS, shifts={key: shift})
        return {one.key.name: one for one in assignments(mesh, locate).workloads}

    first, second = assigned(10), assigned(20)
    assert list(first) == ["reservations", "reservations-canary"]
    serving, tried = first.values()
    assert (serving.process.working_dir, tried.process.working_dir) == ("/mesh", "/mesh/app")
    assert (serving.process.env, tried.process.env) == ((), (("VERSION", "2"),))
    assert serving.revision != tried.revision
    assert all(second[name] is one for name, one in first.items())
