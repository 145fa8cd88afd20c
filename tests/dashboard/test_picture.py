"""What is on the map: the numbers of the graph, as texts, at the nodes and edges that they are of."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from plait.api import figures
from plait.dashboard.elements.map import changes
from plait.dashboard.map.choice import Choice, chosen
from plait.dashboard.map.details import details
from plait.dashboard.map.drawing import Drawing, Said, drawing, width
from plait.dashboard.map.follow import followed
from plait.dashboard.map.layout import Box
from plait.dashboard.map.narrow import narrowed
from plait.dashboard.map.paths import LABEL_HEIGHT, LABEL_WIDTH
from plait.dashboard.map.picture import MOST, Edge, Picture, added, picture
from plait.dashboard.map.summary import summary
from plait.telemetry.graph import Graph
from plait.telemetry.queries import Signals
from tests.dashboard.scenes import REFUSAL, Flow, Scene, Who, bistro, large

NOW = 1_790_000_040.0
KINDS = ("nodes", "edges", "places", "routes", "frames")


async def seen(scene: Scene, moment: float = NOW) -> Graph:
    return await scene.graph(60, "", moment)


def edge(found: Picture, source: str, target: str) -> Edge:
    """The one between rows or nodes whose keys begin so."""
    [one] = [
        one
        for one in found.edges.values()
        if (one.source_row or one.source).startswith(source) and (one.target_row or one.target).startswith(target)
    ]  # fmt: skip
    return one


def host(name: str) -> str:
    return f"{name}.bistro.svc.cluster.local"


def sent(now: Drawing, before: Drawing | None = None) -> bytes:
    was = {kind: getattr(before, kind) if before else {} for kind in KINDS}
    return json.dumps(changes(was, {kind: getattr(now, kind) for kind in KINDS})).encode()


async def test_services_clients_and_what_is_outside() -> None:
    found = picture(await seen(bistro()))
    assert {node.key: node.kind for node in found.nodes.values()} == {
        **{host(name): "service" for name in ("cache", "frontend", "payments", "reservations", "restaurants", "reviews")},
        "bistro/diner": "client",
        "api.example.com": "external",
        "outside": "outside",
    }  # fmt: skip
    assert not found.grouped


async def test_a_service_has_its_versions_with_their_parts_of_what_it_is_asked() -> None:
    graph = await seen(bistro())
    node = picture(graph).nodes[host("reservations")]
    rates = {one.destination_version: one.signals.rate for one in graph.edges if one.service == node.key}
    assert {row.label: row.part for row in node.rows} == {
        version: pytest.approx(rate / sum(rates.values())) for version, rate in rates.items()
    }
    assert [row.label for row in picture(graph).nodes[host("reviews")].rows] == ["v1", "canary v1"]


async def test_every_edge_says_what_the_graph_says() -> None:
    graph = await seen(bistro())
    drawn = drawing(picture(graph))
    assert len(drawn.edges) == len(graph.edges)
    for one in graph.edges:
        source = f"{one.source_namespace}/{one.source}@{one.source_version}" if one.source else "outside"
        target = (
            f"{one.destination_namespace}/{one.destination}@{one.destination_version}"
            if one.destination
            else ""
        )
        said = drawn.edges[f"{source}>{one.service}>{target}>{one.protocol}"]
        signals = one.signals
        assert said.get("mtls") is one.mtls
        assert said["idle"] is one.idle
        if one.idle:
            assert "text" not in said
        elif one.protocol == "tcp":
            assert said["text"] == figures.rate(signals.connections)
        else:
            assert said["text"] == figures.rate(signals.rate)
            numbers = said["all"]
            assert isinstance(numbers, dict)
            assert numbers["Errors"] == figures.share(signals.error_share)
            assert numbers["p99"] == figures.duration(signals.p99_ms)


async def test_tones_are_of_errors_then_of_refusals_and_idle_is_grey() -> None:
    found = picture(await seen(bistro()))
    assert edge(found, "bistro/restaurants", "bistro/reviews@").tone == "bad"
    assert edge(found, "bistro/frontend", "bistro/payments").tone == "refused"
    assert edge(found, "bistro/reservations@v2", "bistro/payments").tone == "idle"
    assert edge(found, "bistro/reservations@v1", "bistro/cache").tone == "good"


async def test_edges_leave_and_reach_the_rows_they_are_of() -> None:
    found = picture(await seen(bistro()))
    drawn = drawing(found)
    one = edge(found, "bistro/reservations@v2", "api.example.com")
    start = str(drawn.routes[one.key]["d"]).split("C")[0]
    box = drawn.layout.boxes[host("reservations")]
    node = found.nodes[host("reservations")]
    assert start == f"M{box.right:.0f} {box.y + node.port(node.rows[1].key):.0f}"


async def test_labels_lie_on_no_node_and_on_no_other_label() -> None:
    drawn = drawing(picture(await seen(bistro())))
    labels = {
        key: Box(
            float(str(route["x"])) - wide / 2, float(str(route["y"])) - LABEL_HEIGHT / 2, wide, LABEL_HEIGHT
        )
        for key, route in drawn.routes.items()
        if "x" in route and (wide := 48 if route.get("short") else LABEL_WIDTH)
    }
    assert len(labels) >= 9
    for key, label in labels.items():
        assert not any(label.meets(box) for box in drawn.layout.boxes.values())
        assert not any(label.meets(other) for name, other in labels.items() if name != key)


def test_sums_are_weighted_and_percentiles_are_not_added() -> None:
    some = (
        Signals(requests=90, rate=9, error_share=0.0, p99_ms=5.0),
        Signals(requests=10, rate=1, error_share=0.5),
    )
    assert added(some) == Signals(requests=100, rate=10, error_share=0.05)
    assert added([some[0], Signals()]) is some[0]


def test_width_grows_by_powers_of_ten() -> None:
    assert [width(Signals(rate=rate)) for rate in (0.0, 9.0, 99.0, 999.0, 1e9)] == [1.25, 2.75, 4.5, 6.0, 7.0]


async def test_of_too_many_each_namespace_is_one_until_it_is_opened() -> None:
    graph = await seen(large())
    closed = picture(graph)
    assert closed.grouped
    assert sorted(closed.nodes) == [f"namespace:team-{number:02}" for number in range(12)]
    total = sum(one.signals.rate for one in closed.edges.values())
    total += sum(node.inside.rate for node in closed.nodes.values())
    assert total == pytest.approx(sum(one.signals.rate for one in graph.edges))
    opened = picture(graph, frozenset({"team-03"}))
    assert len(opened.nodes) == 11 + 25
    assert {node.lane for node in opened.nodes.values() if node.kind == "service"} == {"team-03"}
    assert sum(one.signals.rate for one in opened.edges.values()) + sum(
        node.inside.rate for node in opened.nodes.values()
    ) == pytest.approx(sum(one.signals.rate for one in graph.edges))


async def test_filters_narrow_before_it_is_grouped() -> None:
    graph = await seen(large())
    found = picture(narrowed(graph, Choice(namespace="team-03")))
    assert {node.namespace for node in found.nodes.values() if node.kind == "service"} >= {
        "team-03"
    } or found.grouped
    one = picture(narrowed(graph, Choice(service="svc-123")))
    assert not one.grouped
    assert len(one.nodes) < MOST
    assert all(
        "svc-123" in {key.split(".")[0] for key in (edge.source, edge.target)} for edge in one.edges.values()
    )


@pytest.mark.parametrize(
    ("choice", "nodes", "edges"),
    [
        (Choice(health="failing"), {"restaurants", "reviews"}, 1),
        (Choice(health="refused"), {"frontend", "payments"}, 1),
        (Choice(service="cache"), {"cache", "reservations"}, 1),
        (Choice(namespace="elsewhere"), set(), 0),
        (Choice(service="nobody"), set(), 0),
    ],
)
async def test_what_fits_is_shown_with_whom_it_calls(choice: Choice, nodes: set[str], edges: int) -> None:
    found = picture(narrowed(await seen(bistro()), choice))
    assert {node.name for node in found.nodes.values()} == nodes
    assert len(found.edges) == edges


async def test_idle_ones_are_hidden_when_that_is_asked_for() -> None:
    graph = await seen(bistro())
    assert len(narrowed(graph, Choice(health="active")).edges) == len(graph.edges) - 1
    assert narrowed(graph, Choice()) is graph


async def test_the_path_of_a_trace() -> None:
    scene = bistro()
    found = picture(await seen(scene))
    path = followed(scene.traced[0], found)
    names = {found.nodes[key].name for key in path if key in found.nodes}
    assert names == {"diner", "frontend", "restaurants", "reviews", "reservations"}
    assert edge(found, "bistro/restaurants", "bistro/reviews@").key in path
    assert edge(found, "bistro/frontend", "bistro/payments").key not in path


async def test_a_call_that_reached_nobody_leads_to_whom_it_was_for() -> None:
    scene = bistro()
    found = picture(await seen(scene))
    trace = scene.traced[0]
    lost = replace(trace, spans=tuple(span for span in trace.spans if span.workload != "bistro/reviews"))
    assert edge(found, "bistro/restaurants", "bistro/reviews@").key in followed(lost, found)


async def test_details_lead_to_traces_and_to_the_other_end() -> None:
    found = picture(await seen(bistro()))
    one = edge(found, "bistro/restaurants", "bistro/reviews@")
    of_edge = details(found, one.key)
    assert of_edge is not None
    assert "/traces?workload=bistro%2Frestaurants&status=error" in json.dumps(of_edge.said)
    of_node = details(found, host("reviews"))
    assert of_node is not None
    assert json.dumps(one.key) in json.dumps(of_node.said)
    assert '"/services/bistro/reviews"' in json.dumps(of_node.said)
    assert details(found, "nothing") is None


async def test_details_say_who_was_refused_and_by_what() -> None:
    scene = bistro()
    found = picture(await seen(scene))
    refusals = [replace(one, service=host("payments")) for one in scene.refused]
    said = details(found, host("payments"), refusals)
    assert said is not None
    assert said.service == host("payments")
    told = json.dumps(said.said)
    assert f"bistro/frontend was refused 36 times: {REFUSAL.reason}." in told
    assert "/objects?kind=AuthorizationPolicy&namespace=bistro&name=reservations&line=31" in told


async def test_a_look_a_moment_later_sends_a_small_part() -> None:
    """Rates go up and down by a few in a hundred within five seconds."""
    scene = large()
    first = drawing(picture(await seen(scene)))
    assert sent(first, first) == b"{}"
    later = drawing(picture(await seen(scene, NOW + 5)), first.layout)
    change = json.loads(sent(later, first))
    assert set(change) <= {"nodes", "edges"}
    assert len(sent(later, first)) < len(sent(first)) / 3
    small = drawing(picture(await seen(bistro())))
    after = drawing(picture(await seen(bistro(), NOW + 5)), small.layout)
    assert set(json.loads(sent(after, small))) <= {"nodes", "edges"}


def test_of_what_was_there_only_other_fields_are_told() -> None:
    before: dict[str, dict[str, Said]] = {
        "edges": {"a": {"text": "1/s", "mark": "2%", "w": 2.0}, "b": {"text": "3/s"}}
    }
    now: dict[str, dict[str, Said]] = {
        "edges": {"a": {"text": "2/s", "w": 2.0}, "b": {"text": "3/s"}, "c": {"text": "4/s"}}
    }
    assert changes(before, now) == {"edges": {"a": {"text": "2/s", "mark": None}, "c": {"text": "4/s"}}}


async def test_what_is_gone_is_told() -> None:
    scene = bistro()
    first = drawing(picture(await seen(scene)))
    scene.flows = [flow for flow in scene.flows if flow.service != "api.example.com"]
    change = json.loads(sent(drawing(picture(await seen(scene)), first.layout), first))
    assert change["gone"]["nodes"] == ["api.example.com"]
    assert len(change["gone"]["edges"]) == 1


async def test_the_headline_counts_what_is_shown_and_tells_of_gaps() -> None:
    graph = await seen(bistro())
    said = summary(graph, Choice())
    assert said.rate == figures.rate(sum(one.signals.rate for one in graph.edges))
    assert (said.services, said.gap) == ("6", "")
    assert summary(replace(graph, heard=40.0), Choice()).gap == "Heard of 40 s of these 1 min; nothing is known of the rest."  # fmt: skip
    assert summary(replace(graph, heard=0.0), Choice()).gap == "Nobody told anything of this time."
    assert "missing" in summary(replace(graph, left_out=True), Choice()).gap


def test_a_choice_stands_in_its_url() -> None:
    choice = Choice(namespace="a", service="b", health="failing", window=300, until=1_790_000_000,
                    at="x>y", trace="4b", opened=frozenset({"p", "q"}))  # fmt: skip
    query = dict(pair.split("=") for pair in choice.place.removeprefix("/?").split("&"))
    query = {name: value.replace("%3E", ">").replace("%2C", ",") for name, value in query.items()}
    assert chosen(query) == choice
    assert Choice().place == "/"
    assert chosen({"window": "7", "health": "odd", "until": "-1"}) == Choice()


async def test_what_is_called_by_itself_is_no_link_of_the_layout() -> None:
    scene = bistro()
    me = ("bistro", "frontend", "v1")
    scene.flows = [Flow(source=me, service=host("frontend"), to=me, rate=3)]
    drawn = drawing(picture(await seen(scene)))
    assert drawn.layout.links == ()
    assert len(drawn.routes) == 1


@pytest.mark.parametrize(
    ("name", "version", "label"),
    [
        ("reviews", "v1", "v1"),
        ("reviews-v2", "v2", "v2"),
        ("reviews-canary", "v1", "canary v1"),
        ("reviews", "", "reviews"),
        ("critics", "v3", "critics v3"),
    ],
)
async def test_a_version_is_called_as_shortly_as_it_is_told_from_others(
    name: str, version: str, label: str
) -> None:
    called = host("reviews")
    flow = Flow(source=("bistro", "diner", ""), service=called, to=("bistro", name, version), rate=1)
    found = picture(await seen(Scene(flows=[flow], standing={flow.to: (called,)})))
    assert [row.label for row in found.nodes[called].rows] == [label]


async def test_another_name_of_who_is_called_by_a_better_one_is_left_out() -> None:
    diner, tried = ("bistro", "diner", ""), ("bistro", "reviews-canary", "v1")
    called = (host("reviews"), host("reviews-canary"))
    flows = [
        Flow(source=diner, service=called[0], to=tried, rate=1),
        Flow(source=tried, service=host("menu"), to=("bistro", "menu", ""), rate=1),
    ]
    standing: dict[Who, tuple[str, ...]] = {tried: called, flows[1].to: (host("menu"),), diner: ()}
    standing["bistro", "idle", ""] = (host("idle"),)
    found = picture(await seen(Scene(flows=flows, standing=standing)))
    assert set(found.nodes) == {"bistro/diner", called[0], host("menu"), host("idle")}
    assert {edge.source for edge in found.edges.values()} == {"bistro/diner", called[0]}
