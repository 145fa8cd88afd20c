"""What has to be known before a step: webhooks and metrics are asked all at once, and none of them for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from plait.model.rollout import AlertSeverity, Canary, Metric, MetricTemplate, Plans, Webhook
from plait.rollout.status import Answer, Finding, Needs, Status, Told, Verdict
from plait.run.rollouts.kept import News

log = logging.getLogger(__name__)

_LONGEST_LOOK = 15.0
"""Seconds that a look at a metric may take."""
_BEYOND = 5.0
"""Seconds that a webhook may take beyond its timeout, within which it should have given up by itself."""


class Evidence(Protocol):
    """Who knows what metrics say."""

    async def look(
        self, canary: Canary, metric: Metric, template: MetricTemplate | None, status: Status, now: float
    ) -> Verdict: ...


class Webhooks(Protocol):
    """Who calls services that are asked, and those that hear of everything."""

    async def ask(self, canary: Canary, hook: Webhook, status: Status) -> Answer: ...

    async def tell(self, canary: Canary, told: Told, status: Status) -> None: ...


class Alerts(Protocol):
    """Who tells people."""

    async def tell(self, canary: Canary, told: Told, status: Status, plans: Plans) -> tuple[Told, ...]:
        """What comes back is who could not be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came of asking."""

    hooks: Mapping[str, Answer] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Whom to ask."""

    evidence: Evidence
    webhooks: Webhooks
    alerts: Alerts

    async def all(self, canary: Canary, needs: Needs, status: Status, plans: Plans, now: float) -> Answers:
        """Everything that is needed; who fails or takes too long has not agreed, or knows nothing."""
        hooks = [one for one in canary.analysis.webhooks if one.name in needs.hooks]
        metrics = [one for one in canary.analysis.metrics if one.name in needs.metrics]
        templates = {(one.namespace, one.name): one for one in plans.templates}
        answers, verdicts = await asyncio.gather(
            asyncio.gather(*(self._hook(canary, one, status) for one in hooks)),
            asyncio.gather(
                *(
                    self._metric(
                        canary,
                        one,
                        templates.get((one.template.namespace, one.template.name)) if one.template else None,
                        status,
                        now,
                    )
                    for one in metrics
                )
            ),
        )
        found: dict[str, Answer] = {}
        for hook, answer in zip(hooks, answers, strict=True):
            if hook.name not in found or found[hook.name].agreed:  # of one name all have to agree
                found[hook.name] = answer
        return Answers(hooks=found, verdicts=tuple(verdicts))

    async def _hook(self, canary: Canary, hook: Webhook, status: Status) -> Answer:
        """What one webhook says."""
        longest = hook.timeout + _BEYOND
        try:
            async with asyncio.timeout(longest):
                return await self.webhooks.ask(canary, hook, status)
        except TimeoutError:
            return Answer(agreed=False, text=f"no answer within {longest:g} s")
        except Exception:
            log.exception("%s: asking %s has failed by a mistake", canary.key, hook.name)
            return Answer(agreed=False, text="it could not be asked; the control plane's log says why")

    async def tell(self, canary: Canary, news: News, plans: Plans) -> tuple[Told, ...]:
        """Others hear of a step that was taken; what comes back is who did not, for the history alone."""
        failed: list[Told] = []
        try:
            for told in news.told:
                await self.webhooks.tell(canary, told, news.status)
                if told.alert:
                    failed += await self.alerts.tell(canary, told, news.status, plans)
        except Exception:
            log.exception("%s: telling others has failed by a mistake", canary.key)
        for hook in canary.analysis.webhooks:
            if hook.name in news.hooks:
                answer = await self._hook(canary, hook, news.status)
                if not answer.agreed:
                    text = f"{hook.type} webhook {hook.name}: {answer.text}"
                    failed.append(Told(severity=AlertSeverity.WARN, text=text))
        return tuple(failed)

    async def _metric(
        self, canary: Canary, metric: Metric, template: MetricTemplate | None, status: Status, now: float
    ) -> Verdict:
        try:
            async with asyncio.timeout(_LONGEST_LOOK):
                return await self.evidence.look(canary, metric, template, status, now)
        except TimeoutError:
            text = f"{metric.name}: no answer within {_LONGEST_LOOK:g} s"
        except Exception:
            log.exception("%s: looking at %s has failed by a mistake", canary.key, metric.name)
            text = f"{metric.name} could not be looked at; the control plane's log says why"
        return Verdict(metric=metric.name, finding=Finding.UNKNOWN, text=text)
