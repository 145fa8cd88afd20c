"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def pages() -> tuple[Path, ...]:
    """Every page that is written for people."""
    return (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))


def blocks(page: Path, language: str) -> tuple[str, ...]:
    """The code blocks of a page in one language."""
    return tuple(body for kind, body in _FENCE.findall(page.read_text()) if kind == language)


def links(page: Path) -> Iterator[str]:
    """The targets of links to other pages, files and headings."""
    prose = _FENCE.sub("", page.read_text())
    for target in _LINK.findall(prose):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> frozenset[str]:
    """The headings of a page as links name them."""
    prose = _FENCE.sub("", page.read_text())
    return frozenset(
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in _HEADING.findall(prose)
    )
