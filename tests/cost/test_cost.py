"""No number of bounds.toml gets worse unseen, and none stays that has become better."""

import pytest

from tests.cost.bounds import load, measured, problem, problems, renewed


def test_everything_costs_what_was_recorded() -> None:
    found = problems(measured(), load())
    assert not found, "\n".join(("", *found))


@pytest.mark.parametrize(
    ("now", "bound", "said"),
    [
        (100, 100, None),
        (80, 100, None),
        (0, 0, None),
        (101, 100, "part.name is 101, more than its bound of 100: make it cheaper"),
        (1, 0, "more than its bound of 0"),
        (79, 100, "part.name is 79, much less than its bound of 100: keep it so"),
        (7, None, "part.name is 7 and has no bound"),
        (None, 7, "part.name has a bound and is measured no more"),
    ],
)
def test_a_number_is_judged_from_either_side(now: int | None, bound: int | None, said: str | None) -> None:
    found = problem("part.name", now, bound)
    assert found == said if said is None else said in (found or "")
    assert found is None or "make bounds" in found


def test_a_bound_with_a_margin_stays_as_long_as_it_holds() -> None:
    costs = load()
    assert renewed(costs, costs) == {**costs, "allocating": costs["allocating"]}
    more = {**costs, "allocating": {"peak-kib": 2 * costs["allocating"]["peak-kib"]}}
    assert renewed(more, costs)["allocating"]["peak-kib"] > 2 * costs["allocating"]["peak-kib"]
