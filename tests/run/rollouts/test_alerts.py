"""Alerts, against a real server: who is told, in which form, and that nobody's failure stops anything."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from plait.model.names import ObjectRef
from plait.model.rollout import (
    Alert,
    AlertProvider,
    AlertSeverity,
    Analysis,
    HookType,
    Plans,
    Webhook,
)
from plait.model.routing import RequestMatch
from plait.rollout.status import Phase, Told
from plait.run.rollouts.alerts import Alerts
from tests.run.rollouts.listeners import ORIGIN, STATUS, Listener, canary, listening

BAD = Told(severity=AlertSeverity.ERROR, text="rolled back: <!channel> & 5 of 5 failed checks", alert=True)
FACTS = {
    "Target": "Workload/reservations-app.bistro",
    "Failed checks threshold": "5",
    "Progress deadline": "600s",
    "Traffic routing": "Weight steps: 10,20,50",
}


def provider(name: str, type_: str, address: str, **more: str) -> AlertProvider:
    return AlertProvider(namespace="bistro", name=name, type=type_, address=address, origin=ORIGIN, **more)


def plan(*names: str, severity: AlertSeverity = AlertSeverity.INFO, **more: Any) -> Any:
    alerts = tuple(
        Alert(
            name=name,
            severity=severity,
            provider=ObjectRef("flagger.app", "AlertProvider", "bistro", name),
            origin=ORIGIN,
        )
        for name in names
    )
    fields: dict[str, Any] = {"threshold": 5, "steps": (10, 20, 50), **more}
    return canary(Analysis(**fields, alerts=alerts))


async def told(what: Told, one: AlertProvider, **more: Any) -> tuple[Told, ...]:
    return await Alerts().tell(plan(one.name, **more), what, STATUS, Plans(providers=(one,)))


def heard(listener: Listener) -> Any:
    (message,) = listener.heard
    return message


async def test_slack_is_told_as_by_flagger_and_nothing_in_the_text_is_a_mention() -> None:
    async with listening(web.Response(text="ok")) as listener:
        address = f"{listener.url}services/T0/B0/s3cret"
        assert await told(BAD, provider("ops", "slack", address, channel="ops", username="me")) == ()
    path, payload = heard(listener)
    assert path == "/services/T0/B0/s3cret"
    assert payload == {
        "channel": "ops",
        "username": "me",
        "icon_emoji": ":rocket:",
        "attachments": [
            {
                "color": "danger",
                "author_name": "reservations.bistro",
                "text": "rolled back: &lt;!channel&gt; &amp; 5 of 5 failed checks",
                "mrkdwn_in": ["text"],
                "fields": [
                    {"title": title, "value": value, "short": False} for title, value in FACTS.items()
                ],
            }
        ],
    }


@pytest.mark.parametrize("path", ["api/webhooks/1/s3cret", "api/webhooks/1/s3cret/slack"])
async def test_discord_is_told_in_slacks_form_where_it_takes_that(path: str) -> None:
    async with listening(web.Response(text="ok")) as listener:
        assert await told(BAD, provider("ops", "discord", f"{listener.url}{path}?wait=true")) == ()
    path, payload = heard(listener)
    assert path == "/api/webhooks/1/s3cret/slack?wait=true"
    assert (payload["channel"], payload["username"]) == ("general", "plait")
    assert payload["attachments"][0]["text"] == BAD.text


async def test_teams_is_told_by_a_card() -> None:
    async with listening(web.Response(status=202)) as listener:
        assert await told(BAD, provider("ops", "msteams", listener.url)) == ()
    assert heard(listener)[1] == {
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": "FF0000",
        "summary": "reservations.bistro",
        "sections": [
            {
                "activityTitle": BAD.text,
                "activitySubtitle": "reservations.bistro",
                "facts": [{"name": title, "value": value} for title, value in FACTS.items()],
            }
        ],
    }


async def test_anybody_else_is_told_in_plain_json() -> None:
    async with listening(web.Response(status=204)) as listener:
        failed = replace(STATUS, phase=Phase.FAILED)
        one = provider("ops", "generic", listener.url)
        assert await Alerts().tell(plan("ops"), BAD, failed, Plans(providers=(one,))) == ()
    assert heard(listener)[1] == {
        "severity": "error",
        "name": "reservations",
        "namespace": "bistro",
        "target": "reservations-app",
        "phase": "Failed",
        "message": BAD.text,
        "metadata": FACTS,
    }


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"steps": (), "iterations": 10}, "Blue/Green"),
        ({"steps": (), "iterations": 10, "matches": (RequestMatch(origin=ORIGIN),)}, "A/B Testing"),
    ],
)
async def test_the_strategy_is_told(more: dict[str, Any], words: str) -> None:
    async with listening(web.Response()) as listener:
        await told(BAD, provider("ops", "generic", listener.url), **more)
    assert heard(listener)[1]["metadata"]["Traffic routing"] == words


@pytest.mark.parametrize("wanted", AlertSeverity)
@pytest.mark.parametrize("happened", AlertSeverity)
async def test_one_is_told_what_is_as_bad_as_he_wants_to_know_or_worse(
    wanted: AlertSeverity, happened: AlertSeverity
) -> None:
    order = ["info", "warn", "error"]
    async with listening(web.Response()) as listener:
        what = replace(BAD, severity=happened)
        assert await told(what, provider("ops", "generic", listener.url), severity=wanted) == ()
    assert len(listener.heard) == (order.index(happened) >= order.index(wanted))


async def test_what_is_no_alert_is_for_the_history_alone() -> None:
    async with listening(web.Response()) as listener:
        assert await told(replace(BAD, alert=False), provider("ops", "generic", listener.url)) == ()
    assert listener.heard == []


async def test_whoever_cannot_be_told_is_named_without_an_address_and_the_others_are_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plait.run.rollouts.alerts._WITHIN", 0.5)

    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def echo(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text=f"no {request.path}")

    async with (
        listening(echo) as lost,
        listening(never) as silent,
        listening(web.Response()) as good,
        asyncio.timeout(20),
    ):
        providers = (
            provider("lost", "slack", f"{lost.url}services/s3cret"),
            provider("silent", "discord", f"{silent.url}services/s3cret"),
            provider("broken", "generic", "http://[s3cret"),
            provider("odd", "pigeon", f"{good.url}s3cret"),
            provider("good", "generic", good.url),
        )
        names = [one.name for one in providers]
        with caplog.at_level(logging.DEBUG):
            failed = await Alerts().tell(plan(*names, "nobody"), BAD, STATUS, Plans(providers=providers))
    assert failed == tuple(
        Told(severity=AlertSeverity.WARN, text=f"nobody was told by AlertProvider bistro/{text}")
        for text in (
            "lost: it answered 404: no ...",
            "silent: no answer within 0.5 s",
            "broken: the address is none of HTTP",
            "odd: pigeon is none of slack, discord, msteams, generic",
            "nobody: there is none",
        )
    )
    assert len(good.heard) == 1
    assert [one.levelname for one in caplog.records if one.name == "plait.run.rollouts.alerts"] == [
        "WARNING"
    ] * 5
    assert "s3cret" not in caplog.text


async def test_no_webhook_hears_of_an_alert() -> None:
    async with listening(web.Response()) as listener:
        hook = Webhook(name="events", type=HookType.EVENT, url=listener.url, origin=ORIGIN)
        assert await Alerts().tell(plan(webhooks=(hook,)), BAD, STATUS, Plans()) == ()
    assert listener.heard == []
