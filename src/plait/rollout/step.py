"""The step: what is seen of a rollout, and the time, become what is done next.  Pure; the order of phases is Flagger's."""

from __future__ import annotations

from plait.model.rollout import Canary
from plait.rollout.status import Command, Needs, Seen, Status, Step


def needs(canary: Canary, status: Status, seen: Seen, now: float) -> Needs:
    """What has to be asked before `step` can be taken with the same arguments; nothing when nothing is due."""
    raise NotImplementedError


def step(canary: Canary, status: Status, seen: Seen, now: float) -> Step:
    """The next status, and what follows from it; the very same status when nothing has changed."""
    raise NotImplementedError


def refused(canary: Canary, status: Status, command: Command) -> str:
    """Why a command makes no sense now; "" when it does."""
    raise NotImplementedError
