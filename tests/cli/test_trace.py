"""`plait trace`: each hop on one line, at any width, whatever is missing or odd."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plait.api.views import AttributeView, SpanView, TraceView
from plait.cli.trace import Hop, hops, took
from tests.api.planes import FakePlane, served
from tests.cli.test_online import ran


def span(  # noqa: PLR0913 - what a span says
    id_: str,
    parent: str = "",
    *,
    kind: str = "server",
    service: str = "shop",
    name: str = "GET /",
    at: float = 0.0,
    took: float = 10.0,
    failed: bool = False,
    by: str = "sidecar",
    **attributes: str,
) -> SpanView:
    return SpanView(
        id=id_,
        parent=parent,
        name=name,
        kind=kind,
        start_ms=at,
        duration_ms=took,
        service=service,
        workload=f"town/{service}",
        replica=0,
        by=by,
        failed=failed,
        message="",
        attributes=tuple(
            AttributeView(name=name.replace("__", "."), value=value) for name, value in attributes.items()
        ),
    )


TRACE = TraceView(
    trace="4bf92f3577b34da6a3ce929d0e0e4736",
    started="2026-11-30T12:00:01.123+00:00",
    duration_ms=100.0,
    spans=(
        span("1", "9", service="shop", name="GET /", took=100, http__status_code="200"),
        span(
            "2", "1", kind="client", service="shop", name="POST /pay", at=10, took=80, http__status_code="503"
        ),
        span(
            "3", "2", service="till", name="POST /pay", at=15, took=70, failed=True, http__status_code="503"
        ),
        span("4", "3", kind="internal", service="till", name="count", at=20, took=20, by="application"),
        span(
            "5",
            "3",
            kind="client",
            service="bank",
            name="GET /account",
            at=45,
            took=30,
            failed=True,
            http__status_code="0",
            http__url="http://vault:8080/account",
            response_flags="UF",
        ),
    ),
)


def drawn(top: list[Hop]) -> list[object]:
    return [(*(one.id for one in hop.spans), *([drawn(hop.below)] if hop.below else [])) for hop in top]


def test_a_call_that_both_ends_tell_is_one() -> None:
    assert drawn(hops(TRACE.spans)) == [("1", [("2", "3", [("4",), ("5",)])])]


def test_a_call_that_is_tried_again_has_its_tries_below_it() -> None:
    spans = (span("1", kind="client"), span("2", "1"), span("3", "1", at=5))
    assert drawn(hops(spans)) == [("1", [("2",), ("3",)])]


def test_whatever_is_below_nobody_or_below_itself_is_shown() -> None:
    spans = (
        span("1", "gone"),
        span("2", "2"),
        span("3", "1", kind="internal"),
        span("4", "gone", kind="client"),
    )
    assert drawn(hops(spans)) == [("1", [("3",)]), ("2",), ("4",)]


def test_spans_in_a_circle_are_no_trap() -> None:
    assert drawn(hops((span("1", "2"), span("2", "1"), span("3")))) == [("3",), ("1", [("2",)])]


def test_however_deep_it_is_all_is_shown() -> None:
    spans = [span(str(number), str(number - 1), kind="internal", at=number) for number in range(1, 5_001)]

    def count(some: list[Hop]) -> int:
        return sum(1 + count(one.below) for one in some)

    assert count(hops(spans)) == 5_000


@pytest.mark.parametrize(("milliseconds", "said"), [(0.04, "0.0 ms"), (12.34, "12.3 ms"), (1500, "1.50 s")])
def test_durations_are_short(milliseconds: float, said: str) -> None:
    assert took(milliseconds) == said


async def test_the_waterfall() -> None:
    async with served(FakePlane(traced=(TRACE,))) as plane:
        result = await ran(plane.directory, "trace", "4bf9")
    assert (result.code, result.err) == (0, "")
    heading, *lines, why = result.out.splitlines()
    assert why.startswith("UF: No connection to the callee could be made")
    assert heading == (
        "4bf92f3577b34da6a3ce929d0e0e4736  2026-11-30T12:00:01.123+00:00  100.0 ms, 5 spans, 3 services, 2 failed"
    )
    assert lines == [
        "shop GET /                          ━━━━━━━━━━━━ 100.0 ms  200",
        "  till POST /pay                     ━━━━━━━━━─   80.0 ms  503 service unavailable",
        "    till count                        ━━━         20.0 ms",
        "    bank > vault:8080 GET /account       ━━━━     30.0 ms  no answer (UF)",
    ]


async def test_the_list() -> None:
    async with served(FakePlane(traced=(TRACE,))) as plane:
        result = await ran(plane.directory, "trace", "--status", "error", "--min-duration", "20ms")
        assert [line.split() for line in result.out.splitlines()] == [
            ["TRACE", "STARTED", "TOOK", "SPANS", "FAILED", "BEGINS", "WITH"],
            [
                "4bf92f3577b3",
                "12:00:01.123",
                "100.0",
                "ms",
                "5",
                "2",
                "GET",
                "/",
                "shop",
                ">",
                "till",
                ">",
                "bank",
            ],
        ]
        assert (plane.asked[-1].failed, plane.asked[-1].least) == (True, 0.02)
        as_json = await ran(plane.directory, "trace", "-o", "json")
        assert json.loads(as_json.out)["traces"][0]["trace"] == TRACE.trace
        plane.traced = ()
        assert (await ran(plane.directory, "trace")).out == "no traces\n"
        assert (await ran(plane.directory, "trace", "--service", "x")).out == "no such traces\n"
        missing = await ran(plane.directory, "trace", "abc")
        assert (missing.code, missing.out) == (1, "")
        assert "no trace begins with abc" in missing.err


async def test_without_a_mesh(tmp_path: Path) -> None:
    assert (await ran(tmp_path, "trace")).code == 3
