"""Who stands in which column, and in which order: links lead to the right, and cross as seldom as can be.

What stood before stays in its column and its order; what is new is put between.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

Link = tuple[str, str]
Vertex = str | tuple[str, str, int]
"""A node, or the point by which a long link passes a column: source, target, and the how manieth it is."""

_POINTS = 1500
"""As many points are passed by; with more, or in a crowd, long links go straight."""
_SWEEPS = 16
_CROWD, _SQUARE = 3.0, 1.2


@dataclass(frozen=True, slots=True)
class Layers:
    """Columns from left to right, each from top to bottom; `segments` join vertices of neighbouring ones."""

    columns: tuple[tuple[Vertex, ...], ...]
    segments: tuple[tuple[Vertex, Vertex], ...]
    points: Mapping[Link, tuple[Vertex, ...]]
    """Of the links that pass columns, from their source to their target."""


def layers(
    links: Sequence[Link], lanes: Mapping[str, int], before: Mapping[str, int], heights: Mapping[Vertex, float],
    known: Iterable[Link] = (),
) -> Layers:  # fmt: skip
    """Layers of all nodes that have links, which are in order; `lanes` are kept apart from top to bottom.

    `before` are the columns of what is there already, `heights` at which height it (and its points) stood, and `known`
    the links that were there.
    """
    column = _grown(links, before, set(known)) if before else _fresh(links)
    least = min(column.values(), default=0)
    column = {key: one - least for key, one in column.items()}
    columns: list[list[Vertex]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    for key in sorted(column):
        columns[column[key]].append(key)
    segments: list[tuple[Vertex, Vertex]] = []
    points: dict[Link, tuple[Vertex, ...]] = {}
    lane: dict[Vertex, int] = {}
    lane.update(lanes)
    spans = {link: column[link[1]] - column[link[0]] for link in links}
    straight = crowded(len(column), len(links)) or sum(abs(span) for span in spans.values()) > _POINTS
    for link, span in spans.items():
        passed = [] if straight else [(*link, number) for number in range(abs(span) - 1)]
        step = 1 if span > 0 else -1
        for number, point in enumerate(passed, 1):
            columns[column[link[0]] + step * number].append(point)
            lane[point] = lanes[link[1]]
        if passed:
            points[link] = tuple(passed)
        if passed or abs(span) == 1:
            way: list[Vertex] = [link[0], *passed, link[1]]
            segments += pairwise(way if span > 0 else way[::-1])
    if before:
        _put_between(columns, segments, lane, heights)
    else:
        columns = _untangled(columns, segments, lane)
    return Layers(tuple(map(tuple, columns)), tuple(segments), points)


def crowded(nodes: int, links: int) -> bool:
    """Whether nearly all call each other, so that nobody could follow a single link with the eye."""
    return links > _CROWD * nodes


def _fresh(links: Sequence[Link]) -> dict[str, int]:
    """By the longest way from who is called by nobody; who calls stands just before whom it calls first."""
    place = {key: number for number, key in enumerate(sequence(links))}
    following, leading = _neighbours(link for link in links if place[link[0]] < place[link[1]])
    column: dict[str, int] = {}
    for key in place:
        column[key] = max((column[one] + 1 for one in leading[key]), default=0)
    for key in place:
        if not leading[key] and following[key]:
            column[key] = min(column[one] for one in following[key]) - 1
    return _narrowed(column, len(links))


def _narrowed(column: dict[str, int], links: int) -> dict[str, int]:
    """Where nearly all call each other, the longest way has everybody: fewer columns, with several in each."""
    wide, limit = max(column.values(), default=0) + 1, max(4, ceil(sqrt(_SQUARE * len(column))))
    if not crowded(len(column), links) or wide <= limit:
        return column
    order = sorted(column, key=lambda key: (column[key], key))
    return {key: number * limit // len(order) for number, key in enumerate(order)}


def sequence(links: Sequence[Link]) -> list[str]:
    """An order of all nodes against which few links lead, and none where no cycle makes it so."""
    following, leading = _neighbours(link for link in links if link[0] != link[1])
    left = dict.fromkeys(sorted({end for link in links for end in link}))
    calls = {key: len(following[key]) for key in left}
    called = {key: len(leading[key]) for key in left}
    first: list[str] = []
    last: list[str] = []

    def take(key: str) -> None:
        del left[key]
        for one in following[key]:
            called[one] -= 1
        for one in leading[key]:
            calls[one] -= 1

    while left:
        if sinks := [key for key in left if not calls[key]]:
            last += reversed(sinks)
            for key in sinks:
                take(key)
        elif sources := [key for key in left if not called[key]]:
            first += sources
            for key in sources:
                take(key)
        else:
            key = max(left, key=lambda key: calls[key] - called[key])
            first.append(key)
            take(key)
    return first + last[::-1]


def _neighbours(links: Iterable[Link]) -> tuple[defaultdict[str, list[str]], defaultdict[str, list[str]]]:
    following: defaultdict[str, list[str]] = defaultdict(list)
    leading: defaultdict[str, list[str]] = defaultdict(list)
    for source, target in links:
        following[source].append(target)
        leading[target].append(source)
    return following, leading


def _grown(links: Sequence[Link], before: Mapping[str, int], known: set[Link]) -> dict[str, int]:
    """As before, with what is new at the end of its callers; moved is only who is called by somebody new from the right."""
    column = {key: before[key] for key in sorted({end for link in links for end in link}) if key in before}
    fresh = [key for key in sequence(links) if key not in column]
    following, leading = _neighbours(links)
    for key in fresh:
        callers = [column[one] for one in leading[key] if one in column and one != key]
        called = [column[one] for one in following[key] if one in column and one != key]
        column[key] = max(callers) + 1 if callers else min(called) - 1 if called else 0
    if crowded(len(column), len(links)):
        low, high = min(before.values()), max(before.values())
        return {key: min(max(one, low), high) for key, one in column.items()}
    onward, _ = _neighbours(link for link in links if column[link[0]] < column[link[1]])
    for source, target in links:
        if (source, target) in known or column[source] < column[target] or _leads(onward, target, source):
            continue
        onward[source].append(target)
        moved = [source]
        while moved:
            key = moved.pop()
            for one in onward[key]:
                if column[one] <= column[key]:
                    column[one] = column[key] + 1
                    moved.append(one)
    return column


def _leads(onward: Mapping[str, list[str]], start: str, end: str) -> bool:
    seen, to_see = {start}, [start]
    while to_see:
        key = to_see.pop()
        if key == end:
            return True
        new = [one for one in onward.get(key, ()) if one not in seen]
        seen.update(new)
        to_see += new
    return False


def _put_between(
    columns: list[list[Vertex]],
    segments: Sequence[tuple[Vertex, Vertex]],
    lane: Mapping[Vertex, int],
    heights: Mapping[Vertex, float],
) -> None:
    """In the order of before; what is new at the middle of its neighbours."""
    beside: defaultdict[Vertex, list[Vertex]] = defaultdict(list)
    for one, other in segments:
        beside[one].append(other)
        beside[other].append(one)
    at = dict(heights)
    to_place = [vertex for column in columns for vertex in column if vertex not in at]
    while to_place:
        later: list[Vertex] = []
        for vertex in to_place:
            if some := [at[one] for one in beside[vertex] if one in at]:
                at[vertex] = sum(some) / len(some)
            else:
                later.append(vertex)
        if len(later) == len(to_place):
            at.update(dict.fromkeys(later, max(at.values(), default=0.0)))
            break
        to_place = later
    for column in columns:
        column.sort(key=lambda vertex: (lane[vertex], at[vertex], vertex in heights, str(vertex)))


def _untangled(
    columns: list[list[Vertex]], segments: Sequence[tuple[Vertex, Vertex]], lane: Mapping[Vertex, int]
) -> list[list[Vertex]]:
    """With few crossings: each column by the medians of the one before, there and back, as long as it helps."""
    onward: defaultdict[Vertex, list[Vertex]] = defaultdict(list)
    back: defaultdict[Vertex, list[Vertex]] = defaultdict(list)
    for one, other in segments:
        onward[one].append(other)
        back[other].append(one)
    for column in columns:
        column.sort(key=lambda vertex: lane[vertex])
    best, fewest, idle = columns, crossings(columns, onward), 0
    now = columns
    for sweep in range(_SWEEPS):
        there = sweep % 2 == 0
        now = [list(column) for column in now]
        walk = range(1, len(now)) if there else range(len(now) - 2, -1, -1)
        for number in walk:
            beside = now[number - 1 if there else number + 1]
            _by_medians(
                now[number], {one: at for at, one in enumerate(beside)}, back if there else onward, lane
            )
        found = crossings(now, onward)
        if found < fewest:
            best, fewest, idle = now, found, 0
        else:
            idle += 1
        if not fewest or idle > 3:
            break
    return best


def _by_medians(
    column: list[Vertex], at: Mapping[Vertex, int], beside: Mapping[Vertex, list[Vertex]], lane: Mapping[Vertex, int]
) -> None:  # fmt: skip
    medians: dict[Vertex, float] = {}
    scale = max(1, len(at)) / max(1, len(column))
    for number, vertex in enumerate(column):
        places = sorted(at[one] for one in beside.get(vertex, ()))
        middle = len(places) // 2
        if not places:
            medians[vertex] = number * scale
        else:
            medians[vertex] = places[middle] if len(places) % 2 else (places[middle - 1] + places[middle]) / 2
    column.sort(key=lambda vertex: (lane[vertex], medians[vertex]))


def crossings(columns: Sequence[Sequence[Vertex]], onward: Mapping[Vertex, Sequence[Vertex]]) -> int:
    """How many pairs of segments cross."""
    found = 0
    for left, right in pairwise(columns):
        at = {one: number for number, one in enumerate(right)}
        seen: list[int] = []
        for vertex in left:
            ends = sorted(at[one] for one in onward.get(vertex, ()))
            for end in ends:
                found += len(seen) - bisect_right(seen, end)
            for end in ends:
                seen.insert(bisect_right(seen, end), end)
    return found
