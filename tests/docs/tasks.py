"""The pages of docs/tasks as steps: files that are saved, lines that are typed, and what these show.

What stands in a block of a page is taken by its language.  `yaml` is saved in the file that the line before it
names at its end; `sh` is typed; `text` is what the lines above it show.  A file that is said twice, with nothing
typed in between, is said in two ways (with Istio's words, and with those of the Gateway API): each way of a page
is taken for itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.docs.pages import ROOT

FOLDER = ROOT / "docs" / "tasks"
INDEX = FOLDER / "README.md"
PAGES = tuple(sorted(set(FOLDER.glob("*.md")) - {INDEX}))
ROLLOUTS = ("ab-testing", "approval", "blue-green", "canary")
"""The pages, by name, in which a version takes over."""

_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"`([\w./-]+\.yaml)`:\s*\Z")
_LOOKS = re.compile(r"plait (logs|status|canary (list|status))\b")
_UNSURE = re.compile(r"(?<!\S)(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)(?!\S)|\.\.\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """A file to be saved; one text for each way in which the page says it."""

    file: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """Lines to be typed, and what they show; None when the page does not say."""

    script: str
    shown: str | None = None

    @property
    def looks(self) -> bool:
        """Whether it only looks at what is on its way, so that it may be typed again until it is there."""
        return all(_LOOKS.match(line) for line in self.script.splitlines())


def steps(page: str) -> tuple[Save | Type, ...]:
    """What a page tells its reader to do.  ValueError for a block that is none of it."""
    found: list[Save | Type] = []
    end = 0
    for block in _BLOCK.finditer(page):
        before, end = page[end : block.start()], block.end()
        last = found[-1] if found else None
        match block[1], last:
            case "yaml", _:
                if not (file := _FILE.search(before)):
                    raise ValueError(f"not said where to save:\n{block[2]}")
                if isinstance(last, Save) and last.file == file[1]:
                    found[-1] = replace(last, texts=(*last.texts, block[2]))
                else:
                    found.append(Save(file=file[1], texts=(block[2],)))
            case "sh", _:
                found.append(Type(script=block[2]))
            case "text", Type(shown=None):
                found[-1] = replace(last, shown=block[2])
            case _:
                raise ValueError(f"neither saved, nor typed, nor shown:\n{block[2]}")
    return tuple(found)


def ways(todo: tuple[Save | Type, ...]) -> int:
    """In how many ways a page says what it says."""
    return max(len(step.texts) for step in todo if isinstance(step, Save))


def agrees(shown: str, seen: str) -> bool:
    """Whether this is what a page shows: `3-45` is any number from 3 to 45, `...` any text, alone any lines."""
    ranges: list[tuple[float, float]] = []
    pattern = "".join(_line(line, ranges) for line in _lines(shown))
    found = re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(seen)))
    return found is not None and all(
        least <= float(number) <= most for number, (least, most) in zip(found.groups(), ranges, strict=True)
    )


def _lines(text: str) -> Iterator[str]:
    """Its lines, with one blank where there are several; without empty ones."""
    return (" ".join(line.split()) for line in text.splitlines() if line.strip())


def _line(line: str, ranges: list[tuple[float, float]]) -> str:
    """The pattern of a line; the ranges of the numbers that it captures are added to the others."""
    if line == "...":
        return r"(?:.*\n)*"
    pattern, end = "", 0
    for unsure in _UNSURE.finditer(line):
        pattern += re.escape(line[end : unsure.start()])
        end = unsure.end()
        if unsure[1]:
            ranges.append((float(unsure[1]), float(unsure[2])))
            pattern += r"(\d+(?:\.\d+)?)"
        else:
            pattern += ".*"
    return pattern + re.escape(line[end:]) + r"\n"
