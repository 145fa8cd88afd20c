"""People who are told (a place holder, for the part that tells them)."""

# ruff: noqa: ARG002
from __future__ import annotations

from plait.model.rollout import Canary, Plans
from plait.rollout.status import Status, Told


class Alerts:
    """Reaches nobody."""

    async def tell(self, canary: Canary, told: Told, status: Status, plans: Plans) -> tuple[Told, ...]:
        """Nothing."""
        return ()
