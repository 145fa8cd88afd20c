"""Rate limits: over which ports of which workloads they are, and what is said of those that count nothing."""

import pytest

from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.model.catalog import Protocol, Workload
from plait.model.limits import LimitTarget, RateLimit, TargetKind
from plait.model.reading import Fact
from tests.compiler.facts import SETTINGS, limit, limited, listens, port, replica, service, workload

WEB = workload("web", listens(8080), listens(8081), app="shop")
SHOP = workload("shop", listens(8080))
SERVICES = (service("shop"), service("web", port(80, target=8081), app="shop"), service("other"))
DATABASE = workload("database", listens(5432, Protocol.TCP))
JOB = workload("job", listens(53, Protocol.UDP))
ODD = workload("odd", listens(7000, Protocol.UNDECLARED))

OF_SERVICE, OF_WORKLOAD = TargetKind.SERVICE, TargetKind.WORKLOAD


def counted(*limits: RateLimit, by: Workload = WEB, more: tuple[Fact, ...] = ()) -> dict[int, list[int]]:
    """How many requests the limits at each port of a workload let pass, in their order."""
    mesh, _ = merge((WEB, SHOP, *SERVICES, *more, *limits), SETTINGS)
    return {one.number: [limit.requests for limit in one.limits] for one in view(mesh, replica(by)).inbound}


def found(*facts: Fact) -> list[tuple[str, str]]:
    _, findings = merge((WEB, SHOP, *SERVICES[:2], *facts), SETTINGS)
    return [(one.severity, one.code) for one in findings if one.code.startswith("limit.")]


def test_without_a_selector_every_workload_of_the_namespace_is_limited_and_no_other() -> None:
    assert counted(limited("a", limit(1), limit(2))) == {8080: [1, 2], 8081: [1, 2]}
    assert counted(limited("a", limit(1), namespace="market")) == {8080: [], 8081: []}
    assert counted(limited("a", limit(1), namespace=SETTINGS.root_namespace)) == {8080: [], 8081: []}


def test_a_selector_chooses_workloads_by_their_labels() -> None:
    assert counted(limited("a", limit(1), app="shop")) == {8080: [1], 8081: [1]}
    assert counted(limited("a", limit(1), app="other")) == {8080: [], 8081: []}


def test_a_workload_is_chosen_by_its_name() -> None:
    of_web = limited("a", limit(1), target=LimitTarget(OF_WORKLOAD, "web"))
    assert counted(of_web) == {8080: [1], 8081: [1]}
    assert counted(of_web, by=SHOP) == {8080: []}


def test_a_service_means_the_ports_that_it_leads_to() -> None:
    assert counted(limited("a", limit(1), target=LimitTarget(OF_SERVICE, "web"))) == {8080: [], 8081: [1]}
    assert counted(limited("a", limit(1), target=LimitTarget(OF_SERVICE, "shop"))) == {8080: [1], 8081: []}
    assert counted(limited("a", limit(1), target=LimitTarget(OF_SERVICE, "other"))) == {8080: [], 8081: []}


def test_a_target_is_looked_for_in_the_namespace_of_its_limits() -> None:
    elsewhere = [
        limited(str(kind).lower(), limit(1), target=LimitTarget(kind, "web"), namespace="market")
        for kind in TargetKind
    ]
    more = (
        workload("web", namespace="market"),
        service("web", port(80, target=8080), namespace="market"),
    )
    assert counted(*elsewhere, more=more) == {8080: [], 8081: []}


def test_several_limits_are_in_the_order_of_their_names() -> None:
    several = (
        limited("c", limit(1), app="shop"),
        limited("a", limit(2), target=LimitTarget(OF_SERVICE, "web")),
        limited("d", limit(3), target=LimitTarget(OF_WORKLOAD, "web")),
        limited("b", limit(4)),
    )
    assert counted(*several) == {8080: [4, 1, 3], 8081: [2, 4, 1, 3]}
    assert counted(*reversed(several)) == counted(*several)


@pytest.mark.parametrize("kind", TargetKind)
def test_a_target_that_is_not_there_is_an_error(kind: TargetKind) -> None:
    assert found(limited("a", limit(1), target=LimitTarget(kind, "nobody"))) == [
        ("error", "limit.unknown-target")
    ]
    assert found(limited("a", limit(1), target=LimitTarget(kind, "web"))) == []


def test_a_selector_that_selects_nobody_is_a_warning() -> None:
    assert found(limited("a", limit(1), app="nobody")) == [("warning", "limit.no-workloads")]
    assert found(limited("a", limit(1))) == []


@pytest.mark.parametrize("of", [DATABASE, JOB])
def test_limits_that_reach_a_workload_without_http_are_told(of: Workload) -> None:
    chosen = limited("a", limit(1), app=of.name)
    named = limited("b", limit(1), target=LimitTarget(OF_WORKLOAD, of.name))
    everybody = limited("c", limit(1))
    assert found(of, chosen, named, everybody) == [
        ("warning", "limit.not-http"),
        ("warning", "limit.not-http"),
        ("info", "limit.not-http"),
    ]


def test_of_a_service_the_ports_that_it_leads_to_are_what_counts() -> None:
    both = workload("both", listens(8080), listens(5432, Protocol.TCP))
    services = (
        service("both", port(8080)),
        service("raw", port(5432, Protocol.TCP), app="both"),
    )
    raw = limited("a", limit(1), target=LimitTarget(OF_SERVICE, "raw"))
    http = limited("a", limit(1), target=LimitTarget(OF_SERVICE, "both"))
    assert found(both, *services, raw) == [("warning", "limit.not-http")]
    assert found(both, *services, http) == []


def test_a_port_where_http_may_be_seen_is_limited() -> None:
    assert found(ODD, limited("a", limit(1), app="odd")) == []
    declared = service("odd", port(7000, Protocol.TCP))
    assert found(ODD, declared, limited("a", limit(1), app="odd")) == [("warning", "limit.not-http")]
