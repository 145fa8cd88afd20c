"""Where clients and replicas are, and whom a client prefers for it."""

import pytest

from plait.model.catalog import Labels
from plait.model.locality import Distribution, Locality, LocalityBalancing, Place, label

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
SUBZONE = "topology.istio.io/subzone"


def labels(**said: str) -> Labels:
    return tuple(sorted(said.items()))


def at(text: str) -> Labels:
    """The labels of who is at `region.zone.subzone`."""
    return (("istio-locality", text),)


def test_labels_say_where_a_workload_is_the_whole_of_it_or_part_by_part() -> None:
    parts = ((REGION, "r"), (SUBZONE, "s"), (ZONE, "z"))
    assert Locality.of(parts) == Locality.of(at("r.z.s")) == Locality("r", "z", "s")
    assert Locality.of(at("r.z")) == Locality("r", "z")
    assert Locality.of((*parts, *at("x"))) == Locality("x")
    assert Locality.of((("topology.istio.io/locality", "y"), *at("x"))) == Locality("y")
    assert Locality.of(()) == Locality()


def test_a_label_of_the_locality_may_be_said_by_another_one() -> None:
    assert [label(at("r.z.s"), name) for name in (REGION, ZONE, SUBZONE)] == ["r", "z", "s"]
    assert label(labels(app="a"), "app") == "a"
    assert label((), "app") == ""


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("*", ["r.z.s", "r.z", "r", "q.z.s", ""]),
        ("r", ["r.z.s", "r.z", "r"]),
        ("r/*", ["r.z.s", "r.z", "r"]),
        ("r/z/*", ["r.z.s", "r.z"]),
        ("r/z/s", ["r.z.s"]),
        ("*/z", ["r.z.s", "r.z", "q.z.s"]),
    ],
)
def test_a_pattern_covers_places(pattern: str, covered: list[str]) -> None:
    places = ["r.z.s", "r.z", "r", "q.z.s", ""]
    found = [one for one in places if Locality.parse(pattern).covers(Locality.of(at(one)))]
    assert found == covered


def test_patterns_meet_where_a_place_is_of_both() -> None:
    assert Locality.parse("r/z").meets(Locality.parse("r"))
    assert Locality.parse("*/z").meets(Locality.parse("r"))
    assert not Locality.parse("r/z").meets(Locality.parse("r/y"))


@pytest.mark.parametrize(
    ("failover", "distances"),
    [((), [0, 1, 2, 3, 3]), ((("r", "b"),), [0, 1, 2, 4, 3]), ((("a", "b"),), [0, 1, 2, 3, 3])],
)
def test_what_is_near_is_preferred_and_of_what_is_far_the_region_that_is_named(
    failover: tuple[tuple[str, str], ...], distances: list[int]
) -> None:
    client = Place.of(at("r.z.s"), ())
    balancing = LocalityBalancing(failover=failover)
    places = ("r.z.s", "r.z.t", "r.y.s", "a.z.s", "b.z.s")
    assert [balancing.distance(client, at(one)) for one in places] == distances


def test_labels_are_compared_one_after_the_other() -> None:
    balancing = LocalityBalancing(priority=(("app", "a"), ("version", None), (ZONE, None)))
    assert balancing.asked == ("version", ZONE)
    client = Place.of((("istio-locality", "r.z"), ("version", "1")), balancing.asked)
    replicas = (
        (("app", "a"), *at("q.z"), ("version", "1")),
        (("app", "a"), *at("q.y"), ("version", "1")),
        (("app", "a"), *at("q.z")),
        (("app", "b"), *at("q.z"), ("version", "1")),
    )
    assert [balancing.distance(client, one) for one in replicas] == [0, 1, 2, 3]


def test_labels_come_before_regions() -> None:
    balancing = LocalityBalancing(priority=(("app", "a"),), failover=(("r", "b"),))
    client = Place.of(at("r.z"), ())
    replicas = ((("app", "a"), *at("c.z")), (("app", "b"), *at("r.z")))
    assert [balancing.distance(client, one) for one in replicas] == [4, 5]


def test_the_first_shares_for_a_client_hold() -> None:
    far, near = ((Locality.parse("q"), 100),), ((Locality.parse("r"), 100),)
    balancing = LocalityBalancing(
        distributions=(
            Distribution(clients=Locality.parse("r/z"), shares=near),
            Distribution(clients=Locality.parse("r"), shares=far),
        )
    )
    found = [balancing.shares(Place.of(at(one), ())) for one in ("r.z.s", "r.y", "q")]
    assert found == [near, far, ()]
