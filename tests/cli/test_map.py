"""`plait map` and `plait top`, as text: what a line says, how it fits, and what is said of an empty mesh."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import suppress
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.text import Text

from plait.api import figures
from plait.cli.map import lines as map_lines
from plait.cli.top import Sort
from plait.cli.top import lines as top_lines
from plait.telemetry.graph import Edge, Graph, ProcessUse, ServiceNode, WorkloadNode
from plait.telemetry.queries import Signals
from tests.api.planes import FakePlane, served, until
from tests.cli.test_online import ROOT, environment, ran

HTTP = Signals(requests=1200, rate=20.0, error_share=0.0, p50_ms=14.2, p90_ms=18.0, p99_ms=20.4)
FAILING = replace(HTTP, rate=2.0, error_share=0.9, p50_ms=1500.0, p99_ms=1600.0)
REFUSED = replace(HTTP, rate=0.2, refused=0.2, p50_ms=1.0, p99_ms=1.0)
TCP = Signals(connections=0.6, received=60.0, sent=2400.0)


def edge(source: str, service: str, version: str = "", signals: Signals = HTTP, **more: object) -> Edge:
    """`ns/name` each; a workload is called like its service, and its version."""
    source_namespace, _, caller = source.partition("/")
    namespace, _, name = service.partition("/")
    said: dict[str, object] = {
        "source_version": "",
        "destination": f"{name}-{version}" if version else name,
        "protocol": "http",
        "mtls": True,
        "idle": False,
        **more,
    }
    return Edge(
        source_namespace=source_namespace,
        source=caller,
        service=f"{name}.{namespace}.svc.cluster.local",
        destination_namespace=namespace,
        destination_version=version,
        signals=signals,
        **said,  # type: ignore[arg-type]  # as the fields are
    )


def node(service: str, signals: Signals = HTTP, connections: int = 0) -> ServiceNode:
    namespace, _, name = service.partition("/")
    return ServiceNode(
        host=f"{name}.{namespace}.svc.cluster.local",
        namespace=namespace,
        name=name,
        external=False,
        signals=signals,
        pool_connections=connections,
        pool_requests=connections // 2,
    )


def workload(name: str, *services: str, cpu: float | None = 0.25, memory: int = 30_000_000) -> WorkloadNode:
    namespace, _, short = name.partition("/")
    used = ProcessUse(cpu=cpu, memory=memory) if cpu is not None else ProcessUse()
    return WorkloadNode(
        namespace=namespace,
        name=short,
        version="",
        replicas=1,
        services=tuple(f"{one}.{namespace}.svc.cluster.local" for one in services),
        signals=Signals(),
        sidecar=used,
        application=used,
    )


GRAPH = Graph(
    until="2031-02-03T04:05:06+00:00",
    window=60.0,
    heard=60.0,
    left_out=False,
    services=(node("bistro/reviews", Signals()), node("bistro/frontend", connections=6), node("bistro/menu", FAILING), node("bistro/bill", REFUSED), node("bank/ledger", TCP)),
    workloads=(workload("bistro/diner"), workload("bistro/frontend", "frontend"), workload("bistro/batch", cpu=None)),
    edges=(
        edge("", "bistro/frontend", signals=REFUSED, mtls=False),
        edge("bistro/bill", "bank/ledger", signals=TCP, protocol="tcp"),
        edge("bistro/diner", "bistro/frontend"),
        edge("bistro/frontend", "bistro/bill", signals=REFUSED),
        edge("bistro/frontend", "bistro/menu", "v1"),
        edge("bistro/frontend", "bistro/menu", "v2", signals=FAILING),
        edge("bistro/frontend", "bistro/reviews", signals=Signals(), idle=True),
    ),
)  # fmt: skip


def text(lines: list[Text]) -> str:
    return "\n".join(line.plain for line in lines)


def test_the_map_is_a_tree_by_callers_with_a_line_for_each_edge() -> None:
    assert (
        text(map_lines(GRAPH, 80))
        == """\
22/s over 60 s up to 2031-02-03T04:05:06+00:00
CALLS                        RATE  ERRORS    P50    P99    TLS
bistro/diner
└─ frontend                  20/s      0%   14ms   20ms     🔒
   ├─ bill                  0.2/s      0%  1.0ms  1.0ms     🔒  refused 0.2/s
   │  └─ ledger.bank        0.6/s                           🔒  tcp, 2.5kB/s
   ├─ menu v1                20/s      0%   14ms   20ms     🔒
   ├─ menu v2               2.0/s     90%   1.5s   1.6s     🔒
   └─ reviews                                               🔒  idle
unknown
└─ frontend.bistro (above)  0.2/s      0%  1.0ms  1.0ms  clear  refused 0.2/s
without traffic: bistro/batch"""
    )


def test_lines_of_the_map_have_colours_by_how_it_goes() -> None:
    styles = {line.plain.split()[1]: line.style for line in map_lines(GRAPH, 80) if "─ " in line.plain}
    assert styles["bill"] == styles["frontend.bistro"] == "red"
    assert styles["reviews"] == "dim"
    assert styles["frontend"] == ""
    assert [line.style for line in map_lines(GRAPH, 80) if "menu v2" in line.plain] == ["yellow"]


def test_a_service_of_which_nobody_was_chosen_is_told_apart() -> None:
    lost = edge("bistro/diner", "bistro/menu", signals=FAILING, destination="", mtls=None)
    shown = text(map_lines(replace(GRAPH, edges=(*GRAPH.edges, lost)), None))
    assert re.search(r"└─ menu \(nobody\) +2.0/s +90%", shown)


def test_a_circle_of_callers_ends_and_each_edge_is_there_once() -> None:
    ring = replace(
        GRAPH,
        edges=(
            edge("a/one", "a/two"),
            edge("a/two", "a/three"),
            edge("a/three", "a/one"),
            edge("a/one", "a/one"),
        ),
    )
    shown = [line.plain.split("  ")[0] for line in map_lines(ring, None) if "─ " in line.plain]
    assert len(shown) == 4
    assert [line for line in text(map_lines(ring, None)).splitlines() if line == "a/one"] == ["a/one"]


def test_what_is_too_long_for_a_terminal_is_cut_off_and_piped_it_is_whole() -> None:
    name = "a-name-that-is-very-much-longer-than-anybody-would-have-it-be-at-all"
    long = replace(GRAPH, edges=(*GRAPH.edges, edge("bistro/diner", f"bistro/{name}", "v1", signals=REFUSED)))
    for width in (80, 100):
        for lines in (map_lines(long, width), top_lines(long, edges=True, sort=Sort.RATE, width=width)):
            assert max(cell_len(line.plain) for line in lines) <= width
    for whole in (text(map_lines(long, None)), text(top_lines(long, edges=True, sort=Sort.RATE, width=None))):
        assert name in whole


def test_an_empty_mesh_is_told_of_in_words() -> None:
    empty = replace(GRAPH, edges=(), services=(), heard=0.0)
    assert text(map_lines(empty, 80)).splitlines() == [
        "0/s over 60 s up to 2031-02-03T04:05:06+00:00; 0 s of it were reported",
        "nobody has called anybody in the past hour; the mesh sees what its workloads send",
        "without traffic: bistro/diner, bistro/frontend, bistro/batch",
    ]
    nothing = replace(empty, workloads=(), left_out=True)
    assert text(top_lines(nothing, edges=False, sort=Sort.RATE, width=80)).splitlines() == [
        "0/s over 60 s up to 2031-02-03T04:05:06+00:00; 0 s of it were reported; there is more than is told apart",
        "there is nothing to show: no service is written, and nobody calls",
    ]


def test_top_shows_services_with_what_they_use_and_workloads_without_a_service() -> None:
    assert (
        text(top_lines(GRAPH, edges=False, sort=Sort.RATE, width=80))
        == """\
22/s over 60 s up to 2031-02-03T04:05:06+00:00
SERVICE          RATE ERRORS   P50   P99 REFUSED POOL       CPU    MEMORY
bistro/frontend  20/s     0%  14ms  20ms          6/3 0.25/0.25 30MB/30MB
bistro/menu     2.0/s    90%  1.5s  1.6s          0/0       -/-       -/-
bank/ledger     0.6/s      -     -     -          0/0       -/-       -/-
bistro/bill     0.2/s     0% 1.0ms 1.0ms   0.2/s  0/0       -/-       -/-
bistro/batch      0/s      -     -     -          0/0       -/-       -/-
bistro/diner      0/s      -     -     -          0/0 0.25/0.25 30MB/30MB
bistro/reviews    0/s      -     -     -          0/0       -/-       -/-"""
    )


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        (Sort.NAME, "bank/ledger"), (Sort.RATE, "bistro/frontend"), (Sort.ERRORS, "bistro/menu"), (Sort.P50, "bistro/menu"),
        (Sort.P99, "bistro/menu"), (Sort.REFUSED, "bistro/bill"), (Sort.POOL, "bistro/frontend"), (Sort.CPU, "bistro/diner"),
        (Sort.MEMORY, "bistro/diner"), (Sort.BYTES, "bank/ledger"),
    ],
)  # fmt: skip
def test_top_is_sorted_by_any_column_the_largest_first(sort: Sort, first: str) -> None:
    assert top_lines(GRAPH, edges=False, sort=sort, width=None)[2].plain.split()[0] == first


def test_top_shows_edges_with_their_bytes() -> None:
    lines = text(top_lines(GRAPH, edges=True, sort=Sort.BYTES, width=100)).splitlines()
    assert lines[1].split() == ["EDGE", "RATE", "ERRORS", "P50", "P99", "REFUSED", "IN", "OUT"]
    assert lines[2].split() == ["bill", ">", "ledger.bank", "0.6/s", "-", "-", "-", "60B/s", "2.4kB/s"]
    assert [line.split()[-1] for line in lines if "reviews" in line] == ["idle"]


def test_figures_are_short() -> None:
    assert [figures.rate(value) for value in (0, 0.04, 0.25, 9.96, 99, 1234, 5e6)] == [
        "", "0.04/s", "0.2/s", "10/s", "99/s", "1.2k/s", "5.0M/s",
    ]  # fmt: skip
    assert [figures.share(value) for value in (None, 0, 0.0002, 0.003, 0.5, 1)] == [
        "-", "0%", "<0.1%", "0.3%", "50%", "100%",
    ]  # fmt: skip
    assert [figures.duration(value) for value in (None, 0.4, 9.96, 999.6, 1500, 200_000)] == [
        "-", "<1ms", "10ms", "1.0s", "1.5s", "200s",
    ]  # fmt: skip


async def test_piped_both_are_plain_and_end_and_options_reach_the_mesh() -> None:
    async with served(FakePlane(drawn=GRAPH)) as plane:
        shown = await ran(plane.directory, "map", "--window", "5m", "--namespace", "bistro", "--watch")
        assert (shown.code, shown.err) == (0, "")
        assert shown.out.splitlines() == text(map_lines(GRAPH, None)).splitlines()
        told = json.loads((await ran(plane.directory, "map", "-o", "json")).out)
        topped = await ran(plane.directory, "top", "--edges", "--sort", "p99")
        assert plane.asked == [(300, "bistro", None), (60, "", None), (60, "", None)]
    assert told["edges"][1]["signals"]["sent"] == 2400.0
    assert (
        topped.out.splitlines() == text(top_lines(GRAPH, edges=True, sort=Sort.P99, width=None)).splitlines()
    )
    assert "\x1b" not in shown.out + topped.out


async def test_wrong_use_and_no_mesh_are_told_by_exit_codes() -> None:
    async with served(FakePlane(drawn=GRAPH)) as plane:
        for wrong in (("map", "--window", "25h"), ("top", "--sort", "luck")):
            assert (await ran(plane.directory, *wrong)).code == 2
    assert (await ran(plane.directory, "map")).code == 3


def everything(terminal: int) -> str:
    """All that is written to it until whoever writes has ended."""
    found = b""
    with os.fdopen(terminal, "rb", buffering=0) as file, suppress(OSError):
        while data := file.read(65536):
            found += data
    return found.decode()


async def test_in_a_terminal_top_draws_anew_until_ctrl_c() -> None:
    async with served(FakePlane(drawn=GRAPH)) as plane:
        ours, theirs = os.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.cli.online_app", "top", "--state-dir", str(plane.directory)),
            cwd=ROOT,
            env=environment() | {"COLUMNS": "80", "LINES": "30"},
            stdout=theirs,
        )
        os.close(theirs)
        reading = asyncio.create_task(asyncio.to_thread(everything, ours))
        await until(lambda: len(plane.asked) >= 2)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            assert await process.wait() == 130
            shown = await reading
    assert len(re.findall(r"\x1b\[\?1049h", shown)) == 1
    assert re.search(r"bistro/frontend +20/s", shown)
    assert "\x1b[33m" in shown  # what fails is yellow
    assert "\x1b[?1049l" in shown  # the terminal is as it was


async def test_where_there_is_ascii_alone_lines_are_drawn_with_it() -> None:
    async with served(FakePlane(drawn=GRAPH)) as plane:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.cli.online_app", "map", "--state-dir", str(plane.directory)),
            cwd=ROOT,
            env=environment() | {"PYTHONIOENCODING": "ascii"},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert "   |- menu v1" in out.decode("ascii")
