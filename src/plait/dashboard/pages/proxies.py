"""The proxies: which of them have what they are to have, and one of them with what it was sent and refuses."""

from __future__ import annotations

import time
from datetime import datetime

from nicegui import ui

from plait.api import figures
from plait.api.proxies import ProxyView
from plait.dashboard import parts, proxies
from plait.dashboard.elements.choices import Chips, Select, search
from plait.dashboard.elements.grid import Grid
from plait.dashboard.feed import Feed
from plait.dashboard.frame import frame
from plait.model.names import ReplicaKey, WorkloadKey

_AT_ONCE = 1.0
"""Seconds between two looks at one proxy: whoever mends something waits here for it."""


_NAMES = {"": "All", **proxies.NAMES}


def register(feed: Feed) -> None:
    """Serve the pages."""

    @ui.page("/proxies")
    async def page(state: str = "", namespace: str = "", text: str = "") -> None:
        wanted = {"state": state, "namespace": namespace, "text": text}
        with frame(feed, "Proxies", "/proxies") as shown:
            choose = shown.choosing("/proxies", wanted)
            with ui.element("div").classes("toolbar"):
                chips = Chips("State", _NAMES, state, choose("state"))
                with ui.element("div").classes("right row"):
                    namespaces = Select("Namespace", "All namespaces", namespace, choose("namespace"))
                    search("Find a proxy", text, choose("text"))
            with parts.panel(flush=True):
                grid = Grid(proxies.COLUMNS, empty="No proxy is like that.", label="Proxies")

            async def refresh() -> None:
                some = await feed.client.proxies()
                ends = proxies.certificates(await feed.client.status())
                now = proxies.Wanted(**wanted)
                namespaces.tell({one.namespace for one in some})
                chips.tell(proxies.counts(one for one in some if now.fits(one)))
                grid.show(proxies.rows(some, ends, now, time.time()))

            await shown.live(refresh)

    @ui.page("/proxies/{namespace}/{name}/{number}")
    async def one(namespace: str, name: str, number: int) -> None:
        key = ReplicaKey(WorkloadKey(namespace, name), number)
        with frame(feed, f"Proxy {key}", "/proxies") as shown:
            view = _One()

            async def refresh() -> None:
                found = await feed.client.proxy(key)
                services = await _services(feed, key.workload)
                view.show(found, services, time.time())

            await shown.live(refresh, every=_AT_ONCE)


async def _services(feed: Feed, workload: WorkloadKey) -> tuple[str, ...]:
    """The hosts of the services that a workload is behind."""
    graph = await feed.client.graph(namespace=workload.namespace)
    found = (
        one for one in graph.workloads if (one.namespace, one.name) == (workload.namespace, workload.name)
    )
    return tuple(sorted({host for one in found for host in one.services}))


class _One:
    """One proxy."""

    def __init__(self) -> None:
        self._refused = ui.element("div").classes("stack")
        self._refusals: object = None
        self._state, self._resources, self._latency, self._connected, self._certificate = parts.stats(
            "State", "Resources", "Slowest answer", "Connected for", "Certificate ends"
        )
        with ui.element("div").classes("columns"):
            with parts.panel("What it is to have", flush=True, classes="span-8"):
                self._types = Grid(proxies.TYPES, empty="It has never been connected.", label="Types")
            with parts.panel("Who it is", classes="span-4"):
                self._about = ui.element("div").classes("stack")
                self._facts: object = None
        with parts.panel("What it was sent last", flush=True):
            self._pushes = Grid(
                proxies.PUSHES, empty="Nothing was sent since the control plane started.", label="Pushes"
            )

    def show(self, found: ProxyView, services: tuple[str, ...], now: float) -> None:
        status = found.status
        state = proxies.state_of(status)
        wanted, has = proxies.totals(status)
        slowest = max((each.latency_ms for each in status.types if each.latency_ms is not None), default=None)
        certificate = proxies.certificate(found.certificate_expires, now)
        self._state.tell(proxies.NAMES[state], ", ".join(proxies.behind(status)), proxies.TONES[state])
        self._resources.tell(f"{has:,} of {wanted:,}", "acknowledged")
        self._latency.tell(figures.duration(slowest), "to the last push of a type")
        self._connected.tell(*_connected(status.connected, now))
        self._certificate.tell(certificate.text, certificate.sub, certificate.tone)
        self._types.show(proxies.type_rows(status))
        self._pushes.show(proxies.push_rows(found.pushes))
        self._show_refusals(found)
        self._show_facts(found, services)

    def _show_refusals(self, found: ProxyView) -> None:
        refusals = proxies.refusals(found.status)
        if self._refusals == (refusals, found.written):
            return
        self._refusals = (refusals, found.written)
        self._refused.clear()
        self._refused.set_visibility(bool(refusals))
        with self._refused:
            for type_, nack in refusals:
                with ui.element("section").classes("panel proxies-refusal").props('aria-label="Refusal"'):
                    with ui.element("div").classes("row"):
                        ui.icon("block")
                        ui.label(f"It rejects its {type_}").classes("what")
                    ui.label(nack.reason).classes("reason mono")
                    if nack.resources:
                        ui.label(", ".join(nack.resources)).classes("mono muted")
                    with ui.element("div").classes("row"):
                        for written in found.written:
                            _mend(written.object, written.field, written.place, parts.to_object(written))
                    ui.label("It keeps the last configuration that it took, and serves by that.").classes(
                        "muted"
                    )

    def _show_facts(self, found: ProxyView, services: tuple[str, ...]) -> None:
        status = found.status
        facts = (found.identity, services, status.namespace)
        if self._facts == facts:
            return
        self._facts = facts
        self._about.clear()
        with self._about, ui.element("dl").classes("facts"):
            _fact("Workload", f"{status.namespace}/{status.name}, replica {status.replica}")
            _fact("Identity", found.identity or figures.NOTHING, mono=True)
            ui.html("Services", sanitize=False, tag="dt")
            with ui.element("dd"):
                for host in services:
                    ui.link(host.split(".")[0], parts.to_service(host))
                if not services:
                    ui.label("It is behind none.").classes("muted")
            ui.html("Map", sanitize=False, tag="dt")
            with ui.element("dd"):
                ui.link(f"Who calls whom in {status.namespace}", parts.to("/", namespace=status.namespace))
            ui.html("Traces", sanitize=False, tag="dt")
            with ui.element("dd"):
                workload = f"{status.namespace}/{status.name}"
                ui.link("Those that it was part of", parts.to("/traces", workload=workload))


def _connected(since: str | None, now: float) -> tuple[str, str]:
    """For how long, in whole minutes once there is one, and since when."""
    if since is None:
        return figures.NOTHING, "it is away"
    took = now - datetime.fromisoformat(since).timestamp()
    return parts.lasting(took if took < 60 else took // 60 * 60), f"since {parts.clock(since)}"


def _fact(name: str, value: str, *, mono: bool = False) -> None:
    ui.html(name, sanitize=False, tag="dt")
    ui.html(parts.breakable(value), sanitize=False, tag="dd").classes("mono" if mono else "")


def _mend(object_: str, field: str, place: str, href: str) -> None:
    """Where the cause is to be mended."""
    with ui.link(target=href).classes("button"):
        ui.icon("edit_note")
        ui.label(f"Mend {object_}")
    ui.label(" ".join(part for part in (field, f"({place})" if place else "") if part)).classes("mono muted")
