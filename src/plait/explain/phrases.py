"""Parts of sentences that rules of all kinds are told in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plait.model.routing import MatchKind, StringMatch


def either(several: Iterable[object]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *first, last = [quoted(str(one)) for one in several]
    return f"{', '.join(first)} or {last}" if first else last


def few(several: Sequence[object], most: int = 4) -> str:
    """As many as that: `a, b and c`, `a, b, c and 12 more`."""
    shown = [str(one) for one in (several if len(several) <= most else several[: most - 1])]
    last = shown.pop() if len(several) <= most else f"{len(several) - len(shown)} more"
    return f"{', '.join(shown)} and {last}" if shown else last


def seconds(value: float) -> str:
    """`250ms`, `2.5s`, `5m`, `1h`."""
    if 0 < value < 1:
        return f"{value * 1000:g}ms"
    for unit, length in (("h", 3600), ("m", 60)):
        if value and not value % length:
            return f"{value / length:g}{unit}"
    return f"{value:g}s"


def percent(value: float) -> str:
    """`10%`, `0.5%`."""
    return f"{value:g}%"


def test(match: StringMatch) -> str:
    """What is asked of a string: `is tester`, `begins with /menu`."""
    value = quoted(match.value)
    match match.kind:
        case MatchKind.EXACT:
            return f"is {value}"
        case MatchKind.PREFIX:
            return f"begins with {value}"
        case MatchKind.SEGMENTS:
            return f"is {value} or below"
        case MatchKind.REGEX:
            return f"matches {value}"
        case MatchKind.PRESENT:
            return "is there"


def no_test(match: StringMatch) -> str:
    """The contrary of it."""
    value = quoted(match.value)
    match match.kind:
        case MatchKind.EXACT:
            return f"is not {value}"
        case MatchKind.PREFIX:
            return f"does not begin with {value}"
        case MatchKind.SEGMENTS:
            return f"is neither {value} nor below"
        case MatchKind.REGEX:
            return f"does not match {value}"
        case MatchKind.PRESENT:
            return "is not there"


def quoted(text: str) -> str:
    """A text that could be overlooked, in quotes."""
    return text if text and text == text.strip() else f'"{text}"'
