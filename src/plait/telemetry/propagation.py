"""Who receives the context of a trace, and calls others without it.

A sidecar sees what comes in and what goes out, and not which belongs to which.  So this is found by chance, or rather
by how little of it there can be: calls that have nothing to do with requests begin at any time, and of those only so
many begin while a request is served as there are such times.  When far more do, they are made for these requests, and
what was received with them got lost.

- A call counts when it is in no trace that its replica was sent; after one to the same service that is, all is well
  again, and what was before is forgotten.
- Calls that begin close together, or while something is served without a pause, are one: a burst in the background
  is no proof of anything.
- How much of the time requests are served is measured around each call, so that bursts of both don't look alike.
- Only sampled requests and calls are seen: the fewer, the longer it takes.
- Where requests are served without a pause nothing can be told by time.  Then it is only said that of so many calls
  none was made in a trace, though so many requests came with one (`PERHAPS`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from math import exp, lgamma, log
from statistics import median
from urllib.parse import urlsplit

from plait.envoy import names
from plait.model.finding import Finding, Severity
from plait.model.names import ObjectRef, WorkloadKey
from plait.telemetry.spans import Kind, Span, Teller

WINDOW = 600.0
"""Seconds that are looked at."""
MOST = 2_000
"""So many requests and so many calls of a replica are remembered."""

_NANO = 1_000_000_000
_FEWEST = 3
_LIKELY, _SURE = 1e-3, 1e-6
"""How improbable it must be that the calls have nothing to do with requests."""
_MANY, _MOSTLY = 30, 0.5
"""So many requests and calls are worth a word where something is served most of the time, so that time tells nothing."""
_ONE = _NANO // 10
"""Calls that begin within this time of each other are one."""
_AROUND, _LONGER = _NANO, 10
"""How far around a call is looked at how much is served: this, or so many times as long as requests usually take."""
_CAUTION = 1.25
"""So much more than what is seen there may be by chance: at the ends of a burst of both there is less to be seen."""


class How(StrEnum):
    """How sure it is that context is lost; B3: it is, since the calls carry another kind of it."""

    SURE = "surely"
    LIKELY = "very likely"
    PERHAPS = "perhaps"
    B3 = "b3"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request or a call, as proof: its trace, its span, and when it began, in nanoseconds since the epoch."""

    trace: str
    span: str
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Calls of a workload to a service (`callee`) that were not made in the traces that it was sent.

    `calls` of `among` began while it served a request, and `chance` of them would have by chance; `since` is when the
    first did.  `received` and `sent` are one of these requests and the call that was made meanwhile.
    """

    workload: WorkloadKey
    callee: str
    how: How
    calls: int
    among: int
    chance: float
    since: int
    received: Seen | None
    sent: Seen


@dataclass(slots=True)
class _Request:
    seen: Seen
    end: int


@dataclass(slots=True)
class _Call:
    seen: Seen
    callee: str
    b3: bool


@dataclass(slots=True)
class _Replica:
    requests: deque[_Request] = field(default_factory=lambda: deque(maxlen=MOST))
    calls: deque[_Call] = field(default_factory=lambda: deque(maxlen=MOST))


class Watch:
    """Looks at what sidecars tell, and says who loses context."""

    def __init__(self) -> None:
        self._replicas: dict[tuple[WorkloadKey, int | None], _Replica] = {}
        self._told: dict[tuple[WorkloadKey, str], Lost] = {}

    def saw(self, span: Span) -> None:
        """A span was told; those of applications prove nothing."""
        if span.teller is not Teller.SIDECAR or span.kind not in (Kind.SERVER, Kind.CLIENT):
            return
        replica = self._replicas.setdefault((span.workload, span.replica), _Replica())
        seen = Seen(span.trace, span.id, span.start)
        if span.kind is Kind.SERVER:
            replica.requests.append(_Request(seen, span.end))
            return
        b3 = not span.parent and any(tag in span.attributes for tag in names.B3_TAGS)
        replica.calls.append(_Call(seen, _callee(span), b3))

    def lost(self, now: float) -> tuple[Lost, ...]:
        """Who loses context now (seconds since the epoch); what was told before stays as told until it changes much."""
        found = {(one.workload, one.callee): one for one in self._judged(round((now - WINDOW) * _NANO))}
        for key, one in found.items():
            told = self._told.get(key)
            if told is not None and told.how == one.how and one.calls < 2 * told.calls:
                found[key] = told
        self._told = found
        return tuple(found[key] for key in sorted(found))

    def _judged(self, since: int) -> Iterator[Lost]:
        by_callee: dict[tuple[WorkloadKey, str], list[tuple[_Replica, list[_Call]]]] = {}
        for key, replica in tuple(self._replicas.items()):
            _forget(replica, since)
            if not replica.requests and not replica.calls:
                del self._replicas[key]
            for callee, calls in _by_callee(replica).items():
                by_callee.setdefault((key[0], callee), []).append((replica, calls))
        for (workload, callee), several in by_callee.items():
            evidence = _Evidence(passed=max(_passed(*one) for one in several))
            for replica, calls in several:
                _weigh(replica, [call for call in calls if call.seen.start > evidence.passed], evidence)
            found = _verdict(workload, callee, evidence)
            if found is not None:
                yield found


@dataclass(slots=True)
class _Evidence:
    """Of the calls of a workload to one service, since one was made in a trace that was sent."""

    passed: int
    """When that was; 0: never."""
    requests: int = 0
    within: list[tuple[_Call, _Request]] = field(default_factory=list)
    calls: int = 0
    among: int = 0
    """Calls, and those that are chances of their own."""
    shares: list[float] = field(default_factory=list)
    """Around each call the part of the time in which something is served."""
    by_b3: list[_Call] = field(default_factory=list)
    last: _Call | None = None


def finding(lost: Lost) -> Finding:
    """What the user is told."""
    who, whom = str(lost.workload), lost.callee
    ref = ObjectRef("plait.dev", "Workload", lost.workload.namespace, lost.workload.name)
    sent = f"trace {lost.sent.trace}, called {_clock(lost.sent.start)}"
    if lost.how is How.B3:
        message = (
            f"calls of {who} to {whom} carry the trace context of B3 alone, which joins no trace here: "
            f"{lost.calls} since {_clock(lost.since)}, e.g. {sent}; have it send traceparent (W3C) as well"
        )
        return Finding(Severity.WARNING, "tracing.zipkin-context", message, ref)
    if lost.received is None or lost.how is How.PERHAPS:
        message = (
            f"none of {lost.among} calls of {who} to {whom} was made in a trace that it was sent: either they have "
            f"nothing to do with the requests that it serves, or it drops their context; e.g. {sent}"
        )
        return Finding(Severity.INFO, "tracing.context-perhaps-dropped", message, ref)
    message = (
        f"{who} {lost.how} drops the trace context of requests when it calls {whom}: {lost.calls} of {lost.among} "
        f"calls since {_clock(lost.since)} began a trace of their own while it served a request of another "
        f"({lost.chance:.1f} would by chance), e.g. it was sent trace {lost.received.trace} at "
        f"{_clock(lost.received.start)}, and then began {sent}; have it send traceparent and tracestate on"
    )
    return Finding(Severity.WARNING, "tracing.context-dropped", message, ref)


def improbable(hits: int, of: int, share: float) -> float:
    """How probable it is that of so many, each of which hits with probability `share`, as many hit or more."""
    if share <= 0.0 or share >= 1.0 or not hits:
        return 0.0 if share <= 0.0 < hits else 1.0
    total = 0.0
    for k in range(hits, of + 1):
        ways = lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1)
        total += exp(ways + k * log(share) + (of - k) * log(1 - share))
    return min(1.0, total)


def _verdict(workload: WorkloadKey, callee: str, evidence: _Evidence) -> Lost | None:
    if evidence.by_b3:
        first, last = evidence.by_b3[0], evidence.by_b3[-1]
        number = len(evidence.by_b3)
        return Lost(
            workload=workload,
            callee=callee,
            how=How.B3,
            calls=number,
            among=number,
            chance=0.0,
            since=first.seen.start,
            received=None,
            sent=last.seen,
        )
    hits, among = len(evidence.within), evidence.among
    share = sum(evidence.shares) / len(evidence.shares) if evidence.shares else 0.0
    doubt = improbable(hits, among, share) if hits >= _FEWEST else 1.0
    if doubt < _LIKELY:
        call, request = evidence.within[-1]
        return Lost(
            workload=workload,
            callee=callee,
            how=How.SURE if doubt < _SURE else How.LIKELY,
            calls=hits,
            among=among,
            chance=share * among,
            since=evidence.within[0][0].seen.start,
            received=request.seen,
            sent=call.seen,
        )
    many = min(evidence.calls, evidence.requests) >= _MANY
    if many and not evidence.passed and evidence.last and share > _MOSTLY:
        return Lost(
            workload=workload,
            callee=callee,
            how=How.PERHAPS,
            calls=evidence.calls,
            among=evidence.calls,
            chance=share * evidence.calls,
            since=evidence.last.seen.start,
            received=None,
            sent=evidence.last.seen,
        )
    return None


def _forget(replica: _Replica, since: int) -> None:
    """What is too old, and calls of a time of which requests are forgotten."""
    full = len(replica.requests) == MOST
    while replica.requests and replica.requests[0].end < since:
        replica.requests.popleft()
    oldest = max(since, replica.requests[0].seen.start) if full and replica.requests else since
    while replica.calls and replica.calls[0].seen.start < oldest:
        replica.calls.popleft()


def _by_callee(replica: _Replica) -> dict[str, list[_Call]]:
    found: dict[str, list[_Call]] = {}
    for call in sorted(replica.calls, key=lambda one: one.seen.start):
        found.setdefault(call.callee, []).append(call)
    return found


def _passed(replica: _Replica, calls: Iterable[_Call]) -> int:
    """When the last of these began that was made in a trace which the replica was sent; 0: none was."""
    traces = {one.seen.trace for one in replica.requests}
    return max((call.seen.start for call in calls if call.seen.trace in traces), default=0)


def _weigh(replica: _Replica, calls: Sequence[_Call], evidence: _Evidence) -> None:
    """Add what calls of one replica say, none of which was made in a trace that it was sent."""
    requests = sorted(replica.requests, key=lambda one: one.seen.start)
    served = _Served(requests)
    evidence.requests += len(requests)
    evidence.by_b3 += [call for call in calls if call.b3]
    others = [call for call in calls if not call.b3]
    evidence.calls += len(others)
    for call, request in served.apart(others):
        evidence.among += 1
        evidence.shares.append(served.share_around(call.seen.start))
        evidence.last = call
        if request is not None:
            evidence.within.append((call, request))


class _Served:
    """When requests were served."""

    def __init__(self, requests: Sequence[_Request]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._first: list[_Request] = []
        for one in requests:
            if self._ends and one.seen.start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], one.end)
            else:
                self._starts.append(one.seen.start)
                self._ends.append(one.end)
                self._first.append(one)
        usual = median(one.end - one.seen.start for one in requests) if requests else 0
        self._around = max(_AROUND, _LONGER * round(usual))

    def apart(self, calls: Iterable[_Call]) -> Iterator[tuple[_Call, _Request | None]]:
        """Calls that are chances of their own, each with a request that was served when it began.

        Of those that begin close together it is the first, and so it is while something is served without a pause.
        """
        before, last = -1, 0
        for call in calls:
            time = call.seen.start
            if time - last <= _ONE:
                continue
            last = time
            index = bisect_right(self._starts, time) - 1
            if index < 0 or time > self._ends[index]:
                yield call, None
            elif index != before:
                yield call, self._first[index]
                before = index

    def share_around(self, time: int) -> float:
        """In which part of the time around another something was served."""
        begin, end = time - self._around, time + self._around
        index, total = max(0, bisect_right(self._starts, begin) - 1), 0
        while index < len(self._starts) and self._starts[index] < end:
            total += max(0, min(end, self._ends[index]) - max(begin, self._starts[index]))
            index += 1
        return min(1.0, _CAUTION * total / (end - begin))


def _callee(span: Span) -> str:
    key = names.cluster_key(span.attributes.get("upstream_cluster", ""))
    return key.host if key is not None else urlsplit(span.attributes.get("http.url", "")).netloc or "somebody"


def _clock(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / _NANO, UTC).strftime("%H:%M:%S.%f")[:-3] + "Z"
