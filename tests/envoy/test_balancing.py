"""Real Envoys: who was answered once is led back, and who is near is asked first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.cookies import SimpleCookie

import pytest
import pytest_asyncio

from plait.model.locality import LocalityBalancing
from plait.model.routing import Backend, HostRoutes, RequestMatch, Session, SessionKind
from plait.model.traffic import LoadBalancing, OutlierDetection, PortPolicies, TrafficPolicy
from tests.compiler.facts import destination, match, prefix, routes, rule, to
from tests.envoy.support import eventually
from tests.fields.mesh import Answer, Mesh, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

V1, V2 = "reservations-v1", "reservations-v2"
CLUSTER = "outbound|8080||reservations.bistro.svc.cluster.local"
COOKIE = Session(kind=SessionKind.COOKIE, name="stay")
HEADER = Session(kind=SessionKind.HEADER, name="x-stay")
EAGER = OutlierDetection(errors=3, most_ejected=100)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running() as made:
        yield made


def kept(session: Session, *backends: Backend, at: RequestMatch | None = None) -> HostRoutes:
    return routes("reservations", rules=[rule(*backends, match=at, session=session)])


def shown(answer: Answer, session: Session) -> dict[str, str]:
    """What a client that got this answer shows with its next request."""
    if session.kind is SessionKind.HEADER:
        return {session.name: answer.headers[session.name]}
    cookies = SimpleCookie(answer.headers["set-cookie"])
    return {"cookie": "; ".join(["other=1", *(f"{name}={one.coded_value}" for name, one in cookies.items())])}


async def visitors(mesh: Mesh, session: Session) -> Mapping[str, dict[str, str]]:
    """One client of each version, with what it shows."""
    found: dict[str, dict[str, str]] = {}
    answers = [await mesh.ask() for _ in range(30)]
    for one in answers:
        found.setdefault(one.by, shown(one, session))
    assert found.keys() == {V1, V2}
    return found


@pytest.mark.parametrize("session", [COOKIE, HEADER], ids=lambda one: one.kind)
async def test_who_was_answered_once_is_led_back(mesh: Mesh, session: Session) -> None:
    await mesh.say("", kept(session, to("reservations")))
    for name, headers in (await visitors(mesh, session)).items():
        assert {(await mesh.ask(headers=headers)).by for _ in range(10)} == {name}


async def test_weights_are_for_those_who_have_no_cookie_yet(mesh: Mesh) -> None:
    session, both = COOKIE, (to("reservations", "v1"), to("reservations", "v2"))
    await mesh.say("", kept(session, *both))
    found = await visitors(mesh, session)
    for shares in (both, (replace(both[0], weight=0), both[1]), (both[0], replace(both[1], weight=0))):
        await mesh.say("", kept(session, *shares))
        for name, headers in found.items():
            assert {(await mesh.ask(headers=headers)).by for _ in range(6)} == {name}
        left = {one.subset for one in shares if one.weight}
        anew = [await mesh.ask() for _ in range(20)]
        assert {one.by for one in anew} == {f"reservations-{one}" for one in left}
        for one in anew[:4]:
            assert (await mesh.ask(headers=shown(one, session))).by == one.by


async def test_a_cookie_is_for_the_paths_that_are_matched_and_for_its_time(mesh: Mesh) -> None:
    lasting = replace(COOKIE, lifetime=600)
    await mesh.say("", kept(lasting, to("reservations"), at=match(prefix("/a"))))
    cookie = (await mesh.ask("/a/b")).headers["set-cookie"].split("; ")
    assert {"Max-Age=600", "Path=/a", "HttpOnly", "SameSite=Strict"} <= set(cookie)
    await mesh.say("", kept(COOKIE, to("reservations")))
    cookie = (await mesh.ask("/a/b")).headers["set-cookie"].split("; ")
    assert "Path=/" in cookie
    assert not [part for part in cookie if part.startswith("Max-Age")]


async def test_whose_replica_is_gone_is_led_to_another_from_then_on(mesh: Mesh) -> None:
    await mesh.say("", kept(COOKIE, to("reservations")))
    headers = (await visitors(mesh, COOKIE))[V1]
    with instead(mesh, V1, serving=False):
        await mesh.say("", kept(COOKIE, to("reservations")))
        answer = await mesh.ask(headers=headers)
        assert (answer.status, answer.by) == (200, V2)
    await mesh.say("", kept(COOKIE, to("reservations")))
    again = shown(answer, COOKIE)
    assert {(await mesh.ask(headers=again)).by for _ in range(10)} == {V2}


@contextmanager
def instead(mesh: Mesh, name: str, **others: object) -> Iterator[None]:
    """A replica that the control plane knows otherwise for a while."""
    before = mesh.replicas
    mesh.replicas = {**before, name: replace(before[name], **others)}  # type: ignore[arg-type]
    try:
        yield
    finally:
        mesh.replicas = before


def careful(locality: LocalityBalancing | None = None, outliers: OutlierDetection = EAGER) -> TrafficPolicy:
    return TrafficPolicy(load_balancing=LoadBalancing(locality=locality), outliers=outliers)


async def test_with_outlier_detection_whoever_is_near_is_asked_first(mesh: Mesh) -> None:
    told = destination("reservations", policy=careful(), name="careful")
    for place, near, far in (("west.a.1", V1, V2), ("east.c", V2, V1)):
        with instead(mesh, "frontend", labels=(("app", "frontend"), ("istio-locality", place))):
            await mesh.say("", told)
            assert {(await mesh.ask()).by for _ in range(20)} == {near}
            async with mesh.fails(near, 500):
                assert await mesh.failures(500) >= 3
                assert {(await mesh.ask(method="POST")).by for _ in range(5)} == {far}
        await mesh.say("")  # with whom everybody is healthy again
    await mesh.say("", told)
    assert len({(await mesh.ask()).by for _ in range(30)}) == 2  # from elsewhere neither is nearer


async def test_when_nobody_healthy_is_left_nobody_is_asked_unless_the_rule_says_so(mesh: Mesh) -> None:
    settings = destination("reservations", policy=careful(), name="careful")
    await mesh.say("", settings)
    async with mesh.fails(V1, 500), mesh.fails(V2, 500):
        assert await mesh.failures(500) >= 6
        answers = [await mesh.ask(method="POST") for _ in range(5)]
        assert {(one.status, one.body) for one in answers} == {(503, b"no healthy upstream")}
        panic = careful(outliers=replace(EAGER, least_healthy=1))
        await mesh.say("", replace(settings, policies=PortPolicies(everywhere=panic)))

        async def nobody() -> bool:
            await mesh.ask(method="POST")
            return await mesh.proxies["frontend"].stat(f"cluster.{CLUSTER}.membership_healthy") == 0

        await eventually(nobody)
        assert {(await mesh.ask(method="POST")).status for _ in range(12)} == {500}
