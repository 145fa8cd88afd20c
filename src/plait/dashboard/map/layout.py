"""Where everything on the map stands.  The same nodes and links give the same places, and what stood before hardly moves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from math import inf

from plait.dashboard.map.layers import Layers, Link, Vertex, crowded, layers, sequence

ACROSS, BETWEEN = 106.0, 26.0
"""Between two columns, and between two nodes of one; all sizes are in pixels."""
_WIDE = 1.9
"""How much wider than high several blocks are together."""
_ROOMY = 1.5
"""How much more of both there is in a crowd."""
_POINT, _BY = 6.0, 15.0
"""How high a point is by which a link passes, and how far it stays off its neighbours."""
_PAD, _TITLE, _APART = 14.0, 32.0, 42.0
"""Of a lane's frame: inside of it, above for its name, and between two."""
_ROW = 900.0
"""How wide a row of nodes without links may be at least."""
_SWEEPS = 14
_HOLD = 1000.0
"""How much more what stood before holds its place than what is new."""


@dataclass(frozen=True, slots=True)
class Item:
    """A node; those of one lane (not "") are framed together."""

    key: str
    width: float
    height: float
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    def grown(self, by: float) -> Box:
        return Box(self.x - by, self.y - by, self.width + 2 * by, self.height + 2 * by)

    def moved(self, down: float, right: float = 0.0) -> Box:
        return Box(self.x + right, self.y + down, self.width, self.height)

    def meets(self, other: Box) -> bool:
        """Whether both have something in common."""
        return (
            self.x < other.right and other.x < self.right and self.y < other.bottom and other.y < self.bottom
        )


@dataclass(frozen=True, slots=True)
class Passing:
    """Where a long link passes a column: from `left` to `right`, at a height."""

    left: float
    right: float
    y: float


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of nodes, of the points by which links pass columns (from source to target), and of frames by lane."""

    boxes: Mapping[str, Box] = field(default_factory=dict)
    passes: Mapping[Link, tuple[Passing, ...]] = field(default_factory=dict)
    frames: Mapping[str, Box] = field(default_factory=dict)
    columns: Mapping[str, int] = field(default_factory=dict)
    """Of the nodes that have links."""
    heights: Mapping[Vertex, float] = field(default_factory=dict)
    items: tuple[Item, ...] = ()
    links: tuple[Link, ...] = ()
    blocks: Mapping[str, Layout] = field(default_factory=dict)
    """Of a crowd in several lanes, each of which is arranged alone."""


NOTHING = Layout()


def arrange(items: Iterable[Item], links: Iterable[Link], before: Layout = NOTHING) -> Layout:
    """A layout, near to the one before; that very one where nothing has come, gone or become another size."""
    items = tuple(sorted(items, key=lambda item: item.key))
    links = tuple(sorted({link for link in links if link[0] != link[1]}))
    if items == before.items and links == before.links:
        return before
    linked = {end for link in links for end in link}
    known = {item.key: item for item in items}
    if crowded(len(linked), len(links)) and len({item.lane for item in items}) > 1:
        return _blocks(items, links, known, before)
    kept = {key: column for key, column in before.columns.items() if key in known and key in linked}
    heights = before.heights if kept else {}
    order = _lanes(items, links, before if kept else NOTHING)
    place = {lane: number for number, lane in enumerate(order)}
    found = layers(links, {key: place[known[key].lane] for key in linked}, kept, heights, before.links)
    room = _ROOMY if crowded(len(linked), len(links)) else 1.0
    columns = _across(found, known, ACROSS * room)
    at: dict[Vertex, float] = {}
    boxes: dict[str, Box] = {}
    frames: dict[str, Box] = {}
    taken: list[Box] = []
    for lane in order:
        members = [[one for one in column if known[_end(one)].lane == lane] for column in found.columns]
        spots = _down(members, found.segments, known, heights, BETWEEN * room)
        placed = {
            vertex: _box(vertex, known, columns[number], spots[vertex])
            for number, column in enumerate(members)
            for vertex in column
        }
        nodes = {key: box for key, box in placed.items() if isinstance(key, str)}
        nodes |= _loose([item for item in items if item.lane == lane and item.key not in linked], nodes)
        frame = _frame(nodes.values()) if lane else None
        solid = (
            [frame, *(placed[one] for one in placed if not isinstance(one, str))]
            if frame
            else [*placed.values(), *nodes.values()]
        )
        shift = _shift(solid, taken, fresh=heights.keys().isdisjoint(spots))
        taken += [box.moved(shift) for box in solid]
        at |= {vertex: y + shift for vertex, y in spots.items()}
        boxes |= {key: box.moved(shift) for key, box in nodes.items()}
        if frame:
            frames[lane] = frame.moved(shift)
    number = {vertex: number for number, column in enumerate(found.columns) for vertex in column}
    return Layout(
        boxes=boxes,
        passes={
            link: tuple(Passing(*columns[number[point]], at[point]) for point in points)
            for link, points in found.points.items()
        },
        frames=frames,
        columns={key: one for key, one in number.items() if isinstance(key, str)},
        heights=at,
        items=items,
        links=links,
    )  # fmt: skip


def _blocks(
    items: tuple[Item, ...], links: tuple[Link, ...], known: Mapping[str, Item], before: Layout
) -> Layout:
    """A crowd in several lanes: each arranged by what goes on inside of it, side by side and in rows."""
    blocks: dict[str, Layout] = {}
    outlines: dict[str, Box] = {}
    for lane in sorted({item.lane for item in items}):
        inside = [link for link in links if known[link[0]].lane == lane == known[link[1]].lane]
        members = [replace(item, lane="") for item in items if item.lane == lane]
        blocks[lane] = arrange(members, inside, before.blocks.get(lane, NOTHING))
        boxes = blocks[lane].boxes.values()
        outlines[lane] = _frame(boxes) if lane else bounds(boxes)
    corners = _packed([(one.width, one.height) for one in outlines.values()])
    placed: dict[str, Box] = {}
    passes: dict[Link, tuple[Passing, ...]] = {}
    frames: dict[str, Box] = {}
    for (lane, outline), (x, y) in zip(outlines.items(), corners, strict=True):
        right, down = x - outline.x, y - outline.y
        placed |= {key: box.moved(down, right) for key, box in blocks[lane].boxes.items()}
        passes |= {
            link: tuple(Passing(one.left + right, one.right + right, one.y + down) for one in some)
            for link, some in blocks[lane].passes.items()
        }
        if lane:
            frames[lane] = outline.moved(down, right)
    return Layout(boxes=placed, passes=passes, frames=frames, items=items, links=links, blocks=blocks)


def _packed(sizes: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of boxes that stand in rows, in their order: in as many as make all of them largest in a picture."""
    best: list[tuple[float, float]] = []
    least = inf
    for wide in accumulate(width + ACROSS for width, _ in sizes):
        corners: list[tuple[float, float]] = []
        x, y, high, reached = 0.0, 0.0, 0.0, 0.0
        for width, height in sizes:
            if x and x + width > wide:
                x, y, high = 0.0, y + high + ACROSS, 0.0
            corners.append((x, y))
            x, high, reached = x + width + ACROSS, max(high, height), max(reached, x + width)
        if (size := max(reached / _WIDE, y + high)) < least:
            best, least = corners, size
    return best


def _end(vertex: Vertex) -> str:
    """The node whose lane it is in: a point is in that of whom its link leads to."""
    return vertex if isinstance(vertex, str) else vertex[1]


def _lanes(items: Sequence[Item], links: Sequence[Link], before: Layout) -> list[str]:
    """Lanes from top to bottom: as they were, then those first who call more than they are called."""
    tops: dict[str, float] = {}
    for item in before.items:
        if box := before.boxes.get(item.key):
            tops[item.lane] = min(box.y, tops.get(item.lane, inf))
    rank = {key: number for number, key in enumerate(sequence(links))}
    ranks: defaultdict[str, list[int]] = defaultdict(list)
    for item in items:
        ranks[item.lane].append(rank.get(item.key, len(rank)))
    return sorted(ranks, key=lambda lane: (tops.get(lane, inf), sum(ranks[lane]) / len(ranks[lane]), lane))


def _across(found: Layers, known: Mapping[str, Item], between: float) -> list[tuple[float, float]]:
    """From where to where each column goes."""
    edges: list[tuple[float, float]] = []
    left = 0.0
    for column in found.columns:
        width = max((known[one].width for one in column if isinstance(one, str)), default=0.0)
        edges.append((left, left + width))
        left += width + between
    return edges


def _box(vertex: Vertex, known: Mapping[str, Item], column: tuple[float, float], y: float) -> Box:
    left, right = column
    if not isinstance(vertex, str):
        return Box(left, y - _POINT / 2, right - left, _POINT)
    item = known[vertex]
    return Box(left + (right - left - item.width) / 2, y - item.height / 2, item.width, item.height)


def _down(
    columns: Sequence[Sequence[Vertex]],
    segments: Sequence[tuple[Vertex, Vertex]],
    known: Mapping[str, Item],
    held: Mapping[Vertex, float],
    between: float,
) -> dict[Vertex, float]:
    """The middle of each vertex: near to those it is joined with, long links straight, in the order of its column."""
    beside: defaultdict[Vertex, list[tuple[Vertex, float]]] = defaultdict(list)
    inside = {vertex for column in columns for vertex in column}
    for one, other in segments:
        if one in inside and other in inside:
            pull = (1.0, 2.0, 8.0)[(not isinstance(one, str)) + (not isinstance(other, str))]
            beside[one].append((other, pull))
            beside[other].append((one, pull))
    apart = [_apart(column, known, between) for column in columns]
    at: dict[Vertex, float] = {}
    for column, steps in zip(columns, apart, strict=True):
        y = -sum(steps) / 2
        for vertex, step in zip(column, [0.0, *steps], strict=False):
            y += step
            at[vertex] = held.get(vertex, y)
    walk = list(zip(columns, apart, strict=True))
    for sweep in range(_SWEEPS):
        for column, steps in walk if sweep % 2 == 0 else walk[::-1]:
            wishes = [_wish(vertex, at, beside[vertex], held.get(vertex)) for vertex in column]
            at.update(zip(column, _spread(wishes, steps), strict=True))
    return {vertex: round(y, 1) for vertex, y in at.items()}


def _wish(
    vertex: Vertex,
    at: Mapping[Vertex, float],
    beside: Sequence[tuple[Vertex, float]],
    held: float | None,
) -> tuple[float, float]:
    """Where it would stand best, and how much it matters."""
    if held is not None:
        return held, _HOLD
    weight = sum(pull for _, pull in beside)
    return (sum(at[other] * pull for other, pull in beside) / weight, weight) if weight else (at[vertex], 0.1)


def _apart(column: Sequence[Vertex], known: Mapping[str, Item], between: float) -> list[float]:
    """How far the middles of neighbours in a column are apart at least."""

    def half(vertex: Vertex) -> float:
        return known[vertex].height / 2 if isinstance(vertex, str) else _POINT / 2

    return [
        half(one) + half(other) + (between if isinstance(one, str) and isinstance(other, str) else _BY)
        for one, other in pairwise(column)
    ]


def _spread(wishes: Sequence[tuple[float, float]], apart: Sequence[float]) -> list[float]:
    """The places nearest to the wishes (by weighted squares) that keep the order and stay so far apart."""
    offsets = list(accumulate(apart, initial=0.0))
    blocks: list[tuple[float, float, int]] = []  # where, how heavy, how many
    for number, (place, weight) in enumerate(wishes):
        block = (place - offsets[number], weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            where, heavy, many = blocks.pop()
            block = (
                (where * heavy + block[0] * block[1]) / (heavy + block[1]),
                heavy + block[1],
                many + block[2],
            )
        blocks.append(block)
    places = [where for where, _, many in blocks for _ in range(many)]
    return [place + offset for place, offset in zip(places, offsets, strict=False)]


def _loose(items: Sequence[Item], nodes: Mapping[str, Box]) -> dict[str, Box]:
    """Those without links stand in rows below the others."""
    left = min((box.x for box in nodes.values()), default=0.0)
    right = max((box.right for box in nodes.values()), default=0.0)
    y = max((box.bottom + 2 * BETWEEN for box in nodes.values()), default=0.0)
    placed: dict[str, Box] = {}
    x, high = left, 0.0
    for item in items:
        if x > left and x + item.width > max(right, left + _ROW):
            x, y, high = left, y + high + BETWEEN, 0.0
        placed[item.key] = Box(x, y, item.width, item.height)
        x, high = x + item.width + BETWEEN, max(high, item.height)
    return placed


def _frame(boxes: Iterable[Box]) -> Box:
    around = bounds(boxes)
    return Box(around.x - _PAD, around.y - _TITLE, around.width + 2 * _PAD, around.height + _TITLE + _PAD)


def _shift(solid: Iterable[Box], taken: Sequence[Box], *, fresh: bool) -> float:
    """How far down a lane has to go, so that it is below all that is above it; a new one begins at the top."""
    boxes = list(solid)
    shift = -min((box.y for box in boxes), default=0.0) if fresh else 0.0
    for box in boxes:
        for above in taken:
            if box.x - _APART < above.right and above.x < box.right + _APART:
                shift = max(shift, above.bottom + _APART - box.y)
    return shift


def bounds(boxes: Iterable[Box]) -> Box:
    """What holds all of them."""
    some = list(boxes) or [Box(0.0, 0.0, 0.0, 0.0)]
    x, y = min(box.x for box in some), min(box.y for box in some)
    return Box(x, y, max(box.right for box in some) - x, max(box.bottom for box in some) - y)
