"""Whole sets of documents: each object is of its own name, and may speak of all others."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.properties import catalog, end_users, gateway_api, policies, rollouts
from tests.properties.destination_rules import destination_rule
from tests.properties.rate_limits import rate_limit
from tests.properties.telemetry import telemetry
from tests.properties.values import NAMESPACES, SERVICES, Strategy
from tests.properties.virtual_services import delegate, virtual_service

Value = dict[str, Any]

POPULATION: dict[str, tuple[Strategy, ...]] = {
    place: (
        *(catalog.service(name, place) for name in SERVICES),
        *(catalog.workload(name, place) for name in catalog.WORKLOADS),
        catalog.namespace(place),
    )
    for place in NAMESPACES
}
"""Who is there, by namespace."""
ROUTES: dict[str, tuple[Strategy, ...]] = {
    place: (
        virtual_service("first", place),
        virtual_service("second", place),
        delegate(place),
        destination_rule("first", place),
        destination_rule("second", place),
        gateway_api.http_route("first", place),
        gateway_api.http_route("second", place),
        gateway_api.grpc_route("first", place),
        gateway_api.reference_grant(place),
        policies.sidecar("all", place),
        policies.sidecar("some", place),
        rollouts.canary("first", place),
        rollouts.canary("second", place),
        rollouts.metric_template(place),
        rollouts.alert_provider(place),
    )
    for place in NAMESPACES
}
"""What is said to those who call, by namespace."""
GUARDS: dict[str, tuple[Strategy, ...]] = {
    place: (
        policies.peer_authentication("all", place),
        policies.peer_authentication("some", place),
        policies.authorization_policy("first", place),
        policies.authorization_policy("second", place),
        rate_limit("first", place),
        rate_limit("second", place),
        end_users.request_authentication("first", place),
        end_users.request_authentication("second", place),
        end_users.istio_operator("mesh", place),
        end_users.custom_policy("custom", place),
        telemetry("first", place),
        telemetry("second", place),
    )
    for place in NAMESPACES
}
"""What is said to those who are called, by namespace."""


@st.composite
def sets(draw: st.DrawFn, *, guarded: bool = True) -> list[Value]:
    """Documents of a few namespaces, each of another object, in any order; `guarded`: GUARDS may be among them."""
    places = draw(st.lists(st.sampled_from(NAMESPACES), min_size=1, max_size=3, unique=True))
    there = [one for place in places for one in POPULATION[place]]
    said = [one for place in places for one in (*ROUTES[place], *(GUARDS[place] if guarded else ()))]
    chosen = [
        *(there[index] for index in draw(_some_of(there, least=4, most=12))),
        *(said[index] for index in draw(_some_of(said, least=1, most=9))),
    ]
    return [draw(one) for one in chosen]


def _some_of(these: list[Strategy], *, least: int, most: int) -> Strategy:
    """Some of their indexes."""
    return st.lists(
        st.integers(0, len(these) - 1), min_size=least, max_size=min(most, len(these)), unique=True
    )


@st.composite
def objects(draw: st.DrawFn) -> Value:
    """One document."""
    place = draw(st.sampled_from(NAMESPACES))
    document: Value = draw(draw(st.sampled_from((*POPULATION[place], *ROUTES[place], *GUARDS[place]))))
    return document
