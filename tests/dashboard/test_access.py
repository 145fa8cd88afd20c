"""Who is let in: nobody without the token or what it gave, no other site, no other name; and what every answer says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from plait.dashboard.access import Guard
from plait.dashboard.address import link, listen, place

PLACE, SECRET = "127.0.0.1:4711", "s3cret"
HOME = f"http://{PLACE}"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("the mesh")(scope, receive, send)


GUARD = Guard(_app, place=PLACE, token=SECRET)


@pytest.fixture
async def browser_like() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=GUARD)
    async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
        yield client


async def test_the_link_gives_a_cookie_that_no_script_and_no_other_site_gets(
    browser_like: httpx.AsyncClient,
) -> None:
    opened = await browser_like.get("/findings", params={"severity": "error", "token": SECRET})
    assert (opened.status_code, opened.headers["location"]) == (303, "/findings?severity=error")
    said = opened.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert "expires" not in said and "max-age" not in said  # noqa: PT018 - it ends with the browser
    assert (await browser_like.get("/")).text == "the mesh"


@pytest.mark.parametrize("shown", ["", "/?token=", "/?token=wrong", "/?token=s3cret1", "/?token=%FF"])
async def test_nothing_without_the_token(browser_like: httpx.AsyncClient, shown: str) -> None:
    answer = await browser_like.get(shown or "/")
    assert answer.status_code == 401
    assert SECRET not in answer.text + str(answer.headers)


@pytest.mark.parametrize("path", ["/", "/_nicegui/static/nicegui.js", "/_nicegui_ws/socket.io/", "/x"])
async def test_no_path_is_open(browser_like: httpx.AsyncClient, path: str) -> None:
    assert (await browser_like.get(path)).status_code == 401
    assert (await browser_like.post(path)).status_code == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:4711", "127.0.0.1", "127.0.0.1:4712", "127.0.0.1:4711.evil.example", ""],
)
async def test_a_name_that_was_made_to_lead_here_is_refused(
    browser_like: httpx.AsyncClient, host: str
) -> None:
    answer = await browser_like.get("/", params={"token": SECRET}, headers={"Host": host})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:4711", "http://127.0.0.1:80"]
)
async def test_another_site_may_not_ask(browser_like: httpx.AsyncClient, origin: str) -> None:
    await browser_like.get("/", params={"token": SECRET})
    assert (await browser_like.get("/")).status_code == 200
    assert (await browser_like.get("/", headers={"Origin": origin})).status_code == 403
    assert (await browser_like.get("/", headers={"Origin": "http://localhost:4711"})).status_code == 200


async def test_a_redirect_never_leads_elsewhere(browser_like: httpx.AsyncClient) -> None:
    answer = await browser_like.get(f"{HOME}//evil.example/", params={"token": SECRET})
    assert answer.headers["location"] == "/evil.example/"


async def test_a_link_that_was_followed_elsewhere_comes_again_from_here(
    browser_like: httpx.AsyncClient,
) -> None:
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = await browser_like.get("/findings", headers=followed)
    assert (answer.status_code, 'http-equiv="refresh"' in answer.text) == (401, True)
    embedded = await browser_like.get("/findings", headers={**followed, "Sec-Fetch-Mode": "no-cors"})
    assert 'http-equiv="refresh"' not in embedded.text


async def test_other_cookies_of_this_machine_do_no_harm(browser_like: httpx.AsyncClient) -> None:
    cookie = f'odd={{"a": [1]}}; =; plait-dashboard-4712=x; plait-dashboard-4711={SECRET}'
    assert (await browser_like.get("/", headers={"Cookie": cookie})).status_code == 200
    other = await browser_like.get("/", headers={"Cookie": f"plait-dashboard-4712={SECRET}"})
    assert other.status_code == 401


async def test_every_answer_forbids_what_comes_from_elsewhere(browser_like: httpx.AsyncClient) -> None:
    for answer in (await browser_like.get("/"), await browser_like.get("/", params={"token": SECRET})):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "http:" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("headers", "opened"),
    [
        ({"host": PLACE, "origin": HOME, "cookie": f"plait-dashboard-4711={SECRET}"}, True),
        ({"host": PLACE, "origin": "http://evil.example", "cookie": f"plait-dashboard-4711={SECRET}"}, False),
        ({"host": "evil.example", "cookie": f"plait-dashboard-4711={SECRET}"}, False),
        ({"host": PLACE, "origin": HOME}, False),
    ],
)
async def test_a_websocket_needs_the_cookie_and_the_origin(headers: dict[str, str], *, opened: bool) -> None:
    reached: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["path"])

    sent: list[str] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message["type"])

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    scope = {
        "type": "websocket",
        "path": "/_nicegui_ws/socket.io/",
        "query_string": f"token={SECRET}".encode() if not opened else b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await Guard(app, place=PLACE, token=SECRET)(scope, receive, send)
    assert bool(reached) is opened
    assert sent == ([] if opened else ["websocket.close"])


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.168.0.1:80", "here", "127.0.0.1:99999"])
def test_it_is_served_on_this_machine_alone(address: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|no TLS"):
        listen(address)


def test_the_link_names_the_port_that_was_got() -> None:
    with listen("localhost:0") as listener:
        port = listener.getsockname()[1]
        assert place(listener) == f"127.0.0.1:{port}"
        assert link(listener, "t") == f"http://127.0.0.1:{port}/?token=t"
