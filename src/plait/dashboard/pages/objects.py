"""An object as it stands in its file, at the line that somebody has asked about."""

from __future__ import annotations

from nicegui import ui

from plait.dashboard import parts
from plait.dashboard.feed import Feed
from plait.dashboard.frame import frame


def register(feed: Feed) -> None:
    """Serve the page."""

    @ui.page("/objects")
    async def page(kind: str = "", namespace: str = "", name: str = "", line: int = 0) -> None:
        title = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
        with frame(feed, title, "") as shown:
            with parts.panel("As written", flush=True) as box, box.body:
                place = ui.label("").classes("muted mono")
                text = ui.html("", sanitize=False)
            assert box.actions is not None
            place.move(box.actions)

            async def refresh() -> None:
                found = await feed.client.object(kind, namespace, name)
                place.set_text(found.written.place)
                text.set_content(_numbered(found.text, found.written.line or 1, line))

            await shown.live(refresh)


def _numbered(text: str, first: int, marked: int) -> str:
    """With the numbers that its lines have in the file."""
    lines = (
        f'<span class="line{" marked" if number == marked else ""}" data-line="{number}">'
        f'<span class="no">{number}</span>{parts.escaped(line)}</span>'
        for number, line in enumerate(text.splitlines(), first)
    )
    return f'<pre class="code">{"".join(lines)}</pre>'
