"""One service: how it goes, and in sections who calls it, how it is routed, guarded and run."""

from __future__ import annotations

from dataclasses import replace

from nicegui import ui

from plait.api.client import ApiError
from plait.api.services import ServiceView
from plait.api.views import Traffic
from plait.dashboard import parts
from plait.dashboard.feed import Feed
from plait.dashboard.frame import Frame
from plait.dashboard.service.canary import CanarySection, to_canary
from plait.dashboard.service.golden import Golden
from plait.dashboard.service.instances import InstancesSection
from plait.dashboard.service.looked import (
    CANARY,
    INSTANCES,
    POLICIES,
    ROUTES,
    TABS,
    TRAFFIC,
    Choice,
    Looked,
    look,
)
from plait.dashboard.service.policies import PoliciesSection
from plait.dashboard.service.routes import RoutesSection
from plait.dashboard.service.traffic import TrafficSection
from plait.dashboard.service.usage import UsageSection
from plait.dashboard.service.windows import Windows
from plait.dashboard.service.written import Opener


class ServicePage:
    """The page as one browser shows it."""

    def __init__(self, feed: Feed, shown: Frame, namespace: str, name: str, choice: Choice) -> None:
        self._feed = feed
        self._shown = shown
        self._key = namespace, name
        self._choice = choice
        self._path = f"/services/{namespace}/{name}"
        self._missing = ui.element("div")
        self._missing.set_visibility(False)
        self._hosts: list[str] | None = None
        self._found = ui.element("div").classes("stack svc-gap")
        with self._found:
            self._build()

    def _build(self) -> None:
        opener = Opener(self._feed, self._choice, self._tell_address)
        with ui.element("div").classes("svc-head"):
            self._facts = ui.html("", sanitize=False).classes("svc-facts")
            self._ways = ui.html("", sanitize=False).classes("svc-links")
            Windows(self._choice.window, self._long)
        self._golden = Golden()
        with ui.element("div").classes("svc-tabs").props('role="tablist" aria-label="Sections"'):
            self._tabs = {key: self._tab(key) for key in TABS}
        self._bodies = {
            key: ui.element("div").classes("stack svc-gap").props('role="tabpanel"') for key in TABS
        }
        with self._bodies[TRAFFIC]:
            self._traffic = TrafficSection(self._feed.client, self._choice)
        with self._bodies[ROUTES]:
            self._routes = RoutesSection(opener)
        with self._bodies[POLICIES]:
            self._policies = PoliciesSection(opener)
        with self._bodies[INSTANCES]:
            self._instances = InstancesSection()
            self._usage = UsageSection()
        with self._bodies[CANARY]:
            self._canary = CanarySection(self._feed, self._shown)
        self._mark()

    async def _long(self, seconds: int) -> None:
        self._choice.window = seconds
        await self._chosen()

    def _tab(self, key: str) -> ui.element:
        with ui.element("button").props(f'type="button" role="tab" data-tab="{key}"') as button:
            ui.label(TABS[key])

        async def choose() -> None:
            self._choice.tab = key
            await self._chosen()

        return button.on("click", choose)

    async def _chosen(self) -> None:
        self._tell_address()
        self._mark()
        await self._shown.again()

    def _tell_address(self) -> None:
        ui.navigate.history.replace(self._choice.to(self._path))

    def _mark(self) -> None:
        for key, button in self._tabs.items():
            chosen = key == self._choice.tab
            button.props["aria-selected"] = "true" if chosen else "false"
            self._bodies[key].set_visibility(chosen)

    async def refresh(self) -> None:
        """Look again, until what was looked at is what is chosen."""
        asked: Choice | None = None
        while asked != self._choice:
            asked = replace(self._choice)
            try:
                looked = await look(self._feed.client, *self._key, asked)
            except ApiError as error:
                if error.code != "not_found":
                    raise
                await self._say_missing()
                return
        await self._show(looked)

    async def _show(self, looked: Looked) -> None:
        self._missing.set_visibility(False)
        self._found.set_visibility(True)
        self._facts.set_content(facts(looked))
        self._ways.set_content(ways(looked.view))
        self._tabs[CANARY].set_visibility(looked.canary is not None)
        self._golden.show(looked)
        self._traffic.show(looked)
        await self._routes.show(looked)
        await self._policies.show(looked)
        self._instances.show(looked)
        if self._choice.tab == INSTANCES:
            await self._usage.show(self._feed.client, looked)
        if self._choice.tab == CANARY:
            await self._canary.show(looked)

    async def _say_missing(self) -> None:
        graph = await self._feed.client.graph(window=60)
        hosts = [one.host for one in graph.services if not one.external]
        self._found.set_visibility(False)
        self._missing.set_visibility(True)
        if hosts == self._hosts:
            return
        self._hosts = hosts
        self._missing.clear()
        with self._missing, parts.panel("There is no such service"):
            ui.html(instead(*self._key, hosts), sanitize=False)


def instead(namespace: str, name: str, hosts: list[str]) -> str:
    """HTML of what there is in place of a service that there is not."""
    said = f"The mesh has no service <b>{parts.escaped(f'{namespace}/{name}')}</b>."
    links = "".join(
        f'<li><a href="{parts.escaped(parts.to_service(host))}">{parts.escaped("/".join(found))}</a></li>'
        for host in hosts
        if (found := parts.service_of(host))
    )
    more = (
        f'<p>It has these:</p><ul class="svc-instead">{links}</ul>'
        if links
        else "<p>It has no service at all.</p>"
    )
    return f"<p>{said}</p>{more}"


def facts(looked: Looked) -> str:
    """HTML of what a service is, and how it stands."""
    view = looked.view
    ready = sum(one.state == "ready" for one in view.instances)
    well = ready == len(view.instances) and bool(ready)
    standing = f"{ready} of {len(view.instances)} ready" if view.instances else "no instance"
    badges = [
        *(
            f'<span class="badge">{parts.escaped(f"{one.protocol} {one.number}")}</span>'
            for one in view.ports
        ),
        *(mtls(one) for one in view.mtls),
        f'<span class="badge {parts.GOOD if well else parts.WARN}">{standing}</span>',
    ]
    if looked.canary is not None:
        href = parts.escaped(to_canary(looked.canary))
        stands = looked.canary.share if looked.canary.runs else looked.canary.phase
        badges.append(f'<a class="badge info" href="{href}">Canary: {parts.escaped(stands)}</a>')
    if gap := unheard(looked.total, looked.window):
        badges.append(f'<span class="badge warn">{gap}</span>')
    return f'<span class="mono svc-host">{parts.escaped(view.host)}</span>{"".join(badges)}'


def ways(view: ServiceView) -> str:
    """HTML of where more is to be seen of it."""
    return "".join(f'<a href="{parts.escaped(href)}">{text}</a>' for text, href in links(view) if href)


def mtls(mode: str) -> str:
    """HTML of how a workload may be called."""
    tone, words = {
        "STRICT": (parts.GOOD, "mTLS only"),
        "PERMISSIVE": (parts.WARN, "mTLS or clear text"),
        "DISABLE": (parts.BAD, "clear text"),
    }.get(mode, (parts.IDLE, mode))
    return f'<span class="badge {tone}" title="{parts.escaped(mode)}">{parts.escaped(words)}</span>'


def unheard(traffic: Traffic, asked: float) -> str:
    """How much of the window that was asked for nobody has told of; "" when all was."""
    if traffic.heard >= asked:
        return ""
    return f"{traffic.heard:.0f} s of {asked:.0f} s were reported"


def links(view: ServiceView) -> list[tuple[str, str]]:
    """Where more is to be seen of it."""
    workloads = sorted({one.node.rpartition("/")[0] for one in view.instances})
    workload = next(
        (one for one in workloads if one == f"{view.namespace}/{view.name}"), next(iter(workloads), "")
    )
    return [
        ("Map", parts.to("/", at=view.host)),
        ("Traces", parts.to("/traces", workload=workload)),
        ("Failed traces", parts.to("/traces", workload=workload, status="error")),
        ("YAML", parts.to_object(view.written)),
    ]
