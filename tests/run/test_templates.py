"""What a MetricTemplate asks, in Flagger's words and of the mesh's own store."""

from __future__ import annotations

import pytest

from plait.model.names import ObjectRef, Origin, WorkloadKey
from plait.model.rollout import Analysis, Canary, Metric
from plait.run.rollouts.templates import Asked, OwnQuery, TemplateError, own_query, rendered
from plait.telemetry.queries import Signals, Where

ORIGIN = Origin(ObjectRef("flagger.app", "Canary", "shop", "menu"))
CANARY = Canary(
    namespace="shop",
    name="careful",
    target=WorkloadKey("shop", "menu"),
    service="card",
    port=80,
    analysis=Analysis(),
    origin=ORIGIN,
)
METRIC = Metric(name="x", window=90, variables=(("code", "5.."), ("odd", "{{ name }}")), origin=ORIGIN)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ('up{a="{{ name }}", b="{{namespace}}"}', 'up{a="careful", b="shop"}'),
        ('{w=~"{{ target }}"}', '{w=~"menu-canary"}'),
        ('{w="{{ target }}-primary"}', '{w="menu"}'),
        ('{w="{{- target -}}-canary"}', '{w="menu-canary"}'),
        ("{{ service }} {{ ingress }} [{{ interval }}]", "card menu [90s]"),
        ("a{{ variables.code }}b {{ variables.odd }}", "a5..b {{ name }}"),
        ("sum(\n  x\n)\n", "sum( x )"),
        ('{a="{b}"}', '{a="{b}"}'),
    ],
)
def test_words_stand_for_what_is_tried_as_in_flaggers_queries(query: str, text: str) -> None:
    assert rendered(query, CANARY, METRIC) == text


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("{{ variables.none }}", "variables.none, which templateVariables do not give"),
        ("{{ pod }}", "'pod' stands for nothing"),
        ('{{ printf "%s" name }}', "stands for nothing"),
        ("{{ }}", "'' stands for nothing"),
    ],
)
def test_words_that_stand_for_nothing_are_told(query: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        rendered(query, CANARY, METRIC)


@pytest.mark.parametrize(
    ("text", "asked", "where"),
    [
        ("p99 service=card", Asked.P99, Where(service="card.shop.svc.cluster.local")),
        (
            "error_share workload=menu-canary service=card namespace=bar",
            Asked.ERROR_SHARE,
            Where(
                service="card.bar.svc.cluster.local",
                destination_workload="menu-canary",
                destination_namespace="bar",
            ),
        ),
        (
            "requests service=pay.example version=v2",
            Asked.REQUESTS,
            Where(service="pay.example", destination_version="v2"),
        ),
        ("rate workload=menu", Asked.RATE, Where(destination_workload="menu", destination_namespace="shop")),
    ],
)
def test_the_meshs_own_queries(text: str, asked: Asked, where: Where) -> None:
    assert own_query(text, "shop") == OwnQuery(asked=asked, where=where)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no query ''"),
        ("sum(up)", "no query"),
        ("p99", "of whose traffic"),
        ("p99 card", "'card' is not understood"),
        ("p99 service=", "is not understood"),
        ("p99 service=a service=b", "is not understood"),
        ("p99 pod=a", "is not understood"),
    ],
)
def test_what_the_mesh_does_not_understand_is_told(text: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        own_query(text, "shop")


def test_each_query_has_a_value() -> None:
    signals = Signals(requests=4, rate=2.0, error_share=0.5, p50_ms=1.0, p90_ms=2.0, p99_ms=3.0)
    assert [one.of(signals) for one in Asked] == [4, 2.0, 0.5, 1.0, 2.0, 3.0]
    assert Asked.P99.of(Signals()) is None
