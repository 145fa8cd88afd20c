"""What is wrong with what was written: each with its object, its place and what is mostly to be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from nicegui import ui

from plait.api.views import FindingView
from plait.dashboard import parts
from plait.dashboard.elements.choices import Chips, Select, search
from plait.dashboard.elements.grid import Cell, Column, Grid, Row
from plait.dashboard.feed import Feed
from plait.dashboard.frame import frame

NAMES = {"": "All", "error": "Errors", "warning": "Warnings", "info": "Info"}
TONES = {"error": parts.BAD, "warning": parts.WARN, "info": parts.INFO}
_ORDER = list(TONES)
_COLUMNS = (
    Column("severity", "Severity", tight=True),
    Column("message", "What, and what to do"),
    Column("object", "Object"),
    Column("place", "Place"),
    Column("code", "Code", tight=True),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which findings are to be shown; what is "" leaves out none."""

    severity: str = ""
    namespace: str = ""
    text: str = ""

    def fits(self, one: FindingView) -> bool:
        """Whatever its severity."""
        said = f"{one.text} {one.remedy}".lower()
        return self.namespace in {"", namespace_of(one)} and self.text.strip().lower() in said


def namespace_of(one: FindingView) -> str:
    """That of its object; "" for what has none."""
    _, _, name = one.object.partition(" ")
    namespace, slash, _ = name.partition("/")
    return namespace if slash else ""


def counts(some: Iterable[FindingView]) -> Counter[str]:
    """How many there are of each severity; of all, by ""."""
    found = Counter(one.severity for one in some)
    found[""] = found.total()
    return found


def rows(some: Iterable[FindingView], wanted: Wanted) -> list[Row]:
    """The worst first, and those of one object together."""
    shown = [one for one in some if wanted.fits(one) and wanted.severity in {"", one.severity}]
    shown.sort(key=lambda one: (_rank(one), one.object, one.file, one.line, one.code, one.message))
    return [Row(f"{one.severity} {one.text}", _cells(one)) for one in shown]


def _rank(one: FindingView) -> int:
    return _ORDER.index(one.severity) if one.severity in _ORDER else len(_ORDER)


def _cells(one: FindingView) -> tuple[Cell, ...]:
    leads = parts.to_named(one.object, one.line)
    file = PurePath(one.file)
    folder = str(file.parent) if len(file.parts) > 1 else ""
    return (
        Cell(
            one.severity.capitalize(), tone=TONES.get(one.severity, parts.PLAIN), badge=True, sort=_rank(one)
        ),
        Cell(one.message, sub=one.remedy),
        Cell(one.object, href=leads, sub=one.field),
        Cell(f"{file.name}:{one.line}" if one.line else file.name, href=leads, tone="mono", sub=folder),
        Cell(one.code, tone="mono"),
    )


def register(feed: Feed) -> None:
    """Serve the page."""

    @ui.page("/findings")
    async def page(severity: str = "", namespace: str = "", text: str = "") -> None:
        wanted = {"severity": severity, "namespace": namespace, "text": text}
        with frame(feed, "Findings", "/findings") as shown:
            choose = shown.choosing("/findings", wanted)
            with ui.element("div").classes("toolbar"):
                chips = Chips("Severity", NAMES, severity, choose("severity"))
                with ui.element("div").classes("right row"):
                    namespaces = Select("Namespace", "All namespaces", namespace, choose("namespace"))
                    search("Find in findings", text, choose("text"))
            with parts.panel(flush=True):
                grid = Grid(_COLUMNS, empty="Nothing is wrong with what is written.", label="Findings")

            async def refresh() -> None:
                some = await feed.client.findings()
                now = Wanted(**wanted)
                namespaces.tell({namespace_of(one) for one in some} - {""})
                chips.tell(counts(one for one in some if now.fits(one)))
                grid.show(rows(some, now))

            await shown.live(refresh)
