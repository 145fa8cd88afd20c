"""Attacks by what a request says: who it claims to come from, what would steer Envoy, and paths that hide.

The attacker has a certificate that is let in (or shows none where clear text is taken) and speaks to the callee's
Envoy itself, so that no Envoy of its own is in the way.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.security.fortress import (
    FRONTEND,
    HTTP,
    ONLY_OPEN,
    OUTSIDER,
    Fortress,
    Seen,
    fortress,
    get,
    status,
    tell,
    untouched,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

XFCC = "x-forwarded-client-cert"
FORGED = f'By={FRONTEND};URI={FRONTEND};Subject="CN=admin"'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Fortress]:
    async with fortress() as made:
        yield made


async def arrived(mesh: Fortress, words: bytes, *, uri: str = FRONTEND, port: int = HTTP) -> Seen:
    """What reaches the application of a request that is let through."""
    before = len(mesh.application.requests)
    answer = await tell(mesh.place(), port, words, mesh.holder(uri))
    assert status(answer) == mesh.application.status, answer
    assert len(mesh.application.requests) == before + 1
    assert not mesh.application.ambiguous
    return mesh.application.requests[-1]


# Who calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forged",
    [
        (f"{XFCC}: {FORGED}",),
        (f"{XFCC}: x", f"X-Forwarded-Client-Cert: {FORGED}"),
        (f"X-FORWARDED-CLIENT-CERT: {FORGED}", f"connection: close, {XFCC}"),
        ("connection: x-forwarded-client-cert",),
    ],
    ids=["once", "twice", "hop by hop", "taken away"],
)
async def test_the_application_is_told_who_called_by_the_certificate_alone(
    mesh: Fortress, forged: tuple[str, ...]
) -> None:
    (said,) = (await arrived(mesh, get("/open", *forged))).header(XFCC)
    assert f"URI={FRONTEND}" in said
    assert "admin" not in said


async def test_who_shows_no_certificate_can_not_say_who_it_is(mesh: Fortress) -> None:
    """Where clear text is taken, no header makes a caller out of nobody."""
    place, lines = mesh.place("lobby"), (f"{XFCC}: {FORGED}", "x-forwarded-proto: https")
    with untouched(mesh.application):
        assert status(await tell(place, HTTP, get("/private", *lines))) == 403
    before = len(mesh.application.requests)
    assert status(await tell(place, HTTP, get("/open", *lines))) == 200
    (seen,) = mesh.application.requests[before:]
    assert seen.header(XFCC) == []
    assert status(await tell(place, HTTP, get("/private"), mesh.holder())) == 200


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "192.168.0.1, 10.0.0.1", "::1", "spiffe"])
@pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "x-real-ip", "x-envoy-external-address"])
async def test_nobody_is_an_internal_caller_by_its_own_word(mesh: Fortress, name: str, address: str) -> None:
    seen = await arrived(mesh, get("/open", f"{name}: {address}"))
    assert [known for known, _ in seen.headers if known.lower().startswith("x-envoy")] == []


STEERING = {
    "x-envoy-attempt-count": "7",
    "x-envoy-decorator-operation": "mine",
    "x-envoy-downstream-service-cluster": "admin",
    "x-envoy-downstream-service-node": "admin",
    "x-envoy-expected-rq-timeout-ms": "1",
    "x-envoy-external-address": "10.0.0.1",
    "x-envoy-force-trace": "true",
    "x-envoy-hedge-on-per-try-timeout": "true",
    "x-envoy-internal": "true",
    "x-envoy-ip-tags": "office",
    "x-envoy-is-timeout-retry": "true",
    "x-envoy-max-retries": "5",
    "x-envoy-original-dst-host": "127.0.0.1:22",
    "x-envoy-original-path": "/admin",
    "x-envoy-original-url": "http://payments/admin",
    "x-envoy-peer-metadata": "ChoKCkNMVVNURVJfSUQ",
    "x-envoy-peer-metadata-id": "sidecar~admin",
    "x-envoy-retriable-header-names": "x-a",
    "x-envoy-retriable-status-codes": "503",
    "x-envoy-retry-grpc-on": "unavailable",
    "x-envoy-retry-on": "5xx,retriable-headers",
    "x-envoy-upstream-alt-stat-name": "mine",
    "x-envoy-upstream-rq-per-try-timeout-ms": "1",
    "x-envoy-upstream-rq-timeout-alt-response": "true",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "X-ENVOY-Whatever": "true",
}


@pytest.mark.parametrize("name", STEERING)
async def test_no_header_of_a_caller_steers_the_callees_envoy(mesh: Fortress, name: str) -> None:
    seen = await arrived(mesh, get("/open", f"{name}: {STEERING[name]}", "x-other: kept"))
    assert seen.path == "/open"
    assert seen.header("x-other") == ["kept"]
    assert [known for known, _ in seen.headers if known.lower().startswith("x-envoy")] == []


async def test_a_caller_sets_no_timeout_and_no_retries_at_the_callee(mesh: Fortress) -> None:
    lines = [f"{name}: {value}" for name, value in STEERING.items()]
    application = mesh.application
    try:
        application.delay, began = 0.05, time.monotonic()
        await arrived(mesh, get("/open", *lines))
        assert time.monotonic() - began > application.delay, "and not the answer to a timeout of 1 ms"
        application.delay, application.status = 0.0, 503
        await arrived(mesh, get("/open", *lines))  # once, though it fails
    finally:
        application.delay, application.status = 0.0, 200


# Which host, method and form -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "payments:8080",
        "payments:8080.",
        "payments.",
        "PAYMENTS:8080",
        "payments:00008080",
        "payments:9999",
        "payments:",
        "user@payments:8080",
        "user:payments@elsewhere",
        "127.0.0.1",
        "[::1]",
        "localhost",
        "elsewhere",
        "*",
        "a b",
        "payments/admin",
        "payments?",
        "payments#",
        "",
        "payments,elsewhere",
        "%70ayments",
        "payments\\@elsewhere",
    ],
)
async def test_what_is_denied_is_denied_whatever_host_is_named(mesh: Fortress, host: str) -> None:
    with untouched(mesh.application):
        assert status(await tell(mesh.place(), HTTP, get("/admin", host=host), mesh.holder())) in {400, 403}
        assert status(await tell(mesh.place(), HTTP, get(host=host), mesh.holder(OUTSIDER))) in {400, 403}
    assert (await arrived(mesh, get())).path == "/open"


@pytest.mark.parametrize(
    "lines",
    [
        ("host: elsewhere",),
        ("host: payments:8080",),
        ("Host : elsewhere",),
    ],
)
async def test_a_request_that_names_two_hosts_is_read_in_one_way(
    mesh: Fortress, lines: tuple[str, ...]
) -> None:
    """It is refused, or the application is told of one: the strict one there says so."""
    before = len(mesh.application.requests)
    answer = status(await tell(mesh.place(), HTTP, get("/open", *lines), mesh.holder()))
    assert (answer, len(mesh.application.requests) - before) in {(400, 0), (200, 1)}
    assert not mesh.application.ambiguous


@pytest.mark.parametrize(
    "words",
    [
        b"GET http://payments:8080/admin HTTP/1.1\r\nhost: payments:8080\r\nconnection: close\r\n\r\n",
        b"GET http://elsewhere/admin HTTP/1.1\r\nhost: payments:8080\r\nconnection: close\r\n\r\n",
        b"GET HTTP://payments:8080/admin HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET http://payments:8080//admin HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"CONNECT payments:8080 HTTP/1.1\r\nhost: payments:8080\r\n\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: 127.0.0.1:22\r\n\r\n",
        b"CONNECT /admin HTTP/1.1\r\nhost: payments:8080\r\n\r\n",
        b"GET admin HTTP/1.1\r\nhost: payments:8080\r\nconnection: close\r\n\r\n",
        b"GET * HTTP/1.1\r\nhost: payments:8080\r\nconnection: close\r\n\r\n",
        b"GET /admin HTTP/1.0\r\nhost: payments:8080\r\n\r\n",
        b"GET /admin\r\n\r\n",
        b"GET /admin HTTP/2.0\r\nhost: payments:8080\r\n\r\n",
        b"GET\t/admin\tHTTP/1.1\r\nhost: payments:8080\r\nconnection: close\r\n\r\n",
        b"GET  /admin HTTP/1.1\r\nhost: payments:8080\r\nconnection: close\r\n\r\n",
        b"GET /admin HTTP/1.1\r\nhost: payments:8080\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"GET /admin HTTP/1.1\r\nhost: payments:8080\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        b"TRACE /admin HTTP/1.1\r\nhost: payments:8080\r\nconnection: close\r\n\r\n",
        b"OPTIONS /admin HTTP/1.1\r\nhost: payments:8080\r\norigin: http://x\r\naccess-control-request-method: GET\r\nconnection: close\r\n\r\n",
    ],
    ids=lambda words: words.split(b"\r\n")[0].decode() or "x",
)
async def test_what_is_denied_is_denied_in_whatever_form_it_is_asked_for(
    mesh: Fortress, words: bytes
) -> None:
    with untouched(mesh.application):
        answer = await asyncio.wait_for(first_line(mesh, words), 10)
        assert status(answer) in {0, 400, 403, 404, 426, 501, 505}, answer


async def first_line(mesh: Fortress, words: bytes) -> bytes:
    """The first line of the answer, however long the connection would stay; b"" when it is closed."""
    reader, writer = await asyncio.open_connection(mesh.place(), HTTP, ssl=mesh.holder())
    try:
        writer.write(words)
        return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "method",
    [
        "TRACE",
        "TRACK",
        "CONNECT",
        "POST",
        "HEAD",
        "get",
        "Get",
        "GETS",
        "OPTIONS",
        "PROPFIND",
        "\x80GET",
    ],
)
@pytest.mark.parametrize("line", ["x-http-method-override: GET", "x-method: GET"])
async def test_a_method_that_is_not_allowed_gets_in_under_no_name(
    mesh: Fortress, method: str, line: str
) -> None:
    with untouched(mesh.application):
        answer = await tell(mesh.place(), ONLY_OPEN, get("/open", line, method=method), mesh.holder())
        assert status(answer) in {0, 400, 403, 404}
    assert (await arrived(mesh, get("/open", line), port=ONLY_OPEN)).method == "GET"


# Paths ---------------------------------------------------------------------------------------------------

NORMALISED = (
    "/admin",
    "/admin/",
    "//admin",
    "///admin",
    "/./admin",
    "/x/../admin",
    "/x/./../admin",
    "/admin/x",
    "/admin//x",
    "/%61dmin",
    "/%61%64%6d%69%6e",
    "/adm%69n/x",
    "/x/%2e%2e/admin",
    "/x/%2E%2E/admin",
    "/x/.%2e/admin",
    "/%2e/admin",
    "/x%2f..%2fadmin",
    "/x%2F..%2Fadmin",
    "/%2fadmin",
    "/%2Fadmin/x",
    "/admin%2fx",
    "/x%5c..%5cadmin",
    "/%5cadmin",
    "/\\admin",
    "/x\\..\\admin",
    "/admin?x",
    "/admin?/open",
    "/admin?x=/../open",
    "/open/../admin",
    "/open/..//admin",
    "/open/%2e%2e%2fadmin",
    "/../admin",
    "/../../admin",
    "/admin/.",
    "/admin/./",
    "/admin/x/..",
    "/admin/%2e",
)
"""Forms of what is denied below /admin: of all of them the guide says that a policy sees through."""


@pytest.mark.parametrize("path", NORMALISED)
async def test_a_denied_path_is_denied_however_it_is_written(mesh: Fortress, path: str) -> None:
    with untouched(mesh.application):
        assert status(await tell(mesh.place(), HTTP, get(path), mesh.holder())) in {400, 403}
    assert (await arrived(mesh, get("/administration"))).path == "/administration"


OTHERS = (
    "/admin;x",
    "/admin;/open",
    "/ADMIN",
    "/Admin",
    "/admin%20",
    "/%2561dmin",
    "/%252fadmin",
    "/admin%00",
    "/admin%0a",
    "/admin%09",
    "/admin.json",
    "/open/..;/admin",
    "/open;/../admin",
    "/open/../admin",
    "/open/./../admin",
    "/open%2f..%2fadmin",
    "/open/%2e%2e/admin",
    "/open\\..\\admin",
    "/open/..%5cadmin",
    "/openadmin",
    "/open%20",
    "/OPEN",
    "/open;x",
    "/open%00",
    "/x/open",
    "/admin#/open",
    "/admin?/open/",
    "/",
    "",
    "*",
    "/open/../../admin",
    "//open//..//admin",
    "/%6fpen/../admin",
    "/open/x/../../admin",
    "/%E2%80%A5/admin",
    "/%ef%bc%8fadmin",
)
"""Forms that a DENY rule may not know: an ALLOW rule that does not name them keeps them out."""


ALLOWED = re.compile(r"/open(/[a-z]*)*(\?.*)?")
"""What the application may be asked for, beyond any doubt."""


@pytest.mark.parametrize("path", OTHERS)
async def test_what_is_not_allowed_by_name_is_not_allowed_in_any_form(mesh: Fortress, path: str) -> None:
    before = len(mesh.application.requests)
    answer = status(await tell(mesh.place(), ONLY_OPEN, get(path), mesh.holder()))
    reached = [seen.path for seen in mesh.application.requests[before:]]
    assert answer in {0, 400, 403} or all(ALLOWED.fullmatch(one) for one in reached), (answer, reached)
    assert (await arrived(mesh, get("/open/x"), port=ONLY_OPEN)).path == "/open/x"


async def test_what_a_policy_saw_is_what_the_application_gets(mesh: Fortress) -> None:
    for asked, got in (
        ("/open/./x//y/../z", "/open/x/z"),
        ("/%6fpen/a%2fb", "/open/a/b"),
        ("/x/..%5copen", "/open"),
        ("/open?a=/../admin&b=%2e%2e", "/open?a=/../admin&b=%2e%2e"),
    ):
        assert (await arrived(mesh, get(asked), port=ONLY_OPEN)).path == got


@pytest.mark.parametrize(
    "name",
    [
        "x_forwarded_client_cert",
        "X_Forwarded_Client_Cert",
        "x-forwarded_client_cert",
        "x_forwarded-client-cert",
        "x-forwarded-client_cert",
        "x_forwarded_for",
        "x_envoy_internal",
        "x-envoy_external_address",
        "content_length",
        "transfer_encoding",
    ],
)
async def test_no_header_passes_for_another_where_dashes_are_underscores(mesh: Fortress, name: str) -> None:
    """To programs that are told headers by CGI's rules (WSGI, PHP) the two are one."""
    seen = await arrived(mesh, get("/open", f"{name}: 7", "x_own: kept"))
    assert [known for known, _ in seen.headers if "_" in known] == ["x_own"]
