"""Rollouts in every phase, and many traces: what the pages of canaries and traces are looked at with."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

from plait.api.rollouts import CanaryEvent, CanaryView, CheckView
from plait.api.views import AttributeView, SpanView, TraceSummary, TraceView
from plait.model.names import service_host
from plait.rollout.status import Command
from plait.telemetry.spans import Search

NAMESPACE = "bistro"
PASSED = CheckView(
    metric="request-success-rate",
    finding="passed",
    text="request-success-rate 99.9 % is not under 99 %",
    value=99.9,
)
SLOW = CheckView(
    metric="request-duration", finding="failed", text="request-duration 640 ms is over 500 ms", value=640.0
)
WAITS = CheckView(
    metric="request-duration", finding="waiting", text="waiting for traffic: 12 of 100 requests"
)
STOPPED = CheckView(
    metric="request-success-rate",
    finding="stopped",
    text=(
        "request-success-rate: 9.4 % of 212 requests failed, and 0.1 % of 1911 with the version that serves: worse, "
        "but for a chance of 1 % at most"
    ),
)
UNKNOWN = CheckView(
    metric="queue-length",
    finding="unknown",
    text="queue-length is not known: prometheus.test does not answer",
)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def view(name: str, phase: str, now: float, **other: object) -> CanaryView:
    """A Canary by steps, as it is when nothing else is said."""
    plain = CanaryView(
        namespace=NAMESPACE,
        name=name,
        target=name,
        host=service_host(NAMESPACE, name),
        strategy="canary",
        phase=phase,
        since=iso(now - 95),
        total=50,
        threshold=5,
        promoted="0c5e7a91b2c3d4e5",
        applied="9d31b2f4a1b2c3d4",
        due=iso(now + 8),
    )
    return replace(plain, **other)  # type: ignore[arg-type]


def every_phase(now: float) -> tuple[CanaryView, ...]:
    """One in each phase, and those that are held."""
    over = {"due": "", "applied": "0c5e7a91b2c3d4e5"}
    return (
        view("cache", "Initializing", now, promoted="", applied="", message="1 of 2 replicas of the version that serves are ready"),
        view("diner", "Initialized", now, **over),
        view("frontend", "Waiting", now, gate="confirm-rollout", message="waits at confirm-rollout: start is for a user to approve"),
        view("payments", "Progressing", now, weight=40, step=40, message="40 % of the traffic go to the new version", checks=(PASSED, WAITS)),
        view("reservations", "WaitingPromotion", now, weight=50, step=50, failed_checks=2, gate="confirm-promotion", checks=(PASSED, SLOW), message="waits at confirm-promotion: take-over is for a user to approve"),
        view("restaurants", "Promoting", now, weight=50, step=50, message="the new version replaces the one that served", checks=(PASSED,)),
        view("finalising", "Finalising", now, message="all traffic goes to what was promoted", checks=(PASSED,)),
        view("succeeded", "Succeeded", now, message="the new version serves", checks=(PASSED,), **over),
        view("failed", "Failed", now, due="", failed_checks=2, checks=(STOPPED, UNKNOWN), message="rolled back: request-success-rate: 9.4 % of 212 requests failed, and 0.1 % of 1911 with the version that serves"),
        view("paused", "Progressing", now, weight=20, step=20, paused=True, message="paused by a user", checks=(WAITS,)),
        view("suspended", "Progressing", now, weight=20, step=20, suspended=True, due="", message="20 % of the traffic go to the new version"),
        view("by-header", "Progressing", now, strategy="ab", matched=True, step=3, total=10, message="requests that match go to the new version (iteration 3 of 10)", checks=(PASSED,)),
        view("copied", "Progressing", now, strategy="blue-green", mirrored=100, step=1, total=5, message="100 % of the requests are copied to the new version (iteration 1 of 5)"),
    )  # fmt: skip


def history(canary: CanaryView, now: float) -> tuple[CanaryEvent, ...]:
    """How it came to where it stands: an earlier run, and the one that is on or was the last."""
    told = [
        ("info", "a new version is started beside the one that serves (run 1)", "Progressing", 0, 0),
        ("info", "20 % of the traffic go to the new version", "Progressing", 20, 0),
        ("error", "rolled back: not ready within 600 s: 0 of 2 replicas of the new version are ready", "Failed", 0, 0),
        ("info", "a new version is started beside the one that serves (run 2)", "Progressing", 0, 0),
        ("info", "the new version is ready", "Progressing", 0, 0),
        ("info", "20 % of the traffic go to the new version", "Progressing", 20, 0),
        ("warn", "request-duration 640 ms is over 500 ms (1 of 5 failed checks)", "Progressing", 20, 1),
        ("info", "waiting for traffic: 12 of 100 requests", "Progressing", 20, 1),
        ("info", "40 % of the traffic go to the new version", "Progressing", 40, 1),
        ("warn", "request-duration 612 ms is over 500 ms (2 of 5 failed checks)", "Progressing", 40, 2),
        ("info", "50 % of the traffic go to the new version", "Progressing", 50, 2),
        ("warn", "waits at confirm-promotion: take-over is for a user to approve", "WaitingPromotion", 50, 2),
        ("info", "confirm-promotion approved by a user", "WaitingPromotion", 50, 2),
        ("info", "promoted: the new version replaces the one that served", "Promoting", 50, 2),
        ("info", "all traffic goes to what was promoted", "Finalising", 0, 2),
        ("info", "succeeded: the new version serves", "Succeeded", 0, 2),
    ]  # fmt: skip
    match canary.phase:
        case "Initializing" | "Initialized":
            told = []
        case "Waiting":
            told = [*told[:3], ("warn", canary.message, "Waiting", 0, 0)]
        case "Progressing":
            last = max(number for number, one in enumerate(told[:11]) if one[3] <= canary.weight)
            told = told[: last + 1]
        case "WaitingPromotion":
            told = told[:12]
        case "Promoting":
            told = told[:14]
        case "Finalising":
            told = told[:15]
        case "Failed":
            told = [*told[:9], ("error", canary.message, "Failed", 0, 2)]
    return tuple(
        CanaryEvent(
            at=iso(now - 14 * (len(told) - number)),
            severity=severity,
            text=f"{canary.target}: {text}",
            phase=phase,
            weight=weight,
            failed_checks=failed,
        )
        for number, (severity, text, phase, weight, failed) in enumerate(told)
    )


def after(canary: CanaryView, command: Command) -> CanaryView:
    """What becomes of it when this is said."""
    match command:
        case Command.APPROVE if canary.gate == "confirm-promotion":
            return replace(
                canary, gate="", phase="Promoting", message="the new version replaces the one that served"
            )
        case Command.APPROVE:
            return replace(canary, gate="", phase="Progressing", message="approved by a user")
        case Command.PROMOTE:
            return replace(
                canary, phase="Promoting", gate="", message="the new version replaces the one that served"
            )
        case Command.ABORT:
            return replace(
                canary,
                phase="Failed",
                weight=0,
                gate="",
                paused=False,
                message="rolled back: aborted by a user",
            )
        case Command.PAUSE:
            return replace(canary, paused=True, message="paused by a user")
        case Command.RESUME:
            return replace(canary, paused=False, message="")


def fits(trace: TraceView, summary: TraceSummary, search: Search) -> bool:
    """Whether a trace is what is looked for, as the store decides it."""
    began = datetime.fromisoformat(trace.started).timestamp()
    return (
        trace.duration_ms >= search.least * 1000
        and (search.since is None or began >= search.since)
        and (search.until is None or began <= search.until)
        and (search.failed is not False or not summary.failed)
        and any(
            search.service in {"", span.service}
            and search.workload in {"", span.workload}
            and (search.failed is not True or span.failed)
            and all(span.attribute(name) == value for name, value in search.tags)
            for span in trace.spans
        )
    )


def many_traces(now: float, number: int = 60) -> tuple[TraceView, ...]:
    """Of the past ten minutes, some slow and some failed, always the same ones."""
    chance = random.Random(4)
    found = []
    for one in range(number):
        took = chance.lognormvariate(3.4, 0.8)
        failed = chance.random() < 0.12
        path = ("frontend", "restaurants", "reviews")[: chance.randint(1, 3)]
        spans = tuple(
            SpanView(
                id=f"{one:08x}{depth:08x}",
                parent=f"{one:08x}{depth - 1:08x}" if depth else "",
                name=chance.choice(("GET /menu", "GET /restaurants", "POST /reservations", "GET /")),
                kind="server",
                start_ms=took * depth / 8,
                duration_ms=took * (1 - depth / 4),
                service=name,
                workload=f"{NAMESPACE}/{name}",
                replica=0,
                by="sidecar",
                failed=failed and depth == len(path) - 1,
                message="",
                attributes=(AttributeView(name="http.status_code", value="503" if failed else "200"),),
            )
            for depth, name in enumerate(path)
        )
        started = datetime.fromtimestamp(now - 10 * one - chance.uniform(0, 9), UTC)
        found.append(
            TraceView(
                trace=f"{chance.getrandbits(128):032x}",
                started=started.isoformat(timespec="milliseconds"),
                duration_ms=took,
                spans=spans,
            )
        )
    return tuple(found)


def deep_trace(now: float, spans: int = 200) -> TraceView:
    """One of many spans, some far below each other."""
    names = ("frontend", "restaurants", "reviews", "reservations", "payments", "cache", "menu")
    made: list[SpanView] = []
    chance = random.Random(2)
    for number in range(spans):
        parent = chance.choice(made[-12:]) if made else None
        start = parent.start_ms + parent.duration_ms * chance.uniform(0.05, 0.5) if parent else 0.0
        took = parent.duration_ms * chance.uniform(0.2, 0.48) if parent else 1800.0
        name = names[number % len(names)]
        made.append(
            SpanView(
                id=f"{number:016x}",
                parent=parent.id if parent else "",
                name=f"GET /{name}/a-rather-long-path-of-a-resource/{number}",
                kind="client" if number % 2 else "server",
                start_ms=start,
                duration_ms=took,
                service=name,
                workload=f"{NAMESPACE}/{name}",
                replica=0,
                by="sidecar",
                failed=number == 120,
                message="connection refused" if number == 120 else "",
                attributes=(
                    AttributeView(name="http.url", value=f"http://{names[(number + 1) % 7]}:8080/"),
                    AttributeView(name="http.status_code", value="503" if number == 120 else "200"),
                ),
            )
        )
    return TraceView(
        trace="d" * 32, started=iso(now - 30), duration_ms=1800.0, spans=tuple(sorted(made, key=lambda one: one.start_ms))
    )  # fmt: skip
