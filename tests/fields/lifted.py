"""The cases of a trafficPolicy once more, said where else one can be said: of a port, of a subset, of its port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml

from tests.fields import destination_rule
from tests.fields.cases import CASES, Case

PORT = 8080
SUBSET = "all"
TO_SUBSET = f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: to-{SUBSET}, namespace: bistro}}
spec:
  hosts: [reservations]
  http:
  - route: [{{destination: {{host: reservations, subset: {SUBSET}}}}}]
"""
AT_A_PORT, IN_A_SUBSET, AT_A_PORT_OF_A_SUBSET = "at_a_port", "in_a_subset", "at_a_port_of_a_subset"
PLACES = (AT_A_PORT, IN_A_SUBSET, AT_A_PORT_OF_A_SUBSET)

_POLICY = "spec.trafficPolicy."
_OF_ALL_PORTS = ("portLevelSettings", "retryBudget")


def lifted() -> Iterator[tuple[Case, Case]]:
    """Each case that speaks of nothing but the policy of a host, and what becomes of it in each place."""
    for case in CASES:
        spec = yaml.safe_load(case.spec)
        if (
            case.kind == destination_rule.KIND
            and spec.keys() == {"host", "trafficPolicy"}
            and "VirtualService" not in case.beside  # which would be in the way of the one to a subset
        ):
            for place in PLACES:
                found = _at(case, place, spec["host"], spec["trafficPolicy"])
                if found is not None:
                    yield case, found


def _at(case: Case, place: str, host: str, policy: dict[str, Any]) -> Case | None:
    """A case with its policy in one place; None where a part of it can't be said."""
    path = "trafficPolicy"
    if place != IN_A_SUBSET:
        if any(name in policy for name in _OF_ALL_PORTS):
            return None
        policy = {"portLevelSettings": [{"port": {"number": PORT}, **policy}]}
        path = "trafficPolicy.portLevelSettings[0]"
    spec: dict[str, Any] = {"host": host, "trafficPolicy": policy}
    if place != AT_A_PORT:
        spec = {"host": host, "subsets": [{"name": SUBSET, "labels": {"app": host}, "trafficPolicy": policy}]}
        path = f"subsets[0].{path}"
    return replace(
        case,
        spec=json.dumps(spec),
        fields=tuple(
            f"spec.{path}.{one.removeprefix(_POLICY)}" for one in case.fields if one.startswith(_POLICY)
        ),
        beside=case.beside if place == AT_A_PORT else "---\n".join(filter(None, (case.beside, TO_SUBSET))),
        place=place,
        subset="" if place == AT_A_PORT else SUBSET,
    )


LIFTED = tuple(lifted())
