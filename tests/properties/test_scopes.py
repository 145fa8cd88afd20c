"""Nobody is told what is for others: looked up in the documents themselves, and not in what is made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given

from plait.compiler.hosts import service_of_host
from plait.compiler.view import view
from plait.model.catalog import Replica
from plait.model.names import ObjectRef, Origin
from plait.run.compilation import Compilation
from tests.properties.runs import PATIENT, SECONDS, examples, tried
from tests.properties.sets import Value, sets
from tests.properties.telling import SETTINGS, located, running

pytestmark = PATIENT

_STEP = re.compile(r"\.?([A-Za-z]+)|\[(\d+)\]")
_EXPORT = "networking.istio.io/exportTo"


def told_to_whom_it_is_for(documents: list[Value]) -> None:
    stated = located(documents)
    written = {one.document.ref: one.document.value for one in stated}
    mesh = Compilation(SETTINGS).compile(stated).mesh
    for replica in running(mesh):
        told = view(mesh, replica).outbound
        for origin in (
            *(origin for one in told.clusters for origin in one.origins),
            *(origin for one in told.routes for origin in one.origins),
        ):
            assert _is_for(replica, origin.ref, written[origin.ref]), (str(replica.key), origin)
        for one in told.routes:
            service = service_of_host(one.host)
            for origin in one.origins:
                if origin.ref.kind in ("HTTPRoute", "GRPCRoute"):
                    assert service is not None
                    assert origin.ref.namespace in (service[0], replica.key.workload.namespace)
            for rule in one.rules:
                if rule.match is not None:
                    asked = _at(written[rule.match.origin.ref], rule.match.origin)
                    assert _asks_for(replica, asked), (str(replica.key), rule.match.origin)


def _is_for(replica: Replica, ref: ObjectRef, document: Mapping[str, Any]) -> bool:
    """Whether an object is exported to the namespace of a client, and chooses it."""
    if ref.kind == "Service":
        annotation = document["metadata"].get("annotations", {}).get(_EXPORT, "")
        exported = [name.strip() for name in annotation.split(",") if name.strip()]
    else:
        exported = document["spec"].get("exportTo", [])
    client = replica.key.workload.namespace
    own = ["."] if client == ref.namespace else []
    chosen = document["spec"].get("workloadSelector", {}).get("matchLabels", {})
    return (not exported or not {"*", client, *own}.isdisjoint(exported)) and _carries(replica, chosen)


def _asks_for(replica: Replica, match: Mapping[str, Any]) -> bool:
    """Whether a match of a VirtualService, or of a route, is for a client."""
    client = replica.key.workload.namespace
    return match.get("sourceNamespace", client) == client and _carries(replica, match.get("sourceLabels", {}))


def _carries(replica: Replica, labels: Mapping[str, str]) -> bool:
    return labels.items() <= dict(replica.labels).items()


def _at(document: Mapping[str, Any], origin: Origin) -> Mapping[str, Any]:
    """What stands at the field of an origin."""
    value: Any = document
    for name, index in _STEP.findall(origin.field):
        value = value[name] if name else value[int(index)]
    found: Mapping[str, Any] = value
    return found


@examples(100)
@given(sets(guarded=False))
def test_nobody_is_told_what_is_for_others(documents: list[Value]) -> None:
    told_to_whom_it_is_for(documents)


@pytest.mark.prove
@pytest.mark.timeout(SECONDS)
def test_in_thousands_of_sets_nobody_is_told_what_is_for_others(
    record_property: Callable[[str, object], None],
) -> None:
    record_property("sets", tried(told_to_whom_it_is_for, 5000, sets(guarded=False)))
