"""Charts: round marks, and nothing is sent that a browser has."""

from __future__ import annotations

import json

import pytest

from plait.api import figures
from plait.dashboard.elements.chart import Line, Picture, changed, picture, ticks


def drawn(until: float, *lines: Line, step: float = 5.0) -> Picture:
    return picture(until, step, lines, write=figures.rate)


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (0, (0.0, 1.0)),
        (0.03, (0.0, 0.01, 0.02, 0.03)),
        (1, (0.0, 0.5, 1.0)),
        (23, (0.0, 10.0, 20.0, 30.0)),
        (30, (0.0, 10.0, 20.0, 30.0)),
        (900, (0.0, 500.0, 1000.0)),
    ],
)
def test_marks_are_round_and_reach_the_highest(most: float, marks: tuple[float, ...]) -> None:
    assert ticks(most) == marks


def test_what_is_shown_is_not_sent_again() -> None:
    line = Line("requests", (1.0, None, 3.0))
    assert changed(drawn(100, line), drawn(100, line)) is None


def test_noise_beyond_what_is_seen_is_not_sent() -> None:
    before, now = Line("requests", (1.00001,)), Line("requests", (1.00002,))
    assert changed(drawn(100, before), drawn(100, now)) is None


def test_a_step_later_one_point_is_sent() -> None:
    before = drawn(100, Line("requests", (1.0, 2.0, 3.0)))
    now = drawn(105, Line("requests", (2.0, 3.0, 2.5)))
    assert changed(before, now) == {"first": 19, "last": 21, "points": {"requests": [(2, 2.5, "2.5/s")]}}


def test_a_point_that_became_known_or_unknown_is_sent_alone() -> None:
    before = drawn(100, Line("requests", (1.0, None, 3.0)))
    now = drawn(100, Line("requests", (1.0, 2.0, None)))
    assert changed(before, now) == {
        "marks": ((0.0, ""), (1.0, "1.0/s"), (2.0, "2.0/s")),
        "points": {"requests": [(1, 2.0, "2.0/s"), (2,)]},
    }


def test_a_line_that_comes_is_sent_whole_and_the_others_not() -> None:
    one, two = Line("v1", (1.0, 1.0)), Line("v2", (0.5, 0.5), "--series-2", stacked=True)
    came = changed(drawn(100, one), drawn(100, one, two))
    assert came is not None
    assert came["lines"] == (
        {"name": "v1", "colour": "--series-1"},
        {"name": "v2", "colour": "--series-2", "stacked": True},
    )
    assert came["points"] == {"v2": [(0, 0.5, "0.5/s"), (1, 0.5, "0.5/s")]}
    assert changed(drawn(100, one, two), drawn(100, one)) == {
        "lines": ({"name": "v1", "colour": "--series-1"},)
    }


def test_other_steps_are_another_picture() -> None:
    line = Line("requests", (1.0, 2.0))
    whole = changed(drawn(100, line), drawn(100, line, step=15))
    assert whole is not None
    assert whole["step"] == 15
    assert whole["points"] == {"requests": [(0, 1.0, "1.0/s"), (1, 2.0, "2.0/s")]}


def test_a_step_costs_a_fraction_of_the_picture() -> None:
    points = tuple(20 + number / 7 for number in range(61))
    lines = [tuple(point * factor for point in points) for factor in (1, 2, 3)]
    before = drawn(300, *(Line(f"p{number}", line[:60]) for number, line in enumerate(lines)))
    now = drawn(305, *(Line(f"p{number}", line[1:]) for number, line in enumerate(lines)))
    assert len(json.dumps(changed(before, now))) * 15 < len(json.dumps(changed(None, now)))
