"""What follows from documents follows from them alone: from no order, no hash and no build before."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.envoy.render import Renderer
from plait.model.catalog import Replica
from plait.run.compilation import Compilation
from tests.properties.runs import PATIENT, SECONDS, examples, tried
from tests.properties.sets import Value, sets
from tests.properties.telling import (
    SETTINGS,
    forget,
    located,
    running,
    tell,
    told_by_nobody_before,
)

pytestmark = PATIENT

Record = Callable[[str, object], None]
Other = subprocess.Popen[str]
Turn = tuple[set[int], set[int]]
"""Whose documents are said otherwise next, and who serves no more, or again."""

CHANCE = st.randoms(use_true_random=False)
TURNS = st.lists(
    st.tuples(
        st.sets(st.integers(0, 30), min_size=1, max_size=6),
        st.sets(st.integers(0, 5), max_size=2),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def others() -> Iterator[list[Other]]:
    """Processes that hash strings in other ways, and tell what follows as well."""
    with _process("1") as one, _process("2") as other:
        yield [one, other]


@contextmanager
def _process(seed: str) -> Iterator[Other]:
    command = [sys.executable, "-m", "tests.properties.telling"]
    environment = os.environ | {"PYTHONHASHSEED": seed}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


def _asked(process: Other, documents: list[Value]) -> str:
    """What another process says."""
    said, heard = process.stdin, process.stdout
    assert said is not None
    assert heard is not None
    said.write(json.dumps(documents) + "\n")
    said.flush()
    return heard.readline().strip()


def order_changes_nothing(documents: list[Value], chance: random.Random) -> None:
    stated = list(located(documents))
    before = told_by_nobody_before(stated)
    chance.shuffle(stated)
    assert told_by_nobody_before(stated).unlike(before) == []


def others_say_the_same(others: list[Other], documents: list[Value]) -> None:
    said = told_by_nobody_before(located(documents)).digest()
    assert [_asked(one, documents) for one in others] == [said, said]


def edits_leave_nothing_behind(first: list[Value], second: list[Value], turns: list[Turn]) -> None:
    """What is held of broken objects is told to whoever starts, as a control plane tells its next one."""
    forget()
    compilation, renderer = Compilation(SETTINGS), Renderer()
    chosen: dict[int, int] = {}
    silent: set[int] = set()
    replicas: tuple[Replica, ...] = ()
    walk = []
    for edited, stopped in [(set[int](), set[int]()), *turns]:
        for index in edited:
            chosen[index] = chosen.get(index, 0) + 1
        silent ^= stopped
        documents = located(_stated(first, second, chosen))
        known = dict(compilation.good)
        members = frozenset(one.member for one in replicas)
        compiled = compilation.compile(documents, members)
        replicas = tuple(
            replace(one, serving=index not in silent) for index, one in enumerate(running(compiled.mesh))
        )
        walk.append((documents, known, members, replicas, tell(compiled, replicas, renderer)))
    for documents, known, members, then, said in walk:
        forget()
        anew = Compilation(SETTINGS, good=known).compile(documents, members)
        assert tell(anew, then, Renderer()).unlike(said) == []


def _stated(first: list[Value], second: list[Value], chosen: dict[int, int]) -> list[Value]:
    """Of each object one of its versions, or none."""
    versions: dict[str, list[Value]] = {}
    for one in (*first, *second):
        metadata = one["metadata"]
        key = f"{one['kind']} {metadata.get('namespace')}/{metadata['name']}"
        versions.setdefault(key, []).append(one)
    choices = (
        (versions[key], chosen.get(index, 0) % (len(versions[key]) + 1))
        for index, key in enumerate(sorted(versions))
    )
    return [several[which] for several, which in choices if which < len(several)]


@examples(40)
@given(sets(), CHANCE)
def test_the_order_of_documents_changes_nothing(documents: list[Value], chance: random.Random) -> None:
    order_changes_nothing(documents, chance)


@examples(30)
@given(sets())
def test_another_process_says_the_same_byte_by_byte(others: list[Other], documents: list[Value]) -> None:
    others_say_the_same(others, documents)


@examples(25)
@given(sets(), sets(), TURNS)
def test_after_any_edits_the_same_follows_as_for_whoever_starts_now(
    first: list[Value], second: list[Value], turns: list[Turn]
) -> None:
    edits_leave_nothing_behind(first, second, turns)


@pytest.mark.prove
@pytest.mark.timeout(SECONDS)
def test_the_order_of_thousands_of_sets_changes_nothing(record_property: Record) -> None:
    record_property("sets", tried(order_changes_nothing, 3000, sets(), CHANCE))


@pytest.mark.prove
@pytest.mark.timeout(SECONDS)
def test_other_processes_say_the_same_of_thousands_of_sets(
    others: list[Other], record_property: Record
) -> None:
    record_property("sets", tried(partial(others_say_the_same, others), 2000, sets()))


@pytest.mark.prove
@pytest.mark.timeout(SECONDS)
def test_a_thousand_walks_of_edits_leave_nothing_behind(record_property: Record) -> None:
    record_property("walks", tried(edits_leave_nothing_behind, 1500, sets(), sets(), TURNS))
