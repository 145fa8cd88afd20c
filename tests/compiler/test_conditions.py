"""The Gateway API's status conditions of routes."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from plait.compiler.conditions import ConditionType, statuses
from plait.model.finding import Finding, Severity
from plait.model.names import ObjectRef, Origin
from plait.model.routing import AttachedRoutes, Parent

REF = ObjectRef("gateway.networking.k8s.io", "HTTPRoute", "bistro", "split")
ONE = Parent(host="reservations", origin=Origin(REF, "spec.parentRefs[0]"))
OTHER = Parent(host="frontend", origin=Origin(REF, "spec.parentRefs[1]"))
ROUTES = AttachedRoutes(parents=(ONE, OTHER), rules=(), origin=Origin(REF, ""))


def error(code: str, field: str = "spec.rules[0].backendRefs[0]") -> Finding:
    return Finding(Severity.ERROR, code, "so it is", REF, field)


def told(*findings: Finding, refusals: Sequence[Finding] = (), synced: bool = True) -> list[list[str]]:
    """Of each parent, the reason of each condition."""
    found = statuses([ROUTES], findings, refusals, synced=synced)
    assert [one.parent for one in found] == [ONE, OTHER]
    assert all([one.type for one in status.conditions] == list(ConditionType) for status in found)
    for one in (one for status in found for one in status.conditions):
        assert one.holds is (one.reason == one.type)
    return [[one.reason for one in status.conditions] for status in found]


ALL_WELL = ["Accepted", "ResolvedRefs", "Programmed"]


def test_without_errors_all_conditions_hold() -> None:
    warning = replace(error("route.not-granted"), severity=Severity.WARNING)
    elsewhere = replace(error("route.not-granted"), ref=replace(REF, name="other"))
    assert told(warning, elsewhere) == [ALL_WELL, ALL_WELL]


def test_an_error_of_one_parent_is_not_that_of_another() -> None:
    found = told(error("parent.unknown-port", "spec.parentRefs[1]"))
    assert found == [ALL_WELL, ["NoMatchingParent", "ResolvedRefs", "NotAccepted"]]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("route.unknown-host", "BackendNotFound"),
        ("route.not-granted", "RefNotPermitted"),
        ("route.port-not-http", "UnsupportedProtocol"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_and_the_route_stays_accepted(code: str, reason: str) -> None:
    assert told(error(code)) == [["Accepted", reason, "Programmed"]] * 2


def test_what_can_not_be_read_is_not_accepted() -> None:
    assert told(error("regex.invalid")) == [["UnsupportedValue", "ResolvedRefs", "NotAccepted"]] * 2


def test_it_is_programmed_once_every_proxy_has_it_and_none_refuses_it() -> None:
    assert told(synced=False) == [["Accepted", "ResolvedRefs", "Pending"]] * 2
    assert (
        told(refusals=[error("envoy.rejected")], synced=False)
        == [["Accepted", "ResolvedRefs", "Invalid"]] * 2
    )
