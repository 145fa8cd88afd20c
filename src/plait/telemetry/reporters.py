"""Each request once, although both ends tell of it.

The callee's word counts where there is one: it tells what a service did, every attempt of a retried request is one
there, and no client can leave anything out.  The caller's counts where the callee's proxy can't know of it:

- nobody was chosen to send it to (no route, nobody healthy, too many already, a fault), or somebody outside of the mesh;
- it never arrived, as Envoy's flags say (UF, UC and the like);
- the callee's proxy tells of nothing that this caller sends it (its metrics are disabled, it is out of reach).

In the clear a callee doesn't know who calls.  Where it matters who does, the caller's word counts for what callers of
the mesh send so, and of the callee's word, for callers that are unknown, what is more than that.  Nobody can tell
then how long the requests of the latter took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from plait.model.names import WorkloadKey
from plait.telemetry.series import Family, Labels, Reporter, Total

NEVER_ARRIVED = frozenset({"DF", "DO", "DPE", "FI", "NC", "NFCF", "NR", "UC", "UF", "UH", "UO"})
"""Flags of Envoy at a caller: who was chosen, if anybody, does not know of this request."""
TCP_NEVER_ARRIVED = NEVER_ARRIVED | {"URX"}
NO_CONNECTION = frozenset({"UF", "UH"})
"""Flags of a request whose last attempt reached nobody: of each attempt a proxy counts as UNREACHED."""

Pair = tuple[Family, WorkloadKey | None, WorkloadKey | None]


def told_by_callees(seen: Iterable[Labels]) -> frozenset[Pair]:
    """Between whom the callee's proxy tells of traffic, by what was seen lately."""
    return frozenset(_pair(one) for one in seen if one.reporter == Reporter.DESTINATION)


def once(
    totals: Mapping[Labels, Total], callees: frozenset[Pair], *, callers: bool
) -> Iterator[tuple[Labels, Total]]:
    """What counts of all that was told; `callers`: whether it matters who called."""
    unknown: list[tuple[Labels, Total]] = []
    in_the_clear: Counter[tuple[object, ...]] = Counter()
    for labels, total in totals.items():
        if labels.reporter == Reporter.SOURCE:
            known_as_nobody = _told_as_of_nobody(labels, callees)
            if known_as_nobody and callers:
                in_the_clear[_answer(labels)] += total.count
            if callers if known_as_nobody else _untold(labels, callees):
                yield labels, total
        elif callers and _of_nobody(labels):
            unknown.append((labels, total))
        else:
            yield labels, total
    for labels, total in unknown:
        known = min(in_the_clear[_answer(labels)], total.count)
        in_the_clear[_answer(labels)] -= known
        if not known:
            yield labels, total
        elif total.count > known:
            yield labels, Total(count=total.count - known)


def _untold(labels: Labels, callees: frozenset[Pair]) -> bool:
    """Whether the callee's proxy does not tell of what a caller's proxy tells of."""
    return labels.destination is None or never_arrived(labels) or _pair(labels) not in callees


def _told_as_of_nobody(labels: Labels, callees: frozenset[Pair]) -> bool:
    """Whether a caller's proxy tells of what the callee's doesn't know the caller of."""
    nobody = (labels.family, None, labels.destination)
    return labels.mtls is False and not never_arrived(labels) and nobody in callees


def _of_nobody(labels: Labels) -> bool:
    """Whether a callee's proxy does not know who called, for it was in the clear."""
    return labels.source is None and labels.mtls is False and labels.family is not Family.DENIED


def never_arrived(labels: Labels) -> bool:
    """Whether a caller's proxy says that whom it chose has never seen it."""
    flags = TCP_NEVER_ARRIVED if labels.family is Family.TCP else NEVER_ARRIVED
    return not flags.isdisjoint(labels.flags.split(","))


def no_connection(labels: Labels) -> bool:
    """Whether a caller's proxy says that it could reach nobody."""
    return labels.reporter == Reporter.SOURCE and not NO_CONNECTION.isdisjoint(labels.flags.split(","))


def _pair(labels: Labels) -> Pair:
    return labels.family, labels.source, labels.destination


def _answer(labels: Labels) -> tuple[object, ...]:
    return labels.family, labels.destination, labels.code, labels.grpc_status
