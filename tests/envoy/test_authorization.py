"""What an AuthorizationPolicy says is what a real Envoy does: each source, operation and condition, to real requests."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from plait.dialects.istio.policy_values import LONGEST
from plait.envoy import names
from plait.model.reading import Fact
from tests.envoy.guarded import OTHER, TCP, WEB, Guarded, guarded
from tests.envoy.support import eventually
from tests.fields.mesh import facts
from tests.fields.table import ASKED

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
    (source(notNamespaces=["market", "bis*"]), {}, False),
    (source(serviceAccounts=["frontend"]), {}, True),
    (source(serviceAccounts=["market/frontend"]), {}, False),
    (source(notServiceAccounts=["market/frontend"]), {}, True),
    (source(notServiceAccounts=["frontend"]), {}, False),
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
    (operation(methods=["POST", "G*"]), {"method": "PUT"}, False),
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


async def test_every_field_of_a_rule_has_a_request_that_it_alone_keeps_out() -> None:
    alone = set()
    for rule, _, holds in HELD:
        for part, (one, *others) in rule.items():
            inner = {"from": "source", "to": "operation"}.get(part)
            fields = [name for name in (one[inner] if inner else one) if name != "key"]
            if not holds and len(rule) == len(fields) == 1 and not others:
                place = f"{part}[].{inner}" if inner else f"{part}[]"
                alone.add(f"spec.rules[].{place}.{fields[0]}")
    assert alone == set(ASKED)


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


WIDE: list[tuple[str, str]] = [
    ("test.com", "test.com:80"),
    ("test.com", "Test.Com.:8080"),
    ("test.com", "test.com:"),
    ("*.com", "test.com:80"),
    ("*.com", "test.com.:80"),
]
"""A host that is named, and another way to write it: with a port."""


@pytest.mark.parametrize(("named", "written"), WIDE)
async def test_a_host_without_a_port_shuts_out_with_any_and_lets_in_without(
    one: Guarded, named: str, written: str
) -> None:
    for spec, verdict in (
        (deny(operation(hosts=[named])), SHUT_OUT),
        (allow(operation(notHosts=[named])), SHUT_OUT),
        (allow(operation(hosts=[named])), SHUT_OUT),
        (deny(operation(notHosts=[named])), SHUT_OUT),
    ):
        await one.say(*policy(spec))
        assert status(await one.ask(host=written)) == verdict, spec


@pytest.mark.parametrize(
    ("named", "token"),
    [
        ("a/b/c", {"iss": "a", "sub": "b/c"}),
        ("https://bad*", {"iss": "https://bad.example", "sub": "x"}),
        ("*x/y", {"iss": "i", "sub": "x/y"}),
    ],
)
async def test_no_slash_in_a_subject_gets_round_a_denial(
    one: Guarded, named: str, token: dict[str, str]
) -> None:
    await one.say(*policy(deny(source(requestPrincipals=[named]))))
    assert status(await one.ask(token=token)) == SHUT_OUT
    await one.say(*policy(allow(source(requestPrincipals=[named]))))
    assert status(await one.ask(token=token)) == SHUT_OUT


@pytest.mark.parametrize(
    ("named", "written"),
    [("evil", " evil"), ("evil", "evil\t "), ("ev*", "  evil"), ("*il", "evil "), ("e.*", "\te.g")],
)
async def test_no_blank_around_a_header_gets_round_a_denial(one: Guarded, named: str, written: str) -> None:
    """In HTTP/2 it may stand there; the application, which speaks HTTP/1.1, does not see it."""
    for rule, verdict in (
        (deny(when("request.headers[x-a]", named)), SHUT_OUT),
        (allow(when("request.headers[x-a]", no=(named,))), SHUT_OUT),
        (deny(when("request.headers[x-a]", "other")), LET_IN),
    ):
        await one.say(*policy(rule))
        assert await one.ask_http2(("x-a", written)) == verdict
    if not named.startswith("*"):
        await one.say(*policy(allow(when("request.headers[x-a]", named))))
        assert await one.ask_http2(("x-a", written)) == (
            LET_IN if written.startswith("evil") and "*" in named else SHUT_OUT
        )


async def test_no_second_host_gets_round_a_denial(one: Guarded) -> None:
    await one.say(*policy(deny(operation(hosts=["secret", "*.hidden"]))))
    assert status(await one.ask(host="a@secret")) == SHUT_OUT
    assert status(await one.ask(host="a:b@x.hidden:80")) == SHUT_OUT
    assert status(await one.ask("http://secret/x", host="open")) == SHUT_OUT
    assert await one.ask_http2(authority="SECRET.:80") == SHUT_OUT
    assert await one.ask_http2(("host", "secret"), authority="open") == LET_IN
    assert one.seen[-1].headers.getall("host") == ["open"]
    for more, authority in (
        ([("host", "a"), ("host", "b")], "open"),
        ([], "a@secret"),
        ([(":authority", "secret")], "open"),
    ):
        assert await one.ask_http2(*more, authority=authority) == b""


NORMALISED = [
    "/admin/x", "/admin/x?a=b", "/admin/./x", "/./admin/x", "/%2e/admin/x", "/../admin/x",
    "/a/../admin/x", "/a/%2e%2e/admin/x", "/a/%2E./admin/x", "/a%2f..%2fadmin/x", "/a/..;b/admin/x",
    "//admin/x", "/admin//x", "///admin///x", "/admin%2fx", "/admin%2Fx",
    "/admin\\x", "/admin%5cx", "/admin%5Cx", "/a\\..\\admin/x",
    "/%61dmin/x", "/%61%64%6D%69%6e/x", "/admin/%78", "http://guarded/admin/x",
]  # fmt: skip
"""Of the guide: forms of one path that are made the same before a policy looks, and before the application does."""
REFUSED = [
    "%2fadmin/x",
    "\\admin\\x",
    "/admin/x#fragment",
    "/admin%00/x",
    "/admin\tx",
    "/admin/\xff",
    "admin/x",
]
"""And those that nobody is asked about."""
DIFFERENT = [
    "/admin",
    "/admin;x/x",
    "/ADMIN/x",
    "/admin%20/x",
    "/%2561dmin/x",
    "/admin%252fx",
    "/admin.json",
    "/%c0%afadmin/x",
]
"""Forms that an application may take for the same, and no policy does."""


@pytest.mark.parametrize("path", NORMALISED)
async def test_the_forms_of_a_path_are_made_one_before_a_policy_looks(one: Guarded, path: str) -> None:
    await one.say(*policy(deny(operation(paths=["/admin/*"]))))
    assert status(await one.ask(path)) == SHUT_OUT
    await one.say(*policy(allow(operation(paths=["/admin/x"]))))
    assert status(await one.ask(path)) == LET_IN
    assert one.seen[-1].raw_path.split("?")[0] == "/admin/x"


@pytest.mark.parametrize("path", REFUSED)
async def test_what_is_no_path_is_refused(one: Guarded, path: str) -> None:
    await one.say()
    before = len(one.seen)
    assert status(await one.ask(path)) == b"400"
    assert len(one.seen) == before


@pytest.mark.parametrize("path", DIFFERENT)
async def test_other_forms_are_kept_out_by_allowing_alone(one: Guarded, path: str) -> None:
    await one.say(*policy(deny(operation(paths=["/admin/*"]))))
    assert status(await one.ask(path)) == LET_IN
    await one.say(*policy(allow(operation(paths=["/admin/*"]))))
    assert status(await one.ask(path)) == SHUT_OUT


async def test_no_name_of_a_workload_stands_for_an_account(one: Guarded) -> None:
    """The subject of a certificate holds the names and labels of a workload, and Envoy looks at it as well."""
    await one.say(*policy(allow(source(principals=["*admin"]))))
    assert status(await one.ask(by="bistro/frontend", subject="admin")) == SHUT_OUT
    assert status(await one.ask(by="bistro/admin")) == LET_IN
    await one.say(*policy(allow(source(notPrincipals=["*frontend"]))))
    assert status(await one.ask(by="bistro/frontend", subject="x")) == SHUT_OUT


async def test_whoever_shows_no_certificate_is_nobody(one: Guarded) -> None:
    clear = facts(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: clear, namespace: bistro}\n"
        "spec: {mtls: {mode: PERMISSIVE}}\n"
    )
    for rule, holds in (
        (source(principals=["*"]), False),
        (source(namespaces=["*"]), False),
        (source(notPrincipals=["*/sa/frontend"]), True),
        (source(notNamespaces=["*"]), True),
        (when("connection.sni", "*"), False),
        (source(ipBlocks=["127.0.0.1"]), True),
    ):
        await one.say(*clear, *policy(allow(rule)))

        async def as_said(holds: bool = holds) -> bool:  # noqa: FBT001
            return status(await one.ask(by=None)) == (LET_IN if holds else SHUT_OUT)

        await eventually(as_said)
    await one.say()


# What several policies say together ------------------------------------------------------------------------

NONE: dict[str, Any] = {}
ANYTHING: dict[str, Any] = {"rules": [{}]}
FRONTEND, POST = source(principals=["*/sa/frontend"]), operation(methods=["POST"])


@pytest.mark.parametrize(
    ("policies", "verdict"),
    [
        ([], LET_IN),
        ([NONE], SHUT_OUT),
        ([ANYTHING], LET_IN),
        ([NONE, ANYTHING], LET_IN),
        ([ANYTHING, deny(FRONTEND)], SHUT_OUT),
        ([ANYTHING, deny(POST)], LET_IN),
        ([deny(POST)], LET_IN),
        ([deny({})], SHUT_OUT),
        ([allow(POST), allow(FRONTEND)], LET_IN),
        ([{"rules": [POST, FRONTEND]}], LET_IN),
        ([allow(POST), deny(POST)], SHUT_OUT),
        ([{"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]}, ANYTHING], SHUT_OUT),
        ([{"action": "CUSTOM", "provider": {"name": "x"}, "rules": [POST]}, ANYTHING], LET_IN),
        ([{"action": "AUDIT", "rules": [{}]}], LET_IN),
        ([{"action": "AUDIT", "rules": [{}]}, NONE], SHUT_OUT),
        ([{"selector": {"matchLabels": {"app": "other"}}}], LET_IN),
        ([{"selector": {"matchLabels": {"app": "guarded"}}}], SHUT_OUT),
        ([{"targetRefs": [{"kind": "Service", "name": "guarded"}]}], SHUT_OUT),
        ([{"targetRefs": [{"kind": "Service", "name": "other"}]}], LET_IN),
        ([{"targetRef": {"kind": "Service", "name": "guarded", "group": "core"}}], SHUT_OUT),
        ([{"targetRef": {"kind": "Service", "name": "other", "group": "", "namespace": "bistro"}}], LET_IN),
        ([{"targetRefs": [{"kind": "Service", "name": "other", "namespace": "market"}], **ANYTHING}], SHUT_OUT),
        ([{"targetRefs": [{"kind": "Service", "name": "other", "group": "apps"}], **ANYTHING}], SHUT_OUT),
        ([{"targetRefs": [{"kind": "Service", "name": "other"}, {"kind": "Service", "name": "guarded"}]}], SHUT_OUT),
        ([{"targetRefs": [{"kind": "Gateway", "name": "other"}], **ANYTHING}], SHUT_OUT),
    ],
)  # fmt: skip
async def test_policies_together(one: Guarded, policies: list[dict[str, Any]], verdict: bytes) -> None:
    await one.say(*(fact for index, spec in enumerate(policies) for fact in policy(spec, f"it-{index}")))
    assert status(await one.ask()) == verdict


@pytest.mark.parametrize(("namespace", "verdict"), [("istio-system", SHUT_OUT), ("market", LET_IN)])
async def test_a_policy_of_the_root_namespace_is_for_the_whole_mesh(
    one: Guarded, namespace: str, verdict: bytes
) -> None:
    for spec in (NONE, {"selector": {"matchLabels": {"app": "guarded"}}}, deny({})):
        await one.say(*policy(spec, namespace=namespace))
        assert status(await one.ask()) == verdict


# What decides nothing --------------------------------------------------------------------------------------


async def counted(one: Guarded) -> dict[str, int]:
    """What the metrics page counts of the rules that decide nothing."""
    assert one.proxy is not None
    page = await one.proxy.metrics()
    found = re.findall(
        r'^envoy_http_rbac_(shadow_\w+)\{envoy_rbac_http_prefix="(\w+)_".*\} (\d+)$', page, re.MULTILINE
    )
    return {f"{prefix} {name}": int(count) for name, prefix, count in found}


@pytest.mark.parametrize(
    ("policies", "grown"),
    [
        ([({"action": "AUDIT", "rules": [FRONTEND]}, "{}")], "istio_audit shadow_denied"),
        ([({"action": "AUDIT", "rules": [POST]}, "{}")], "istio_audit shadow_allowed"),
        ([({"action": "AUDIT", "rules": [FRONTEND]}, DRY_RUN)], "istio_audit shadow_denied"),
        ([(deny(FRONTEND), DRY_RUN)], "istio_dry_run_deny shadow_denied"),
        ([(deny(POST), DRY_RUN)], "istio_dry_run_deny shadow_allowed"),
        (
            [({**deny({}), "action": "CUSTOM", "provider": {"name": "x"}}, DRY_RUN)],
            "istio_dry_run_deny shadow_denied",
        ),
        ([(allow(FRONTEND), DRY_RUN)], "istio_dry_run_allow shadow_allowed"),
        ([(allow(POST), DRY_RUN)], "istio_dry_run_allow shadow_denied"),
        ([(NONE, DRY_RUN)], "istio_dry_run_allow shadow_denied"),
        ([(allow(POST), DRY_RUN), (allow(FRONTEND), "{}")], "istio_dry_run_allow shadow_denied"),
        ([(deny(FRONTEND), DRY_RUN), (ANYTHING, "{}")], "istio_dry_run_deny shadow_denied"),
    ],
)
async def test_what_decides_nothing_is_counted(
    one: Guarded, policies: list[tuple[dict[str, Any], str]], grown: str
) -> None:
    said = [policy(spec, f"it-{at}", annotations=notes) for at, (spec, notes) in enumerate(policies)]
    await one.say(*(fact for facts in said for fact in facts))
    before = await counted(one)
    assert status(await one.ask()) == LET_IN
    after = await counted(one)
    assert [name for name in after if after[name] != before.get(name, 0)] == [grown]
    assert after[grown] == before.get(grown, 0) + 1


@pytest.mark.parametrize(
    ("spec", "annotations", "prefix", "result"),
    [
        ({"action": "AUDIT", "rules": [POST, FRONTEND]}, "{}", names.AUDIT, "denied"),
        (deny(FRONTEND), DRY_RUN, names.DRY_RUN_DENY, "denied"),
    ],
)
async def test_what_decides_nothing_is_told_in_metadata(
    one: Guarded, spec: dict[str, Any], annotations: str, prefix: str, result: str
) -> None:
    """Seen by a condition upon it, in a filter that comes after."""
    rule = len(spec["rules"]) - 1
    told = f"ns[bistro]-policy[told]-rule[{rule}]"
    for key, value in (("shadow_effective_policy_id", told), ("shadow_engine_result", result)):
        for said, verdict in ((value, LET_IN), ("other", SHUT_OUT)):
            asks = allow(when(f"experimental.{names.RBAC_METADATA}[{prefix}{key}]", said))
            await one.say(*policy(spec, "told", annotations=annotations), *policy(asks, "asks"))
            assert status(await one.ask()) == verdict, key


async def test_an_audit_is_made_of_what_is_denied_too(one: Guarded) -> None:
    await one.say(*policy({"action": "AUDIT", "rules": [{}]}, "audit"), *policy(deny({}), "deny"))
    before = await counted(one)
    assert status(await one.ask()) == SHUT_OUT
    assert (await counted(one))["istio_audit shadow_denied"] == before["istio_audit shadow_denied"] + 1


async def test_values_of_any_length_that_is_taken_are_taken_by_envoy(one: Guarded) -> None:
    word = "k" * (LONGEST - 9)
    for rule in (
        operation(hosts=[word, f"*{word}", f"{word}:80"], paths=[f"/{word}/{{*}}", f"/{word}"]),
        source(principals=[f"*{word}", word], namespaces=[f"{word[:63]}*", f"*{'é' * 31}", "(" * 63]),
        source(requestPrincipals=["/" * 50 + "*", f"*/{word}"], notRequestPrincipals=[f"{word}*"]),
        {
            "when": [
                *when(f"request.headers[{word[:200]}]", f"*{word}")["when"],
                *when("connection.sni", word)["when"],
            ]
        },
    ):
        await one.say(*policy(deny(rule)))
        assert status(await one.ask()) == LET_IN


# At a port that is TCP -------------------------------------------------------------------------------------

CONNECTED: list[Case] = [
    (source(principals=["*/sa/frontend"]), {}, True),
    (source(principals=["*/sa/frontend"]), {"by": "bistro/other"}, False),
    (source(namespaces=["bistro"], notPrincipals=["*/sa/other"]), {"by": "bistro/other"}, False),
    (source(serviceAccounts=["frontend"]), {}, True),
    (source(ipBlocks=["127.0.0.1"]), {}, True),
    (source(ipBlocks=["127.0.0.0/8"]), {}, True),
    (source(ipBlocks=["126.0.0.0/7"]), {}, True),
    (source(ipBlocks=["127.0.0.0/29", "1.2.3.4"]), {}, True),
    (source(ipBlocks=["127.0.0.2/31"]), {}, False),
    (source(ipBlocks=["12.0.0.0/8", "27.0.0.1"]), {}, False),
    (source(ipBlocks=["0.0.0.0/0"]), {}, True),
    (source(ipBlocks=["::/0"]), {}, False),
    (source(notIpBlocks=["127.0.0.0/8"]), {}, False),
    (source(notIpBlocks=["10.0.0.0/8", "::/0"]), {}, True),
    (source(remoteIpBlocks=["127.0.0.0/8"]), {}, True),
    (source(notRemoteIpBlocks=["127.0.0.0/8"]), {}, False),
    (when("source.ip", "127.0.0.1"), {}, True),
    (when("source.ip", no=("127.0.0.1",)), {}, False),
    (when("remote.ip", "10.0.0.0/8"), {}, False),
    (when("source.namespace", "b*"), {}, True),
    (when("source.principal", no=("*/sa/frontend",)), {}, False),
    (when("source.serviceAccount", "market/frontend"), {"by": "market/frontend"}, True),
    (when("destination.ip", "127.77.0.0/16"), {}, True),
    (when("destination.ip", "127.78.0.0/16"), {}, False),
    (when("destination.port", str(TCP)), {}, True),
    (when("destination.port", no=(str(TCP),)), {}, False),
    (when("connection.sni", "sni.example"), {}, True),
    (when("connection.sni", "*.example"), {"sni": "SNI.Example"}, True),
    (when("connection.sni", "sni*", no=("*.example",)), {}, False),
    (when("connection.sni", "other"), {}, False),
    (operation(ports=[str(TCP)]), {}, True),
    (operation(ports=[str(WEB)]), {}, False),
    ({**source(namespaces=["bistro"]), **when("source.ip", "10.0.0.1")}, {}, False),
    ({}, {}, True),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "request_", "holds"), CONNECTED)
async def test_a_rule_holds_for_connections_too(
    one: Guarded,
    rule: dict[str, Any],
    request_: dict[str, Any],
    holds: bool,  # noqa: FBT001
) -> None:
    for spec, let_in in ((allow(rule), holds), (deny(rule), not holds)):
        await one.say(*policy(spec))
        assert await one.send(b"", number=TCP, **request_) == (b"hello" if let_in else b"")
    await one.say(*policy({**deny(rule), "action": "CUSTOM", "provider": {"name": "x"}}))
    assert await one.send(b"", number=TCP, **request_) == (b"" if holds else b"hello")
    await one.say(*policy({**deny(rule), "action": "AUDIT"}), *policy(deny(rule), "dry", annotations=DRY_RUN))
    assert await one.send(b"", number=TCP, **request_) == b"hello"


HTTP_ONLY = [
    operation(hosts=["a"]), operation(notHosts=["a"]), operation(methods=["GET"]), operation(notMethods=["GET"]),
    operation(paths=["/a"]), operation(notPaths=["/{*}"]), operation(paths=["/"], ports=[str(TCP)]),
    source(requestPrincipals=["*"]), source(notRequestPrincipals=["*"]),
    when("request.headers[a]", "b"), when("request.headers[a]", no=("b",)), when("request.auth.principal", "*"),
    when("request.auth.audiences", no=("b",)), when("request.auth.presenter", "b"), when("request.auth.claims[a]", "b"),
    when("experimental.envoy.filters.a[b]", no=("c",)),
]  # fmt: skip


@pytest.mark.parametrize("rule", HTTP_ONLY)
async def test_at_a_tcp_port_what_only_http_has_allows_nothing_and_denies(
    one: Guarded, rule: dict[str, Any]
) -> None:
    for spec in (allow(rule), deny(rule)):
        await one.say(*policy(spec))
        assert await one.send(b"", number=TCP) == b""
