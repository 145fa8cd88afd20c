"""What pages are made of: panels, numbers, badges, links."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from nicegui import ui

from plait.api.views import Written

GOOD, WARN, BAD, IDLE, INFO, PLAIN = "good", "warn", "bad", "idle", "info", ""
"""Tones, which are classes in dashboard.css."""

SLOW_SHARE, BAD_SHARE = 0.001, 0.05
"""Shares of requests that fail: from the first on it is worth a look, from the second on it is bad."""


def tone_of_errors(share: float | None) -> str:
    """What a share of failures deserves; IDLE where too little is known."""
    if share is None:
        return IDLE
    return BAD if share >= BAD_SHARE else WARN if share >= SLOW_SHARE else GOOD


@contextmanager
def panel(title: str = "", *, flush: bool = False, classes: str = "") -> Iterator[Panel]:
    """A box with a heading; `flush`: what is in it comes to its edges, as tables do."""
    with ui.element("section").classes(f"panel {classes}") as section:
        actions = None
        if title:
            section.props["aria-label"] = title
            with ui.element("header"):
                ui.html(f"<h2>{escaped(title)}</h2>", sanitize=False)
                actions = ui.element("div").classes("actions")
        with ui.element("div").classes("body flush" if flush else "body") as body:
            yield Panel(section, actions, body)


class Panel:
    """Where more can be put: what one may do at the right of its heading, and its content."""

    def __init__(self, section: ui.element, actions: ui.element | None, body: ui.element) -> None:
        self.section, self.actions, self.body = section, actions, body


class Stat:
    """One number of a row of `stats`, which is told what it is now."""

    def __init__(self, label: str) -> None:
        with ui.element("div").classes("stat"):
            ui.label(label).classes("label")
            self._value = ui.label("-").classes("value")
            self._note = ui.label("").classes("note")

    def tell(self, value: str, note: str = "", tone: str = PLAIN) -> None:
        """Nothing is sent of what is as it was."""
        self._value.set_text(value)
        self._value.classes(replace=f"value {tone}")
        self._note.set_text(note)


def stats(*labels: str) -> tuple[Stat, ...]:
    """A row of numbers."""
    with ui.element("div").classes("stats"):
        return tuple(Stat(label) for label in labels)


def badge(text: str, tone: str = PLAIN) -> ui.label:
    return ui.label(text).classes(f"badge {tone}")


def empty(text: str) -> ui.label:
    """What stands where there is nothing."""
    return ui.label(text).classes("empty")


def escaped(text: str) -> str:
    """Text for HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def clock(moment: str | None) -> str:
    """An ISO 8601 time as it is here, with its day unless that is today; "" for none."""
    if not moment:
        return ""
    at, now = datetime.fromisoformat(moment).astimezone(), datetime.now(UTC).astimezone()
    if at.date() == now.date():
        return f"{at:%H:%M:%S}"
    return f"{at:%d %b, %H:%M}" if at.year == now.year else f"{at:%d %b %Y, %H:%M}"


def lasting(seconds: float) -> str:
    """How long something takes, in its two largest units: `12s`, `3m 20s`, `23h`, `12d 4h`."""
    left = max(0, int(seconds))
    for long, short, size, part in (("d", "h", 86_400, 3_600), ("h", "m", 3_600, 60), ("m", "s", 60, 1)):
        if left >= size:
            rest = left % size // part
            return f"{left // size}{long} {rest}{short}" if rest else f"{left // size}{long}"
    return f"{left}s"


def breakable(text: str) -> str:
    """Text for HTML that may be broken after a `/`: a path, an identity."""
    return escaped(text).replace("/", "/<wbr>").replace("/<wbr>/<wbr>", "//")


def counted(number: int, what: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def to(path: str, **query: object) -> str:
    """A place in the dashboard; what is "" or None is left away."""
    said = {name: str(value) for name, value in query.items() if value not in {"", None}}
    return f"{quote(path)}?{urlencode(said)}" if said else quote(path)


def service_of(host: str) -> tuple[str, str] | None:
    """Namespace and name of a service of the mesh, by its host; None for others."""
    match host.split("."):
        case [name, namespace, "svc", *_]:
            return namespace, name
        case _:
            return None


def to_service(host: str) -> str:
    """The page of a service by its host; "" where it has none."""
    found = service_of(host)
    return to(f"/services/{found[0]}/{found[1]}") if found else ""


def to_object(written: Written | None) -> str:
    """The page of an object, at the line of its field; "" for none."""
    if written is None:
        return ""
    return to(
        "/objects", kind=written.kind, namespace=written.namespace, name=written.name, line=written.line
    )


def to_named(object_: str, line: int = 0) -> str:
    """The same by KIND NAMESPACE/NAME, as findings have it."""
    kind, _, rest = object_.partition(" ")
    namespace, slash, name = rest.partition("/")
    if not slash:
        namespace, name = "", namespace
    return to("/objects", kind=kind, namespace=namespace, name=name, line=line or "") if name else ""
