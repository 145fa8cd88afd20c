"""The waterfall of a trace: who stands below whom, where bars are, and what the whole took its time for."""

from __future__ import annotations

from dataclasses import replace

from plait.api.views import SpanView, TraceView
from plait.dashboard import waterfall
from plait.dashboard.pages import trace as page
from plait.dashboard.waterfall import Bar, bars
from tests.cli.test_trace import TRACE, span
from tests.dashboard.rollouts import deep_trace


def trace(*spans: SpanView, took: float = 100.0) -> TraceView:
    return replace(TRACE, spans=spans, duration_ms=took)


def shape(found: tuple[Bar, ...]) -> list[tuple[str, int, int]]:
    return [(bar.span.id, bar.depth, bar.below) for bar in found]


def critical(found: tuple[Bar, ...]) -> list[str]:
    return [bar.span.id for bar in found if bar.critical]


def test_spans_stand_below_their_parents_in_the_order_in_which_they_began() -> None:
    found = bars(TRACE)
    assert shape(found) == [("1", 0, 4), ("2", 1, 3), ("3", 2, 2), ("4", 3, 0), ("5", 3, 0)]
    late, early = span("b", "1", at=50), span("a", "1", at=5)
    assert [bar.span.id for bar in bars(trace(span("1", took=100), late, early))] == ["1", "a", "b"]


def test_whose_parent_is_not_known_and_who_is_of_a_circle_is_shown_once_and_at_the_top() -> None:
    alone = trace(span("1", "nobody"), span("2", "3", at=1), span("3", "2", at=2), span("4", "4", at=3))
    assert shape(bars(alone)) == [("1", 0, 0), ("4", 0, 0), ("2", 0, 1), ("3", 1, 0)]
    assert bars(trace()) == ()


def test_a_bar_stands_where_its_span_was_in_the_whole() -> None:
    found = {bar.span.id: (bar.left, bar.width) for bar in bars(TRACE)}
    assert found["1"] == (0.0, 1.0)
    assert found["2"] == (0.10, 0.80)
    assert found["5"] == (0.45, 0.30)
    assert [bar.left for bar in bars(trace(span("1", at=0, took=0), took=0.0))] == [0.0]


def test_own_time_is_what_nothing_below_took_counted_once_and_within_the_span() -> None:
    own = {bar.span.id: bar.own_ms for bar in bars(TRACE)}
    assert own == {"1": 20.0, "2": 10.0, "3": 20.0, "4": 20.0, "5": 30.0}
    overlapping = trace(span("1", took=100), span("2", "1", at=10, took=40), span("3", "1", at=30, took=100))
    assert bars(overlapping)[0].own_ms == 10.0


def test_critical_is_what_was_waited_for_last_and_not_what_went_on_beside_it() -> None:
    beside = trace(
        span("1", took=100),
        span("fast", "1", at=10, took=30),
        span("slow", "1", at=10, took=60),
        span("in-slow", "slow", at=20, took=10),
        span("then", "1", at=75, took=20),
    )
    assert critical(bars(beside)) == ["1", "slow", "in-slow", "then"]
    assert critical(bars(trace(span("1", took=10), span("2", at=50, took=50)))) == ["2"]


def test_the_cause_is_the_deepest_failure_and_of_a_call_the_end_that_says_why() -> None:
    found = waterfall.cause(bars(TRACE))
    assert found is not None
    assert found.id == "5"
    assert waterfall.cause(bars(trace(span("1")))) is None
    caller = replace(span("2", "1", kind="client", failed=True), message="reset")
    callee = span("3", "2", failed=True)
    told = waterfall.cause(bars(trace(span("1", failed=True), caller, callee)))
    assert told is caller
    own = replace(callee, message="division by zero")
    assert waterfall.cause(bars(trace(span("1", failed=True), caller, own))) is own


def test_what_is_said_of_a_span() -> None:
    call = TRACE.spans[4]
    assert waterfall.callee(call) == "vault"
    assert waterfall.status(call) == "no answer UF"
    assert waterfall.who(call) == "bank"
    assert waterfall.callee(TRACE.spans[0]) == ""
    host = "vault.town.svc.cluster.local"
    assert waterfall.host(span("9", upstream_cluster=f"outbound|8080|v1|{host}")) == host
    assert waterfall.host(span("9", upstream_cluster="inbound|8080||")) == ""
    assert list(waterfall.colours(TRACE.spans).values()) == [1, 2, 3]


def test_a_line_leads_to_both_services_to_the_proxy_and_to_other_traces() -> None:
    host = "vault.town.svc.cluster.local"
    own = "bank.town.svc.cluster.local"
    call = span(
        "5",
        kind="client",
        service="bank",
        upstream_cluster=f"outbound|8080||{host}",
        http__url="http://vault:8080/",
    )
    line = page.line(bars(trace(call))[0], 3, {"town/bank": own})
    assert dict(line.links) == {
        "Service bank": "/services/town/bank",
        "Service vault": "/services/town/vault",
        "Its proxy": "/proxies/town/bank/0",
        "Traces of it": "/traces?workload=town%2Fbank",
    }
    assert ("http.url", "http://vault:8080/") in line.facts
    assert (line.who, line.to, line.colour) == ("bank", "vault", 3)


def test_bars_are_seen_and_stay_within_the_picture_however_short_or_late_they_are() -> None:
    lines = [page.line(bar, 1, {}) for bar in bars(deep_trace(0.0))]
    assert len(lines) == 200
    assert all(line.width >= 0.3 and line.left + line.width <= 100.001 for line in lines)
