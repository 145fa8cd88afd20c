"""What an Envoy has counted, as its admin interface writes it, and what came between two looks."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.agent import counted
from plait.agent.counted import NOTHING, Counted, pools, read, traffic
from plait.telemetry.histogram import bin_of
from plait.telemetry.reports import Pool, Traffic

PACKED = (
    "http|destination|mutual_tls|spiffe://cluster.local/ns/bistro/sa/front: end|||menu.bistro.svc.cluster.local;menu;"
    "bistro;http|-|200|-|CN=a\\, b,OU=frontend: x"
)
DURATIONS = f"istio.request_duration_milliseconds.packed.{PACKED}"
OPENED = "istio.tcp_connections_opened_total.packed.tcp|source|mutual_tls|||||-|"
PAGE = f"""\
cluster.outbound|8080||menu.bistro.svc.cluster.local.upstream_cx_active: 2
cluster.outbound|8080||menu.bistro.svc.cluster.local.upstream_rq_active: 0
cluster.outbound|8080||menu.bistro.svc.cluster.local.upstream_rq_retry: 7
{OPENED}: 3
istio.tcp_connections_closed_total.packed.tcp|source|mutual_tls|||||-|: 1
istio.tcp_received_bytes_total.packed.tcp|source|mutual_tls|||||-|: 500
istio.tcp_sent_bytes_total.packed.tcp|source|mutual_tls|||||-|: 4000
plait.denied_total.packed.denied|destination|none: 1
server.version_text: "1: 2"
{DURATIONS}:
  totals=0,0:2, 1,0.1:4, 12,1:1, 250,10:3
  intervals=1,0.1:1
  summary=P0(1,0) P25(nan,1.05) P50(nan,1.075) P100(1.1,260)
"""


def histogram(totals: str) -> Counted:
    return Counted({}, {DURATIONS: totals})


def test_a_page_is_read_by_envoys_own_names_whatever_stands_in_them() -> None:
    found = read(PAGE.encode())
    assert found.totals == {DURATIONS: "0,0:2, 1,0.1:4, 12,1:1, 250,10:3"}
    assert found.numbers[OPENED] == 3
    assert len(found.numbers) == 8
    assert read(b"") == NOTHING


def test_everything_of_an_envoy_that_was_just_started_came_since() -> None:
    found = {one.packed.partition("|")[0]: one for one in traffic(NOTHING, read(PAGE.encode()))}
    assert found == {
        "http": Traffic(
            packed=PACKED, count=10, durations=((0, 2), (bin_of(1), 4), (bin_of(12), 1), (bin_of(250), 3))
        ),
        "tcp": Traffic(packed="tcp|source|mutual_tls|||||-|", count=3, closed=1, received=500, sent=4000),
        "denied": Traffic(packed="denied|destination|none", count=1),
    }


def test_what_did_not_change_is_not_told() -> None:
    page = read(PAGE.encode())
    assert traffic(page, page) == ()
    later = PAGE.replace("12,1:1, 250,10:3", "12,1:5, 13,1:1, 250,10:3").replace(": 4000", ": 4010")
    requests, connections = sorted(traffic(page, read(later.encode())), key=lambda one: one.packed)
    assert requests == Traffic(packed=PACKED, count=5, durations=((bin_of(12), 4), (bin_of(13), 1)))
    assert connections == Traffic(packed="tcp|source|mutual_tls|||||-|", count=0, sent=10)


def test_what_envoy_has_forgotten_meanwhile_began_again() -> None:
    """A histogram or counter that was idle for long is thrown away, and counts from nothing when it comes back."""
    (gone,) = traffic(histogram("5,0.1:9, 7,0.1:1"), histogram("5,0.1:2"))
    assert (gone.count, gone.durations) == (2, ((bin_of(5), 2),))
    (shrunk,) = traffic(histogram("5,0.1:9"), histogram("5,0.1:4, 6,0.1:8"))
    assert shrunk.count == 12
    (counter,) = traffic(Counted({OPENED: 7}), Counted({OPENED: 2}))
    assert counter.count == 2
    assert traffic(histogram("5,0.1:9"), NOTHING) == ()


def test_a_pool_is_told_while_something_goes_on_in_it() -> None:
    page = read(PAGE.encode())
    name = "outbound|8080||menu.bistro.svc.cluster.local"
    assert pools(NOTHING, page) == (Pool(cluster=name, connections=2, requests=0, overflowed=0, retried=7),)
    assert pools(page, page) == (Pool(cluster=name, connections=2, requests=0, overflowed=0, retried=0),)
    lost = (
        f"cluster.{name}.upstream_rq_pending_failure_eject: 3\ncluster.{name}.upstream_cx_none_healthy: 4\n"
    )
    (reached,) = pools(page, read((PAGE + lost).encode()))
    assert reached == Pool(cluster=name, connections=2, requests=0, overflowed=0, retried=0, unreached=7)
    idle = read(PAGE.replace("cx_active: 2", "cx_active: 0").encode())
    assert pools(page, idle) == ()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (DURATIONS, True),
        (OPENED, True),
        ("plait.denied_total.packed.denied|x", True),
        ("cluster.outbound|80||a.b.upstream_rq_retry", True),
        ("cluster.outbound|80|v1|a.b.upstream_cx_none_healthy", True),
        ("cluster.outbound|80|v1|a.b.upstream_rq_pending_failure_eject", True),
        ("cluster.outbound|80|v1|a.b.outlier_detection.ejections_active", True),
        ("cluster.inbound|80||.upstream_cx_active", True),
        ("cluster.PassthroughCluster.upstream_rq_active", True),
        ("istio.request_bytes.packed.http|x", False),
        ("cluster.xds.upstream_cx_active", False),
        ("cluster.outbound|80||a.b.upstream_cx_total", False),
        ("cluster.outbound|80||a.b.outlier_detection.ejections_total", False),
        ("http.inbound.downstream_rq_active", False),
    ],
)
def test_envoy_is_asked_for_what_is_told_and_no_more(name: str, *, wanted: bool) -> None:
    (pattern,) = parse_qs(urlsplit(counted.PAGE).query)["filter"]
    assert bool(re.search(pattern, name)) is wanted


BINS = st.dictionaries(st.integers(10, 99), st.integers(1, 50), max_size=30)


@given(before=BINS, more=BINS)
def test_a_histogram_that_grew_tells_exactly_by_how_much(
    before: dict[int, int], more: dict[int, int]
) -> None:
    after = {place: before.get(place, 0) + more.get(place, 0) for place in {*before, *more}}

    def said(bins: dict[int, int]) -> Counted:
        return histogram(", ".join(f"{place},1:{count}" for place, count in sorted(bins.items())))

    found = traffic(said(before), said(after))
    told = dict(found[0].durations) if found else {}
    assert told == {bin_of(place): count for place, count in more.items()}
