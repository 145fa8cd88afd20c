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
    settle.clear()
    assert settle.due(1.3) is None
    settle.touch(1.3)
    assert settle.due(1.3) == pytest.approx(0.02)


def test_after_long_work_there_is_a_rest_as_long() -> None:
    settle = Settle(quiet=0.02, longest=0.2)
    settle.touch(1.0)
    settle.clear()
    settle.acted(1.02, 1.52)
    settle.touch(1.6)
    assert settle.due(1.6) == pytest.approx(0.42)
    assert settle.due(2.02) == 0.0
    settle.touch(3.0)
    assert settle.due(3.0) == pytest.approx(0.02)
