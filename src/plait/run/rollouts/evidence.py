"""What metrics say of a new version: asked of the mesh's own store, or of a Prometheus, and judged."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from math import inf

from plait.compiler.shifting import TRIED_SUBSET
from plait.model.rollout import Baseline, Builtin, Canary, Metric, MetricTemplate, canary_key
from plait.rollout import judging
from plait.rollout.judging import Answers
from plait.rollout.sequential import Block
from plait.rollout.status import Finding, Status, Tally, Verdict
from plait.run.rollouts.templates import TemplateError, own_query, rendered
from plait.telemetry import promql
from plait.telemetry.database import STEP
from plait.telemetry.promql import PrometheusError
from plait.telemetry.queries import By, Callee, Queries, Signals

OWN = "plait"
"""The provider of a MetricTemplate that is the mesh itself."""

_WITHIN = 5.0
"""Seconds that the Prometheus of a template may take."""
_BEFORE = 600.0
"""Seconds before a run by which it is known what is slow."""
_FOR_A_PERCENTILE = 100
"""Fewer requests do not tell how long 99 of 100 take."""
_SHORTEST = 1.0
"""Milliseconds: Envoy counts whole ones."""
_SHORTEST_WINDOW = 5.0
_LATE = 10.0
"""Seconds after which what was counted is surely known."""
_FEW = 4
_TOO_MANY = "there is more traffic than is told apart"
_NOTHING = Block(canary=0, canary_bad=0, primary=0, primary_bad=0)


class Evidence:
    """Who knows what metrics say."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def look(
        self, canary: Canary, metric: Metric, template: MetricTemplate | None, status: Status, now: float
    ) -> Verdict:
        """What a metric says now, of the run that `status` is of; it raises nothing that others are to blame for."""
        try:
            if metric.builtin is None:
                return await self._asked(canary, metric, template, status, now)
            if metric.baseline is None:
                return await self._judged(canary, metric, status)
            return await self._compared(canary, metric, metric.baseline, status)
        except (PrometheusError, TemplateError) as error:
            return judging.unknown(metric, str(error))
        except sqlite3.Error as error:
            return judging.unknown(metric, f"what was seen can't be read: {error}")

    async def _judged(self, canary: Canary, metric: Metric, status: Status) -> Verdict:
        found = await self._queries.count(_tried(canary), since=status.started, last=metric.window)
        if found.left_out:
            return judging.unknown(metric, _TOO_MANY)
        verdict = judging.judged(
            metric, Answers(requests=found.requests, failed=found.failed, p99_ms=found.p99_ms)
        )
        return judging.of_this_step(verdict, seen=found.end, wanted=_whole(canary, status))

    async def _compared(self, canary: Canary, metric: Metric, baseline: Baseline, status: Status) -> Verdict:
        before = next((one for one in status.tallies if one.metric == metric.name), None)
        if before is None or before.until <= status.started:
            before = Tally(metric=metric.name, until=status.started)
        if judging.over(baseline, before):
            return judging.compared(metric, baseline, before, _NOTHING, until=before.until)
        durations = metric.builtin is Builtin.DURATION
        if durations and not before.slow_ms:
            begun = await self._begun(canary, before, status)
            if isinstance(begun, int):
                text = f"waiting for traffic: {begun} of {_FOR_A_PERCENTILE} requests that tell what is slow"
                return Verdict(metric=metric.name, finding=Finding.WAITING, text=text)
            before = begun
        slower = before.slow_ms or inf
        tried = await self._queries.count(_tried(canary), since=before.until, slower_than=slower)
        wanted = _whole(canary, status)
        if not tried.heard:
            verdict = judging.compared(metric, baseline, before, _NOTHING, until=before.until)
            return judging.of_this_step(verdict, seen=before.until, wanted=wanted)
        serving = await self._queries.count(
            _serving(canary), since=before.until, until=tried.end, slower_than=slower
        )
        if tried.left_out or serving.left_out:
            return judging.unknown(metric, _TOO_MANY)
        block = Block(
            canary=tried.requests,
            canary_bad=tried.slow if durations else tried.failed,
            primary=serving.requests,
            primary_bad=serving.slow if durations else serving.failed,
        )
        gap = tried.end - before.until - tried.heard
        verdict = judging.compared(metric, baseline, before, block, until=tried.end, gap=gap)
        return judging.of_this_step(verdict, seen=tried.end, wanted=wanted)

    async def _begun(self, canary: Canary, before: Tally, status: Status) -> Tally | int:
        """With what is slow, by the version that serves: by what it took before the run.

        Where that was too little it is by what it takes now, and counting begins after that; as long as that is too
        little as well, how many requests there were.
        """
        found = await self._queries.count(
            _serving(canary), since=status.started - _BEFORE, until=status.started
        )
        until = before.until
        if found.requests < _FOR_A_PERCENTILE:
            found = await self._queries.count(_serving(canary), since=until)
            until = max(until, found.end)
        if found.requests < _FOR_A_PERCENTILE or found.p99_ms is None:
            return found.requests
        return replace(before, slow_ms=max(found.p99_ms, _SHORTEST), until=until)

    async def _asked(
        self, canary: Canary, metric: Metric, template: MetricTemplate | None, status: Status, now: float
    ) -> Verdict:
        if template is None:
            named = f"{metric.template.namespace}/{metric.template.name}" if metric.template else "for it"
            raise TemplateError(f"there is no MetricTemplate {named}")
        query = rendered(template.query, canary, metric)
        if template.provider == OWN:
            found = await self._own(query, canary, min(metric.window, now - status.started))
        elif not template.address:
            raise TemplateError(
                "its MetricTemplate names no address to ask, and PromQL is nothing to the mesh itself"
            )
        else:
            found = await promql.value(template.address, query, within=_WITHIN, insecure=template.insecure)
        if found is None:
            text = f"{metric.name}: no value yet"
            return Verdict(metric=metric.name, finding=Finding.WAITING, text=text)
        return judging.bounded(metric, found)

    async def _own(self, text: str, canary: Canary, window: float) -> float | None:
        query = own_query(text, canary.namespace)
        found = await self._queries.measure(By.SERVICE, query.where, window=max(window, _SHORTEST_WINDOW))
        if found.left_out:
            raise TemplateError(_TOO_MANY)
        if len(found.groups) > 1:
            services = ", ".join(sorted(group.service for group in found.groups)[:_FEW])
            raise TemplateError(f"there are several values, of {services}: say which service")
        if not found.heard:
            return None
        (signals,) = found.groups.values() or (Signals(),)
        return query.asked.of(signals)


def _whole(canary: Canary, status: Status) -> float:
    """Up to when this step has to have been counted: its first interval, but for what comes too late for a look then."""
    interval = canary.analysis.interval
    return status.progressed + max(interval - _LATE, min(interval, STEP))


def _tried(canary: Canary) -> Callee:
    return Callee(workload=canary_key(canary.target), host=canary.host, subset=TRIED_SUBSET)


def _serving(canary: Canary) -> Callee:
    return Callee(workload=canary.target, host=canary.host, subset="")
