"""Whether two runs of the benchmark agree: `python -m bench.agreement OLD.json NEW.json`.

A figure agrees when the ranges of its repetitions overlap, or its medians differ by a twentieth at most: three rounds
one after the other vary less than the machine does from hour to hour.  One without repetitions may differ by a tenth.
What does not agree is listed, the furthest apart first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.records import Record, load

_NEAR, _NEAR_ALONE = 0.05, 0.1
"""How far medians may be apart, and figures without repetitions, as a part of the first."""


def apart(old: Record, new: Record) -> float:
    """By what part of the old median the new one differs when the two do not agree; 0 when they do."""
    if not old.median:
        return 0.0 if not new.median else 1.0
    distance = abs(new.median - old.median) / old.median
    if len(old.values) == 1 or len(new.values) == 1:
        return distance if distance > _NEAR_ALONE else 0.0
    (least, most), (other_least, other_most) = old.spread, new.spread
    overlap = least <= other_most and other_least <= most
    return 0.0 if overlap or distance <= _NEAR else distance


def compared(
    old: Iterable[Record], new: Iterable[Record]
) -> Mapping[str, list[tuple[float, Record, Record]]]:
    """By part, every figure that both have, and how far apart its two are; the furthest first."""
    known = {_key(one): one for one in old}
    found: dict[str, list[tuple[float, Record, Record]]] = {}
    for one in new:
        before = known.get(_key(one))
        if before is not None:
            found.setdefault(one.part, []).append((apart(before, one), before, one))
    return {part: sorted(figures, key=lambda figure: -figure[0]) for part, figures in found.items()}


def _key(record: Record) -> tuple[str, str, str, str]:
    return record.part, record.case, record.setting, record.metric


def main(old: str, new: str) -> None:
    for part, figures in compared(load(Path(old)), load(Path(new))).items():
        differing = [figure for figure in figures if figure[0]]
        print(f"{part}: {len(figures) - len(differing)} of {len(figures)} figures agree")
        for distance, before, after in differing:
            name = f"{after.setting}, {after.case}, {after.metric}"
            print(f"  {distance:5.0%}  {name}: {before.median:,.4g} and {after.median:,.4g} {after.unit}")


if __name__ == "__main__":
    main(*sys.argv[1:])
