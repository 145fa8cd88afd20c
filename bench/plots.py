"""Draws what a run has found, as pictures that can be read on light and on dark, the same for the same figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.records import Record
from bench.report import Plot
from bench.results import Results, each_once
from bench.words import CONNECTIONS, CPU, P99, RATE, compared, load

_GREY = "#7d8590"
_COLOURS = ("#2f81f7", "#e0782f", "#2da44e", "#bf5fd6", "#d4a72c", "#e5534b", "#39a0a8", "#8c6d5a")
_STYLE = {
    "svg.hashsalt": "plait",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
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

Lines = Mapping[str, Sequence[tuple[float, Record]]]
"""By name: records at a place each."""


def draw(results: Results, folder: Path) -> list[Plot]:
    """Every picture that there are figures for, written into a folder beside the page."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    drawn = []
    with mpl.rc_context(_STYLE):
        for name, title, figure in (
            ("cpu", f"CPU a request at {CONNECTIONS} connections", _cpu),
            ("load", "Requests a second and latency against connections", _load),
            ("last-ack", "From a change to the last acknowledgement", _last_ack),
            ("sidecars", "Memory of one Envoy against the size of the mesh", _sidecars),
        ):
            made: Figure | None = figure(results)
            if made is not None:
                made.suptitle(title)
                file = folder / f"{name}.svg"
                made.savefig(file, transparent=True, metadata={"Date": None, "Creator": None})
                drawn.append(Plot(title, f"{folder.name}/{file.name}"))
    return drawn


def _cpu(results: Results) -> Figure | None:
    """A bar a contender, for each protocol."""
    found = compared(results.of("data plane"), CPU)
    if not found:
        return None
    most = max(map(len, found.values()))
    figure = _figure(8, 1.2 + 0.4 * most * len(found))
    for place, (protocol, records) in enumerate(found.items()):
        axes = figure.add_subplot(len(found), 1, place + 1)
        _bars(axes, {"": records})
        axes.set_title(protocol)
        axes.set_xlabel(_unit(CPU, records.values()))
    return figure


def _load(results: Results) -> Figure | None:
    """A line a contender: above, how much went through; below, how long it took."""
    records = results.of("data plane")
    protocols = list(each_once(at[0] for record in records if (at := load(record.setting))))
    found = {}
    for metric, protocol in product((RATE, P99), protocols):
        lines = _over(records, metric, protocol)
        if any(len(points) > 1 for points in lines.values()):
            found[metric, protocol] = lines
    if not found:
        return None
    metrics, protocols = list(each_once(key[0] for key in found)), list(each_once(key[1] for key in found))
    figure = _figure(4.5 * len(protocols), 1 + 3.2 * len(metrics))
    for (metric, protocol), lines in found.items():
        place = metrics.index(metric) * len(protocols) + protocols.index(protocol)
        axes = figure.add_subplot(len(metrics), len(protocols), place + 1)
        _lines(axes, lines)
        axes.set_title(protocol)
        axes.set_xlabel("connections")
        axes.set_ylabel(_unit(metric, (record for points in lines.values() for _, record in points)))
    _legend(figure)
    return figure


def _last_ack(results: Results) -> Figure | None:
    """A group of bars a scenario, a bar for each mesh."""
    bars: dict[str, dict[str, Record]] = {}
    for record in results.of("control plane"):
        if record.metric == "last ACK" and record.median > 0:
            bars.setdefault(record.setting, {})[record.case] = record
    if not bars:
        return None
    cases = max(map(len, bars.values()))
    figure = _figure(8, 1.6 + 0.27 * cases * (len(bars) + 0.6))
    axes = figure.add_subplot()
    _bars(axes, bars)
    axes.set_xscale("log")
    axes.set_xlabel(_unit("last ACK", bars[next(iter(bars))].values()))
    _legend(figure)
    return figure


def _sidecars(results: Results) -> Figure | None:
    """A line a mode."""
    lines: dict[str, list[tuple[float, Record]]] = {}
    for record in results.of("sidecars"):
        if record.metric == "memory" and (found := _SIDECARS.fullmatch(record.setting)):
            lines.setdefault(f"{found[2]} mode", []).append((int(found[1]), record))
    if not lines:
        return None
    figure = _figure(8, 4)
    axes = figure.add_subplot()
    _lines(axes, lines)
    axes.set_xlabel("services")
    axes.set_ylabel(_unit("memory", [record for _, record in next(iter(lines.values()))]))
    _legend(figure)
    return figure


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
            color=_COLOURS[place % len(_COLOURS)],
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


def _lines(axes: Any, lines: Lines) -> None:
    """Over sizes that grow by factors."""
    for place, (name, points) in enumerate(lines.items()):
        records = [record for _, record in points]
        axes.errorbar(
            [where for where, _ in points],
            [record.median for record in records],
            yerr=_errors(records),
            marker="o",
            capsize=2,
            color=_COLOURS[place % len(_COLOURS)],
            label=name,
        )
    places = sorted({where for points in lines.values() for where, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{where:,g}" for where in places])
    axes.set_ylim(bottom=0)
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
    figure.legend(names.values(), names.keys(), loc="outside lower center", ncols=min(3, len(names)))


def _unit(metric: str, records: Iterable[Record]) -> str:
    unit = next((record.unit for record in records), "")
    return f"{metric} ({unit})" if unit else metric
