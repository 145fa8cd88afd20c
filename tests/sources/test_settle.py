"""Bursts settle: after a quiet moment, and at the latest after the longest wait."""

import pytest

from plait.sources.settle import Settle


def test_nothing_is_due_when_nothing_happened() -> None:
    assert Settle().due(5.0) is None


def test_a_single_change_is_due_after_the_quiet() -> None:
    settle = Settle(quiet=0.02, longest=0.2)
    settle.touch(1.0)
    assert settle.due(1.0) == pytest.approx(0.02)
    assert settle.due(1.01) == pytest.approx(0.01)
    assert settle.due(1.5) == 0.0


def test_changes_without_a_pause_are_due_after_the_longest_wait() -> None:
    settle = Settle(quiet=0.02, longest=0.2)
    for step in range(30):
        settle.touch(1.0 + step * 0.01)
    assert settle.due(1.19) == pytest.approx(0.01)
    assert settle.due(1.29) == 0.0


def test_what_comes_after_a_burst_was_taken_is_a_burst_of_its_own() -> None:
    settle = Settle(quiet=0.02, longest=0.2)
    settle.touch(1.0)
    settle.act(1.0)
    assert settle.due(1.3) is None
    settle.touch(1.3)
    assert settle.due(1.3) == pytest.approx(0.02)


def test_no_more_than_half_of_the_time_is_spent() -> None:
    settle = Settle(quiet=0.02, longest=0.2, rest=1.0)
    settle.touch(1.0)
    settle.act(1.0, spent=5.0)
    settle.touch(1.01)
    assert settle.due(1.1, spent=5.1) == pytest.approx(0.1), (
        "a tenth of a second was spent: two must have passed"
    )
    assert settle.due(1.2, spent=5.15) == pytest.approx(0.1), "and more was since"
    assert settle.due(1.31, spent=5.15) == 0.0


def test_who_is_busy_with_other_things_rests_no_longer_than_a_second() -> None:
    settle = Settle(quiet=0.02, longest=0.2, rest=1.0)
    settle.touch(1.0)
    settle.act(1.0, spent=5.0)
    settle.touch(1.01)
    assert settle.due(1.9, spent=5.9) == pytest.approx(0.1)
    assert settle.due(2.0, spent=6.0) == 0.0


def test_a_change_after_a_pause_is_not_held_up_by_what_was_spent_before() -> None:
    settle = Settle(quiet=0.02, longest=0.2)
    settle.touch(1.0)
    settle.act(1.0, spent=5.0)
    settle.touch(9.0)
    assert settle.due(9.0, spent=5.6) == pytest.approx(0.02)
