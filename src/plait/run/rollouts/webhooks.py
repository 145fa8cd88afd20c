"""Services that are asked, and told (a place holder, for the part that calls them)."""

# ruff: noqa: ARG002
from __future__ import annotations

from plait.model.rollout import Canary, Webhook
from plait.rollout.status import Answer, Status, Told


class Webhooks:
    """Reaches nobody."""

    async def ask(self, canary: Canary, hook: Webhook, status: Status) -> Answer:
        """That nobody agrees."""
        return Answer(agreed=False, text="nobody is asked")

    async def tell(self, canary: Canary, told: Told, status: Status) -> None:
        """Nothing."""
