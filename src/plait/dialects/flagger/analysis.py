"""The analysis of a Canary: how far each good look leads, and how many bad ones are too many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from plait.dialects.checks import seconds
from plait.dialects.flagger.metrics import metrics
from plait.dialects.flagger.shared import reference
from plait.dialects.flagger.webhooks import webhooks
from plait.dialects.istio.headers import is_header_name
from plait.dialects.istio.matches import matches
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.rollout import Affinity, Alert, AlertSeverity, Analysis
from plait.model.routing import RequestMatch

SHORTEST_INTERVAL = 0.1
"""Seconds."""
MOST_ITERATIONS = 100_000
MOST_CHECKS = 100_000
LONGEST_COOKIE = 365 * 24 * 3600
LONGEST_WAIT = 365 * 24 * 3600
_BY_WEIGHT = ("stepWeight", "stepWeights", "maxWeight", "stepWeightPromotion", "sessionAffinity")
"""What says something of weights alone."""


def analysis(cursor: Cursor, subject: Subject, progress_deadline: float) -> Analysis:
    """What is said of it; errors for what can't be read, or contradicts something else."""
    iterations = cursor.at("iterations").integer(0, least=0, most=MOST_ITERATIONS)
    matched = _matches(cursor.at("match"), subject)
    steps = _steps(cursor)
    promotion = cursor.at("stepWeightPromotion").integer(0, least=0, most=100)
    affinity = _affinity(cursor.at("sessionAffinity"))
    mirror = cursor.at("mirror").boolean()
    weight = cursor.at("mirrorWeight").integer(100, least=1, most=100)
    _check_strategy(cursor, iterations=iterations, mirror=mirror)
    return Analysis(
        interval=seconds(cursor.at("interval"), 60.0, least=SHORTEST_INTERVAL) or 60.0,
        threshold=cursor.at("threshold").integer(1, least=0, most=MOST_CHECKS) or 1,
        steps=steps,
        promotion_step=promotion,
        iterations=iterations,
        matches=matched,
        mirror=mirror,
        mirror_weight=weight,
        primary_ready=cursor.at("primaryReadyThreshold").integer(100, least=0, most=100),
        canary_ready=cursor.at("canaryReadyThreshold").integer(100, least=0, most=100),
        affinity=affinity,
        metrics=metrics(cursor.at("metrics"), subject),
        webhooks=tuple(webhooks(cursor.at("webhooks"), subject)),
        alerts=tuple(_alerts(cursor.at("alerts"), subject)),
        traffic_deadline=float(
            cursor.at("trafficDeadlineSeconds").integer(int(progress_deadline), least=1, most=LONGEST_WAIT)
        ),
    )


def _check_strategy(cursor: Cursor, *, iterations: int, mirror: bool) -> None:
    """Says what contradicts: a version is tried by weights or by iterations, and not by both."""
    by_weight = [name for name in _BY_WEIGHT if cursor.has(name)]
    if iterations:
        for name in by_weight:
            message = "has no place beside iterations: keep the weights, or the iterations"
            cursor.at(name).error("canary.strategy", message)
    elif cursor.has("match"):
        message = "iterations are missing: how often those who match are looked at"
        cursor.at("match").error("canary.strategy", message)
    elif not (cursor.has("stepWeight") or cursor.has("stepWeights") or cursor.error_count()):
        message = "stepWeight, stepWeights or iterations are missing: nothing says how it is tried"
        cursor.error("canary.strategy", message)
    if mirror and cursor.has("match"):
        message = (
            "has no place beside match: those who match are sent there, and nobody's requests are copied"
        )
        cursor.at("mirror").error("canary.strategy", message)
    if cursor.has("mirrorWeight") and not mirror:
        cursor.at("mirrorWeight").error("canary.strategy", "nothing is copied: write mirror: true beside it")


def _steps(cursor: Cursor) -> tuple[int, ...]:
    """The canary's weights one after the other; the last is the most."""
    step, several, most = (cursor.at(name) for name in ("stepWeight", "stepWeights", "maxWeight"))
    by = step.integer(0, least=1, most=100)
    limit = most.integer(100, least=1, most=100)
    written = tuple(item.integer(0, least=1, most=100) for item in several.each())
    if step.error_count() or several.error_count() or most.error_count():
        return ()
    if step.present and several.present:
        several.error("canary.strategy", "only one of stepWeight and stepWeights can be given")
    elif several.present:
        return _written(several, written, most, limit)
    elif by > limit:
        step.error("canary.weights", f"the first step is {by}, and more than maxWeight, {limit}")
    elif most.present and not step.present:
        most.error("canary.weights", "has no effect without stepWeight")
    elif by:
        return (*range(by, limit, by), limit)
    return ()


def _written(cursor: Cursor, steps: tuple[int, ...], most: Cursor, limit: int) -> tuple[int, ...]:
    if not steps:
        cursor.error("field.required", "no weight stands in it")
    for before, after in pairwise(steps):
        if after <= before:
            message = f"weights grow from step to step, and {after} comes after {before}"
            cursor.error("canary.weights", message)
            return ()
    if steps and most.present and steps[-1] > limit:
        most.error("canary.weights", f"the last of stepWeights is {steps[-1]}, and more than {limit}")
    return steps


def _matches(cursor: Cursor, subject: Subject) -> tuple[RequestMatch, ...]:
    """Who is sent to the canary; an error when not all of it can be read, or it is nobody."""
    found = matches(cursor, subject) or ()
    written = len(cursor.value) if isinstance(cursor.value, list) else 0
    if cursor.present and (not written or len(found) < written) and not cursor.error_count():
        cursor.error("match.left-out", "some of it matches nobody in the mesh: leave it away")
    if any(replace(one, ignore_path_case=False) == RequestMatch(origin=one.origin) for one in found):
        cursor.error("match.empty", "an empty match would send everybody to the new version at once")
    return found


def _affinity(cursor: Cursor) -> Affinity | None:
    if not cursor.present:
        return None
    name, primary = cursor.at("cookieName"), cursor.at("primaryCookieName")
    lifetime = cursor.at("maxAge").integer(86_400, least=1, most=LONGEST_COOKIE)
    named = is_header_name(name)
    if primary.present and is_header_name(primary) and primary.value == name.value:
        primary.error("canary.affinity", "one cookie can't lead to both versions: give it another name")
    if not named or cursor.error_count():
        return None
    return Affinity(cookie=name.value, lifetime=lifetime, primary_cookie=primary.text())


def _alerts(cursor: Cursor, subject: Subject) -> Iterator[Alert]:
    for item in cursor.each():
        if not isinstance(item.value, Mapping):
            item.error("field.type", "expected an object: an alert")
            continue
        name, severity = item.at("name"), item.at("severity")
        if not name.text() and not name.error_count():
            name.error("field.required", "the name of an alert is missing")
        told = (
            AlertSeverity.INFO if severity.value == "" else severity.choice(AlertSeverity, AlertSeverity.INFO)
        )
        yield Alert(
            name=name.text(),
            severity=told,
            provider=reference(item.at("providerRef"), "AlertProvider", subject),
            origin=subject.origin(item),
        )
