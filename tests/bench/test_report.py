"""The page says of each promise whether it was kept, shows ratios first, and every figure with its spread."""

from __future__ import annotations

import re

import pytest

from bench.records import Record
from bench.report import page, relatives, targets
from bench.results import Results
from bench.targets import MESH, NOT_MEASURED, TARGETS
from bench.words import CPU, ISTIO, PLAIT, UNOBSERVED

HTTP1, HTTP2 = "HTTP/1.1, 32 connections", "HTTP/2, 32 connections"


def record(part: str, case: str, setting: str, metric: str, *values: float, unit: str = "ms") -> Record:
    return Record(part=part, case=case, setting=setting, metric=metric, unit=unit, values=values)


def results(*records: Record, failures: tuple[tuple[str, str], ...] = ()) -> Results:
    return Results(command="make bench", machine=(("CPU", "a fast one"),), failures=failures, records=records)


def verdicts(*records: Record) -> dict[str, tuple[str, str]]:
    """What was measured of each target for which there is something, and the verdict."""
    return {
        name: (measured, verdict)
        for name, _, measured, verdict in targets(results(*records)).rows
        if verdict != NOT_MEASURED
    }


def test_without_figures_no_promise_is_judged() -> None:
    rows = targets(results()).rows
    assert len(rows) == len(TARGETS)
    assert {row[2:] for row in rows} == {("", "not measured in this run")}


@pytest.mark.parametrize(("values", "verdict"), [((100, 90, 120), "missed"), ((99, 98, 130), "met")])
def test_the_median_is_judged_and_a_bound_to_stay_below_is_too_much_itself(
    values: tuple[float, ...], verdict: str
) -> None:
    found = verdicts(record("rebuild", "one route changed", "1000 services", "CPU", *values))
    ((measured, judged),) = found.values()
    assert judged == verdict
    assert measured == f"{values[0]} ({min(values)} to {max(values)}) ms"


def test_each_promise_about_the_control_plane_has_its_record_and_no_other() -> None:
    def of(case: str, metric: str, *values: float, setting: str = MESH) -> Record:
        return record("control plane", case, setting, metric, *values)

    found = verdicts(
        of("one route changed", "last ACK", 400, 410),
        of("one route changed", "last ACK p99", 501),
        of("one endpoint changed", "last ACK p99", 300),
        of("one endpoint changed", "last ACK", 1e6),
        of("one route changed", "CPU a push", 199),
        of("one endpoint changed", "CPU a push", 200),
        of("one route changed", "memory", 250),
        of("cold start", "memory", 290),
        of("cold start", "memory", 900, setting="5000 services, 1000 proxies"),
        record("sidecars", "one Envoy", MESH, "memory", 1000),
    )
    assert [verdict for _, verdict in found.values()] == ["met", "missed", "met", "met", "missed", "met"]
    assert [measured for measured, _ in found.values()][-1] == "290 MB"


def test_contenders_are_compared_round_by_round_with_istios_shape() -> None:
    records = (
        record("data plane", PLAIT, HTTP1, CPU, 60, 80, 77, unit="µs"),
        record("data plane", ISTIO, HTTP1, CPU, 100, 100, 110, unit="µs"),
        record("data plane", "another, not in all rounds", HTTP1, CPU, 50, unit="µs"),
        record("data plane", PLAIT, HTTP2, CPU, 90, unit="µs"),
        record("data plane", ISTIO, HTTP2, CPU, 60, unit="µs"),
        record("data plane", PLAIT, "HTTP/1.1, 64 connections", CPU, 1, unit="µs"),
        record("data plane", PLAIT, HTTP1, "p99", 1),
    )
    table = relatives(results(*records))
    assert table.head == ("contender", "HTTP/1.1", "HTTP/2")
    assert table.rows == (
        (PLAIT, "0.70 (0.60 to 0.80)", "1.50"),
        (ISTIO, "1", "1"),
        ("another, not in all rounds", "0.50", ""),
    )
    assert list(verdicts(*records).values()) == [("0.70 (0.60 to 0.80)", "met")]


def test_what_observing_costs_is_judged_by_the_same_pair_without_it() -> None:
    found = verdicts(
        *(
            record("data plane", case, f"{protocol}, 32 connections", CPU, *values, unit="µs")
            for protocol, ours, others in (("HTTP/1.1", (109, 111), (100, 100)), ("gRPC", (56,), (50,)))
            for case, values in ((PLAIT, ours), (UNOBSERVED, others))
        )
    )
    assert list(found.values()) == [("1.10 (1.09 to 1.11)", "met"), ("1.12", "missed")]


def test_a_part_is_shown_as_its_records_lie() -> None:
    text = page(
        results(
            record("control plane", "one route changed", "10 services", "last ACK", 3.25, 12.04, 1234.5),
            record("control plane", "one route changed", "10 services", "bytes", 123456, unit=""),
            record("control plane", "nothing changes", "10 services", "CPU", 0, unit="%"),
            record("sidecars", "Envoy", "1 services", "memory", 80, unit="MB"),
            record("sidecars", "Envoy", "10 services", "memory", 90, unit="MB"),
            record("rebuild", "first build", "10 services", "CPU", 5),
            record("rebuild", "nothing changed", "10 services", "CPU", 1),
            record("rebuild", "nothing changed", "20 services", "CPU", 2),
        )
    )
    order = [line for line in text.splitlines() if re.match("#+ ", line)]
    assert order == [
        *("# Results", "## Targets", "## Machine", "## Control plane", "### 10 services"),
        *("## Sidecars", "## Rebuild"),
    ]
    assert "| CPU | a fast one |" in text
    assert (
        "| case | last ACK (ms) | bytes | CPU (%) |\n|---|---:|---:|---:|\n"
        "| one route changed | 12.0 (3.25 to 1,234) | 123,456 |  |\n"
        "| nothing changes |  |  | 0 |\n"
    ) in text
    assert ("| setting | memory (MB) |\n|---|---:|\n| 1 services | 80 |\n| 10 services | 90 |\n") in text
    assert (
        "CPU (ms):\n\n| case | 10 services | 20 services |\n|---|---:|---:|\n"
        "| first build | 5 |  |\n| nothing changed | 1 | 2 |\n"
    ) in text


def test_the_page_says_which_part_has_failed_and_why() -> None:
    text = page(results(failures=(("data plane", "BenchError: no | wrk\nat all"),)))
    assert "**The part data plane has failed**" in text
    assert "BenchError: no \\| wrk at all" in text
