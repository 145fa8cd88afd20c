"""Traces on disk: found again by what they are looked for by, bounded, and still there after a kill."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from plait.model.names import WorkloadKey
from plait.telemetry.span_store import LONGEST_KEPT, MOST_OF_A_TRACE, SpanStore
from plait.telemetry.spans import Kind, Search, Span

NOW = 1_800_000_000.0
_NANO = 1_000_000_000


def span(  # noqa: PLR0913 - what a span says
    trace: int,
    number: int = 1,
    *,
    parent: int = 0,
    at: float = NOW,
    took: float = 0.01,
    workload: str = "reviews",
    failed: bool = False,
    **attributes: str,
) -> Span:
    start = round(at * _NANO)
    return Span(
        trace=f"{trace:032x}",
        id=f"{number:016x}",
        parent=f"{parent:016x}" if parent else "",
        name="ingress",
        kind=Kind.SERVER,
        start=start,
        end=start + round(took * _NANO),
        workload=WorkloadKey("bistro", workload),
        replica=0,
        service=workload,
        failed=failed,
        attributes=attributes,
    )


def traces(store: SpanStore, **search: object) -> list[int]:
    return [int(one.trace, 16) for one in store.search(Search(**search))]  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


def test_a_trace_is_found_by_each_thing_that_it_is_looked_for_by(path: Path) -> None:
    store = SpanStore(path)
    store.add([span(1, took=2.0), span(1, 2, parent=1, workload="payments", failed=True, code="503")], NOW)
    store.add(
        [span(2, at=NOW + 1, code="200"), span(3, at=NOW + 2, workload="payments", code="200")], NOW + 3
    )
    assert traces(store) == [3, 2, 1]
    assert traces(store, limit=2) == [3, 2]
    assert traces(store, service="payments") == [3, 1]
    assert traces(store, workload="bistro/payments") == [3, 1]
    assert traces(store, workload="payments") == []
    assert traces(store, failed=True) == [1]
    assert traces(store, failed=False) == [3, 2]
    assert traces(store, service="reviews", failed=True) == []  # it was the other one
    assert traces(store, least=1.0) == [1]
    assert traces(store, tags=(("code", "200"),)) == [3, 2]
    assert traces(store, tags=(("code", "200"),), service="reviews") == [2]
    assert traces(store, tags=(("code' OR 1=1 --", "200"),)) == []
    assert traces(store, since=NOW + 0.5, until=NOW + 1.5) == [2]
    (found,) = store.search(Search(failed=True))
    assert (found.spans, found.failed, found.services) == (2, 1, ("reviews", "payments"))
    assert (found.root.id, found.duration) == (f"{1:016x}", 2 * _NANO)
    store.close()


def test_a_trace_is_whole_and_each_span_once_however_often_and_late_it_is_told(path: Path) -> None:
    store = SpanStore(path)
    first, second = span(7), span(7, 2, parent=1, at=NOW + 1)
    store.add([second], NOW)
    store.add([first, second], NOW + 5)
    assert store.trace(first.trace) == (first, second)
    assert store.spans == 2
    assert [one.spans for one in store.search(Search())] == [2]
    assert store.named("0" * 31) == (first.trace,)
    assert store.named("1") == ()
    store.close()


def test_the_file_is_private(path: Path) -> None:
    store = SpanStore(path)
    store.add([span(1)], NOW)
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}
    store.close()


def test_whole_traces_go_when_there_are_too_many_spans_the_oldest_first(path: Path) -> None:
    store = SpanStore(path, most_spans=100)
    for trace in range(60):
        store.add([span(trace, number, at=NOW + trace) for number in (1, 2)], NOW + trace)
        assert store.spans <= 100
    kept = traces(store, limit=1000)
    assert kept == list(range(59, 59 - len(kept), -1))
    assert 45 <= len(kept) <= 50
    assert {one.spans for one in store.search(Search(limit=1000))} == {2}
    store.close()


def test_the_file_stays_as_small_as_it_has_to(path: Path) -> None:
    most = 300_000
    store = SpanStore(path, most_bytes=most)
    for trace in range(300):
        store.add([span(trace, at=NOW + trace, filler="x" * 900, more="y" * 900)], NOW + trace)
        assert store.bytes <= most
    assert 80 < store.spans < 160
    store.close()
    assert path.stat().st_size < 1.5 * most


def test_what_is_old_goes(path: Path) -> None:
    store = SpanStore(path)
    store.add([span(1)], NOW)
    store.add([span(2)], NOW + LONGEST_KEPT - 1)
    assert sorted(traces(store)) == [1, 2]
    store.add([span(3)], NOW + LONGEST_KEPT + 1)
    assert sorted(traces(store)) == [2, 3]
    assert store.spans == 2
    store.close()


def test_a_trace_that_never_ends_is_cut(path: Path) -> None:
    store = SpanStore(path)
    store.add([span(1, number) for number in range(1, MOST_OF_A_TRACE + 10)], NOW)
    store.add([span(1, MOST_OF_A_TRACE + 20)], NOW)
    assert store.spans == MOST_OF_A_TRACE
    store.close()


def test_it_is_there_after_its_process_was_killed_in_the_midst(path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from plait.telemetry.span_store import SpanStore
from tests.telemetry.test_span_store import NOW, span
store = SpanStore(Path({str(path)!r}))
for trace in range(10**6):
    store.add([span(trace, number) for number in (1, 2, 3)], NOW)
    print(trace, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if int(line) >= 20:
                break
        process.send_signal(signal.SIGKILL)
    store = SpanStore(path)
    found = store.search(Search(limit=10_000))
    assert len(found) >= 21
    assert {one.spans for one in found} == {3}
    assert store.spans == 3 * len(found)
    store.close()


def test_a_file_that_is_none_is_begun_anew(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"no database at all" * 1000)
    store = SpanStore(path)
    assert "all traces are forgotten" in caplog.text
    store.add([span(1)], NOW)
    assert traces(store) == [1]
    store.close()
