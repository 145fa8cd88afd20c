"""The routes in force at a service: what each rule matches, who gets what share of it, and where that is written."""

from __future__ import annotations

from dataclasses import replace

from nicegui import ui

from plait.api.services import DestinationView, PortView, RoutesView, RuleView, ServiceView
from plait.dashboard import parts
from plait.dashboard.service.looked import ROUTES, Choice, Looked
from plait.dashboard.service.written import Opener


class RoutesSection:
    """The rules of each port, the first that matches first; made anew only when they have changed."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._box = ui.element("div").classes("stack svc-gap")
        self._shown: tuple[RoutesView, ...] | None = None

    async def show(self, looked: Looked) -> None:
        routes = looked.view.routes
        if routes == self._shown:
            return
        self._shown = routes
        self._box.clear()
        with self._box:
            if not routes:
                with parts.panel("Routes in force"):
                    parts.empty("No port of this service is routed.")
            for one in routes:
                with parts.panel(heading(one, looked.view.ports), flush=True):
                    for number, rule in enumerate(one.rules, 1):
                        await self._rule(number, rule, looked.view.host)

    async def _rule(self, number: int, rule: RuleView, host: str) -> None:
        with ui.element("article").classes("svc-rule"):
            with ui.element("div").classes("svc-rule-row"):
                ui.label(str(number)).classes("svc-rule-no").props(f'aria-label="Rule {number}"')
                ui.html(matches(rule), sanitize=False).classes("svc-rule-when")
                ui.html(goes(rule, host), sanitize=False).classes("svc-rule-goes")
                with ui.element("div").classes("svc-rule-place"):
                    place = self._opener.place(rule.written)
                    if rule.written is None:
                        ui.label("the default").classes("faint")
            await place.text()


def heading(routes: RoutesView, ports: tuple[PortView, ...]) -> str:
    """Which ports the rules are of."""
    known = {port.number: port for port in ports}
    named = [
        f"{number} ({known[number].name or known[number].protocol})" if number in known else str(number)
        for number in routes.ports
    ]
    return f"Routes in force at port{'' if len(named) == 1 else 's'} {', '.join(named)}"


def matches(rule: RuleView) -> str:
    """HTML of what a rule matches, and of its name."""
    name = f'<div class="faint">{parts.escaped(rule.name)}</div>' if rule.name else ""
    if not rule.matches:
        return f'<div class="svc-any">Every request</div>{name}'
    lines = "".join(f"<div>{parts.escaped(one)}</div>" for one in rule.matches)
    return f"{lines}{name}"


def goes(rule: RuleView, host: str) -> str:
    """HTML of who gets how much of it, or how it is answered, and of the rest."""
    answer = f'<div class="svc-answer">{parts.escaped(rule.answer)}</div>' if rule.answer else ""
    bars = "".join(_destination(one, host) for one in rule.destinations)
    more = "".join(f'<span class="badge">{parts.escaped(one)}</span>' for one in rule.more)
    return f"{answer}{bars}" + (f'<div class="svc-more">{more}</div>' if more else "")


def routed(view: ServiceView, choice: Choice) -> str:
    """HTML of what the rule for every request says of shares, with the way to it; "" where all goes to one."""
    for rule in (rule for one in view.routes for rule in one.rules if not rule.matches):
        to = [one for one in rule.destinations if not one.mirrored]
        if len(to) > 1:
            said = ", ".join(f"{whom(one, view.host)} {one.share:.4g}%" for one in to)
            path = parts.to(f"/services/{view.namespace}/{view.name}")
            href = replace(choice, tab=ROUTES, opened="").to(path)
            return f'<a href="{parts.escaped(href)}" title="What the rule for every request says">Routed: {parts.escaped(said)}</a>'
    return ""


def whom(one: DestinationView, host: str) -> str:
    """Who it is: the subset, and the service where it is another one."""
    service = "" if one.host == host else one.host.removesuffix(".svc.cluster.local")
    return " ".join(filter(None, (service, one.subset))) or "the whole service"


def named(one: DestinationView, host: str) -> str:
    """The same, with the port where it is told."""
    return f"{whom(one, host)} :{one.port}" if one.port else whom(one, host)


def _destination(one: DestinationView, host: str) -> str:
    share = f"{one.share:.4g}%"
    tone = "svc-copies" if one.mirrored else ""
    return (
        f'<div class="svc-to {tone}"><span class="svc-to-who">{parts.escaped(named(one, host))}</span>'
        f'<span class="svc-to-bar" aria-hidden="true"><i style="width: {min(max(one.share, 0), 100):.4g}%"></i></span>'
        f'<span class="svc-to-share">{share}{" copied" if one.mirrored else ""}</span></div>'
    )
