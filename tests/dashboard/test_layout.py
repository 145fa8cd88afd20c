"""Where things stand on the map: to the right of who calls them, apart from one another, and where they were."""

from __future__ import annotations

import random
import time
from itertools import combinations, pairwise
from statistics import median

import pytest

from plait.dashboard.map.layers import Link, crossings, layers
from plait.dashboard.map.layout import NOTHING, Item, Layout, arrange, bounds


def items(*keys: str, lane: str = "") -> list[Item]:
    return [Item(key, 156, 70, lane) for key in keys]


def links(text: str) -> list[Link]:
    """Of `a>b>c d>e`."""
    return [link for way in text.split() for link in pairwise(way.split(">"))]


def laid(text: str, before: Layout = NOTHING) -> Layout:
    found = links(text)
    return arrange(items(*sorted({end for link in found for end in link})), found, before)


def mesh(nodes: int, edges: int) -> tuple[list[Item], set[Link]]:
    """With some layers, some links that lead back, and always the same."""
    chance = random.Random(3)
    found: set[Link] = set()
    while len(found) < edges:
        one = chance.randrange(nodes)
        other = min(nodes - 1, one + 1 + int(chance.expovariate(0.08)))
        if one != other:
            found.add(
                (f"s{one:03}", f"s{other:03}") if chance.random() > 0.03 else (f"s{other:03}", f"s{one:03}")
            )
    return items(*(f"s{number:03}" for number in range(nodes))), found


def moved(before: Layout, after: Layout) -> list[str]:
    """Who stands a pixel or more up or down from where it stood, of those that have links."""
    return [key for key in before.columns if abs(after.boxes[key].y - before.boxes[key].y) >= 1]


def leads_right(layout: Layout, link: Link) -> bool:
    return layout.boxes[link[0]].right < layout.boxes[link[1]].x


def test_who_is_called_stands_to_the_right() -> None:
    layout = laid("diner>frontend>restaurants>reviews frontend>reservations frontend>reviews")
    assert all(leads_right(layout, link) for link in layout.links)
    assert layout.columns == {"diner": 0, "frontend": 1, "reservations": 2, "restaurants": 2, "reviews": 3}


def test_who_calls_late_stands_just_before_whom_it_calls() -> None:
    assert laid("a>b>c>d job>d").columns["job"] == 2


def test_of_a_cycle_one_link_leads_back_and_it_is_always_the_same() -> None:
    some = links("a>b>c>d>b x>a")
    first = arrange(items(*"abcdx"), some)
    assert [link for link in first.links if not leads_right(first, link)] == [("d", "b")]
    for seed in range(5):
        shuffled, keys = list(some), list("abcdx")
        random.Random(seed).shuffle(shuffled)
        random.Random(seed).shuffle(keys)
        assert arrange(items(*keys), shuffled) == first


def test_nothing_lies_on_anything() -> None:
    layout = arrange(*mesh(60, 150))
    for one, other in combinations(layout.boxes.values(), 2):
        assert not one.grown(10).meets(other)
    assert layout.passes
    for passed in (one for some in layout.passes.values() for one in some):
        assert not any(box.x < passed.right and passed.left < box.right and box.y - 4 < passed.y < box.bottom + 4
                       for box in layout.boxes.values())  # fmt: skip


def test_a_long_link_is_straight() -> None:
    layout = laid("a>b>c>d>e a>e")
    heights = {round(one.y) for one in layout.passes["a", "e"]}
    assert len(layout.passes["a", "e"]) == 3
    assert max(heights) - min(heights) <= 2


def test_links_cross_only_where_they_must() -> None:
    some = sorted(links("a1>b2>c1 a2>b1>c2 a3>b3>c3"))
    lanes = {end: 0 for link in some for end in link}
    found = layers(some, lanes, {}, {})
    assert crossings(found.columns, {one: [t for s, t in some if s == one] for one in lanes}) == 0


def test_the_same_again_is_the_very_same() -> None:
    nodes, some = mesh(20, 40)
    first = arrange(nodes, some)
    assert arrange(reversed(nodes), sorted(some), first) is first


def test_what_is_new_moves_the_others_no_more_than_it_must() -> None:
    nodes, some = mesh(60, 150)
    before = arrange(nodes, some)
    after = arrange([*nodes, *items("new")], {*some, ("s005", "new"), ("s007", "new")}, before)
    assert {key: after.columns[key] for key in before.columns} == before.columns
    assert after.columns["new"] == 1 + max(before.columns["s005"], before.columns["s007"])
    passed = range(min(before.columns["s005"], before.columns["s007"]) + 1, after.columns["new"] + 1)
    assert {before.columns[key] for key in moved(before, after)} <= set(passed)
    assert all(abs(after.boxes[key].y - before.boxes[key].y) < 70 + 26 for key in moved(before, after))


def test_what_has_gone_leaves_the_others_where_they_are() -> None:
    nodes, some = mesh(60, 150)
    before = arrange(nodes, some)
    after = arrange(
        [one for one in nodes if one.key != "s030"], {one for one in some if "s030" not in one}, before
    )
    for number in range(max(before.columns.values()) + 1):
        column = [key for key, at in before.columns.items() if at == number and key in after.columns]
        assert sorted(column, key=lambda key: before.boxes[key].y) == sorted(
            column, key=lambda key: after.boxes[key].y
        )


def test_a_new_link_backwards_pushes_only_what_follows() -> None:
    before = laid("a>b a>c c>d")
    after = laid("a>b a>c c>d b>c", before)
    assert after.columns == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_a_link_that_closes_a_cycle_moves_nothing() -> None:
    before = laid("a>b>c")
    assert not moved(before, laid("a>b>c>a", before))


def test_who_calls_nobody_stands_below_until_somebody_is_called() -> None:
    before = arrange(items("a", "b", "c", "idle"), links("a>b>c"))
    assert before.boxes["idle"].y > max(before.boxes[key].bottom for key in "abc")
    after = arrange(items("a", "b", "c", "idle"), links("a>b>c b>idle"), before)
    assert leads_right(after, ("b", "idle"))
    assert [after.columns[key] for key in "abc"] == [0, 1, 2]


def test_a_mesh_in_which_nobody_calls_is_a_few_rows() -> None:
    layout = arrange(items(*(f"s{number}" for number in range(20))), ())
    around = bounds(layout.boxes.values())
    assert around.width < 1000
    assert not any(one.meets(other) for one, other in combinations(layout.boxes.values(), 2))


def framed(layout: Layout) -> None:
    """Frames hold their own nodes, all of them, and nothing else."""
    lanes = {item.key: item.lane for item in layout.items}
    assert not any(one.meets(other) for one, other in combinations(layout.frames.values(), 2))
    for lane, frame in layout.frames.items():
        for key, box in layout.boxes.items():
            assert frame.meets(box) == (lanes[key] == lane), (lane, key)


def test_each_namespace_has_a_frame_of_its_own() -> None:
    nodes = [*items("web", "shop", lane="front"), *items("cart", "pay", "old", lane="back"), *items("world")]
    framed(arrange(nodes, links("world>web>shop>cart>pay web>cart shop>pay pay>web")))


def test_a_crowd_of_namespaces_stands_side_by_side() -> None:
    chance = random.Random(1)
    nodes = [Item(f"{lane}{number}", 156, 70, lane) for lane in "abcd" for number in range(8)]
    some = {(one.key, other.key) for one, other in combinations(nodes, 2) if chance.random() < 0.3}
    assert len(some) > 3 * len(nodes)
    layout = arrange(nodes, some)
    framed(layout)
    around = bounds(layout.frames.values())
    assert 0.8 < around.width / around.height < 4
    assert arrange(nodes, some, layout) is layout


def test_where_all_call_all_there_are_several_in_a_column() -> None:
    nodes = items(*(f"n{number:02}" for number in range(12)))
    layout = arrange(nodes, [(one.key, other.key) for one in nodes for other in nodes if one is not other])
    assert max(layout.columns.values()) + 1 == 4


@pytest.mark.prove
@pytest.mark.parametrize(("nodes", "edges", "within"), [(60, 150, 0.1), (150, 400, 0.5)])
def test_layouts_take_no_time(nodes: int, edges: int, within: float) -> None:
    some = mesh(nodes, edges)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        arrange(*some)
        taken.append(time.perf_counter() - began)
    assert median(taken) < within
