"""Who may call a service, who did, and who was refused and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from nicegui import ui

from plait.api import figures
from plait.api.services import PolicyRuleView, PolicyView, RefusalView
from plait.api.views import Traffic, TrafficGroup
from plait.dashboard import parts
from plait.dashboard.elements.grid import Cell, Column, Grid, Row
from plait.dashboard.service.golden import a_second
from plait.dashboard.service.looked import Looked, busy
from plait.dashboard.service.traffic import OUTSIDE, caller_cell
from plait.dashboard.service.written import Opener
from plait.telemetry.graph import Graph

_TONES = {"ALLOW": parts.GOOD, "DENY": parts.BAD, "CUSTOM": parts.INFO}
_CALLED = (
    Column("caller", "Caller"),
    Column("rate", "Rate", end=True),
    Column("refused", "Refused", end=True),
)


class PoliciesSection:
    """Rules in words, and what came of them."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._policies: tuple[PolicyView, ...] | None = None
        self._mtls: tuple[str, ...] = ()
        self._refusals: tuple[RefusalView, ...] | None = None
        with parts.panel("Who was refused, and why", flush=True) as refused:
            self._refused = refused.body
        with ui.element("div").classes("columns svc-row svc-apart"):
            with parts.panel("Who may call", flush=True, classes="span-8") as may:
                self._may = may.body
            with parts.panel("Who called", flush=True, classes="span-4"):
                self._called = Grid(_CALLED, empty="Nobody has called it in this time.", label="Who called")

    async def show(self, looked: Looked) -> None:
        if looked.refusals is None or looked.callers is None:
            return
        if looked.refusals != self._refusals:
            self._refusals = looked.refusals
            await self._show_refusals(looked.refusals)
        if (looked.view.policies, looked.view.mtls) != (self._policies, self._mtls):
            self._policies, self._mtls = looked.view.policies, looked.view.mtls
            await self._show_policies(looked.view.policies)
        _ = self._called.show(called_rows(looked.callers, looked.graph))

    async def _show_refusals(self, refusals: Sequence[RefusalView]) -> None:
        self._refused.clear()
        with self._refused:
            if not refusals:
                parts.empty("Nobody was refused in this time.")
            for one in refusals:
                with ui.element("article").classes("svc-rule"):
                    with ui.element("div").classes("svc-rule-row svc-refusal"):
                        ui.html(who(one), sanitize=False)
                        ui.label(f"{one.requests:,}").classes("num svc-refusal-count")
                        ui.label(one.reason)
                        with ui.element("div").classes("svc-rule-place"):
                            place = self._opener.place(one.written)
                            if one.written is None:
                                ui.label("no rule of its own").classes("faint")
                    await place.text()

    async def _show_policies(self, policies: Sequence[PolicyView]) -> None:
        self._may.clear()
        with self._may:
            if not policies:
                parts.empty(unguarded(self._mtls))
            for one in policies:
                with ui.element("article").classes("svc-policy"):
                    with ui.element("div").classes("svc-policy-head"):
                        parts.badge(one.action, _TONES.get(one.action, parts.PLAIN))
                        name = f"{one.written.namespace}/{one.written.name}" if one.written else ""
                        if name:
                            ui.link(name, parts.to_object(one.written))
                        ui.label(f"before {one.workload}").classes("muted")
                        if one.dry_run:
                            parts.badge("dry run: decides nothing", parts.WARN)
                    if not one.rules:
                        ui.label("No rule: nothing is allowed.").classes("svc-policy-none muted")
                    for rule in one.rules:
                        with ui.element("div").classes("svc-rule-row svc-policy-rule"):
                            ui.html(words(rule), sanitize=False)
                            with ui.element("div").classes("svc-rule-place"):
                                place = self._opener.place(rule.written)
                        await place.text()


def who(one: RefusalView) -> str:
    """HTML of who was refused, and by whom."""
    name = parts.escaped(one.source or OUTSIDE)
    beside = " ".join(filter(None, (one.source_namespace, one.source_version))) or "without identity"
    at = " ".join(filter(None, (one.destination, one.destination_version)))
    return f'<b>{name}</b> <span class="faint">{parts.escaped(beside)}</span><div class="faint">at {parts.escaped(at)}</div>'


def words(rule: PolicyRuleView) -> str:
    """HTML of who may do what, and when."""
    said = (
        ("who", rule.who, "anybody"),
        ("what", rule.what, "anything"),
        ("when", rule.when, "always"),
    )
    return (
        "<dl>"
        + "".join(
            f"<dt>{term}</dt><dd>{'<br>'.join(map(parts.escaped, some)) or f'<span class=muted>{nothing}</span>'}</dd>"
            for term, some, nothing in said
        )
        + "</dl>"
    )


def unguarded(mtls: Sequence[str]) -> str:
    """What holds where there is no policy."""
    if set(mtls) == {"STRICT"}:
        return "No policy decides here: every workload of the mesh may call it, over mutual TLS."
    return "No policy decides here: whoever reaches it may call it, in the clear too."


def called_rows(traffic: Traffic, graph: Graph) -> list[Row]:
    """Who called, whoever of the service answered; who calls most first."""
    by: dict[tuple[str, str, str], list[TrafficGroup]] = defaultdict(list)
    for one in traffic.groups:
        group = one.group
        by[group.source_namespace, group.source_workload, group.source_version].append(one)
    ordered = sorted(by.items(), key=lambda item: (-sum(busy(one.signals) for one in item[1]), item[0]))
    return [
        Row(
            repr(source),
            (
                caller_cell(*source, graph),
                Cell(a_second(rate := sum(busy(one.signals) for one in some)), sort=rate),
                Cell(
                    figures.rate(refused := sum(one.signals.refused for one in some)),
                    tone=parts.WARN if refused else parts.PLAIN,
                    sort=refused,
                ),
            ),
        )
        for source, some in ordered
    ]
