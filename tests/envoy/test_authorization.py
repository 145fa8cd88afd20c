"""What an AuthorizationPolicy says is what a real Envoy does: each source, operation and condition, to real requests."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from plait.envoy import names
from plait.model.reading import Fact
from tests.envoy.guarded import OTHER, TCP, WEB, Guarded, guarded
from tests.envoy.support import eventually
from tests.fields.mesh import facts

pytestmark = pytest.mark.asyncio(loop_scope="module")

LET_IN, SHUT_OUT = b"200", b"403"
DRY_RUN = "{istio.io/dry-run: 'true'}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one() -> AsyncIterator[Guarded]:
    async with guarded() as made:
        yield made
        assert made.proxy is not None
        assert made.proxy.process.returncode is None, made.proxy.log
        assert not re.search(r"\[(warning|error|critical)\]", made.proxy.log), made.proxy.log


def policy(
    spec: Mapping[str, Any], name: str = "it", *, namespace: str = "bistro", annotations: str = "{}"
) -> tuple[Fact, ...]:
    """One policy by its spec."""
    head = f"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: {namespace}"
    return facts(f"{head}, annotations: {annotations}}}\nspec: {json.dumps(spec)}\n")


def allow(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {"action": "ALLOW", "rules": [rule]}


def deny(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {"action": "DENY", "rules": [rule]}


def source(**parts: list[str]) -> dict[str, Any]:
    return {"from": [{"source": parts}]}


def operation(**parts: list[str]) -> dict[str, Any]:
    return {"to": [{"operation": parts}]}


def when(key: str, *values: str, no: tuple[str, ...] = ()) -> dict[str, Any]:
    said: dict[str, Any] = {"key": key}
    said |= {"values": list(values)} if values else {}
    said |= {"notValues": list(no)} if no else {}
    return {"when": [said]}


def status(answer: bytes) -> bytes:
    return answer.split(b" ", 2)[1] if answer else b""


TOKEN = {
    "iss": "https://issuer.example/realm", "sub": "alice", "aud": ["shop", "bar"], "azp": "till",
    "groups": ["staff", "cooks"], "scope": "read", "nested": {"deep": {"role": "chef", "roles": ["a", "b"]}},
    "number": 5, "flag": True,
}  # fmt: skip
ISSUER = "https://issuer.example/realm"
Case = tuple[dict[str, Any], dict[str, Any], bool]

# A rule, a request, and whether the rule holds for it.
HELD: list[Case] = [
    # who connects
    (source(principals=["cluster.local/ns/bistro/sa/frontend"]), {}, True),
    (source(principals=["cluster.local/ns/bistro/sa/frontend"]), {"by": "bistro/other"}, False),
    (source(principals=["*"]), {}, True),
    (source(principals=["*/sa/frontend"]), {}, True),
    (source(principals=["*end"]), {}, True),
    (source(principals=["cluster.local/ns/bis*"]), {}, True),
    (source(notPrincipals=["*/sa/frontend"]), {}, False),
    (source(notPrincipals=["*/sa/frontend"]), {"by": "bistro/other"}, True),
    (source(namespaces=["bistro"]), {}, True),
    (source(namespaces=["bis*", "x"]), {"by": "market/frontend"}, False),
    (source(notNamespaces=["bistro"]), {"by": "market/frontend"}, True),
    (source(serviceAccounts=["frontend"]), {}, True),
    (source(serviceAccounts=["market/frontend"]), {}, False),
    (source(notServiceAccounts=["market/frontend"]), {}, True),
    # from where
    (source(ipBlocks=["127.0.0.1"]), {}, True),
    (source(ipBlocks=["127.0.0.0/8", "10.0.0.0/8"]), {}, True),
    (source(ipBlocks=["127.0.0.9/8"]), {}, True),
    (source(ipBlocks=["10.0.0.0/8"]), {}, False),
    (source(ipBlocks=["0.0.0.0/0"]), {}, True),
    (source(ipBlocks=["::/0"]), {}, False),
    (source(notIpBlocks=["127.0.0.0/8"]), {}, False),
    (source(notIpBlocks=["10.0.0.0/8"]), {}, True),
    (source(remoteIpBlocks=["127.0.0.0/8"]), {}, True),
    (source(remoteIpBlocks=["10.9.9.9"]), {"headers": ("x-forwarded-for: 10.9.9.9",)}, False),
    (source(remoteIpBlocks=["127.0.0.1"]), {"headers": ("x-forwarded-for: 10.9.9.9, 10.1.1.1",)}, True),
    (source(notRemoteIpBlocks=["127.0.0.1"]), {"headers": ("x-forwarded-for: 10.9.9.9",)}, False),
    (source(ipBlocks=["10.9.9.9"]), {"headers": ("x-forwarded-for: 10.9.9.9",)}, False),
    (when("source.ip", "127.0.0.1"), {}, True),
    (when("source.ip", no=("127.0.0.0/8",)), {}, False),
    (when("remote.ip", "10.9.9.9"), {"headers": ("x-forwarded-for: 10.9.9.9", "x-real-ip: 10.9.9.9")}, False),
    (when("remote.ip", no=("10.0.0.0/8",)), {"headers": ("x-forwarded-for: 10.9.9.9",)}, True),
    # whose token
    (source(requestPrincipals=["*"]), {}, False),
    (source(requestPrincipals=["*"]), {"token": TOKEN}, True),
    (source(requestPrincipals=[f"{ISSUER}/alice"]), {"token": TOKEN}, True),
    (source(requestPrincipals=[f"{ISSUER}/bob"]), {"token": TOKEN}, False),
    (source(requestPrincipals=[f"{ISSUER}/bob", f"{ISSUER}/alice"]), {"token": TOKEN}, True),
    (source(requestPrincipals=["https://issuer.example/other/alice"]), {"token": TOKEN}, False),
    (source(requestPrincipals=[f"{ISSUER}/*"]), {"token": TOKEN}, True),
    (source(requestPrincipals=["https://issuer.example/other/*"]), {"token": TOKEN}, False),
    (source(requestPrincipals=[f"{ISSUER}/al*"]), {"token": TOKEN}, True),
    (source(requestPrincipals=["*/alice"]), {"token": TOKEN}, True),
    (source(requestPrincipals=["*/bob"]), {"token": TOKEN}, False),
    (source(requestPrincipals=["*realm/alice"]), {"token": TOKEN}, True),
    (source(requestPrincipals=["*ice"]), {"token": TOKEN}, True),
    (source(notRequestPrincipals=["*"]), {}, True),
    (source(notRequestPrincipals=["*"]), {"token": TOKEN}, False),
    (source(notRequestPrincipals=[f"{ISSUER}/alice"]), {"token": TOKEN}, False),
    (source(notRequestPrincipals=[f"{ISSUER}/bob"]), {"token": TOKEN}, True),
    (when("request.auth.principal", f"{ISSUER}/alice"), {"token": TOKEN}, True),
    (when("request.auth.principal", no=(f"{ISSUER}/alice",)), {"token": TOKEN}, False),
    (when("request.auth.audiences", "bar"), {"token": TOKEN}, True),
    (when("request.auth.audiences", "bar"), {"token": TOKEN | {"aud": "bar"}}, True),
    (when("request.auth.audiences", "baz"), {"token": TOKEN}, False),
    (when("request.auth.audiences", no=("shop",)), {"token": TOKEN}, False),
    (when("request.auth.presenter", "till"), {"token": TOKEN}, True),
    (when("request.auth.presenter", "door"), {"token": TOKEN}, False),
    (when("request.auth.claims[groups]", "cooks"), {"token": TOKEN}, True),
    (when("request.auth.claims[groups]", "co*"), {"token": TOKEN}, True),
    (when("request.auth.claims[groups]", "guests", "*ff"), {"token": TOKEN}, True),
    (when("request.auth.claims[groups]", "guests"), {"token": TOKEN}, False),
    (when("request.auth.claims[groups]", no=("cooks",)), {"token": TOKEN}, False),
    (when("request.auth.claims[groups]", "staff", no=("cooks",)), {"token": TOKEN}, False),
    (when("request.auth.claims[scope]", "read"), {"token": TOKEN}, True),
    (when("request.auth.claims[iss]", ISSUER), {"token": TOKEN}, True),
    (when("request.auth.claims[nested][deep][role]", "chef"), {"token": TOKEN}, True),
    (when("request.auth.claims[nested][deep][roles]", "b"), {"token": TOKEN}, True),
    (when("request.auth.claims[nested][role]", "chef"), {"token": TOKEN}, False),
    (when("request.auth.claims[number]", "5"), {"token": TOKEN}, False),
    (when("request.auth.claims[groups]", "cooks"), {}, False),
    (when("request.auth.claims[groups]", no=("cooks",)), {}, True),
    (when("request.auth.claims[groups]", "*"), {"token": TOKEN}, True),
    (when("request.auth.claims[absent]", "*"), {"token": TOKEN}, False),
    # under which host
    (operation(hosts=["guarded"]), {}, True),
    (operation(hosts=["GUARDED"]), {"host": "gUarded"}, True),
    (operation(hosts=["guarded"]), {"host": "guarded."}, True),
    (operation(hosts=["guarded."]), {"host": "guarded"}, True),
    (operation(hosts=["guarded:80"]), {"host": "guarded:80"}, True),
    (operation(hosts=["guarded:80"]), {"host": "guarded.:80"}, True),
    (operation(hosts=["guarded:*"]), {"host": "guarded:81"}, True),
    (operation(hosts=["guarded:*"]), {"host": "guarded"}, False),
    (operation(hosts=["*.example"]), {"host": "a.b.Example."}, True),
    (operation(hosts=["*.example:80"]), {"host": "a.b.Example.:80"}, True),
    (operation(hosts=["*.example"]), {"host": "an.examples"}, False),
    (operation(hosts=["a.*"]), {"host": "A.b"}, True),
    (operation(hosts=["*"]), {"host": "whatever:80"}, True),
    (operation(hosts=["axb"]), {"host": "a.b"}, False),
    (operation(hosts=["a.b"]), {"host": "axb"}, False),
    (operation(hosts=["a.b"]), {"host": "a.b.c"}, False),
    (operation(notHosts=["guarded"]), {"host": "other"}, True),
    (operation(notHosts=["guarded"]), {"host": "Guarded."}, False),
    # what is asked
    (operation(methods=["GET"]), {}, True),
    (operation(methods=["P*"]), {"method": "POST"}, True),
    (operation(methods=["*"]), {"method": "DELETE"}, True),
    (operation(notMethods=["GET", "HEAD"]), {}, False),
    (operation(paths=["/a"]), {"path": "/a?b=c"}, True),
    (operation(paths=["/a*"]), {"path": "/ab/c"}, True),
    (operation(paths=["*/c"]), {"path": "/ab/c"}, True),
    (operation(paths=["/a"]), {"path": "/A"}, False),
    (operation(notPaths=["/a", "/b"]), {"path": "/b"}, False),
    (operation(paths=["/a/{*}"]), {"path": "/a/b"}, True),
    (operation(paths=["/a/{*}"]), {"path": "/a/b?c/d"}, True),
    (operation(paths=["/a/{*}"]), {"path": "/a/b=c*[|;d"}, True),
    (operation(paths=["/a/{*}"]), {"path": "/a/b/c"}, False),
    (operation(paths=["/a/{*}"]), {"path": "/a/"}, False),
    (operation(paths=["/a/{*}/c"]), {"path": "/a/b/c"}, True),
    (operation(paths=["/a/{*}/c/{**}"]), {"path": "/a/b/c/d/e"}, True),
    (operation(paths=["/a/{**}"]), {"path": "/a/"}, True),
    (operation(paths=["/a/{**}"]), {"path": "/a"}, False),
    (operation(paths=["/a.b/{**}"]), {"path": "/axb/c"}, False),
    (operation(notPaths=["/a/{**}"]), {"path": "/a/b"}, False),
    (operation(ports=[str(WEB)]), {}, True),
    (operation(ports=[str(OTHER)]), {}, False),
    (operation(ports=[str(OTHER)]), {"number": OTHER}, True),
    (operation(notPorts=[str(OTHER)]), {"number": OTHER}, False),
    # the rest of the conditions
    (when("request.headers[x-user]", "admin"), {"headers": ("X-User: admin",)}, True),
    (when("request.headers[X-User]", "ad*"), {"headers": ("x-user: admin",)}, True),
    (when("request.headers[x-user]", "*min"), {"headers": ("x-user: admin",)}, True),
    (when("request.headers[x-user]", "*"), {"headers": ("x-user: admin",)}, True),
    (when("request.headers[x-user]", "*"), {}, False),
    (when("request.headers[x-user]", "admin"), {"headers": ("x-user: Admin",)}, False),
    (when("request.headers[x-user]", no=("admin",)), {}, True),
    (when("request.headers[x-user]", no=("admin",)), {"headers": ("x-user: guest", "x-user: admin")}, False),
    (when("request.headers[x-user]", "guest"), {"headers": ("x-user: admin", "x-user: guest")}, True),
    (when("request.headers[host]", "guarded"), {}, True),
    (when("request.headers[:method]", "POST"), {}, False),
    (when("request.headers[x-envoy-original-path]", "*"), {"headers": ("x-envoy-original-path: /",)}, False),
    (when("source.namespace", "bistro"), {}, True),
    (when("source.namespace", no=("b*",)), {}, False),
    (when("source.principal", "cluster.local/ns/bistro/sa/frontend"), {}, True),
    (when("source.principal", no=("*/sa/frontend",)), {}, False),
    (when("source.serviceAccount", "frontend"), {}, True),
    (when("source.serviceAccount", no=("bistro/frontend",)), {}, False),
    (when("destination.ip", "127.77.0.0/16"), {}, True),
    (when("destination.ip", "127.76.0.0/16"), {}, False),
    (when("destination.ip", no=("127.77.0.0/16",)), {}, False),
    (when("destination.port", str(WEB)), {}, True),
    (when("destination.port", str(OTHER)), {}, False),
    (when("destination.port", no=(str(WEB),)), {}, False),
    (when("connection.sni", "sni.example"), {}, True),
    (when("connection.sni", "*.Example"), {"sni": "SNI.example"}, True),
    (when("connection.sni", "other.example"), {}, False),
    (when("connection.sni", no=("sni.*",)), {}, False),
    (when("experimental.envoy.filters.http.absent[a]", "*"), {}, False),
    (when("experimental.envoy.filters.http.absent[a]", no=("[b]",)), {}, True),
    # all of it together
    ({"from": source(namespaces=["x"])["from"] + source(principals=["*/frontend"])["from"]}, {}, True),
    ({**source(namespaces=["bistro"]), **operation(methods=["POST"])}, {}, False),
    ({**source(namespaces=["bistro"]), **when("request.headers[a]", "b")}, {}, False),
    ({**operation(paths=["/x"]), **when("source.ip", "127.0.0.1")}, {"path": "/x"}, True),
    (source(principals=["*/frontend"], ipBlocks=["10.0.0.0/8"]), {}, False),
    ({}, {}, True),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "request_", "holds"), HELD)
async def test_a_rule_holds_for_what_it_says(
    one: Guarded,
    rule: dict[str, Any],
    request_: dict[str, Any],
    holds: bool,  # noqa: FBT001
) -> None:
    """Of ALLOW it lets in, of DENY it shuts out; otherwise the other way round."""
    await one.say(*policy(allow(rule)))
    assert status(await one.ask(**request_)) == (LET_IN if holds else SHUT_OUT)
    await one.say(*policy(deny(rule)))
    assert status(await one.ask(**request_)) == (SHUT_OUT if holds else LET_IN)
