"""Every denial is told in the callee's own log, and nothing more than that to the caller."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio

from plait.envoy import names
from tests.envoy.support import eventually
from tests.security.cases import CALLERS, CLEAR_PORT, Group
from tests.security.issuer import ISSUER
from tests.security.mesh import ASKED, Target, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEB = f"spiffe://{CALLERS['web']}"
POLICIES: tuple[dict[str, Any], ...] = (
    {"name": "shop", "rules": [{"from": [{"source": {"namespaces": ["shop"]}}]}]},
    {
        "name": "shut",
        "action": "DENY",
        "rules": [
            {"to": [{"operation": {"paths": ["/shut"], "ports": ["8080"]}}]},
            {"from": [{"source": {"serviceAccounts": ["api"]}}], "to": [{"operation": {"ports": ["9000"]}}]},
        ],
    },
)


def group(*policies: dict[str, Any]) -> Group:
    return Group(theme="", title="", policies=policies, cases=())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[Target]:
    async with running(group(*POLICIES).facts()) as made:
        yield made


async def ask(target: Target, request: str, who: str = "web", port: int = 8080) -> bytes:
    """The whole answer to a request on a connection of its own."""
    reader, writer = await target.connect(who, port=port)
    writer.write((request + "\r\n\r\n").encode())
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
    writer.close()
    return head + body


async def test_a_request_that_a_rule_denies_is_told_with_all_of_it_but_the_query(target: Target) -> None:
    answer = await ask(
        target,
        "POST /open/../shut?token=hunter2 HTTP/1.1\r\nhost: payments:80\r\nauthorization: Basic hunter2\r\n"
        "cookie: hunter2\r\ncontent-length: 0\r\nconnection: close",
    )
    assert answer.startswith(b"HTTP/1.1 403")
    assert answer.endswith(b"\r\n\r\nRBAC: access denied")
    assert b"shut" not in answer
    line = await target.line()
    assert abs(datetime.now().astimezone() - datetime.fromisoformat(line.pop("time"))).total_seconds() < 60
    assert line == {
        "denied": "request",
        "caller": WEB,
        "address": "127.0.0.1",
        "method": "POST",
        "host": "payments:80",
        "path": "/shut",
        "port": "8080",
        "protocol": "HTTP/1.1",
        "status": 403,
        "why": "rbac_access_denied_matched_policy[ns[shop]-policy[shut]-rule[0]]",
    }
    assert "hunter2" not in log(target)


async def test_a_request_that_no_rule_allows_says_so(target: Target) -> None:
    await ask(target, "GET / HTTP/1.1\r\nhost: payments\r\nconnection: close", who="bot")
    line = await target.line()
    assert (line["caller"], line["why"]) == (f"spiffe://{CALLERS['bot']}", names.NO_ALLOW)
    await ask(target, "GET / HTTP/1.1\r\nhost: payments\r\nconnection: close", who="nobody", port=CLEAR_PORT)
    line = await target.line()
    assert (line["caller"], line["port"], line["why"]) == (None, str(CLEAR_PORT), names.NO_ALLOW)


async def test_a_token_that_is_refused_is_told_by_what_is_wrong_with_it(target: Target) -> None:
    token = ISSUER.token({"iss": "somebody", "sub": "me", "exp": 1})
    answer = await ask(
        target,
        f"GET / HTTP/1.1\r\nhost: payments\r\nauthorization: Bearer {token}\r\nconnection: close",
    )
    assert answer.startswith(b"HTTP/1.1 401")
    line = await target.line()
    assert (line["status"], line["why"]) == (401, "jwt_authn_access_denied{Jwt_is_expired}")
    assert token not in log(target)


async def test_what_an_authorizer_refuses_is_told_whatever_it_answers(target: Target) -> None:
    before = lines(target)
    answer = await ask(target, f"GET /fine HTTP/1.1\r\nhost: {ASKED}\r\nconnection: close")
    assert answer.startswith(b"HTTP/1.1 200")
    answer = await ask(target, f"GET /refused HTTP/1.1\r\nhost: {ASKED}\r\nconnection: close")
    assert answer.startswith(b"HTTP/1.1 302")
    line = await target.line()
    assert (line["status"], line["path"], line["why"]) == (302, "/refused", "ext_authz_denied")
    assert lines(target) == before + 1


async def test_a_connection_that_is_not_let_in_is_told_once(target: Target) -> None:
    for who, why in (("api", "ns[shop]-policy[shut]-rule[1]"), ("bot", names.NO_ALLOW)):
        reader, writer = await target.connect(who, port=9000)
        assert await reader.read() == b""
        writer.close()
        line = await target.line()
        del line["time"]
        assert line == {
            "denied": "connection",
            "caller": f"spiffe://{CALLERS[who]}",
            "address": "127.0.0.1",
            "port": "9000",
            "protocol": "TCP",
            "sni": None,
            "why": why,
        }


async def test_what_is_let_through_and_what_the_application_refuses_is_not_told(target: Target) -> None:
    before = lines(target)
    for status in (200, 401, 403, 404, 503):
        answer = await ask(
            target, f"GET / HTTP/1.1\r\nhost: payments\r\nx-status: {status}\r\nconnection: close"
        )
        assert answer.startswith(f"HTTP/1.1 {status}".encode())
    reader, writer = await target.connect("web", port=9000)
    writer.write(b"x")
    assert await reader.read(1) == b"x"
    writer.close()
    await ask(target, "GET /shut HTTP/1.1\r\nhost: last\r\nconnection: close")
    assert (await target.line())["host"] == "last"
    assert lines(target) == before + 1


async def test_the_log_is_bounded_and_the_counters_are_not(target: Target) -> None:
    assert target.proxy is not None
    target.bound({"max_tokens": 20, "fill_interval": "3600s"})

    async def deny() -> None:
        request = "GET /shut HTTP/1.1\r\nhost: payments\r\n\r\n"
        assert await target.http("web", "127.0.0.1", 8080, "", request) == 403

    async def left_out() -> int:
        return await target.proxy.stat("access_log.process_ratelimit.denied") if target.proxy else 0

    async def full() -> bool:
        await deny()
        return await left_out() > 0

    await eventually(full)
    await target.proxy.merged()
    written, left, counted = lines(target), await left_out(), await refused(target)
    for _ in range(30):
        await deny()
    assert lines(target) == written
    assert await left_out() == left + 30

    async def all_counted() -> bool:
        return await refused(target) == counted + 30

    await eventually(all_counted)
    assert f"process_ratelimit_denied{{}} {left + 30}" in await target.proxy.metrics()
    target.bound({"max_tokens": 1_000_000, "fill_interval": "1s"})

    async def told() -> bool:
        await deny()
        return lines(target) > written

    await eventually(told)
    await ask(target, "GET /shut HTTP/1.1\r\nhost: last\r\nconnection: close")
    while (await target.line()).get("host") != "last":
        pass  # those of this test


def log(target: Target) -> str:
    assert target.proxy is not None
    return target.proxy.log


def lines(target: Target) -> int:
    """How many denials were told so far; those by which the clients of these tests find out what holds are none."""
    told = [json.loads(line) for line in log(target).splitlines() if line.startswith("{")]
    return sum(not (one.get("host") or "").startswith("told-") for one in told)


async def refused(target: Target) -> int:
    """How many requests were refused, by the metrics."""
    assert target.proxy is not None
    found = re.findall(
        r"^istio_requests_total\{.*response_code=\"403\".*\} (\d+)$",
        await target.proxy.metrics(),
        re.MULTILINE,
    )
    return sum(map(int, found))
