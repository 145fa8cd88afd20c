"""YAML text into raw values with lines, by hand on the C parser's events: a pass without nodes and recursion.

Each document of a file is parsed by itself, so that a broken one hides nothing in the others.  What could hurt
us is bounded here: size, depth, and what aliases expand to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import yaml

from plait.sources.files.lines import Branch, Lines, Tree
from plait.sources.files.scalars import resolve

MOST_CHARACTERS = 1024 * 1024
"""Of one document: as bytes of its text, and again as what its aliases expand to."""
MOST_DEPTH = 64
MOST_KEY = 1024
_MOST_PROBLEMS = 100

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MARKER = re.compile(r"^(?:---|\.\.\.)(?=\s|\Z)", re.MULTILINE)
_EMPTY = re.compile(r"(?:[ \t]*(?:#[^\n]*)?(?:\n|\Z)|%[^\n]*(?:\n|\Z))*\Z")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")
_TAGS: Final = {
    "tag:yaml.org,2002:str": (str,),
    "tag:yaml.org,2002:int": (int,),
    "tag:yaml.org,2002:float": (float, int),
    "tag:yaml.org,2002:bool": (bool,),
    "tag:yaml.org,2002:null": (type(None),),
}
_COLLECTION_TAGS = (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_resolve = lru_cache(maxsize=4096)(resolve)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a text is no YAML of ours; `line` counts from one in the file."""

    line: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """One document: its value, the line it begins on, and the lines of its fields."""

    value: Any
    line: int
    lines: Lines


def documents(text: str) -> Iterator[Parsed | tuple[Problem, ...]]:
    """Every document of a file that is not empty, or what is wrong with it."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    start, line = 0, 0
    for stop in [*(found.start() for found in _MARKER.finditer(text)), len(text)]:
        piece = text[start:stop]
        body = piece[3:] if piece.startswith(("---", "...")) else piece
        if not _EMPTY.match(body):
            # What follows `---` on its own line belongs to the document; what follows `...` does not.
            result = _document(piece if piece.startswith("---") else body, line)
            if result is not None:
                yield result
        line += piece.count("\n")
        start = stop


def _document(text: str, offset: int) -> Parsed | tuple[Problem, ...] | None:
    first = _first_line(text, offset)
    if len(text) > MOST_CHARACTERS or len(text.encode(errors="replace")) > MOST_CHARACTERS:
        return (Problem(first, "document.too-large", "a document may have 1 MiB, this one has more"),)
    found = _FORBIDDEN.search(text)
    if found is not None:
        line = offset + text.count("\n", 0, found.start()) + 1
        name = "a NUL character" if found.group() == "\0" else f"the character U+{ord(found.group()):04X}"
        return (Problem(line, "yaml.character", f"{name} may not stand in YAML"),)
    builder = _Builder(offset)
    try:
        builder.build(text)
    except _Refused as refused:
        builder.problems.append(refused.problem)
    except yaml.YAMLError as error:
        builder.problems.append(_syntax(error, text, offset))
    if builder.problems:
        return tuple(builder.problems)
    if builder.value is None:
        return None
    return Parsed(builder.value, first, Lines(builder.tree, offset + 1))


class _Refused(Exception):  # noqa: N818  it is caught here, and is no error of a program
    def __init__(self, line: int, code: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(line, code, message)


@dataclass(slots=True)
class _Node:
    """A finished node, and what it would cost to write it out in the place of an alias."""

    value: Any
    tree: Tree = None
    weight: int = 1
    height: int = 0


@dataclass(slots=True)
class _Frame:
    """A mapping or a list that is still open."""

    value: dict[str, Any] | list[Any]
    line: int
    anchor: str | None
    tree: Branch = field(default_factory=dict)
    weight: int = 1
    height: int = 1
    key: Any = None
    key_line: int = 0
    merged: list[_Node] = field(default_factory=list)


_MERGE: Final = object()
_OPEN: Final = _Node(None)


class _Builder:
    """Builds one document's value from the events of its text."""

    def __init__(self, offset: int) -> None:
        self.value: Any = None
        self.tree: Tree = None
        self.problems: list[Problem] = []
        self._line = offset + 1
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Node] = {}
        self._expanded = 0
        self._begun = False

    def build(self, text: str) -> None:
        loader = _Loader(text)
        try:
            while True:
                event = loader.get_event()
                kind = event.__class__
                if kind is yaml.ScalarEvent:
                    self._scalar(event)
                elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                    self._close()
                elif kind is yaml.MappingStartEvent:
                    self._open(event, {})
                elif kind is yaml.SequenceStartEvent:
                    self._open(event, [])
                elif kind is yaml.AliasEvent:
                    self._alias(event)
                elif kind is yaml.DocumentStartEvent:
                    self._begin(event)
                elif kind is yaml.StreamEndEvent:
                    return
        finally:
            loader.dispose()

    def _begin(self, event: Any) -> None:
        if self._begun:
            raise self._refuse(
                event, "yaml.syntax", "a second document begins here; write --- on a line before"
            )
        self._begun = True

    def _scalar(self, event: Any) -> None:
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key is None and isinstance(frame.value, dict):
            self._take_key(frame, event)
            return
        value = self._value(event)
        node = _Node(value, weight=1 + len(event.value))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._add(node, event.start_mark.line)

    def _value(self, event: Any) -> Any:
        text: str = event.value
        if event.tag is None:
            value = _resolve(text) if event.implicit[0] else text
        elif event.tag == "!":
            value = text
        elif event.tag in _TAGS:
            value = text if event.tag.endswith(":str") else _resolve(text)
            if type(value) not in _TAGS[event.tag]:
                raise self._refuse(event, "yaml.tag", f"{text[:80]!r} is not what its tag says")
        else:
            raise self._refuse(event, "yaml.tag", f"the tag {event.tag[:80]!r} is not taken here")
        if isinstance(value, float) and not math.isfinite(value):
            raise self._refuse(event, "yaml.number", f"{text} is no number that an API object can hold")
        if "\0" in text:
            raise self._refuse(event, "yaml.character", "a NUL character may not stand in YAML")
        return value

    def _take_key(self, frame: _Frame, event: Any) -> None:
        if event.implicit[0] and event.value == "<<":
            frame.key, frame.key_line = _MERGE, event.start_mark.line
            return
        node = _Node(self._value(event))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._set_key(frame, node.value, event)

    def _set_key(self, frame: _Frame, key: Any, event: Any) -> None:
        if isinstance(key, int) and not isinstance(key, bool):
            key = str(key)  # as kubectl does: ports are written as keys without quotes
        if not isinstance(key, str):
            found = {bool: "a boolean", type(None): "nothing", float: "a number"}.get(
                type(key), "a collection"
            )
            raise self._refuse(
                event, "yaml.key", f"a key must be a string, this is {found}; put it in quotes"
            )
        if len(key) > MOST_KEY:
            raise self._refuse(event, "yaml.key", f"a key may have {MOST_KEY} characters")
        line = event.start_mark.line
        if key in frame.value and len(self.problems) < _MOST_PROBLEMS:
            first = frame.tree[key][0] + self._line
            self.problems.append(
                Problem(
                    line + self._line,
                    "yaml.duplicate-key",
                    f"{key[:80]!r} stands here twice, first on line {first}",
                )
            )
        frame.key, frame.key_line = key, line
        frame.weight += 1 + len(key)

    def _open(self, event: Any, value: dict[str, Any] | list[Any]) -> None:
        if event.tag not in _COLLECTION_TAGS:
            raise self._refuse(event, "yaml.tag", f"the tag {event.tag[:80]!r} is not taken here")
        if len(self._stack) >= MOST_DEPTH:
            raise self._refuse(event, "yaml.depth", f"nested deeper than {MOST_DEPTH} levels")
        if self._stack and self._stack[-1].key is None and isinstance(self._stack[-1].value, dict):
            raise self._refuse(event, "yaml.key", "a key must be a string, this is a collection")
        if event.anchor is not None:
            self._anchors[event.anchor] = _OPEN
        self._stack.append(_Frame(value, event.start_mark.line, event.anchor))

    def _close(self) -> None:
        frame = self._stack.pop()
        if isinstance(frame.value, dict):
            for source in frame.merged:
                for key, value in source.value.items():
                    if key not in frame.value:
                        frame.value[key] = value
                        frame.tree[key] = (source.tree or {}).get(key, (frame.line, None))
        node = _Node(frame.value, frame.tree, frame.weight, frame.height)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = node
        self._add(node, frame.line)

    def _alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self._refuse(
                event, "yaml.alias", f"no anchor &{event.anchor[:80]} stands before this alias"
            )
        if node is _OPEN:
            raise self._refuse(event, "yaml.cycle", f"*{event.anchor[:80]} refers to what it is a part of")
        self._expanded += node.weight
        if self._expanded > MOST_CHARACTERS:
            raise self._refuse(event, "yaml.bomb", "the aliases of this document expand to more than 1 MiB")
        if len(self._stack) + node.height > MOST_DEPTH:
            raise self._refuse(event, "yaml.depth", f"nested deeper than {MOST_DEPTH} levels by its aliases")
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key is None and isinstance(frame.value, dict):
            self._set_key(frame, node.value, event)
        else:
            self._add(node, event.start_mark.line)

    def _add(self, node: _Node, line: int) -> None:
        if not self._stack:
            self.value, self.tree = node.value, node.tree
            return
        frame = self._stack[-1]
        frame.weight += node.weight
        frame.height = max(frame.height, node.height + 1)
        if isinstance(frame.value, list):
            frame.tree[len(frame.value)] = (line, node.tree)
            frame.value.append(node.value)
        elif frame.key is _MERGE:
            frame.merged += self._merged(node, frame.key_line)
            frame.key = None
        else:
            frame.value[frame.key] = node.value
            frame.tree[frame.key] = (frame.key_line, node.tree)
            frame.key = None

    def _merged(self, node: _Node, line: int) -> list[_Node]:
        if isinstance(node.value, dict):
            return [node]
        if isinstance(node.value, list) and all(isinstance(item, dict) for item in node.value):
            trees = node.tree or {}
            return [_Node(item, trees[index][1]) for index, item in enumerate(node.value)]
        raise _Refused(line + self._line, "yaml.merge", "<< takes a mapping or a list of mappings")

    def _refuse(self, event: Any, code: str, message: str) -> _Refused:
        return _Refused(event.start_mark.line + self._line, code, message)


def _first_line(text: str, offset: int) -> int:
    """The line of a document's first content."""
    lines = text.split("\n", 1000)
    for index, content in enumerate(lines):
        content = content.removeprefix("---") if index == 0 else content  # noqa: PLW2901  the marker is no content
        if content.strip() and not content.lstrip().startswith("#"):
            return offset + index + 1
    return offset + 1


def _syntax(error: yaml.YAMLError, text: str, offset: int) -> Problem:
    """What the parser says, where the mistake most likely is."""
    problem = str(getattr(error, "problem", None) or error)
    mark = getattr(error, "problem_mark", None)
    context, begun = getattr(error, "context", None), getattr(error, "context_mark", None)
    lines = text.split("\n")
    line = min(mark.line, len(lines) - 1) if mark is not None else 0
    if mark is not None and ("tab" in problem or lines[line][mark.column : mark.column + 1] == "\t"):
        return Problem(offset + line + 1, "yaml.tab", "a tab stands where only spaces may indent")
    if "nesting depth" in problem:  # newer libyaml has a limit of its own, before which we hear of nothing
        return Problem(offset + line + 1, "yaml.depth", f"nested deeper than {MOST_DEPTH} levels")
    message = f"{problem} {context}" if context else problem
    if begun is not None and begun.line < line:
        message += f" that begins on line {offset + begun.line + 1}"
    if not "".join(lines[line:]).strip():  # the end of the text: what was not closed before it is the mistake
        last = len(text.rstrip().split("\n")) - 1
        line = min(begun.line, last) if begun is not None else last
    if problem in _INDENTED:
        message += "; look at the indentation"
    return Problem(offset + line + 1, "yaml.syntax", message)


_INDENTED = (
    "did not find expected key",
    "did not find expected '-' indicator",
    "mapping values are not allowed in this context",
    "block sequence entries are not allowed in this context",
)
