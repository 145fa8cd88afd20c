"""Webhooks, against a real server: what they are sent, and what comes of what they answer."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from plait.model.rollout import AlertSeverity, Analysis, HookType, Webhook
from plait.rollout.status import Answer, Phase, Status, Told
from plait.run.rollouts.webhooks import Webhooks
from tests.run.rollouts.listeners import ORIGIN, STATUS, canary, listening
from tests.streams import speaking

PLAN = canary(Analysis(steps=(10, 20)))


def hook(url: str, type_: HookType = HookType.ROLLOUT, **more: Any) -> Webhook:
    fields: dict[str, Any] = {"name": "load test", **more}
    return Webhook(**fields, type=type_, url=url, origin=ORIGIN)


async def asked(hook: Webhook, status: Status = STATUS) -> Answer:
    return await Webhooks().ask(PLAN, hook, status)


@pytest.fixture
def unpaused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.run.rollouts.webhooks._PAUSE", 0)


async def test_it_is_sent_what_flagger_sends_and_agrees_by_any_2xx() -> None:
    async with listening(web.Response(status=202, text="started\n")) as listener:
        answer = await asked(hook(f"{listener.url}run?a=b", metadata=(("cmd", "hey"), ("type", "cmd"))))
    assert answer == Answer(agreed=True, text="started")
    payload = {
        "name": "reservations",
        "namespace": "bistro",
        "phase": "Progressing",
        "checksum": "9d31b2",
        "metadata": {"cmd": "hey", "type": "cmd"},
    }
    assert listener.heard == [("/run?a=b", payload)]


@pytest.mark.parametrize(
    ("type_", "phase", "told"),
    [
        (HookType.CONFIRM_ROLLOUT, Phase.WAITING, "Progressing"),
        (HookType.CONFIRM_PROMOTION, Phase.WAITING_PROMOTION, "Progressing"),
        (HookType.ROLLBACK, Phase.WAITING, "Waiting"),
        (HookType.POST_ROLLOUT, Phase.FAILED, "Failed"),
    ],
)
async def test_the_phase_is_what_flagger_says_it_is(type_: HookType, phase: Phase, told: str) -> None:
    async with listening(web.Response()) as listener:
        assert (await asked(hook(listener.url, type_), replace(STATUS, phase=phase))).agreed
    assert listener.heard[0][1]["phase"] == told


@pytest.mark.parametrize("status", [300, 400, 403, 404])
async def test_anything_else_is_no_and_what_it_says_is_the_reason(status: int) -> None:
    async with listening(web.Response(status=status, text="not\n\tbefore \x1b[31mnoon")) as listener:
        answer = await asked(hook(listener.url, retries=3))
    assert answer == Answer(agreed=False, text=f"answered {status}: not before ?[31mnoon")
    assert len(listener.heard) == 1


@pytest.mark.usefixtures("unpaused")
async def test_one_who_is_overburdened_or_broken_is_asked_again_so_often() -> None:
    busy, broken, fine = web.Response(status=429), web.Response(status=503, text="out"), web.Response()
    async with listening(busy, broken, fine) as listener:
        assert (await asked(hook(listener.url, retries=2))).agreed
        assert len(listener.heard) == 3
    async with listening(busy, broken, fine) as listener:
        assert await asked(hook(listener.url, retries=1)) == Answer(agreed=False, text="answered 503: out")
        assert len(listener.heard) == 2


async def test_no_redirect_is_followed() -> None:
    async with listening(web.Response()) as elsewhere:
        redirect = web.Response(status=307, headers={"Location": elsewhere.url})
        async with listening(redirect) as listener:
            assert await asked(hook(listener.url)) == Answer(agreed=False, text="answered 307")
        assert elsewhere.heard == []


async def test_one_who_does_not_answer_in_time_has_not_agreed_and_is_left() -> None:
    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with listening(never) as listener, asyncio.timeout(20):
        answer = await asked(hook(listener.url, timeout=0.2, retries=9))
        await listener.gone.wait()
    assert answer == Answer(agreed=False, text="no answer within 0.2 s")
    assert len(listener.heard) == 1  # all tries together have this time


async def test_of_an_endless_answer_little_is_read() -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)
            sent += 65_536

    async with listening(flood) as listener, asyncio.timeout(20):
        answer = await asked(hook(listener.url))
    assert answer == Answer(agreed=False, text=f"answered 500: {'x' * 300}...")
    assert sent < 16_777_216


async def test_one_who_is_not_there_has_not_agreed() -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        answer = await asked(hook(f"http://127.0.0.1:{taken.getsockname()[1]}/s3cret-path"))
    assert answer == Answer(agreed=False, text="127.0.0.1 can't be reached: Connection refused")


async def test_a_name_of_the_mesh_is_not_known_outside_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    answer = await asked(hook("http://tester.bistro:8080/s3cret-path"))
    assert not answer.agreed
    assert answer.text.startswith("nobody knows the host tester.bistro, as seen from the control plane")


@pytest.mark.parametrize("url", ["http://", "ftp://127.0.0.1/s3cret-path", "http://[::1", "s3cret-path"])
async def test_what_is_no_address_is_no_and_not_repeated(url: str) -> None:
    assert await asked(hook(url)) == Answer(agreed=False, text="the address is none of HTTP")


async def test_one_who_speaks_no_tls_or_no_http_has_not_agreed() -> None:
    async with listening(web.Response()) as listener:
        answer = await asked(hook(listener.url.replace("http:", "https:")))
        assert answer == Answer(agreed=False, text="no TLS can be spoken with 127.0.0.1")

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")

    async with speaking(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await asked(hook(f"http://127.0.0.1:{port}/"))
    assert answer == Answer(agreed=False, text="127.0.0.1 has broken off, or does not speak HTTP")


async def test_an_address_that_is_repeated_is_not_told() -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text=f"Cannot POST {request.path_qs}, {request.path[1:]} is not here")

    async with listening(echo) as listener:
        answer = await asked(hook(f"{listener.url}s3cret-path?token=t0kent0ken"))
    assert answer.text == "answered 404: Cannot POST ...?..., ... is not here"


async def test_a_gate_without_an_address_says_how_it_is_opened() -> None:
    answer = await asked(hook("", HookType.CONFIRM_PROMOTION))
    assert answer == Answer(agreed=False, text="opened by: plait canary approve bistro/reservations")


async def test_event_webhooks_hear_of_everything_and_others_do_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told(severity=AlertSeverity.WARN, text="request-duration 700 ms is over 500 ms")
    async with listening(web.Response()) as good, listening(web.Response(status=500)) as bad:
        hooks = (
            hook(f"{bad.url}s3cret-path", HookType.EVENT, name="broken"),
            hook(good.url, HookType.EVENT, metadata=(("team", "blue"), ("eventType", "mine"))),
            hook(f"{good.url}other", HookType.ROLLOUT),
        )
        plan = canary(Analysis(steps=(10,), webhooks=hooks))
        with caplog.at_level(logging.DEBUG):
            await Webhooks().tell(plan, told, STATUS)
        await Webhooks().tell(plan, replace(told, severity=AlertSeverity.INFO), STATUS)
    (path, first), (_, second) = good.heard
    timestamp = first["metadata"].pop("timestamp")
    assert (path, timestamp.isdigit(), len(timestamp)) == ("/", True, 13)
    assert first["metadata"] == {"team": "blue", "eventMessage": told.text, "eventType": "Warning"}
    assert second["metadata"]["eventType"] == "Normal"
    assert "bistro/reservations: the webhook broken was not told: answered 500" in caplog.text
    assert "s3cret" not in caplog.text


async def test_somebody_who_is_no_longer_wanted_is_left_at_once() -> None:
    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with listening(never) as listener, asyncio.timeout(20):
        asking = asyncio.create_task(asked(hook(listener.url, timeout=600)))
        while not listener.heard:  # noqa: ASYNC110 - a condition of the server
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await listener.gone.wait()
