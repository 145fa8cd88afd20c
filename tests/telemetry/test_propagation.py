"""Who loses context is named, and nobody else is, whatever else goes on at the same time."""

from __future__ import annotations

import random
from dataclasses import replace
from math import comb

import pytest

from plait.model.finding import Severity
from plait.model.names import ObjectRef, WorkloadKey
from plait.telemetry.propagation import WINDOW, How, Lost, Watch, finding, improbable
from plait.telemetry.spans import Kind, Span, Teller

NOW = 1_800_000_000.0
KEY = WorkloadKey("bistro", "reviews")
CALLEE = "restaurants.bistro.svc.cluster.local"
_NANO = 1_000_000_000


class Story:
    """What the sidecar of one replica tells."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.spans: list[Span] = []

    def span(self, kind: Kind, at: float, took: float, trace: str, parent: str, **attributes: str) -> Span:
        start = round(at * _NANO)
        found = Span(
            trace=trace,
            id=f"{self.random.getrandbits(64):016x}",
            parent=parent,
            name="",
            kind=kind,
            start=start,
            end=start + round(took * _NANO),
            workload=KEY,
            replica=0,
            attributes=attributes,
        )
        self.spans.append(found)
        return found

    def trace(self) -> str:
        return f"{self.random.getrandbits(128):032x}"

    def request(self, at: float, took: float = 0.05) -> Span:
        return self.span(Kind.SERVER, at, took, self.trace(), "a" * 16)

    def call(self, at: float, within: Span | None = None, host: str = CALLEE, *, b3: bool = False) -> Span:
        """A call that is made in the trace of a request, or in one of its own."""
        said = {"upstream_cluster": f"outbound|8080|v1|{host}"} | ({"plait.b3": "0-0"} if b3 else {})
        if within is None:
            return self.span(Kind.CLIENT, at, 0.01, self.trace(), "", **said)
        return self.span(Kind.CLIENT, at, 0.01, within.trace, within.id, **said)

    def judged(self, now: float = NOW) -> tuple[Lost, ...]:
        watch = Watch()
        for span in self.spans:
            watch.saw(span)
        return watch.lost(now)


def test_who_drops_context_is_named_with_the_proof() -> None:
    story = Story()
    for number in range(5):
        request = story.request(NOW - 60 + number)
        call = story.call(NOW - 60 + number + 0.02)
    (lost,) = story.judged()
    assert (lost.workload, lost.callee, lost.how) == (KEY, CALLEE, How.SURE)
    assert (lost.calls, lost.among) == (5, 5)
    assert lost.received is not None
    assert (lost.received.trace, lost.sent.trace) == (request.trace, call.trace)
    said = finding(lost)
    assert (said.severity, said.code) == (Severity.WARNING, "tracing.context-dropped")
    assert said.ref == ObjectRef("plait.dev", "Workload", "bistro", "reviews")
    for text in (request.trace, call.trace, "5 of 5", CALLEE):
        assert text in said.message


def test_who_passes_context_on_is_not() -> None:
    story = Story()
    for number in range(200):
        request = story.request(NOW - 100 + number / 10)
        story.call(NOW - 100 + number / 10 + 0.02, within=request)
    assert story.judged() == ()


def test_two_or_three_chances_are_no_proof() -> None:
    story = Story()
    for number in range(2):
        story.request(NOW - 60 + number)
        story.call(NOW - 60 + number + 0.02)
    assert story.judged() == ()


def test_a_burst_within_one_request_is_one_chance() -> None:
    story = Story()
    story.request(NOW - 60)
    for number in range(30):
        story.call(NOW - 59.99 + number / 1000)
    assert story.judged() == ()


@pytest.mark.parametrize("seed", range(20))
def test_calls_in_the_background_are_not_taken_for_those_of_requests(seed: int) -> None:
    """Requests at random that need half of the time, and calls at random: half of these meet one."""
    story = Story(seed)
    for _ in range(300):
        story.request(NOW - 100 + story.random.random() * 90, 0.25)
        story.call(NOW - 100 + story.random.random() * 90)
    assert [one for one in story.judged() if one.how is not How.PERHAPS] == []


@pytest.mark.parametrize("seed", range(20))
def test_calls_in_the_background_of_bursts_of_requests_are_not_either(seed: int) -> None:
    """Only while there is load at all both go on."""
    story = Story(seed)
    for burst in range(5):
        begin = NOW - 500 + burst * 100
        for _ in range(40):
            story.request(begin + story.random.random() * 10, 0.05)
            story.call(begin + story.random.random() * 10)
    assert story.judged() == ()


def test_who_drops_it_is_found_beside_calls_in_the_background() -> None:
    story = Story(3)
    for number in range(60):
        at = NOW - 500 + 5 * number
        story.request(at)
        story.call(at + 0.02)
        story.call(at + 1 + story.random.random() * 3)
    (lost,) = story.judged()
    assert lost.how is How.SURE
    assert (lost.calls, lost.among) == (60, 120)
    assert lost.chance < 10


def test_who_drops_it_is_found_under_load_as_long_as_there_are_pauses() -> None:
    """A request after another: something is served half of the time."""
    story = Story(4)
    for number in range(400):
        story.request(NOW - 100 + number / 5, 0.1)
        story.call(NOW - 100 + number / 5 + story.random.random() * 0.09)
    (lost,) = story.judged()
    assert lost.how is How.SURE


def test_without_a_pause_it_is_only_said_that_it_may_be() -> None:
    story = Story(5)
    for number in range(400):
        story.request(NOW - 100 + number / 10, 0.5)
        story.call(NOW - 100 + number / 10 + 0.1)
    (lost,) = story.judged()
    assert lost.how is How.PERHAPS
    assert finding(lost).severity is Severity.INFO


def test_one_call_that_carries_it_shows_that_it_is_mended() -> None:
    story = Story()
    for number in range(5):
        story.request(NOW - 60 + number)
        story.call(NOW - 60 + number + 0.02)
    assert len(story.judged()) == 1
    request = story.request(NOW - 50)
    story.call(NOW - 49.98, within=request)
    assert story.judged() == ()
    for number in range(5):  # and is broken again
        story.request(NOW - 40 + number)
        story.call(NOW - 40 + number + 0.02)
    assert [one.calls for one in story.judged()] == [5]


def test_a_replica_that_passes_it_on_shows_that_the_workload_was_rolled_over() -> None:
    story = Story()
    for number in range(5):
        story.request(NOW - 60 + number)
        story.call(NOW - 60 + number + 0.02)
    request = story.request(NOW - 50)
    story.call(NOW - 49.98, within=request)
    story.spans[-2:] = [replace(one, replica=1) for one in story.spans[-2:]]
    assert story.judged() == ()


def test_services_are_judged_each_by_itself() -> None:
    story = Story()
    for number in range(5):
        request = story.request(NOW - 60 + number)
        story.call(NOW - 60 + number + 0.01, within=request)
        story.call(NOW - 60 + number + 0.02, host="payments.bistro.svc.cluster.local")
    assert [one.callee for one in story.judged()] == ["payments.bistro.svc.cluster.local"]


def test_a_context_of_its_own_is_as_lost_as_none() -> None:
    story = Story()
    for number in range(5):
        story.request(NOW - 60 + number)
        story.spans.append(replace(story.call(NOW - 60 + number + 0.02), parent="b" * 16))
        del story.spans[-2]
    assert [one.how for one in story.judged()] == [How.SURE]


def test_b3_alone_is_told_by_name() -> None:
    story = Story()
    story.request(NOW - 60)
    call = story.call(NOW - 59.98, b3=True)
    (lost,) = story.judged()
    assert (lost.how, lost.calls, lost.sent.trace) == (How.B3, 1, call.trace)
    assert finding(lost).code == "tracing.zipkin-context"
    request = story.request(NOW - 50)
    story.call(NOW - 49.98, within=request, b3=True)  # with W3C's beside it
    assert story.judged() == ()


def test_what_applications_say_proves_nothing() -> None:
    story = Story()
    for number in range(5):
        story.request(NOW - 60 + number)
        story.call(NOW - 60 + number + 0.02)
    story.spans = [replace(one, teller=Teller.APPLICATION) for one in story.spans]
    assert story.judged() == ()


def test_what_was_long_ago_is_forgotten_and_what_is_told_does_not_change_at_every_look() -> None:
    story = Story()
    watch = Watch()

    def lose(at: float) -> None:
        story.request(at)
        story.call(at + 0.02)
        for span in story.spans[-2:]:
            watch.saw(span)

    for number in range(6):
        lose(NOW - 60 + number)
    (first,) = watch.lost(NOW)
    lose(NOW - 10)
    assert watch.lost(NOW) == (first,)
    for number in range(5):
        lose(NOW - 9 + number)
    assert [one.calls for one in watch.lost(NOW)] == [12]
    assert watch.lost(NOW + WINDOW) == ()
    assert watch._replicas == {}


def test_a_look_takes_little_time_however_much_there_is() -> None:
    story = Story(6)
    for number in range(5_000):
        story.request(NOW - 500 + number / 10, 0.01)
        story.call(NOW - 500 + number / 10 + 0.005)
    (lost,) = story.judged()
    assert lost.among <= 2_000


@pytest.mark.parametrize(
    ("hits", "of", "share"), [(0, 5, 0.5), (5, 5, 0.5), (3, 10, 0.1), (9, 20, 0.3), (1, 1, 0.0), (1, 1, 1.0)]
)
def test_how_improbable_it_is_is_right(hits: int, of: int, share: float) -> None:
    exact = sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(hits, of + 1))
    assert improbable(hits, of, share) == pytest.approx(exact, abs=1e-12)


def test_how_improbable_it_is_can_be_said_of_many() -> None:
    assert improbable(1_000, 2_000, 0.5) == pytest.approx(0.5, abs=0.02)
    assert improbable(2_000, 2_000, 0.9) == pytest.approx(0.0, abs=1e-80)
