"""Writes what a run has found as a page: promises and ratios first, then every table, then the plots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bench.records import Record
from bench.results import PARTS, Results, each_once
from bench.targets import TARGETS, Target
from bench.words import CONNECTIONS, CPU, ISTIO, compared, ratios

RATIOS = (
    f"CPU a request of each contender at {CONNECTIONS} connections, as a multiple of that of {ISTIO}: "
    "the median of the rounds' ratios"
)
_ABOUT = (
    "[The README](README.md) says what is measured and how.  A figure is the median of its repetitions, "
    "with the least and the most of them in brackets."
)


@dataclass(frozen=True, slots=True)
class Table:
    """A head, and rows of as many cells."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> list[str]:
        return [
            _line(self.head),
            "|".join(["", "---", *["---:"] * (len(self.head) - 1), ""]),
            *map(_line, self.rows),
        ]


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture: its title, and its file from where the page lies."""

    title: str
    file: str


def page(results: Results, plots: Sequence[Plot] = ()) -> str:
    """The whole of RESULTS.md."""
    lines = [
        "# Results",
        "",
        f"What the mesh costs, written by `{results.command}` and not by hand.  {_ABOUT}",
    ]
    for part, reason in results.failures:
        lines += [
            "",
            f"**The part {part} has failed**, and what it lacks here was not measured: {_inline(reason)}",
        ]
    lines += ["", "## Targets", "", *targets(results).markdown()]
    if (relative := relatives(results)).rows:
        lines += ["", "## Ratios", "", f"{RATIOS}.", "", *relative.markdown()]
    lines += ["", "## Machine", "", *Table(("", ""), results.machine).markdown()]
    for part in PARTS:
        lines += _part(part, results.of(part))
    if plots:
        lines += ["", "## Plots"]
    for plot in plots:
        lines += ["", f"![{plot.title}]({plot.file})"]
    return "\n".join(lines) + "\n"


def targets(results: Results) -> Table:
    """Each promise, what was measured, and whether it was kept."""
    return Table(
        ("target", "bound", "measured", "verdict"), tuple(_target(target, results) for target in TARGETS)
    )


def relatives(results: Results) -> Table:
    """Each contender's CPU a request relative to Istio's default shape: a column a protocol."""
    found = {
        protocol: {case: ratios(record, records[ISTIO]) for case, record in records.items()}
        for protocol, records in compared(results.of("data plane"), CPU).items()
        if ISTIO in records
    }
    return Table(
        ("contender", *found),
        tuple(
            (case, *(spread(columns.get(case, ())) for columns in found.values()))
            for case in each_once(case for columns in found.values() for case in columns)
        ),
    )


def _target(target: Target, results: Results) -> tuple[str, ...]:
    values = target.measured(results)
    shown = number(target.judged(values)) if target.judged is max and values else spread(values)
    return (
        target.name,
        target.limit,
        f"{shown} {target.unit}".strip() if values else "",
        target.verdict(values),
    )


def _part(part: str, records: Sequence[Record]) -> Iterator[str]:
    if not records:
        return
    yield from ("", f"## {part.capitalize()}")
    cases = list(each_once(record.case for record in records))
    if len(cases) == 1:
        yield from ("", f"{cases[0]}:", "")
        yield from _pivot(records, "setting", lambda one: one.setting, _metric).markdown()
    elif len({_metric(record) for record in records}) == 1:
        yield from ("", f"{_metric(records[0])}:", "")
        yield from _pivot(records, "case", lambda one: one.case, lambda one: one.setting).markdown()
    else:
        for setting in each_once(record.setting for record in records):
            yield from ("", f"### {setting}", "")
            those = [record for record in records if record.setting == setting]
            yield from _pivot(those, "case", lambda one: one.case, _metric).markdown()


def _pivot(
    records: Iterable[Record], corner: str, row: Callable[[Record], str], column: Callable[[Record], str]
) -> Table:
    """Rows and columns in the order of their first appearance."""
    cells = {(row(record), column(record)): spread(record.values) for record in records}
    columns = tuple(each_once(name for _, name in cells))
    return Table(
        (corner, *columns),
        tuple(
            (name, *(cells.get((name, one), "") for one in columns))
            for name in each_once(name for name, _ in cells)
        ),
    )


def _metric(record: Record) -> str:
    return f"{record.metric} ({record.unit})" if record.unit else record.metric


def spread(values: Sequence[float]) -> str:
    """The median, and between which values it lies when there are several."""
    if not values:
        return ""
    middle, least, most = number(median(values)), number(min(values)), number(max(values))
    return middle if least == most else f"{middle} ({least} to {most})"


def number(value: float) -> str:
    """With about three digits, or all of them before the point."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_inline, cells))} |"


def _inline(text: str) -> str:
    """In one line, and in one cell."""
    return " ".join(text.split()).replace("|", "\\|")
