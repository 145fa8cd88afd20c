"""A new version beside the one that serves, behind real Envoys: who is asked, whoever routes, and what a step sends."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.sharing import Made
from plait.compiler.view import view
from plait.envoy import names
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.catalog import Replica
from plait.model.names import WorkloadKey
from plait.model.reading import Fact
from plait.model.rollout import Affinity, Analysis, Canary, Shift, canary_key
from plait.resource import CLUSTER, ROUTES, Snapshot
from tests.compiler.facts import (
    NS,
    SETTINGS,
    exact,
    host,
    listens,
    match,
    origin,
    port,
    regex,
    replica,
    routes,
    rule,
    service,
    to,
    workload,
)
from tests.cost.measures import Proxy as Sent
from tests.envoy.support import (
    Answer,
    Authority,
    ControlPlane,
    Proxy,
    addresses,
    application,
    control_plane,
    envoy,
    eventually,
    ready,
    short_folder,
)
from tests.fields.mesh import facts as read

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRONTEND = workload("frontend")
SHOP = workload("shop", listens(8080), listens(8081))
NEW = replace(SHOP, process=replace(SHOP.process, env=(("VERSION", "2"),)))
KEY = WorkloadKey(NS, "shop")
SERVICES = (service("frontend"), service("shop", port(8080), port(8081)))
PRIMARY, TRIED = "shop", "shop-canary"


def plan(analysis: Analysis, port: int = 8080) -> Canary:
    return Canary(
        namespace=NS,
        name="shop",
        target=KEY,
        service="shop",
        port=port,
        analysis=analysis,
        origin=origin("Canary", "shop"),
    )


WEIGHTS = plan(Analysis(steps=(10, 50)))


def shift(weight: int = 0, *, mirrored: int = 0, matched: bool = False, cookie: str = "") -> Shift:
    return Shift(
        primary=SHOP, candidate=NEW, weight=weight, mirrored=mirrored, matched=matched, cookie=cookie
    )


@dataclass(slots=True)
class Mesh:
    """A frontend, and the two versions of shop, each behind its Envoy."""

    plane: ControlPlane
    replicas: Mapping[str, Replica]
    proxies: dict[str, Proxy] = field(default_factory=dict)
    seen: dict[str, list[web.Request]] = field(default_factory=dict)
    _renderer: Renderer = field(default_factory=Renderer)
    _made: Made = field(default_factory=Made)
    _told: int = 0

    def snapshots(self, canary: Canary, at: Shift | None, more: Iterable[Fact]) -> dict[str, Snapshot]:
        """What every proxy is told where a rollout stands like this."""
        shifts = {canary.key: at} if at is not None else {}
        self._made.begin()
        mesh, findings = merge(
            (FRONTEND, NEW, *SERVICES, canary, *more), SETTINGS, made=self._made, shifts=shifts
        )
        assert findings == ()
        found = endpoints(mesh, self.replicas.values())
        views = [view(mesh, one) for one in self.replicas.values()]
        told: dict[str, Snapshot] = {str(one.node): self._renderer.render(one, found) for one in views}
        self._renderer.sweep()
        for one, snapshot in zip(views, told.values(), strict=True):
            assert check(snapshot, one.outbound.missing) == ()
        return told

    async def say(self, canary: Canary, at: Shift | None, *more: Fact) -> None:
        """Bring a rollout there, and wait until every proxy has all of it."""
        self._told += 1
        marker = f"told-{self._told}.example"
        told = routes(marker, rules=[rule(to("frontend"))], name="told")
        await self.plane.publish(self.snapshots(canary, at, (*more, told)))
        if self.proxies:
            await eventually(lambda: self._answers(marker))
        await eventually(self._acknowledged)
        assert self.plane.rejections == []

    async def _answers(self, host: str) -> bool:
        return (await self.ask(url=f"http://{host}/"))[0] != 404

    async def _acknowledged(self) -> bool:
        return self.plane.settled()

    async def ask(
        self, path: str = "/", *, url: str = "", headers: Mapping[str, str] | None = None
    ) -> tuple[int, str, list[str]]:
        """Status, who answers, and the cookies that come with it."""
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(
                url or f"http://shop:8080{path}", proxy=self.proxies["frontend"].url, headers=headers
            ) as response,
        ):
            await response.read()
            by = response.headers.get("answered-by", "")
            return response.status, by, response.headers.getall("set-cookie", [])

    async def asked(self, number: int, path: str = "/", **headers: str) -> Counter[str]:
        """Who answers so many requests; none may fail."""
        found: Counter[str] = Counter()
        for _ in range(number):
            status, by, _ = await self.ask(
                path, headers={name.replace("_", "-"): one for name, one in headers.items()}
            )
            assert status == 200
            found[by] += 1
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    known, _ = merge((FRONTEND, NEW, *SERVICES, WEIGHTS), SETTINGS, shifts={KEY: shift()})
    replicas = {}
    for of in (FRONTEND, known.workloads[KEY], known.workloads[canary_key(KEY)]):
        address, app_address = addresses()
        replicas[of.name] = replica(of, address=address, app_address=app_address)
    authority = Authority()

    def reply(name: str) -> Answer:
        async def answer(request: web.Request) -> web.Response:
            await asyncio.sleep(float(request.headers.get("x-seconds", "0")))
            status = int(request.headers.get("x-status", "200"))
            return web.Response(status=status, headers={"answered-by": name})

        return answer

    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        made = Mesh(plane, replicas)
        await made.say(WEIGHTS, None)
        for name, one in replicas.items():
            made.proxies[name] = await stack.enter_async_context(envoy(one, authority, plane, folder / name))
            made.seen[name] = []
            for binding in one.bindings:
                await stack.enter_async_context(
                    application(binding.app_address, binding.number, name, reply(name), made.seen[name])
                )
        await ready(made.proxies.values())
        yield made
        for proxy in made.proxies.values():
            assert proxy.process.returncode is None, proxy.log
            assert not re.search(r"\[(warning|error|critical)\]", proxy.log), proxy.log


# ---------------------------------------------------------------------------------------------------------


async def test_weights_move_requests_and_none_fails(mesh: Mesh) -> None:
    """There and back, with requests under way all the time."""
    failed: list[tuple[int, str, list[str]]] = []
    answered: Counter[str] = Counter()
    done = asyncio.Event()

    async def go_on() -> None:
        while not done.is_set():
            found = await mesh.ask()
            answered[found[1]] += 1
            if found[0] != 200:
                failed.append(found)

    clients = [asyncio.create_task(go_on()) for _ in range(4)]
    expected = (
        (None, 0, 0),
        (shift(), 0, 0),
        (shift(10), 3, 60),
        (shift(50), 90, 210),
        (shift(100), 300, 300),
    )
    for at, least, most in (*expected, *reversed(expected)):
        await mesh.say(WEIGHTS, at)
        number = 60 if least == most else 300
        tried = (await mesh.asked(number))[TRIED]
        assert least * number // 300 <= tried <= most * number // 300, at
    done.set()
    await asyncio.gather(*clients)
    assert failed == []
    assert answered[PRIMARY]
    assert answered[TRIED]


async def test_another_port_stays_where_it_is(mesh: Mesh) -> None:
    await mesh.say(WEIGHTS, shift(100))
    assert (await mesh.ask(url="http://shop:8081/"))[1] == PRIMARY
    assert (await mesh.ask())[1] == TRIED
    await mesh.say(plan(WEIGHTS.analysis, port=0), shift(100))
    assert (await mesh.ask(url="http://shop:8081/"))[1] == TRIED


async def test_each_version_has_a_host_of_its_own(mesh: Mesh) -> None:
    await mesh.say(WEIGHTS, shift())
    for name, by in (("shop-primary", PRIMARY), ("shop-canary", TRIED)):
        for at in (8080, 8081):
            assert (await mesh.ask(url=f"http://{name}:{at}/"))[:2] == (200, by)


VIRTUAL_SERVICE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: bistro}
spec:
  hosts: [shop]
  http:
  - match: [{uri: {prefix: /menu}}]
    rewrite: {uri: /karte}
    headers:
      request: {set: {x-by: rule}}
      response: {add: {x-rule: menu}}
    timeout: 0.3s
    retries: {attempts: 2, retryOn: "503"}
    route: [{destination: {host: shop, port: {number: 8080}}}]
  - match: [{headers: {x-nobody: {exact: "yes"}}}]
    directResponse: {status: 418}
  - route: [{destination: {host: shop, port: {number: 8080}}}]
"""
HTTP_ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: bistro}
spec:
  parentRefs: [{group: "", kind: Service, name: shop, port: 8080}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /menu}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: x-by, value: rule}]}
    - type: URLRewrite
      urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /karte}}
    timeouts: {request: 300ms}
    backendRefs: [{name: shop, port: 8080}]
  - backendRefs: [{name: shop, port: 8080}]
"""


@pytest.mark.parametrize("text", [VIRTUAL_SERVICE, HTTP_ROUTE], ids=["VirtualService", "HTTPRoute"])
@pytest.mark.parametrize(("weight", "by"), [(0, PRIMARY), (50, ""), (100, TRIED)])
async def test_routes_of_the_users_keep_what_they_say(mesh: Mesh, text: str, weight: int, by: str) -> None:
    await mesh.say(WEIGHTS, shift(weight), *read(text))
    found = await mesh.asked(40, "/menu/today")
    assert set(found) == ({by} if by else {PRIMARY, TRIED})
    for name in found:
        last = mesh.seen[name][-1]
        assert (last.path, last.headers["x-by"]) == ("/karte/today", "rule")
    # The others of its rules hold as well, with requests moved by the same weight.
    assert set(await mesh.asked(40)) == set(found)
    assert (await mesh.ask("/menu", headers={"x-seconds": "5"}))[0] == 504
    if text is VIRTUAL_SERVICE:
        assert (await mesh.ask(headers={"x-nobody": "yes"}))[0] == 418
        for name in found:
            mesh.seen[name].clear()
        assert (await mesh.ask("/menu", headers={"x-status": "503"}))[0] == 503
        assert sum(len(mesh.seen[name]) for name in found) == 3


async def test_what_matches_goes_to_what_is_tried(mesh: Mesh) -> None:
    """By a header, a cookie, and a parameter; and only where the user's own rule matches as well."""
    matches = (
        match(headers={"x-beta": exact("yes")}),
        match(headers={"cookie": regex(r"(.*;\s*)?insider=1(;.*)?")}),
        match(query={"beta": exact("1")}),
    )
    canary = plan(Analysis(iterations=3, matches=matches))
    for own in ((), read(VIRTUAL_SERVICE)):
        await mesh.say(canary, shift(matched=True), *own)
        for path in ("/", "/menu"):
            assert set(await mesh.asked(5, path)) == {PRIMARY}
            assert set(await mesh.asked(5, path, x_beta="no", cookie="insider=10")) == {PRIMARY}
            assert set(await mesh.asked(5, path, x_beta="yes")) == {TRIED}
            assert set(await mesh.asked(5, path, cookie="a=b; insider=1")) == {TRIED}
            assert set(await mesh.asked(5, f"{path}?beta=1")) == {TRIED}
        if own:
            last = mesh.seen[TRIED][-1]
            assert (last.path, last.headers["x-by"]) == ("/karte", "rule")
            assert (await mesh.ask(headers={"x-nobody": "yes", "x-beta": "yes"}))[0] == 418
    await mesh.say(canary, shift())
    assert set(await mesh.asked(5, x_beta="yes")) == {PRIMARY}


async def test_copies_reach_what_is_tried_and_nobody_is_answered_by_it(mesh: Mesh) -> None:
    await mesh.say(WEIGHTS, shift(mirrored=100))
    mesh.seen[TRIED].clear()
    assert set(await mesh.asked(30)) == {PRIMARY}

    async def copied() -> bool:
        return len(mesh.seen[TRIED]) == 30

    await eventually(copied)


async def test_who_was_sent_to_either_stays_there_for_the_run(mesh: Mesh) -> None:
    affinity = Affinity(cookie="to-canary", lifetime=60, primary_cookie="to-primary")
    canary = plan(Analysis(steps=(50,), affinity=affinity))
    await mesh.say(canary, shift(50, cookie="run-1"))
    given: dict[str, list[str]] = {}
    while len(given) < 2:
        _, by, cookies = await mesh.ask()
        given[by] = cookies
    assert given == {
        PRIMARY: ["to-primary=run-1; Path=/; Max-Age=60"],
        TRIED: ["to-canary=run-1; Path=/; Max-Age=60"],
    }
    for cookie, by in (("to-canary=run-1", TRIED), ("to-primary=run-1", PRIMARY)):
        assert set(await mesh.asked(20, cookie=f"a=b; {cookie}; c=d")) == {by}
    for cookie in ("to-canary=run-12", "x-to-canary=run-1", "to-canary=run-0"):
        assert set(await mesh.asked(30, cookie=cookie)) == {PRIMARY, TRIED}
    # At the end of a run, and in the next one, it says nothing any more.
    await mesh.say(canary, shift(0, cookie="run-1"))
    assert set(await mesh.asked(10, cookie="to-canary=run-1")) == {PRIMARY}
    await mesh.say(canary, shift(100, cookie="run-1"))
    assert set(await mesh.asked(10, cookie="to-primary=run-1")) == {TRIED}
    await mesh.say(canary, shift(50, cookie="run-2"))
    assert set(await mesh.asked(30, cookie="to-canary=run-1")) == {PRIMARY, TRIED}


@pytest.mark.parametrize(
    ("text", "ports"),
    [("", (8080,)), (VIRTUAL_SERVICE, (8080, 8081)), (HTTP_ROUTE, (8080,))],
    ids=["none", "VirtualService", "HTTPRoute"],
)
async def test_a_weight_is_one_route_of_each_port_and_nothing_else(
    mesh: Mesh, text: str, ports: tuple[int, ...]
) -> None:
    """Of each port that is called: the VirtualService leads from both to the one that moves."""
    own = read(text)
    frontend = str(mesh.replicas["frontend"].key)
    before = mesh.snapshots(WEIGHTS, shift(), own)
    sent = {node: Sent(snapshot) for node, snapshot in before.items()}
    for weight in (10, 20, 100, 0):
        after = mesh.snapshots(WEIGHTS, shift(weight), own)
        for node, proxy in sent.items():
            proxy.publish(after[node])
            assert (proxy.pushes, proxy.resources) == (1, len(ports))
        changed = {
            (kind, name)
            for kind, resources in after[frontend].items()
            for name, one in resources.items()
            if before[frontend][kind].get(name) is not one
        }
        assert changed == {(ROUTES, names.routes(host("shop"), one)) for one in ports}
        before = after
    # The very same weight is nothing at all.
    same = mesh.snapshots(WEIGHTS, shift(), own)
    for node, proxy in sent.items():
        proxy.publish(same[node])
        assert proxy.pushes == 0
    assert before[frontend][CLUSTER] == same[frontend][CLUSTER]
