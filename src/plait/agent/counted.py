"""What an Envoy has counted, as its admin interface tells it, and how much of that came between two looks.

A page is text, and what a histogram says stays text: most of what an Envoy has counted does not change between two
looks, and of what does only a few bins.  Lines that are the same are never taken apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from plait.envoy import metrics
from plait.envoy.labels import LABEL
from plait.envoy.names import METRICS_PREFIX, OWN_METRICS_PREFIX, PASSTHROUGH_CLUSTER
from plait.telemetry.histogram import bin_of
from plait.telemetry.reports import Pool, Traffic

_SUMS = {
    metrics.DENIED: "count",
    metrics.OPENED: "count",
    metrics.CLOSED: "closed",
    metrics.RECEIVED: "received",
    metrics.SENT: "sent",
}
"""Counters, and what they are of Traffic."""
_GAUGES = {"upstream_cx_active": "connections", "upstream_rq_active": "requests"}
_POOL_SUMS = {
    "upstream_rq_pending_overflow": "overflowed",
    "upstream_rq_retry": "retried",
    "upstream_rq_pending_failure_eject": "unreached",
    "upstream_cx_none_healthy": "unreached",
}
"""Of clusters, and what they are of Pool."""

EJECTIONS = "outlier_detection.ejections_active"
"""Of a cluster: how many of its endpoints are left alone now, for they failed."""

CLUSTER = "cluster."
"""What is counted of a cluster begins so."""
_TOTALS, _NEXT = "  totals=", ", "

_WANTED = (
    rf"^({METRICS_PREFIX}|{OWN_METRICS_PREFIX})\.({'|'.join((metrics.DURATION, *_SUMS))})\.{LABEL}\."
    rf"|^cluster\.(inbound\||outbound\||{PASSTHROUGH_CLUSTER}).*\.({'|'.join((*_GAUGES, *_POOL_SUMS, EJECTIONS))})$"
)
PAGE = f"/stats?format=text&histogram_buckets=detailed&usedonly&filter={quote(_WANTED, safe='')}"
"""Where the admin interface tells it.  Bins are Envoy's own there, of two significant digits."""


@dataclass(frozen=True, slots=True)
class Counted:
    """All that an Envoy has counted since it was started, by its own names."""

    numbers: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, str] = field(default_factory=dict)
    """Of histograms: `LOWER,WIDTH:COUNT, ...`."""


NOTHING = Counted()


def read(page: bytes) -> Counted:
    """What a page says."""
    numbers: dict[str, int] = {}
    totals: dict[str, str] = {}
    name = ""
    for line in page.decode(errors="replace").split("\n"):
        if line.startswith(" "):
            if line.startswith(_TOTALS):
                totals[name] = line.removeprefix(_TOTALS)
        elif line.endswith(":"):
            name = line[:-1]
        else:
            counted, _, number = line.rpartition(": ")
            if number.isdecimal():
                numbers[counted] = int(number)
    return Counted(numbers, totals)


def traffic(before: Counted, after: Counted) -> tuple[Traffic, ...]:
    """The requests and connections that came between; those that are alike are told once, and what had none not."""
    found: dict[str, dict[str, Any]] = {}
    for name, number in after.numbers.items():
        metric, packed = _metric(name)
        if (of := _SUMS.get(metric)) and (more := _more(before.numbers.get(name, 0), number)):
            found.setdefault(packed, {"count": 0})[of] = more
    for name, totals in after.totals.items():
        if (had := before.totals.get(name, "")) != totals:
            bins = _more_bins(had, totals)
            _, packed = _metric(name)
            found[packed] = {"count": sum(bins.values()), "durations": tuple(sorted(bins.items()))}
    return tuple(Traffic(packed=packed, **of) for packed, of in found.items())


def pools(before: Counted, after: Counted) -> tuple[Pool, ...]:
    """What goes on between the proxy and each cluster, where anything does."""
    found: dict[str, dict[str, int]] = {}
    for name, number in after.numbers.items():
        if not name.startswith(CLUSTER):
            continue
        cluster, _, what = name.removeprefix(CLUSTER).rpartition(".")
        if (of := _GAUGES.get(what)) and number:
            found.setdefault(cluster, {})[of] = number
        if (of := _POOL_SUMS.get(what)) and (more := _more(before.numbers.get(name, 0), number)):
            pool = found.setdefault(cluster, {})
            pool[of] = pool.get(of, 0) + more
    none = dict.fromkeys((*_GAUGES.values(), *_POOL_SUMS.values()), 0)
    return tuple(Pool(cluster=cluster, **none | of) for cluster, of in found.items())


def _metric(name: str) -> tuple[str, str]:
    """What is counted, and by which packed text; no text for what is not counted by one."""
    metric, _, packed = name.partition(f".{LABEL}.")
    return metric.rpartition(".")[2], packed


def _more(before: int, now: int) -> int:
    """By how much a counter has grown; one that is smaller was forgotten by Envoy, and has begun again."""
    return now - before if now >= before else now


def _more_bins(before: str, now: str) -> dict[int, int]:
    """How much each bin of a histogram has grown; again all of it where Envoy has forgotten it meanwhile."""
    had, has = _texts(before), _texts(now)
    old, new = _bins(had - has), _bins(has - had)
    if any(new.get(number, 0) < count for number, count in old.items()):
        return _bins(has)
    return {number: count - old.get(number, 0) for number, count in new.items()}


def _texts(totals: str) -> set[str]:
    """What is said of each bin: `LOWER,WIDTH:COUNT`."""
    return set(totals.split(_NEXT)) if totals else set()


def _bins(texts: Iterable[str]) -> dict[int, int]:
    found: dict[int, int] = {}
    for text in texts:
        place, _, count = text.rpartition(":")
        number = _bin(place)
        found[number] = found.get(number, 0) + int(count)
    return found


@lru_cache(maxsize=4096)
def _bin(place: str) -> int:
    """The bin that Envoy writes as `LOWER,WIDTH`."""
    return bin_of(float(place.partition(",")[0]))
