"""CUSTOM policies: a real service of the mesh is asked, over HTTP and gRPC, and its answer is heeded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from plait.envoy import api
from tests.envoy.tokens import claims, key, key_set
from tests.fields.mesh import Mesh, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "reservations-v1:8080"
CHECKER = "reservations-v2.bistro.svc.cluster.local"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    """The mesh, in which no listener has changed at the end, whoever was asked."""
    async with running() as found:
        yield found
        for proxy in found.proxies.values():
            assert await proxy.stat("listener_manager.listener_modified") == 0
            assert await proxy.stat("listener_manager.listener_added") > 0


def written(api_version: str, kind: str, name: str, spec: Mapping[str, Any]) -> str:
    metadata = {"name": name, "namespace": "bistro"}
    return (
        json.dumps({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}) + "\n---\n"
    )


def operator(*providers: Mapping[str, Any], name: str = "mesh") -> str:
    return written(
        "install.istio.io/v1alpha1",
        "IstioOperator",
        name,
        {"meshConfig": {"extensionProviders": list(providers)}},
    )


def over_http(name: str = "checks", **more: Any) -> dict[str, Any]:
    where = {"service": CHECKER, "port": 8080, "pathPrefix": "/check", "timeout": "2s"}
    return {"name": name, "envoyExtAuthzHttp": where | more}


def over_grpc(name: str = "checks", **more: Any) -> dict[str, Any]:
    return {"name": name, "envoyExtAuthzGrpc": {"service": CHECKER, "port": 9090, "timeout": "2s"} | more}


def custom(*rules: Mapping[str, Any], provider: str = "checks", name: str = "custom", **more: Any) -> str:
    spec = {
        "selector": {"matchLabels": {"version": "v1"}},
        "action": "CUSTOM",
        "provider": {"name": provider},
        "rules": list(rules) or [{"to": [{"operation": {"paths": ["/asked*"]}}]}],
    }
    return written("security.istio.io/v1", "AuthorizationPolicy", name, spec | more)


def policy(action: str, path: str) -> str:
    spec = {
        "selector": {"matchLabels": {"version": "v1"}},
        "action": action,
        "rules": [{"to": [{"operation": {"paths": [path]}}]}],
    }
    return written("security.istio.io/v1", "AuthorizationPolicy", action.lower(), spec)


def answers(
    mesh: Mesh, verdict: Callable[[web.Request], web.Response], wait: float = 0.0
) -> list[web.Request]:
    """The checker answers this, and what it has seen."""
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response | None:
        if not request.path.startswith("/check"):
            return None
        seen.append(request)
        await asyncio.sleep(wait)
        return verdict(request)

    mesh.answers["reservations-v2"] = answer
    return seen


def by_header(request: web.Request) -> web.Response:
    """Who says so may pass."""
    if request.headers.get("x-pass") == "yes":
        return web.Response(headers={"x-checked": "alice", "x-secret": "s", "x-told": "t"})
    return web.Response(status=401, text="say please", headers={"x-why": "no word", "x-other": "o"})


SHOWN: Mapping[str, Any] = {"includeRequestHeadersInCheck": ["x-pass"]}


async def ask(
    mesh: Mesh, path: str = "/asked", method: str = "GET", body: bytes = b"", **headers: str
) -> Any:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return await mesh.ask(path, host=HOST, headers=told, method=method, body=body)


async def test_the_checker_is_asked_about_what_the_rules_name_and_nothing_else(mesh: Mesh) -> None:
    seen = answers(mesh, by_header)
    await mesh.say(operator(over_http(**SHOWN)) + custom())
    assert (await ask(mesh, "/other")).status == 200
    assert seen == []
    refused = await ask(mesh)
    assert (refused.status, refused.body, refused.seen) == (401, b"say please", None)
    assert (await ask(mesh, x_pass="yes")).status == 200
    assert [one.path for one in seen] == ["/check/asked", "/check/asked"]
    assert "spiffe://cluster.local/ns/bistro/sa/reservations" in seen[0].headers["x-forwarded-client-cert"]


async def test_to_be_let_in_by_the_checker_is_not_to_be_let_in(mesh: Mesh) -> None:
    seen = answers(mesh, by_header)
    await mesh.say(operator(over_http(**SHOWN)) + custom({}) + policy("DENY", "/asked/denied"))
    assert (await ask(mesh, "/asked/denied", x_pass="yes")).status == 403
    assert (await ask(mesh, "/asked", x_pass="yes")).status == 200
    await mesh.say(operator(over_http(**SHOWN)) + custom({}) + policy("ALLOW", "/allowed"))
    assert (await ask(mesh, "/asked", x_pass="yes")).status == 403
    assert (await ask(mesh, "/allowed", x_pass="yes")).status == 200
    assert (await ask(mesh, "/allowed")).status == 401
    assert len(seen) == 5


async def test_headers_go_where_they_are_said_to_go_and_no_caller_forges_them(mesh: Mesh) -> None:
    seen = answers(mesh, by_header)
    said: dict[str, Any] = {
        "includeRequestHeadersInCheck": ["x-pass", "x-some-*", "*-tail"],
        "includeAdditionalHeadersInCheck": {"x-from": "bistro"},
        "headersToUpstreamOnAllow": ["x-checked", "x-never", "x-set-*"],
        "headersToDownstreamOnAllow": ["x-told"],
        "headersToDownstreamOnDeny": ["x-why"],
    }
    await mesh.say(operator(over_http(**said)) + custom())
    forged: dict[str, Any] = {
        "x_checked": "root", "x_never": "root", "x_set_user": "root", "x_other": "kept", "x_from": "me",
        "x_some_one": "1", "x_no_tail": "2",
    }  # fmt: skip
    passed = await ask(mesh, x_pass="yes", **forged)
    assert passed.asked["x-checked"] == "alice"
    assert not {"x-never", "x-set-user", "x-secret"} & {name.lower() for name in passed.asked}
    assert (passed.asked["x-other"], passed.headers["x-told"]) == ("kept", "t")
    assert "x-checked" not in passed.headers
    shown = seen[-1].headers
    assert (shown["x-from"], shown["x-some-one"], shown["x-no-tail"]) == ("bistro", "1", "2")
    assert "x-other" not in shown
    refused = await ask(mesh, **forged)
    assert (refused.headers.get("x-why"), refused.headers.get("x-other")) == ("no word", None)
    unasked = await ask(mesh, "/other", **forged)
    assert not {"x-checked", "x-never", "x-set-user"} & {name.lower() for name in unasked.asked}


async def test_the_body_is_shown_as_far_as_is_said(mesh: Mesh) -> None:
    seen = answers(mesh, lambda _: web.Response())
    body = {"maxRequestBytes": 10, "allowPartialMessage": False}
    await mesh.say(operator(over_http(includeRequestBodyInCheck=body)) + custom())
    assert (await ask(mesh, method="POST", body=b"hello")).status == 200
    assert await seen[-1].read() == b"hello"
    assert (await ask(mesh, method="POST", body=b"hello" * 10)).status == 413
    body["allowPartialMessage"] = True
    await mesh.say(operator(over_http(includeRequestBodyInCheck=body)) + custom())
    assert (await ask(mesh, method="POST", body=b"hello" * 10)).status == 200
    assert (await seen[-1].read())[:10] == b"hellohello"
    await mesh.say(operator(over_http()) + custom())
    assert (await ask(mesh, method="POST", body=b"hello")).status == 200
    assert await seen[-1].read() == b""


async def test_without_an_answer_nobody_passes_unless_that_is_said(mesh: Mesh) -> None:
    def broken(_: web.Request) -> web.Response:
        return web.Response(status=500)

    for verdict, wait, changes in (
        (broken, 0.0, {}),
        (by_header, 0.5, {"timeout": "0.1s"}),
    ):
        answers(mesh, verdict, wait)
        await mesh.say(operator(over_http(**changes)) + custom())
        refused = await ask(mesh, x_pass="yes")
        assert (refused.status, refused.seen) == (403, None)
    await mesh.say(operator(over_http(timeout="0.1s", statusOnError="503")) + custom())
    assert (await ask(mesh, x_pass="yes")).status == 503
    await mesh.say(operator(over_http(timeout="0.1s", failOpen=True)) + custom())
    assert (await ask(mesh)).status == 200


@pytest.mark.parametrize("provider", [over_http(), over_grpc()])
async def test_a_checker_that_is_away_lets_nobody_pass(mesh: Mesh, provider: Mapping[str, Any]) -> None:
    await mesh.say(operator(provider) + custom())
    async with mesh.without("reservations-v2"):
        refused = await ask(mesh, x_pass="yes")
        assert (refused.status, refused.seen) == (403, None)
        assert (await ask(mesh, "/other")).status == 200


@pytest.mark.parametrize(
    "said",
    [
        operator() + custom(),
        operator(over_http("other")) + custom(),
        operator(over_http(), over_http()) + custom(),
        operator(over_http(port=9999)) + custom(),
        operator(over_http(service="nobody.bistro.svc.cluster.local")) + custom(),
        operator(over_http(service="checks.example.com")) + custom(),
        operator(over_http(wrong=1)) + custom(),
        operator(over_grpc(port=8080)) + custom(),
        operator(over_http()) + operator(over_http(failOpen=True), name="second") + custom(),
        operator(over_http(), over_http("second")) + custom() + custom(provider="second", name="too"),
        operator(over_http()) + custom(provider=""),
        custom(),
    ],
)
async def test_where_nobody_can_be_asked_what_the_rules_name_is_denied(mesh: Mesh, said: str) -> None:
    seen = answers(mesh, by_header)
    await mesh.say(said)
    refused = await ask(mesh, x_pass="yes")
    assert (refused.status, refused.seen, seen) == (403, None, [])
    assert (await ask(mesh, "/other")).status == 200


def response(*, headers: Mapping[str, str], ok: bool = True) -> bytes:
    added = [{"header": {"key": name, "value": value}} for name, value in headers.items()]
    verdict = (
        {"status": {"code": 0}, "ok_response": {"headers": added}}
        if ok
        else {
            "status": {"code": 7},
            "denied_response": {"status": {"code": 402}, "body": "pay", "headers": added},
        }
    )
    return api.serialize(api.message("envoy.service.auth.v3.CheckResponse")(**verdict))


async def test_a_checker_is_asked_over_grpc(mesh: Mesh) -> None:
    asked: list[Any] = []

    async def check(request: bytes) -> bytes:
        found = api.message("envoy.service.auth.v3.CheckRequest").FromString(request).attributes
        asked.append(found)
        if found.request.http.headers.get("x-pass") == "yes":
            return response(headers={"x-checked": "alice"})
        return response(headers={"x-why": "no word"}, ok=False)

    body = {"maxRequestBytes": 10, "allowPartialMessage": True, "packAsBytes": True}
    await mesh.say(operator(over_grpc(includeRequestBodyInCheck=body)) + custom())
    mesh.checks = check
    mesh.called.clear()
    refused = await ask(mesh)
    assert (refused.status, refused.body, refused.headers["x-why"]) == (402, b"pay", "no word")
    passed = await ask(mesh, method="POST", body=b"\xff", x_pass="yes", x_checked="root")
    assert (passed.status, passed.asked["x-checked"]) == (200, "alice")
    assert asked[-1].request.http.raw_body == b"\xff"
    assert asked[-1].source.principal == "spiffe://cluster.local/ns/bistro/sa/frontend"
    assert {one.method for one in mesh.called} == {"/envoy.service.auth.v3.Authorization/Check"}
    assert (await ask(mesh, "/other")).status == 200
    assert len(asked) == 2
    mesh.checks = None  # what it answers now is no verdict
    assert (await ask(mesh, x_pass="yes")).status == 403


async def test_tokens_are_checked_before_anybody_is_asked(mesh: Mesh) -> None:
    seen = answers(mesh, lambda _: web.Response())
    rules = [{"issuer": "https://issuer.example", "jwks": key_set(key())}]
    selector = {"matchLabels": {"version": "v1"}}
    users = written(
        "security.istio.io/v1", "RequestAuthentication", "users", {"selector": selector, "jwtRules": rules}
    )
    await mesh.say(operator(over_http()) + custom() + users)
    assert (await ask(mesh, authorization="Bearer x")).status == 401
    assert seen == []
    assert (await ask(mesh, authorization=f"Bearer {key().token(claims())}")).status == 200
    assert len(seen) == 1
