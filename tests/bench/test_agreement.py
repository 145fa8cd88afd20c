"""When two runs agree."""

import pytest

from bench.agreement import apart, compared
from bench.records import Record


def record(*values: float, metric: str = "CPU") -> Record:
    return Record(part="p", case="c", setting="s", metric=metric, unit="ms", values=values)


@pytest.mark.parametrize(
    ("old", "new", "distance"),
    [
        ((10, 11, 12), (12, 14, 16), 0.0),  # 12 is in both
        ((10, 11, 12), (13, 14, 15), 3 / 11),
        ((100, 101, 102), (103, 104, 105), 0.0),  # near
        ((10,), (11,), 0.0),
        ((10,), (12,), 0.2),
        ((0,), (0,), 0.0),
        ((0,), (1,), 1.0),
    ],
)
def test_ranges_that_overlap_agree_and_so_do_near_medians(
    old: tuple[float, ...], new: tuple[float, ...], distance: float
) -> None:
    assert apart(record(*old), record(*new)) == pytest.approx(distance)


def test_only_what_both_have_is_compared_and_the_furthest_apart_comes_first() -> None:
    old = [record(10), record(10, metric="rps"), record(1, metric="gone")]
    new = [record(12), record(20, metric="rps"), record(1, metric="new")]
    found = compared(old, new)
    assert [(distance, after.metric) for distance, _, after in found["p"]] == [(1.0, "rps"), (0.2, "CPU")]
