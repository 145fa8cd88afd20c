"""The fields of an IstioOperator: who is asked whether a request may pass, and who is told of those that did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from plait.envoy import api
from tests.fields.cases import proves
from tests.fields.mesh import Mesh
from tests.fields.telemetry import STATUSES, exported, logged

KIND = "IstioOperator"
HOST = "reservations-v1:8080"
CHECKER = "service: reservations-v2.bistro.svc.cluster.local"
CUSTOM = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: custom, namespace: bistro}
spec:
  selector: {matchLabels: {version: v1}}
  action: CUSTOM
  provider: {name: checks}
  rules: [{}]
"""
HTTP = "meshConfig.extensionProviders[0].envoyExtAuthzHttp"
GRPC = "meshConfig.extensionProviders[0].envoyExtAuthzGrpc"


def over(kind: str, said: str) -> str:
    """A mesh with one provider."""
    where = f"{{{CHECKER}, {said}}}"
    return f"meshConfig: {{extensionProviders: [{{name: checks, envoyExtAuthz{kind}: {where}}}]}}"


Verdict = Callable[[web.Request], web.Response]


def yes(_: web.Request) -> web.Response:
    return web.Response(headers={"x-user": "alice", "x-told": "t"})


def no(_: web.Request) -> web.Response:
    return web.Response(status=401, headers={"x-why": "w", "x-other": "o"})


@contextmanager
def checks(mesh: Mesh, verdict: Verdict = yes, wait: float = 0.0) -> Iterator[list[web.Request]]:
    """Version 2 says this for a while, be it over gRPC an approval or nothing at all; and what it is asked."""
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        await asyncio.sleep(wait)
        return verdict(request)

    mesh.answers["reservations-v2"] = answer
    try:
        yield seen
    finally:
        del mesh.answers["reservations-v2"]


@contextmanager
def says(mesh: Mesh, status: int = 0, wait: float = 0.0) -> Iterator[list[object]]:
    """Version 2 says this over gRPC for a while; -1: nothing that can be understood."""
    seen: list[object] = []

    async def check(request: bytes) -> bytes:
        seen.append(
            api.message("envoy.service.auth.v3.CheckRequest").FromString(request).attributes.request.http
        )
        await asyncio.sleep(wait)
        verdict = api.message("envoy.service.auth.v3.CheckResponse")(status={"code": status}, ok_response={})
        return b"\xff" if status < 0 else api.serialize(verdict)

    mesh.checks = check
    try:
        yield seen
    finally:
        mesh.checks = None


@proves(
    KIND,
    over("Http", "port: 8080"),
    "meshConfig",
    "meshConfig.extensionProviders",
    "meshConfig.extensionProviders[0]",
    "meshConfig.extensionProviders[0].name",
    HTTP,
    f"{HTTP}.service",
    f"{HTTP}.port",
    beside=CUSTOM,
)
async def a_service_is_asked_over_http(mesh: Mesh) -> None:
    with checks(mesh) as seen:
        assert (await mesh.ask("/a", host=HOST)).status == 200
    assert [one.path for one in seen] == ["/a"]
    with checks(mesh, no):
        assert (await mesh.ask(host=HOST)).status == 401


@proves(KIND, over("Http", "port: 8080, timeout: 0.2s"), f"{HTTP}.timeout", beside=CUSTOM)
async def an_answer_over_http_is_not_waited_for_for_ever(mesh: Mesh) -> None:
    with checks(mesh, wait=0.6):
        assert (await mesh.ask(host=HOST)).status == 403


@proves(KIND, over("Http", "port: 8080, pathPrefix: /check"), f"{HTTP}.pathPrefix", beside=CUSTOM)
async def it_is_asked_at_a_path_of_its_own(mesh: Mesh) -> None:
    with checks(mesh) as seen:
        await mesh.ask("/a", host=HOST)
    assert [one.path for one in seen] == ["/check/a"]


@proves(KIND, over("Http", "port: 8080, failOpen: true"), f"{HTTP}.failOpen", beside=CUSTOM)
async def who_can_t_be_asked_about_over_http_gets_in(mesh: Mesh) -> None:
    with checks(mesh, lambda _: web.Response(status=500)):
        assert (await mesh.ask(host=HOST)).status == 200


@proves(KIND, over("Http", 'port: 8080, statusOnError: "503"'), f"{HTTP}.statusOnError", beside=CUSTOM)
async def who_can_t_be_asked_about_over_http_is_told_so(mesh: Mesh) -> None:
    with checks(mesh, lambda _: web.Response(status=500)):
        assert (await mesh.ask(host=HOST)).status == 503


@proves(
    KIND,
    over(
        "Http",
        "port: 8080, includeRequestHeadersInCheck: [x-a], includeHeadersInCheck: [x-b-*], "
        "includeAdditionalHeadersInCheck: {x-from: bistro}",
    ),
    f"{HTTP}.includeRequestHeadersInCheck",
    f"{HTTP}.includeRequestHeadersInCheck[0]",
    f"{HTTP}.includeHeadersInCheck",
    f"{HTTP}.includeHeadersInCheck[0]",
    f"{HTTP}.includeAdditionalHeadersInCheck",
    beside=CUSTOM,
)
async def it_is_shown_some_headers(mesh: Mesh) -> None:
    with checks(mesh) as seen:
        await mesh.ask(host=HOST, headers={"x-a": "1", "x-b-c": "2", "x-d": "3", "x-from": "me"})
    shown = [seen[0].headers.get(name) for name in ("x-a", "x-b-c", "x-d", "x-from")]
    assert shown == ["1", "2", None, "bistro"]


@proves(
    KIND,
    over(
        "Http",
        "port: 8080, headersToUpstreamOnAllow: [x-user], headersToDownstreamOnAllow: [x-told], "
        "headersToDownstreamOnDeny: [x-why]",
    ),
    *(
        f"{HTTP}.headersTo{where}{item}"
        for where in ("UpstreamOnAllow", "DownstreamOnAllow")
        for item in ("", "[0]")
    ),
    *(f"{HTTP}.headersToDownstreamOnDeny{item}" for item in ("", "[0]")),
    beside=CUSTOM,
)
async def its_headers_go_on_where_that_is_said(mesh: Mesh) -> None:
    with checks(mesh):
        answer = await mesh.ask(host=HOST, headers={"x-user": "root"})
    assert (answer.asked["x-user"], answer.headers["x-told"]) == ("alice", "t")
    assert "x-told" not in answer.asked
    with checks(mesh, no):
        refused = await mesh.ask(host=HOST)
    assert (refused.headers["x-why"], "x-other" in refused.headers) == ("w", False)


@proves(
    KIND,
    over("Http", "port: 8080, includeRequestBodyInCheck: {maxRequestBytes: 5, allowPartialMessage: true}"),
    f"{HTTP}.includeRequestBodyInCheck",
    f"{HTTP}.includeRequestBodyInCheck.maxRequestBytes",
    f"{HTTP}.includeRequestBodyInCheck.allowPartialMessage",
    beside=CUSTOM,
)
async def it_is_shown_the_beginning_of_the_body(mesh: Mesh) -> None:
    with checks(mesh) as seen:
        answer = await mesh.ask(host=HOST, method="POST", body=b"hello you")
    assert answer.status == 200
    assert (await seen[0].read())[:5] == b"hello"


@proves(
    KIND,
    over("Grpc", "port: 9090"),
    GRPC,
    f"{GRPC}.service",
    f"{GRPC}.port",
    beside=CUSTOM,
)
async def a_service_is_asked_over_grpc(mesh: Mesh) -> None:
    with says(mesh):
        assert (await mesh.ask(host=HOST)).status == 200
    with says(mesh, 7) as seen:
        assert (await mesh.ask(host=HOST)).status == 403
    assert len(seen) == 1


@proves(KIND, over("Grpc", "port: 9090, timeout: 0.2s"), f"{GRPC}.timeout", beside=CUSTOM)
async def an_answer_over_grpc_is_not_waited_for_for_ever(mesh: Mesh) -> None:
    with says(mesh, wait=0.6):
        assert (await mesh.ask(host=HOST)).status == 403


@proves(KIND, over("Grpc", "port: 9090, failOpen: true"), f"{GRPC}.failOpen", beside=CUSTOM)
async def who_can_t_be_asked_about_over_grpc_gets_in(mesh: Mesh) -> None:
    with says(mesh, -1):
        assert (await mesh.ask(host=HOST)).status == 200


@proves(KIND, over("Grpc", 'port: 9090, statusOnError: "503"'), f"{GRPC}.statusOnError", beside=CUSTOM)
async def who_can_t_be_asked_about_over_grpc_is_told_so(mesh: Mesh) -> None:
    with says(mesh, -1):
        assert (await mesh.ask(host=HOST)).status == 503


@proves(
    KIND,
    over(
        "Grpc",
        "port: 9090, includeRequestBodyInCheck: {maxRequestBytes: 5, allowPartialMessage: true, packAsBytes: true}",
    ),
    f"{GRPC}.includeRequestBodyInCheck",
    f"{GRPC}.includeRequestBodyInCheck.maxRequestBytes",
    f"{GRPC}.includeRequestBodyInCheck.allowPartialMessage",
    f"{GRPC}.includeRequestBodyInCheck.packAsBytes",
    beside=CUSTOM,
)
async def it_is_shown_the_beginning_of_the_body_as_bytes(mesh: Mesh) -> None:
    with says(mesh) as seen:
        answer = await mesh.ask(host=HOST, method="POST", body=b"\xffello you")
    assert answer.status == 200
    assert seen[0].raw_body == b"\xffello"  # type: ignore[attr-defined]  # a message of Envoy's


ALL = "accessLogging: [{providers: [{name: it}]}]"
LOGGED = f"""
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: all, namespace: istio-system}}
spec: {{{ALL}}}
"""
FILE = "meshConfig.extensionProviders[0].envoyFileAccessLog"
RECORDS = "meshConfig.extensionProviders[0].envoyOtelAls"


def told(kind: str, said: str) -> str:
    """A mesh with one provider that is told of all requests."""
    return f"meshConfig: {{extensionProviders: [{{name: it, {kind}: {{{said}}}}}]}}"


@proves(
    KIND,
    told("envoyFileAccessLog", 'logFormat: {labels: {mine: "%RESPONSE_CODE%", none: "%REQ(X-NONE)%"}}, omitEmptyValues: true'),
    f"{FILE}.logFormat.labels",
    f"{FILE}.omitEmptyValues",
    beside=LOGGED,
)  # fmt: skip
async def lines_have_the_fields_that_are_asked_for(mesh: Mesh) -> None:
    assert await logged(mesh, "/a", host=HOST) == {"mine": 200}


@proves(
    KIND,
    told("envoyFileAccessLog", 'path: access.log, logFormat: {text: "{\\"mine\\": \\"%REQ(:PATH)%\\"}"}'),
    f"{FILE}.path",
    f"{FILE}.logFormat.text",
    beside=LOGGED,
)
async def lines_go_to_a_file_as_a_text_without_queries(mesh: Mesh) -> None:
    assert await logged(mesh, "/a?token=b", file="access.log", host=HOST) == {"mine": "/a"}


@proves(
    KIND,
    told(
        "envoyOtelAls",
        "service: reservations-v2.bistro.svc.cluster.local, port: 9090, logName: mine, "
        'logFormat: {text: "%RESPONSE_CODE%", labels: {protocol: "%PROTOCOL%"}}',
    ),
    f"{RECORDS}.logName",
    f"{RECORDS}.logFormat.text",
    f"{RECORDS}.logFormat.labels",
    beside=LOGGED,
)
async def records_are_told_to_a_collector(mesh: Mesh) -> None:
    status = str(next(STATUSES))
    resource, body, said = await exported(mesh, status, "/a", host=HOST, headers={"x-status": status})
    assert (resource["log_name"], body, said) == ("mine", status, {"protocol": "HTTP/1.1"})


@proves(
    KIND,
    """
meshConfig:
  accessLogFile: /dev/stderr
  accessLogEncoding: JSON
  accessLogFormat: '{"mine": "%RESPONSE_CODE%"}'
""",
    "meshConfig.accessLogFile",
    "meshConfig.accessLogFormat",
    "meshConfig.accessLogEncoding",
)
async def all_proxies_log_where_nobody_says_otherwise(mesh: Mesh) -> None:
    for client in ("frontend", "reservations-v1"):
        assert await logged(mesh, "/a", host="reservations-v2:8080", client=client) == {"mine": 200}


@proves(
    KIND,
    "meshConfig: {defaultProviders: {accessLogging: [envoy]}}",
    "meshConfig.defaultProviders.accessLogging[0]",
)
async def default_providers_are_told(mesh: Mesh) -> None:
    assert (await logged(mesh, "/a", host=HOST))["side"] == "client"
