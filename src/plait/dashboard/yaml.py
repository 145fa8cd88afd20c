"""YAML as HTML: lightly coloured, with the numbers of its lines, and one of them marked."""

from __future__ import annotations

from typing import Any

from pygments.lexers.data import YamlLexer
from pygments.token import Comment, Literal, Name, Punctuation, String

from plait.dashboard import parts

_CLASSES: tuple[tuple[Any, str], ...] = (
    (Name.Tag, "k"),
    (Comment, "c"),
    (String, "s"),
    (Literal.Scalar, "s"),
    (Punctuation, "p"),
)


def shown(text: str, first: int, marked: int) -> str:
    """`first` is the number of the first line; a `marked` one that is not there marks none."""
    lines = [""]
    for kind, value in YamlLexer(stripnl=False, ensurenl=False).get_tokens(text):
        for number, part in enumerate(value.split("\n")):
            if number:
                lines.append("")
            lines[-1] += _coloured(kind, part)
    if not lines[-1]:
        lines.pop()
    body = "".join(_line(line, number, number == marked) for number, line in enumerate(lines, first))
    return f'<pre class="code">{body}</pre>'


def _coloured(kind: Any, text: str) -> str:
    name = next((name for of, name in _CLASSES if kind in of), "") if text.strip() else ""
    return f'<span class="{name}">{parts.escaped(text)}</span>' if name else parts.escaped(text)


def _line(line: str, number: int, marked: bool) -> str:  # noqa: FBT001 - one of two looks
    look = ' class="line marked" aria-current="true"' if marked else ' class="line"'
    return f'<span{look} data-line="{number}"><span class="no">{number}</span>{line}</span>'
