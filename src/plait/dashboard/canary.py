"""One rollout as it is: where it stands, how it went, both versions side by side, and what may be said to it.

`section` stands on the page of a Canary, and on that of its service.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from nicegui import ui

from plait.api.client import ApiError
from plait.api.rollouts import CanaryEvent, CanaryView, CheckView
from plait.dashboard import parts, rollouts
from plait.dashboard.commands import Commands
from plait.dashboard.elements.countdown import Countdown
from plait.dashboard.elements.marks import Kind, Marks
from plait.dashboard.feed import Feed
from plait.dashboard.frame import Frame
from plait.dashboard.versions import REVISION, Versions
from plait.model.names import WorkloadKey

_KINDS = (
    Kind(rollouts.PASSED, "went on", "--good"),
    Kind(rollouts.FAILED, "check failed", "--bad", "triangle"),
    Kind(rollouts.WAITS, "waits", "--warn", "diamond"),
    Kind(rollouts.ENDED, "rolled back", "--bad", "rect"),
)


async def section(shown: Frame, feed: Feed, key: WorkloadKey) -> None:
    """Put it here, and keep it as the control plane says."""
    view = _View(feed, key)

    async def refresh() -> None:
        try:
            canary = await feed.client.canary(key)
        except ApiError as error:
            if error.code != "not_found":
                raise
            view.missing(str(error))
            return
        view.show(canary, await feed.client.canary_history(key))
        await view.versions.look(feed.client, canary)

    await shown.live(refresh)


class _View:
    def __init__(self, feed: Feed, key: WorkloadKey) -> None:
        self._none = parts.empty("")
        self._none.set_visibility(False)
        with ui.element("div").classes("canary") as self._body:
            self._about = ui.html("", sanitize=False)
            with ui.element("div").classes("stats"):
                self._phase, self._share, self._failed = map(
                    parts.Stat, ("Phase", "To the new version", "Failed checks")
                )
                self._due = Countdown("Next look")
            with ui.element("div").classes("callout") as self._callout:
                self._icon = ui.icon("schedule")
                self._said = ui.label("").classes("canary-said").props('role="status"')
                self._commands = Commands(feed, key)
            with ui.element("div").classes("columns"):
                with parts.panel("Timeline of the run", classes="span-8"):
                    self._marks = Marks(
                        label="What the new version got of the traffic, and what happened",
                        kinds=_KINDS,
                        write=lambda value: f"{value:g} %",
                        height=190,
                    )
                    self._no_run = parts.empty("No run was seen yet.")
                with parts.panel("Evidence", classes="span-4"):
                    self._checks = ui.html("", sanitize=False)
            self.versions = Versions()

    def missing(self, why: str) -> None:
        self._body.set_visibility(False)
        self._none.set_text(why)
        self._none.set_visibility(True)

    def show(self, canary: CanaryView, events: Sequence[CanaryEvent]) -> None:
        self._none.set_visibility(False)
        self._body.set_visibility(True)
        self._about.set_content(_about(canary))
        held = " and ".join(
            word for word, holds in (("paused", canary.paused), ("suspended", canary.suspended)) if holds
        )
        tone = parts.WARN if held and canary.runs else rollouts.PHASES.get(canary.phase, parts.IDLE)
        self._phase.tell(
            canary.phase, f"{held + ', ' if held else ''}since {parts.clock(canary.since)}", tone
        )
        if canary.runs:
            self._share.tell(canary.share, canary.goal)
            self._failed.tell(
                f"{canary.failed_checks} of {canary.threshold}",
                "until it is rolled back",
                parts.WARN if canary.failed_checks else parts.PLAIN,
            )
        else:
            self._share.tell("-", "nothing is tried")
            self._failed.tell("-", "")
        self._due.tell(*_due(canary))
        state = rollouts.state(canary)
        self._callout.classes(replace=f"callout {state.tone}")
        self._icon.set_name(state.icon)
        self._said.set_text(state.text)
        self._commands.show(canary)
        self._checks.set_content(_checks(canary.checks))
        self._timeline(canary, rollouts.last_run(events))

    def _timeline(self, canary: CanaryView, run: Sequence[CanaryEvent]) -> None:
        self._marks.set_visibility(bool(run))
        self._no_run.set_visibility(not run)
        if not run:
            return
        since, until = rollouts.moment(run[0].at), rollouts.moment(run[-1].at)
        if canary.runs:
            until = max(until, time.time())
        room = max(2.0, (until - since) * 0.02)
        self._marks.show(
            since - room, until + room, rollouts.marks(run, canary.target), rollouts.steps(run, until)
        )


def _due(canary: CanaryView) -> tuple[float | None, str]:
    """When it is looked at next, and a note about it."""
    if canary.runs and (canary.paused or canary.suspended):
        return None, "when it goes on"
    if not canary.due or not canary.runs:
        return None, "when something changes"
    return rollouts.moment(canary.due), f"at {parts.clock(canary.due)}"


def _about(canary: CanaryView) -> str:
    """What it is for, with where to read on."""
    written = parts.to("/objects", kind="Canary", namespace=canary.namespace, name=canary.name)
    service = parts.to_service(canary.host)
    host = (
        f'<a href="{parts.escaped(service)}">{parts.escaped(canary.host)}</a>'
        if service
        else parts.escaped(canary.host)
    )
    revisions = [("serves", canary.promoted)] + (
        [("tried last", canary.applied)] if canary.applied != canary.promoted else []
    )
    said = "".join(
        f'<span><span class="muted">{what}</span> <code title="{parts.escaped(revision)}">'
        f"{parts.escaped(revision[:REVISION])}</code></span>"
        for what, revision in revisions
        if revision
    )
    return (
        f'<div class="canary-about"><span class="badge">{parts.escaped(canary.strategy)}</span>'
        f'<span><span class="muted">of</span> <b>{parts.escaped(canary.target)}</b></span>'
        f'<span><span class="muted">called as</span> {host}</span>{said}'
        f'<span class="canary-links"><a href="{parts.escaped(parts.to("/traces", workload=f"{canary.namespace}/{canary.target}-canary"))}">'
        f'Its traces</a><a href="{parts.escaped(written)}">As written</a></span></div>'
    )


def _checks(checks: Sequence[CheckView]) -> str:
    if not checks:
        return '<div class="empty">Nothing was looked at yet.</div>'
    return "".join(map(_check, checks))


def _check(check: CheckView) -> str:
    icon, tone = rollouts.FINDINGS.get(check.finding, ("help_outline", parts.IDLE))
    return (
        f'<div class="canary-check"><i class="material-icons {tone}" aria-hidden="true">{icon}</i>'
        f"<div><b>{parts.escaped(check.metric)}</b>"
        f'<span class="badge {tone}">{parts.escaped(check.finding)}</span>'
        f"<p>{parts.escaped(check.text)}</p></div></div>"
    )
