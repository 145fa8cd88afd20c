"""What metrics say of a new version (a place holder, for the part that gathers evidence)."""

# ruff: noqa: ARG002
from __future__ import annotations

from plait.model.rollout import Canary, Metric, MetricTemplate
from plait.rollout.status import Finding, Status, Verdict
from plait.telemetry.queries import Queries


class Evidence:
    """Knows nothing."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def look(
        self, canary: Canary, metric: Metric, template: MetricTemplate | None, status: Status, now: float
    ) -> Verdict:
        """That nobody knows."""
        return Verdict(metric=metric.name, finding=Finding.UNKNOWN, text=f"{metric.name}: nobody knows")
