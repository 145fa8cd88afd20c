"""A trace as a waterfall: its spans as a tree, where each stands in time, and what the whole took its time for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from plait.api.views import SpanView, TraceView

COLOURS = 6
"""So many --series of dashboard.css there are to tell workloads apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A span and its place: `depth` below the top, `below` so many spans that fold into it.

    `left` and `width` are parts of the whole trace.  `own_ms` is the time in which nothing below it was under way;
    `critical`: had it been faster, so had been the whole.
    """

    span: SpanView
    depth: int
    below: int
    left: float
    width: float
    own_ms: float
    critical: bool


def bars(trace: TraceView) -> tuple[Bar, ...]:
    """The spans of a trace below each other, each before those that it was the reason of; the earliest first.

    A span whose parent is not known stands at the top, and so does one of a circle.
    """
    children = _children(trace.spans)
    ordered = tuple(_ordered(trace.spans, children))
    critical = _critical(trace, children)
    whole = trace.duration_ms or 1.0
    return tuple(
        Bar(
            span=span,
            depth=depth,
            below=_below(ordered, number),
            left=min(1.0, max(0.0, span.start_ms / whole)),
            width=min(1.0, span.duration_ms / whole),
            own_ms=_own(span, children.get(span.id, ())),
            critical=span.id in critical,
        )
        for number, (span, depth) in enumerate(ordered)
    )


def cause(some: Sequence[Bar]) -> SpanView | None:
    """Where it went wrong first: the deepest span that failed, with nothing below it that did; None: nothing failed.

    Of a call that both ends tell it is the caller's, when that alone says why.
    """
    failed = {bar.span.id: bar for bar in some if bar.span.failed}
    first = max(
        (
            bar
            for number, bar in enumerate(some)
            if bar.span.failed
            and not any(one.span.failed for one in some[number + 1 : number + 1 + bar.below])
        ),
        key=lambda bar: bar.depth,
        default=None,
    )
    if first is None:
        return None
    caller = failed.get(first.span.parent)
    both = caller is not None and (caller.span.kind, first.span.kind) == ("client", "server")
    return caller.span if caller is not None and both and not first.span.message else first.span


def who(span: SpanView) -> str:
    """The workload that told it, without its namespace."""
    return span.workload.rpartition("/")[2] or span.service


def callee(span: SpanView) -> str:
    """Whom a client's span calls, as the caller has named it; "" for others."""
    if span.kind != "client":
        return ""
    return re.sub(r":\d+$", "", span.called)


def host(span: SpanView) -> str:
    """The host of the service that a span calls, as its Envoy knows it; "" where it does not say."""
    match span.attribute("upstream_cluster").split("|"):
        case ["outbound", _, _, host]:
            return host
        case _:
            return ""


def colours(spans: Sequence[SpanView]) -> Mapping[str, int]:
    """A number from 1 for each workload, in the order in which they come in."""
    names = dict.fromkeys(one.workload for one in spans)
    return {name: number % COLOURS + 1 for number, name in enumerate(names)}


def status(span: SpanView) -> str:
    """What was answered, in short; "" where nothing is said."""
    code, grpc = span.attribute("http.status_code"), span.attribute("grpc.status_code")
    parts = (
        "no answer" if code == "0" else code,
        f"gRPC {grpc}" if grpc not in {"", "0"} else "",
        flags if (flags := span.attribute("response_flags")) != "-" else "",
    )
    return " ".join(part for part in parts if part)


def _children(spans: Sequence[SpanView]) -> Mapping[str, Sequence[SpanView]]:
    """By the id of the parent; "" has those at the top."""
    known = {one.id for one in spans}
    found: dict[str, list[SpanView]] = {}
    for one in sorted(spans, key=lambda span: span.start_ms):
        found.setdefault(one.parent if one.parent in known and one.parent != one.id else "", []).append(one)
    return found


def _ordered(
    spans: Sequence[SpanView], children: Mapping[str, Sequence[SpanView]]
) -> Iterator[tuple[SpanView, int]]:
    seen: set[str] = set()
    for top in (*children.get("", ()), *spans):  # of a circle nobody is at the top
        waiting = [(top, 0)]
        while waiting:
            span, depth = waiting.pop()
            if span.id in seen:
                continue
            seen.add(span.id)
            yield span, depth
            waiting += [(child, depth + 1) for child in reversed(children.get(span.id, ()))]


def _below(ordered: Sequence[tuple[SpanView, int]], number: int) -> int:
    depth = ordered[number][1]
    after = number + 1
    while after < len(ordered) and ordered[after][1] > depth:
        after += 1
    return after - number - 1


def _end(span: SpanView) -> float:
    return span.start_ms + span.duration_ms


def _own(span: SpanView, children: Sequence[SpanView]) -> float:
    left, at = span.duration_ms, span.start_ms
    for child in children:  # in the order in which they began
        begin, end = max(at, child.start_ms), min(_end(child), _end(span))
        if end > begin:
            left, at = left - (end - begin), end
    return max(0.0, left)


def _critical(trace: TraceView, children: Mapping[str, Sequence[SpanView]]) -> frozenset[str]:
    """From the end back: of what was under way, whatever ended last is what was waited for."""
    found: set[str] = set()
    tops = children.get("", ())
    waiting = [(max(tops, key=_end), trace.duration_ms)] if tops else []
    while waiting:
        span, at = waiting.pop()
        found.add(span.id)
        at = min(at, _end(span))
        for child in sorted(children.get(span.id, ()), key=_end, reverse=True):
            if child.id not in found and child.start_ms < at and _end(child) <= at:
                waiting.append((child, at))
                at = child.start_ms
    return frozenset(found)
