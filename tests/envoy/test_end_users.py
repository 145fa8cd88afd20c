"""End users: tokens that are really signed come to a real Envoy, and so do those that only look so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from aiohttp import web

from plait.envoy import api, build, names
from plait.resource import ROUTES
from tests.envoy.support import eventually
from tests.envoy.tokens import ALGORITHMS, b64, by_hmac, claims, key, key_set, signed
from tests.fields.mesh import Answer, Mesh, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, OTHER = "https://issuer.example", "https://other.example"
HOST = "reservations-v1:8080"
ONE = key("RS256", "one")
PRINCIPAL = "cluster.local/ns/bistro/sa/frontend"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running(but="Jwks async fetching") as found:
        yield found


def authentication(*rules: Mapping[str, Any], name: str = "users", **spec: Any) -> str:
    document = {
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": name, "namespace": "bistro"},
        "spec": {"selector": {"matchLabels": {"version": "v1"}}, "jwtRules": list(rules)} | spec,
    }
    return f"{json.dumps(document)}\n---\n"


def rule(issuer: str = ISSUER, **more: Any) -> dict[str, Any]:
    return {"issuer": issuer, "jwks": key_set(ONE), "audiences": ["bistro"]} | more


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def good(**more: Any) -> str:
    return ONE.token(claims(ISSUER, aud="bistro", **more))


async def ask(mesh: Mesh, path: str = "/", **headers: str) -> Answer:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return await mesh.ask(path, host=HOST, headers=told)


USUAL = authentication(rule(outputClaimToHeaders=[{"header": "x-user", "claim": "sub"}]))


async def test_who_shows_no_token_passes_and_is_nobody(mesh: Mesh) -> None:
    await mesh.say(USUAL)
    for name in ("x-user", "x_user", "X-User"):
        answer = await mesh.ask("/", host=HOST, headers={name: "root"})
        assert answer.status == 200
        assert not answer.asked.keys() & {"x-user", "x_user"}


async def test_a_good_token_passes_is_taken_away_and_says_who_it_is(mesh: Mesh) -> None:
    await mesh.say(USUAL)
    answer = await ask(mesh, **bearer(good()), x_user="root")
    assert (answer.status, answer.asked["x-user"]) == (200, "alice")
    assert "authorization" not in answer.asked
    answer = await ask(mesh, f"/?a=b&access_token={good(sub='bob')}", x_user="root")
    assert (answer.status, answer.asked["x-user"]) == (200, "bob")
    assert answer.path in ("/?a=b", "/?a=b&")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm_is_checked(mesh: Mesh, algorithm: str) -> None:
    mine, foreign = key(algorithm, "mine"), key(algorithm, "foreign")
    await mesh.say(authentication(rule(jwks=key_set(mine))))
    told = claims(aud="bistro")
    assert (await ask(mesh, **bearer(mine.token(told)))).status == 200
    assert (await ask(mesh, **bearer(foreign.token(told, kid="mine")))).status == 401


def bad() -> dict[str, tuple[str, int]]:
    """Tokens that must not hold, by what is wrong with them, and the answer."""
    told = claims(aud="bistro")
    header = {"typ": "JWT", "kid": "one"}
    unsigned = signed(header | {"alg": "none"}, told, lambda _: b"")
    head, body, signature = good().split(".")
    forged = b64(json.dumps(told | {"sub": "root"}).encode())
    now = told["iat"]
    return {
        "alg none": (unsigned, 401),
        "alg None": (signed(header | {"alg": "None"}, told, lambda _: b"x"), 401),
        "no signature": (f"{head}.{body}.", 401),
        "hmac with the public key": (by_hmac(ONE.pem, told, "one"), 401),
        "hmac with the modulus": (by_hmac(ONE.public["n"].encode(), told, "one"), 401),
        "hmac with the key set": (by_hmac(key_set(ONE).encode(), told, "one"), 401),
        "another algorithm": (ONE.token(told, alg="RS512"), 401),
        "wrong audience": (ONE.token(told | {"aud": "market"}), 403),
        "no audience": (ONE.token(claims()), 403),
        "expired": (ONE.token(told | {"exp": now - 3600}), 401),
        "not yet valid": (ONE.token(told | {"nbf": now + 3600}), 401),
        "unknown kid": (ONE.token(told, kid="two"), 401),
        "a foreign key": (key("RS256", "foreign").token(told, kid="one"), 401),
        "a foreign key with its own": (
            key("RS256", "foreign").token(told, kid="one", jwk=key("RS256", "foreign").jwk), 401
        ),
        "unknown issuer": (ONE.token(told | {"iss": OTHER}), 401),
        "no issuer": (ONE.token({name: one for name, one in told.items() if name != "iss"}), 401),
        "issuer in other letters": (ONE.token(told | {"iss": ISSUER.upper()}), 401),
        "another body": (f"{head}.{forged}.{signature}", 401),
        "another signature": (f"{head}.{body}.{signature[:-4]}AAAA", 401),
        "no token at all": ("hello", 401),
        "two parts": (f"{head}.{body}", 401),
        "four parts": (f"{head}.{body}.{signature}.{signature}", 401),
        "two tokens in one value": (f"{good()},{good()}", 401),
        "a token and more": (f"{good()} {good(sub='root')}", 401),
    }  # fmt: skip


@pytest.mark.parametrize("what", bad())
async def test_what_does_not_hold_is_refused_and_reaches_nobody(mesh: Mesh, what: str) -> None:
    await mesh.say(USUAL)
    token, status = bad()[what]
    for answer in (
        await ask(mesh, **bearer(token)),
        await ask(mesh, f"/?access_token={token.replace(' ', '%20')}"),
    ):
        assert answer.seen is None
        assert answer.status == status


async def test_a_caller_of_grpc_is_told_that_it_is_not_known(mesh: Mesh) -> None:
    await mesh.say(USUAL)
    host = "reservations-v1:9090"
    assert (await mesh.call("/a.B/C", bearer(good()), host)).code is grpc.StatusCode.OK
    assert (await mesh.call("/a.B/C", {}, host)).code is grpc.StatusCode.OK
    assert (await mesh.call("/a.B/C", bearer("x"), host)).code is grpc.StatusCode.UNAUTHENTICATED


async def test_an_oversized_token_is_refused(mesh: Mesh) -> None:
    await mesh.say(USUAL)
    answer = await ask(mesh, **bearer(good(more="x" * 70_000)))
    assert answer.seen is None
    assert answer.status in (401, 431)
    answer = await ask(mesh, **bearer(good(more="x" * 20_000)))  # large, and sound
    assert answer.status == 200


async def test_a_good_token_lets_no_bad_one_pass_beside_it(mesh: Mesh) -> None:
    await mesh.say(USUAL)
    forged = key("RS256", "foreign").token(claims(aud="bistro", sub="root"), kid="one")
    assert (await ask(mesh, f"/?access_token={good()}", **bearer(good()))).status == 200
    for header, param in ((good(), forged), (forged, good())):
        answer = await ask(mesh, f"/?access_token={param}", **bearer(header))
        assert (answer.status, answer.seen) == (401, None)


@pytest.mark.parametrize("forward", [False, True])
async def test_a_token_is_given_once(mesh: Mesh, forward: bool) -> None:  # noqa: FBT001  # a parameter
    await mesh.say(authentication(rule(forwardOriginalToken=forward)))
    for second in (f"Bearer {good()}", f"bearer {good()}", "Basic eDp5", "Bearer x"):
        for first, then in ((f"Bearer {good()}", second), (second, f"Bearer {good()}")):
            status = await told(mesh, "/", f"authorization: {first}", f"authorization: {then}")
            assert status == 401, (first[:8], then[:8])
    for query in (
        f"access_token={good()}&access_token={good()}",
        f"a=b&access_token={good()}&c&access_token=x",
        f"access_token={good()}&access_token",
        f"access_token={good()}&access%5ftoken=x",
        f"access%5Ftoken=x&access_token={good()}",
        f"%61ccess_token={good()}&%61ccess_token=x",
    ):
        assert await told(mesh, f"/?{query}") == 401, query


async def told(mesh: Mesh, path: str, *lines: str) -> int:
    """The status of the answer to a request that is sent as it is written."""
    at = mesh.proxies["frontend"].replica.sidecar
    head = "\r\n".join((f"GET http://{HOST}{path} HTTP/1.1", f"host: {HOST}", *lines))
    return await raw(at.address, at.outbound, f"{head}\r\n\r\n")


async def raw(address: str, port: int, request: str) -> int:
    """The status of the answer to some bytes."""
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(request.encode("latin-1"))
    head = await reader.readline()
    writer.close()
    return int(head.split()[1])


async def test_another_way_to_write_bearer_does_not_get_round_the_check(mesh: Mesh) -> None:
    await mesh.say(USUAL)
    for word in ("bearer ", "BEARER ", "BeArEr ", "Bearer\t", "Bearer", "Bearer:"):
        answer = await ask(mesh, authorization=f"{word}{good()}")
        assert (answer.status, answer.seen) == (401, None)
    assert (await ask(mesh, authorization="Basic eDp5")).status == 200


async def test_one_header_may_have_several_prefixes(mesh: Mesh) -> None:
    prefixes = [{"name": "authorization", "prefix": prefix} for prefix in ("Bearer ", "bearer ")]
    two = key("ES256", "two")
    more = [{"name": "authorization", "prefix": "Token ."}]  # with a sign that regular expressions have
    await mesh.say(
        authentication(rule(fromHeaders=prefixes, fromParams=["t"]))
        + authentication(rule(OTHER, jwks=key_set(two), audiences=[], fromHeaders=more), name="others")
    )
    theirs = two.token(claims(OTHER))
    for value, status in (
        (f"Bearer {good()}", 200),
        (f"bearer {good()}", 200),
        (f"BEARER {good()}", 401),
        (f"Token .{theirs}", 200),
        (f"Token .{good()}", 401),
        (f"Bearer {theirs}", 401),
        (f"token .{theirs}", 401),
        (f"Token x{theirs}", 200),  # something else
    ):
        assert (await ask(mesh, authorization=value)).status == status, value[:8]
        assert (await ask(mesh, "/?t=x", authorization=value)).status == 401
    assert (await ask(mesh, f"/?t={good()}", authorization=f"Token .{theirs}")).status == 200


async def test_another_way_to_write_a_parameter_does_not_get_round_the_check(mesh: Mesh) -> None:
    await mesh.say(USUAL)
    for name in ("access_token", "access%5Ftoken", "access%5ftoken", "%61ccess_token", "%61%63cess_token"):
        for token, status in ((good(), 200), ("x.y.z", 401), ("", 401)):
            assert await told(mesh, f"/?{name}={token}&a=b") == status, name
        assert await told(mesh, f"/?a=b&{name}") == 401
        assert await told(mesh, f"/?a={name}") == 200
        assert await told(mesh, f"/?{name}s=x") == 200


async def test_bytes_that_are_no_text_do_not_get_round_the_check(mesh: Mesh) -> None:
    await mesh.say(
        authentication(rule(fromParams=["t"], fromCookies=["session"], fromHeaders=[{"name": "x-t"}]))
    )
    for path, line in (
        ("/?a=\xff&t=x", "a: b"),
        (f"/?a=\xff&t={good()}&t=x", "a: b"),
        ("/", "cookie: a=\xff; session=x"),
        ("/", f"cookie: a=\xff; session={good()}; session=x"),
        ("/", "x-t: \xff"),
    ):
        assert await told(mesh, path, line) in (400, 401), (path[:9], line[:19])


async def test_tokens_stand_where_a_rule_says_and_nowhere_else(mesh: Mesh) -> None:
    await mesh.say(
        authentication(
            rule(
                fromHeaders=[{"name": "x-token", "prefix": "Token "}, {"name": "x-bare"}],
                fromParams=["t"],
                fromCookies=["session"],
                outputClaimToHeaders=[{"header": "x-user", "claim": "sub"}],
            )
        )
    )
    for path, headers in (
        ("/", {"x-token": "Token {}"}),
        ("/", {"x-bare": "{}"}),
        ("/?t={}", {}),
        ("/", {"cookie": "a=b; session={}; c=d"}),
    ):
        for token, expected in ((good(), 200), ("x.y.z", 401), (good() + "x", 401)):
            said = {name: value.format(token) for name, value in headers.items()}
            answer = await mesh.ask(path.format(token), host=HOST, headers=said)
            assert answer.status == expected, (path, headers)
            assert expected != 200 or answer.asked["x-user"] == "alice"
    elsewhere = await ask(mesh, "/?access_token=x.y.z", authorization="Bearer x.y.z")
    assert elsewhere.status == 200
    assert "x-user" not in elsewhere.asked
    twice = await ask(mesh, cookie=f"session={good()}; session=x")
    assert twice.status == 401
    assert (await mesh.ask("/", host=HOST, headers={"x-bare": good(), "x-token": "Token x"})).status == 401
    both = await mesh.ask("/", host=HOST, headers={"x-bare": good(), "x-token": f"Token {good(sub='bob')}"})
    assert both.status == 200


async def test_each_token_is_checked_by_the_keys_of_its_issuer(mesh: Mesh) -> None:
    two = key("ES256", "two")
    users = [{"header": "x-user", "claim": "sub"}]
    others = [{"header": "x-other", "claim": "sub"}]
    await mesh.say(
        authentication(rule(outputClaimToHeaders=users))
        + authentication(
            rule(OTHER, jwks=key_set(two), audiences=[], outputClaimToHeaders=others), name="others"
        )
    )
    theirs = two.token(claims(OTHER, sub="bob"))
    mine = await ask(mesh, **bearer(good()), x_other="root")
    assert (mine.status, mine.asked["x-user"], "x-other" in mine.asked) == (200, "alice", False)
    other = await ask(mesh, **bearer(theirs), x_user="root")
    assert (other.status, other.asked["x-other"], "x-user" in other.asked) == (200, "bob", False)
    crossed = two.token(claims(ISSUER, aud="bistro", sub="root"))
    assert (await ask(mesh, **bearer(crossed))).status == 401
    assert (await ask(mesh, **bearer(ONE.token(claims(OTHER))))).status == 401
    assert (await ask(mesh, f"/?access_token={crossed}", **bearer(good()))).status == 401
    assert (await ask(mesh, f"/?access_token={good()}", **bearer(crossed))).status == 401


async def test_each_place_has_an_issuer_of_its_own(mesh: Mesh) -> None:
    two = key("ES256", "two")
    for more in range(4):  # with more places than four at most one is looked at
        headers = [{"name": f"x-more-{number}"} for number in range(more)]
        await mesh.say(
            authentication(rule(fromHeaders=[{"name": "x-one"}, *headers]))
            + authentication(
                rule(OTHER, jwks=key_set(two), audiences=[], fromHeaders=[{"name": "x-two"}]), name="others"
            )
        )
        forged = key("RS256", "foreign").token(claims(aud="bistro", sub="root"), kid="one")
        theirs = two.token(claims(OTHER, sub="bob"))
        for one, other, status in (
            (good(), "", 200),
            ("", theirs, 200),
            (good(), theirs, 200 if more < 3 else 401),
            (good(), forged, 401),
            (forged, theirs, 401),
            (theirs, good(), 401),
            (good(), good(), 401),
            (theirs, "", 401),
        ):
            said = {name: token for name, token in (("x-one", one), ("x-two", other)) if token}
            answer = await mesh.ask("/", host=HOST, headers=said)
            assert answer.status == status, (more, said.keys(), answer.body)


async def test_a_rule_that_cant_be_read_takes_no_token_and_lets_none_through(mesh: Mesh) -> None:
    await mesh.say(authentication(rule(jwks="no key set")))
    assert (await ask(mesh, **bearer(good()))).status == 401
    assert (await ask(mesh, **bearer("x"))).status == 401
    assert (await ask(mesh)).status == 200
    await mesh.say(authentication(rule(), selector={"matchLabels": 7}))
    assert (await ask(mesh, **bearer(good()))).status == 401
    assert (await mesh.ask("/", host="reservations-v2:8080", headers=bearer(good()))).status == 401


KEYS = "http://reservations-v2.bistro:8080/keys?of=one"


def serves(mesh: Mesh, text: str, status: int = 200) -> list[str]:
    """Version 2 has keys; the callers of it as it sees them."""
    callers: list[str] = []

    async def answer(request: web.Request) -> web.Response | None:
        if request.raw_path != "/keys?of=one":
            return None
        callers.append(request.headers.get("x-forwarded-client-cert", ""))
        return web.Response(text=text, status=status)

    mesh.answers["reservations-v2"] = answer
    return callers


async def test_keys_are_fetched_through_the_mesh_and_kept(mesh: Mesh) -> None:
    callers = serves(mesh, key_set(ONE))
    fetched = rule(jwksUri=KEYS)
    del fetched["jwks"]
    await mesh.say(authentication(fetched))
    assert (await ask(mesh, **bearer(good()))).status == 200

    async def fetched_for_each_port() -> bool:
        return len(callers) >= 3

    await eventually(fetched_for_each_port)
    before = len(callers)
    for _ in range(5):
        assert (await ask(mesh, **bearer(good()))).status == 200
    assert len(callers) == before
    assert "spiffe://cluster.local/ns/bistro/sa/reservations" in callers[0]
    assert (await ask(mesh, **bearer(bad()["a foreign key"][0]))).status == 401
    del mesh.answers["reservations-v2"]


async def test_without_keys_to_fetch_no_token_holds(mesh: Mesh) -> None:
    for uri in (
        "http://reservations-v2:8080/other",
        "http://nobody:8080/keys",
        "http://reservations-v2:9999/keys",
        "https://reservations-v2:8080/keys",
        "https://keys.example/keys",
    ):
        fetched = rule(jwksUri=uri)
        del fetched["jwks"]
        await mesh.say(authentication(fetched))
        assert (await ask(mesh, **bearer(good()))).status == 401, uri
        assert (await ask(mesh)).status == 200


async def test_keys_are_waited_for_as_long_as_is_said(mesh: Mesh) -> None:
    async def late(request: web.Request) -> web.Response | None:
        if request.path != "/late":
            return None
        await asyncio.sleep(0.5)
        return web.Response(text=key_set(ONE))

    mesh.answers["reservations-v2"] = late
    for wait, status in (("0.1s", 401), ("5s", 200)):
        fetched = rule(jwksUri="http://reservations-v2:8080/late", timeout=wait)
        del fetched["jwks"]
        await mesh.say(authentication(fetched))
        assert (await ask(mesh, **bearer(good()))).status == status
    del mesh.answers["reservations-v2"]


def claim(*path: str, value: Mapping[str, Any]) -> Any:
    """A rule of RBAC that wants something of the claims of a token, as policies have them."""
    matcher = {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": key} for key in ("payload", *path)],
        "value": value,
    }
    principal = {"sourced_metadata": {"metadata_matcher": matcher}}
    allowed = {"permissions": [{"any": True}], "principals": [principal]}
    config = api.message("envoy.extensions.filters.http.rbac.v3.RBACPerRoute")
    return api.pack(config(rbac={"rules": {"action": "ALLOW", "policies": {"it": allowed}}}))


@asynccontextmanager
async def ruled(mesh: Mesh, config: Any) -> AsyncIterator[None]:
    """Version 1 with a rule that no policy says."""
    node = str(mesh.replicas["reservations-v1"].key)
    whole = mesh.plane.snapshots[node]
    name = names.inbound(8080)
    routes = api.parse(ROUTES, whole[ROUTES][name].body)
    routes.typed_per_filter_config[names.RBAC_ALLOW].CopyFrom(config)
    other = {**whole[ROUTES], name: build.resource(ROUTES, name, routes)}
    await mesh.plane.publish({node: {**whole, ROUTES: other}})
    await eventually(settled(mesh))
    try:
        yield
    finally:
        await mesh.plane.publish({node: whole})
        await eventually(settled(mesh))


def settled(mesh: Mesh) -> Callable[[], Awaitable[bool]]:
    async def found() -> bool:
        return mesh.plane.settled()

    return found


async def test_claims_are_where_policies_look_for_them(mesh: Mesh) -> None:
    await mesh.say(authentication(rule(spaceDelimitedClaims=["roles"])))

    def text(value: str) -> dict[str, Any]:
        return {"string_match": {"exact": value}}

    def listed(value: str) -> dict[str, Any]:
        return {"list_match": {"one_of": text(value)}}

    told = good(roles="cook waiter", scope="a b", address={"city": "Oslo"}, groups=["x", "y"])
    for path, value, holds in (
        (("iss",), text(ISSUER), True),
        (("sub",), text("alice"), True),
        (("aud",), text("bistro"), True),
        (("address", "city"), text("Oslo"), True),
        (("groups",), listed("y"), True),
        (("roles",), listed("cook"), True),
        (("scope",), listed("b"), True),
        (("roles",), text("cook waiter"), False),
        (("sub",), text("root"), False),
    ):
        async with ruled(mesh, claim(*path, value=value)):
            assert (await ask(mesh, **bearer(told))).status == (200 if holds else 403), path
            assert (await ask(mesh)).status == 403


async def test_other_keys_hold_at_once_and_end_nothing(mesh: Mesh) -> None:
    await mesh.say(USUAL)
    two = key("RS256", "two")

    async def shout(request: web.Request) -> web.WebSocketResponse | None:
        if "upgrade" not in request.headers:
            return None
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        async for message in channel:
            await channel.send_str(str(message.data).upper())
        return channel

    proxy = mesh.proxies["reservations-v1"]
    changed = await proxy.stat("listener_manager.listener_modified")
    mesh.answers["reservations-v1"] = shout
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"http://{HOST}/", proxy=mesh.proxies["frontend"].url, headers=bearer(good())
        ) as channel,
    ):
        await channel.send_str("one")
        assert await channel.receive_str(timeout=5) == "ONE"
        await mesh.say(authentication(rule(jwks=key_set(two))))
        assert (await ask(mesh, **bearer(good()))).status == 401
        assert (await ask(mesh, **bearer(two.token(claims(aud="bistro"))))).status == 200
        await mesh.say("")
        assert (await ask(mesh, **bearer("x"))).status == 200
        await channel.send_str("two")
        assert await channel.receive_str(timeout=5) == "TWO"
    assert await proxy.stat("listener_manager.listener_modified") == changed
    del mesh.answers["reservations-v1"]


async def test_a_filter_without_its_resource_lets_nobody_past(mesh: Mesh) -> None:
    await mesh.say(USUAL)
    extension = names.of_port("jwt", 8080)
    async with mesh.lacking("reservations-v1", extension):
        assert (await ask(mesh, **bearer(good()))).status == 403
        assert (await ask(mesh)).status == 403
    assert (await ask(mesh, **bearer(good()))).status == 200
