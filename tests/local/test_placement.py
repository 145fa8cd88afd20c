"""Placement as tables, and as a simulation that must always arrive."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.link.messages import Assignments, State, WorkloadAssignment
from plait.local.placement import (
    WITHDRAWN_WITHIN,
    Act,
    Drain,
    Forget,
    Placed,
    Seen,
    Start,
    Stop,
    place,
)
from plait.model.catalog import Process
from plait.model.names import ReplicaKey, WorkloadKey

WORKLOAD = WorkloadKey("bistro", "reviews")
NOW = 1000.0


def wish(revision: str = "b", replicas: int = 1) -> WorkloadAssignment:
    return WorkloadAssignment(
        key=WORKLOAD,
        revision=revision,
        labels=(),
        service_account="default",
        replicas=replicas,
        process=Process(command=("true",)),
    )


def wishes(*workloads: WorkloadAssignment) -> Assignments:
    return Assignments(trust_domain="cluster.local", workloads=workloads)


def seen(text: str) -> list[Seen]:
    """Replicas written as NUMBER REVISION STATE, such as `0a+ 1b.`

    + ready, . starting, ! failed, # ended, ~ draining, ^ draining and withdrawn, - stopping
    """
    states = {"+": State.READY, ".": State.STARTING, "!": State.FAILED, "#": State.ENDED}
    return [
        Seen(
            key=ReplicaKey(WORKLOAD, int(word[0])),
            revision=word[1],
            state=states.get(word[2], State.READY),
            draining_since=NOW if word[2] in "~^-" else None,
            withdrawn=word[2] in "^-",
            stopping=word[2] == "-",
        )
        for word in text.split()
    ]


def told(placed: Placed) -> str:
    """The acts as text: start and the number, and so on."""

    def one(act: Act) -> str:
        return f"{type(act).__name__.lower()} {act.key.number}"

    return ", ".join(one(act) for act in placed.acts)


@pytest.mark.parametrize(
    ("replicas", "before", "acts"),
    [
        # to begin with, and scaling
        (1, "", "start 0"),
        (3, "", "start 0, start 1, start 2"),
        (1, "0b.", ""),
        (1, "0b!", ""),
        (2, "0b+", "start 1"),
        (2, "1b+", "start 0"),
        (1, "0b+ 1b+", "drain 1"),
        (1, "0b. 1b+", "drain 0"),
        (0, "0b+ 1b+", "drain 1, drain 0"),
        # a roll of one
        (1, "0a+", "start 1"),
        (1, "0a+ 1b.", ""),
        (1, "0a+ 1b!", ""),
        (1, "0a+ 1b+", "drain 0"),
        (1, "0a~ 1b+", ""),
        (1, "0a^ 1b+", "stop 0"),
        (1, "0a- 1b+", ""),
        # a roll of two goes on when the one before is gone
        (2, "0a+ 1a+", "start 2"),
        (2, "0a+ 1a+ 2b+", "drain 1"),
        (2, "0a+ 1a- 2b+", ""),
        (2, "0a+ 2b+", "start 1"),
        (2, "0a+ 1b+ 2b+", "drain 0"),
        # an old one that does not serve goes before one that does
        (2, "0a! 1a+ 2b+", "drain 0"),
        # the change that came after a bad one
        (1, "0a+ 1c!", "drain 1, start 2"),
        (1, "0a+ 1c~", ""),
        # jobs
        (1, "0b#", ""),
        (1, "0a#", "forget 0, start 1"),
        (2, "0b# 1b.", ""),
        (0, "0b#", "forget 0"),
    ],
)
def test_one_step(replicas: int, before: str, acts: str) -> None:
    assert told(place(wishes(wish(replicas=replicas)), seen(before), NOW)) == acts


def test_a_removed_workload_is_drained_whole() -> None:
    assert told(place(wishes(), seen("0a+ 1a. 2a# 3a~"), NOW)) == "drain 0, drain 1, forget 2"


def test_a_replica_that_nobody_withdraws_is_stopped_all_the_same() -> None:
    draining = seen("0a~")
    early = place(wishes(), draining, NOW + WITHDRAWN_WITHIN - 0.1)
    assert (early.acts, early.again_at) == ((), NOW + WITHDRAWN_WITHIN)
    assert told(place(wishes(), draining, NOW + WITHDRAWN_WITHIN)) == "stop 0"


def test_a_roll_that_waits_says_so() -> None:
    ((key, note),) = place(wishes(wish()), seen("0a+ 1b!"), NOW).notes
    assert (key.number, note) == (1, "1 of the previous revision still runs")


def apply(replicas: dict[int, Seen], act: Act) -> None:
    number = act.key.number
    match act:
        case Start(assignment=assignment):
            assert number not in replicas
            replicas[number] = Seen(key=act.key, revision=assignment.revision, state=State.STARTING)
        case Drain():
            assert replicas[number].staying
            replicas[number] = replace(replicas[number], draining_since=NOW)
        case Stop():
            replicas[number] = replace(replicas[number], stopping=True)
        case Forget():
            assert replicas.pop(number).state is State.ENDED


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(State)), st.booleans()), max_size=6),
    st.integers(0, 4),
    st.randoms(use_true_random=False),
)
def test_every_beginning_arrives_at_what_is_wished(
    beginning: list[tuple[str, State, bool]], number: int, chance: object
) -> None:
    """And a roll never takes away the last one that serves before another does."""
    replicas = {
        index: Seen(
            key=ReplicaKey(WORKLOAD, index),
            revision=revision,
            state=State.READY if state is State.DRAINING else state,
            draining_since=NOW if draining else None,
        )
        for index, (revision, state, draining) in enumerate(beginning)
    }
    wished = wishes(wish(replicas=number))
    for _ in range(100):
        placed = place(wished, replicas.values(), NOW)
        for act in placed.acts:
            serving = [one for one in replicas.values() if one.state is State.READY and one.staying]
            apply(replicas, act)
            if isinstance(act, Drain) and number and serving:
                left = [one for one in replicas.values() if one.state is State.READY and one.staying]
                assert left or any(one.state is State.ENDED for one in replicas.values())
        moved = False
        for index, replica in list(replicas.items()):
            if replica.stopping:
                del replicas[index]
            elif not replica.staying:
                replicas[index] = replace(replica, withdrawn=True)
            elif replica.revision == "b" and replica.state in (State.STARTING, State.FAILED):
                replicas[index] = replace(replica, state=State.READY)
            else:
                continue
            moved = True
        if not placed.acts and not moved:
            break
    assert len(replicas) == number
    assert all(replica.revision == "b" for replica in replicas.values())
