"""What to start and what to stop, from what is wished and what runs.  Pure: the clock is handed in.

A workload whose revision changes is rolled over replica by replica: one new replica is started beside the old
ones; when it is ready one old one is drained; when that is gone, the next.  A new replica that does not become
ready stops the roll there, and the old ones go on serving.  To drain is to ask the control plane to withdraw the
replica from everybody's endpoints, and to stop it once that is confirmed, or after WITHDRAWN_WITHIN seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, filterfalse, islice

from plait.link.messages import Assignments, State, WorkloadAssignment
from plait.model.names import ReplicaKey, WorkloadKey

WITHDRAWN_WITHIN = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One replica as it stands.  `state` is its own; `draining_since` counts once it was told to drain."""

    key: ReplicaKey
    revision: str
    state: State
    draining_since: float | None = None
    withdrawn: bool = False
    stopping: bool = False

    @property
    def staying(self) -> bool:
        return self.draining_since is None and not self.stopping


@dataclass(frozen=True, slots=True)
class Start:
    """Run a new replica of this workload under this key."""

    key: ReplicaKey
    assignment: WorkloadAssignment


@dataclass(frozen=True, slots=True)
class Drain:
    """Have it withdrawn; it goes on serving until it is stopped."""

    key: ReplicaKey


@dataclass(frozen=True, slots=True)
class Stop:
    key: ReplicaKey


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove what is left of a replica that has ended."""

    key: ReplicaKey


Act = Start | Drain | Stop | Forget


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What to do now.  `notes` explain to users why a roll waits; `again_at` is when to ask anew at the latest."""

    acts: tuple[Act, ...] = ()
    notes: tuple[tuple[ReplicaKey, str], ...] = ()
    again_at: float | None = None


def place(wished: Assignments, seen: Iterable[Seen], now: float) -> Placed:
    """What brings the replicas that are seen nearer to what is wished."""
    acts: list[Act] = []
    notes: list[tuple[ReplicaKey, str]] = []
    again: list[float] = []
    by_workload: dict[WorkloadKey, list[Seen]] = {}
    for replica in sorted(seen, key=lambda replica: replica.key):
        by_workload.setdefault(replica.key.workload, []).append(replica)
        if replica.draining_since is not None and not replica.stopping:
            until = replica.draining_since + WITHDRAWN_WITHIN
            if replica.withdrawn or now >= until:
                acts.append(Stop(replica.key))
            else:
                again.append(until)
    assigned = {assignment.key: assignment for assignment in wished.workloads}
    for key in sorted({*by_workload, *assigned}):
        replicas = by_workload.get(key, [])
        assignment = assigned.get(key)
        if assignment is None:
            acts += [_end(replica) for replica in replicas if replica.staying]
        else:
            acts += _workload(assignment, replicas, notes)
    return Placed(acts=tuple(acts), notes=tuple(notes), again_at=min(again, default=None))


def _workload(
    wished: WorkloadAssignment, replicas: Sequence[Seen], notes: list[tuple[ReplicaKey, str]]
) -> list[Act]:
    staying = [replica for replica in replicas if replica.staying]
    fresh = [replica for replica in staying if replica.revision == wished.revision]
    stale = [replica for replica in staying if replica.revision != wished.revision]
    acts: list[Act] = [_end(replica) for replica in stale if replica.state is State.ENDED]
    stale = [replica for replica in stale if replica.state is not State.ENDED]
    # A roll that was overtaken by the next change leaves more behind than there should be: the worst go first.
    stale, surplus = _keep(stale, wished.replicas)
    acts += [_end(replica) for replica in surplus]
    fresh, surplus = _keep(fresh, wished.replicas)
    acts += [_end(replica) for replica in surplus]
    if not stale:
        return acts + _start(wished, replicas, wished.replicas - len(fresh))
    waiting = [replica for replica in fresh if replica.state not in (State.READY, State.ENDED)]
    for replica in waiting:
        others = f"{len(stale)} of the previous revision still {'runs' if len(stale) == 1 else 'run'}"
        notes.append((replica.key, others))
    leaving = any(not replica.staying for replica in replicas)
    if waiting or leaving:
        return acts
    if len(fresh) + len(stale) > wished.replicas:
        return [*acts, _end(_worst_first(stale)[0])]
    return acts + _start(wished, replicas, 1)


def _start(wished: WorkloadAssignment, replicas: Sequence[Seen], number: int) -> list[Act]:
    """So many new replicas, under the smallest numbers that nobody has, those on their way out included."""
    taken = {replica.key.number for replica in replicas}
    free = filterfalse(taken.__contains__, count())
    return [Start(ReplicaKey(wished.key, chosen), wished) for chosen in islice(free, max(0, number))]


def _end(replica: Seen) -> Act:
    return Forget(replica.key) if replica.state is State.ENDED else Drain(replica.key)


def _keep(replicas: Sequence[Seen], number: int) -> tuple[list[Seen], list[Seen]]:
    """The best `number` replicas, and the rest."""
    ranked = _worst_first(replicas)
    surplus = ranked[: max(0, len(ranked) - number)]
    return [replica for replica in replicas if replica not in surplus], surplus


def _worst_first(replicas: Sequence[Seen]) -> list[Seen]:
    """Those that do not serve before those that do, the highest numbers first among equals."""
    good = (State.READY, State.ENDED)
    return sorted(replicas, key=lambda replica: (replica.state in good, -replica.key.number))
