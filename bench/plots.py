"""Draws what a run has found, as pictures that can be read on light and on dark, the same for the same figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from itertools import chain
from math import floor, log10
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.records import Record
from bench.report import Plot
from bench.results import Results, each_once
from bench.words import CONNECTIONS, CPU, P99, PLAIT, RATE, compared, load

_GREY = "#7d8590"
_COLOURS = ("#2f81f7", "#e0782f", "#2da44e", "#bf5fd6", "#d4a72c", "#e5534b", "#39a0a8", "#8c6d5a")
_STYLE = {
    "svg.hashsalt": "plait",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 11,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _GREY,
    "axes.titlecolor": _GREY,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _GREY,
    "grid.alpha": 0.25,
    "text.color": _GREY,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "xtick.minor.bottom": False,
    "ytick.minor.left": False,
    "legend.frameon": False,
    "legend.labelcolor": _GREY,
}
_SIDECARS = re.compile(r"(\d+) services?, (\w+) mode")

Drawn = Iterator[tuple[str, str, Figure]]
"""Files' names, titles, pictures."""

Lines = Mapping[str, Sequence[tuple[float, Record]]]
"""By name: records at a place each."""


def draw(results: Results, folder: Path) -> list[Plot]:
    """Every picture that there are figures for, written into a folder beside the page."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    drawn = []
    with mpl.rc_context(_STYLE):
        for name, title, figure in chain(
            _cpu(results), _load(results), _last_ack(results), _sidecars(results)
        ):
            figure.suptitle(title)
            file = folder / f"{name}.svg"
            file.write_text(_svg(figure))
            drawn.append(Plot(title, f"{folder.name}/{file.name}"))
    return drawn


def _svg(figure: Figure) -> str:
    """As matplotlib has it, at a third of the size: styles are said once, and nothing below a hundredth of a point."""
    with StringIO() as written:
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        text = written.getvalue()
    styles: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return f'class="{styles.setdefault(found[1], f"s{len(styles)}")}"'

    head, svg = text[: text.index("<svg")], text[text.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'style="([^"]*)"', named, svg)
    svg = re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), svg)
    svg = re.sub(r' id="\w+_\d+"| transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    sheet = "".join(f".{name}{{{style}}}\n" for style, name in styles.items())
    return head + svg.replace("<defs>", f"<style>\n{sheet}</style>\n<defs>", 1)


def _cpu(results: Results) -> Drawn:
    """A bar a contender, for each protocol."""
    found = compared(results.of("data plane"), CPU)
    if not found:
        return
    most = max(map(len, found.values()))
    figure = _figure(8, 1.2 + 0.4 * most * len(found))
    for place, (protocol, records) in enumerate(found.items()):
        axes = figure.add_subplot(len(found), 1, place + 1)
        _bars(axes, {"": records})
        axes.set_title(protocol)
        axes.set_xlabel(_unit(CPU, records.values()))
    yield "cpu", f"CPU a request at {CONNECTIONS} connections", figure


def _load(results: Results) -> Drawn:
    """A picture a protocol, a line a contender: how much went through, and how long it took."""
    records = results.of("data plane")
    for protocol in each_once(at[0] for record in records if (at := load(record.setting))):
        found = [(metric, _over(records, metric, protocol)) for metric in (RATE, P99)]
        found = [(metric, lines) for metric, lines in found if any(len(one) > 1 for one in lines.values())]
        if not found:
            continue
        figure = _figure(4.5 * len(found), 4.2)
        for place, (metric, lines) in enumerate(found, 1):
            axes = figure.add_subplot(1, len(found), place)
            _lines(axes, lines, factors=metric == P99)
            axes.set_xlabel("connections")
            axes.set_ylabel(_unit(metric, (record for points in lines.values() for _, record in points)))
        _legend(figure)
        name = re.sub(r"\W+", "-", protocol.lower())
        yield f"load-{name}", f"{protocol}: requests a second and latency against connections", figure


def _last_ack(results: Results) -> Drawn:
    """A group of bars a scenario, a bar for each mesh."""
    bars: dict[str, dict[str, Record]] = {}
    for record in results.of("control plane"):
        if record.metric == "last ACK" and record.median > 0:
            bars.setdefault(record.setting, {})[record.case] = record
    if not bars:
        return
    cases = max(map(len, bars.values()))
    figure = _figure(8, 1.6 + 0.27 * cases * (len(bars) + 0.6))
    axes = figure.add_subplot()
    _bars(axes, bars)
    axes.set_xscale("log")
    axes.set_xlim(
        left=10 ** floor(log10(min(one.spread[0] for group in bars.values() for one in group.values())))
    )
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel(_unit("last ACK", bars[next(iter(bars))].values()))
    _legend(figure)
    yield "last-ack", "From a change to the last acknowledgement", figure


def _sidecars(results: Results) -> Drawn:
    """A line a mode."""
    lines: dict[str, list[tuple[float, Record]]] = {}
    for record in results.of("sidecars"):
        if record.metric == "memory" and (found := _SIDECARS.fullmatch(record.setting)):
            lines.setdefault(f"{found[2]} mode", []).append((int(found[1]), record))
    if not lines:
        return
    figure = _figure(8, 4)
    axes = figure.add_subplot()
    _lines(axes, lines)
    axes.set_xlabel("services")
    axes.set_ylabel(_unit("memory", [record for _, record in next(iter(lines.values()))]))
    _legend(figure)
    yield "sidecars", "Memory of one Envoy against the size of the mesh", figure


def _over(records: Iterable[Record], metric: str, protocol: str) -> Lines:
    """Each contender's records of a protocol, by connections."""
    lines: dict[str, list[tuple[float, Record]]] = {}
    for record in records:
        at = load(record.setting)
        if at is not None and at[0] == protocol and record.metric == metric:
            lines.setdefault(record.case, []).append((at[1], record))
    return {case: sorted(points, key=lambda point: point[0]) for case, points in lines.items()}


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _bars(axes: Any, groups: Mapping[str, Mapping[str, Record]]) -> None:
    """Lying bars, from the top down; one alone is called by its number too."""
    cases = list(each_once(case for group in groups.values() for case in group))
    thick = 0.8 / len(groups)
    for place, (group, records) in enumerate(groups.items()):
        heights = [cases.index(case) + (place - (len(groups) - 1) / 2) * thick for case in records]
        bars = axes.barh(
            heights,
            [record.median for record in records.values()],
            height=thick * 0.9,
            color=[_COLOURS[place + 1 if case == PLAIT else place] for case in records],
            label=group,
            xerr=_errors(list(records.values())),
            ecolor=_GREY,
        )
        if len(groups) == 1:
            labels = [f"{record.median:,.0f}" for record in records.values()]
            axes.bar_label(bars, labels, padding=6, color=_GREY)
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    axes.grid(axis="x")


def _lines(axes: Any, lines: Lines, *, factors: bool = False) -> None:
    """Over sizes that grow by factors; `factors`: the values do as well."""
    for place, (name, points) in enumerate(lines.items()):
        records = [record for _, record in points]
        axes.errorbar(
            [where for where, _ in points],
            [record.median for record in records],
            yerr=_errors(records),
            marker="o",
            color=_COLOURS[place % len(_COLOURS)],
            label=name,
        )
    places = sorted({where for points in lines.values() for where, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{where:,g}" for where in places])
    if factors:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid()


def _errors(records: Sequence[Record]) -> tuple[list[float], list[float]]:
    """How far the least and the most are from the median."""
    return (
        [record.median - record.spread[0] for record in records],
        [record.spread[1] - record.median for record in records],
    )


def _legend(figure: Figure) -> None:
    """One for all, below."""
    names = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        names.update(dict(zip(labels, handles, strict=True)))
    figure.legend(names.values(), names.keys(), loc="outside lower center", ncols=2)


def _unit(metric: str, records: Iterable[Record]) -> str:
    unit = next((record.unit for record in records), "")
    return f"{metric} ({unit})" if unit else metric
