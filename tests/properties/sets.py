"""Whole sets of documents: each object is of its own name, and may speak of all others."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.properties import catalog, gateway_api, policies
from tests.properties.destination_rules import destination_rule
from tests.properties.rate_limits import rate_limit
from tests.properties.values import NAMESPACES, Strategy
from tests.properties.virtual_services import delegate, virtual_service

Value = dict[str, Any]

POPULATION = (*catalog.namespaces(), *catalog.services(), *catalog.workloads())
"""Who is there."""
SAID = tuple(
    one
    for place in NAMESPACES
    for one in (
        virtual_service("first", place),
        virtual_service("second", place),
        delegate(place),
        destination_rule("first", place),
        destination_rule("second", place),
        policies.sidecar("all", place),
        policies.sidecar("some", place),
        policies.peer_authentication("all", place),
        policies.peer_authentication("some", place),
        policies.authorization_policy("first", place),
        policies.authorization_policy("second", place),
        gateway_api.http_route("first", place),
        gateway_api.http_route("second", place),
        gateway_api.grpc_route("first", place),
        gateway_api.reference_grant(place),
        rate_limit("first", place),
        rate_limit("second", place),
    )
)
"""What is said of them."""


@st.composite
def sets(draw: st.DrawFn, most_said: int = 8) -> list[Value]:
    """Some documents, each of another object, in any order."""
    population = draw(st.lists(st.sampled_from(range(len(POPULATION))), min_size=4, max_size=12, unique=True))
    said = draw(st.lists(st.sampled_from(range(len(SAID))), min_size=1, max_size=most_said, unique=True))
    chosen: list[Strategy] = [POPULATION[one] for one in population] + [SAID[one] for one in said]
    return [draw(one) for one in chosen]


@st.composite
def objects(draw: st.DrawFn) -> Value:
    """One document."""
    document: Value = draw(draw(st.sampled_from((*POPULATION, *SAID))))
    return document
