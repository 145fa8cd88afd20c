"""Where the rollouts stand becomes what everybody else reads: workloads, services, subsets and weights."""

from __future__ import annotations

from collections.abc import Iterable

from plait.model.finding import Finding
from plait.model.reading import Fact
from plait.model.rollout import Canary, Plans, Shifts


def rolled(facts: Iterable[Fact], shifts: Shifts) -> tuple[tuple[Fact, ...], Plans, tuple[Finding, ...]]:
    """The facts as they hold now, and the plans with what their targets are as they are written.

    A target that has a Shift is the version that serves, and beside it stands the one that is tried.
    """
    canaries = tuple(fact for fact in facts if isinstance(fact, Canary))
    return tuple(facts), Plans(canaries=canaries if shifts else ()), ()
