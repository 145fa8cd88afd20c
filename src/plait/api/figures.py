"""Figures as people read them, in few letters; "-" is what is not known, or is too little to tell."""

from __future__ import annotations

NOTHING = "-"


def rate(value: float) -> str:
    """Something a second: `0.02/s`, `0.2/s`, `12/s`, `3.4k/s`; "" where there was nothing."""
    return f"{_short(value)}/s" if value else ""


def share(value: float | None) -> str:
    """A part of all: `0%`, `0.3%`, `12%`."""
    if value is None:
        return NOTHING
    if 0 < value < 0.001:
        return "<0.1%"
    return f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"


def duration(milliseconds: float | None) -> str:
    """`<1ms` (Envoy counts whole ones), `4.0ms`, `12ms`, `1.5s`."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 1:
        return "<1ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.1f}ms" if milliseconds < 9.95 else f"{milliseconds:.0f}ms"
    return f"{milliseconds / 1000:.1f}s" if milliseconds < 99_950 else f"{milliseconds / 1000:.0f}s"


def size(value: float) -> str:
    """Bytes: `12B`, `3.4kB`, `45MB`; of 1000 each."""
    return f"{_short(value)}B"


def cores(value: float | None) -> str:
    """CPUs: `0.02`, `1.5`."""
    return NOTHING if value is None else f"{value:.2f}"


def _short(value: float) -> str:
    for unit in ("", "k", "M", "G"):
        if value < 999.5:
            digits = 0 if value >= 9.95 or not value else 1 if value >= 0.095 else 2
            return f"{value:.{digits}f}{unit}"
        value /= 1000
    return f"{value:.0f}T"
