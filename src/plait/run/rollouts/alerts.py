"""People who are told how a rollout begins and ends: Slack, Discord and Teams in Flagger's form, or anybody in JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from plait.model.names import ObjectRef
from plait.model.rollout import Alert, AlertProvider, AlertSeverity, Canary, Plans, Strategy
from plait.rollout.status import Status, Told
from plait.run.rollouts.posting import Unreached, post

log = logging.getLogger(__name__)

_WITHIN = 5.0
"""Seconds that a provider is given."""
_ORDER = tuple(AlertSeverity)
_SLACK_COLOURS = {AlertSeverity.INFO: "good", AlertSeverity.WARN: "warning", AlertSeverity.ERROR: "danger"}
_TEAMS_COLOURS = {AlertSeverity.INFO: "0076D7", AlertSeverity.WARN: "FFA500", AlertSeverity.ERROR: "FF0000"}
_STRATEGIES = {Strategy.AB: "A/B Testing", Strategy.BLUE_GREEN: "Blue/Green"}
_USERNAME, _CHANNEL = "plait", "general"
"""Where a provider names none."""


class Alerts:
    """Tells alert providers."""

    async def tell(self, canary: Canary, told: Told, status: Status, plans: Plans) -> tuple[Told, ...]:
        """Everybody who wants to know; what comes back is who could not be told, for the history alone.

        It takes five seconds at most.  Nothing of an address is logged, or told.
        """
        if not told.alert:
            return ()
        providers = {(one.namespace, one.name): one for one in plans.providers}
        wanted = [one for one in canary.analysis.alerts if _wants(one, told)]
        failed = await asyncio.gather(
            *(_tell(canary, told, status, one.provider, providers.get(_name(one.provider))) for one in wanted)
        )
        for text in filter(None, failed):
            log.warning("%s: %s", canary.key, text)
        return tuple(Told(severity=AlertSeverity.WARN, text=text) for text in failed if text)


def _wants(alert: Alert, told: Told) -> bool:
    return _ORDER.index(told.severity) >= _ORDER.index(alert.severity)


def _name(ref: ObjectRef) -> tuple[str, str]:
    return ref.namespace, ref.name


async def _tell(
    canary: Canary, told: Told, status: Status, ref: ObjectRef, provider: AlertProvider | None
) -> str:
    """Why a provider could not be told; "" when it was."""
    if provider is None:
        return f"nobody was told by {ref}: there is none"
    if provider.type not in _FORMS:
        return f"nobody was told by {ref}: {provider.type} is none of {', '.join(_FORMS)}"
    address = _discord(provider.address) if provider.type == "discord" else provider.address
    try:
        async with asyncio.timeout(_WITHIN):
            reply = await post(address, _FORMS[provider.type](canary, told, status, provider))
    except Unreached as why:
        return f"nobody was told by {ref}: {why}"
    except TimeoutError:
        return f"nobody was told by {ref}: no answer within {_WITHIN:g} s"
    return "" if reply.agrees else f"nobody was told by {ref}: it {reply.words}"


def _facts(canary: Canary) -> Mapping[str, str]:
    """What Flagger says beside the message, under its titles."""
    analysis = canary.analysis
    steps = f"Weight steps: {','.join(map(str, analysis.steps))}"
    return {
        "Target": f"Workload/{canary.target.name}.{canary.target.namespace}",
        "Failed checks threshold": str(analysis.threshold),
        "Progress deadline": f"{canary.progress_deadline:g}s",
        "Traffic routing": _STRATEGIES.get(analysis.strategy, steps),
    }


def _slack(canary: Canary, told: Told, _status: Status, provider: AlertProvider) -> dict[str, Any]:
    """An attachment; what Slack would take for a mention or a link is none."""

    def plain(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    return _attached(canary, told, provider, plain)


def _discord_form(canary: Canary, told: Told, _status: Status, provider: AlertProvider) -> dict[str, Any]:
    return _attached(canary, told, provider, str)


def _attached(
    canary: Canary, told: Told, provider: AlertProvider, plain: Callable[[str], str]
) -> dict[str, Any]:
    return {
        "channel": provider.channel or _CHANNEL,
        "username": provider.username or _USERNAME,
        "icon_emoji": ":rocket:",
        "attachments": [
            {
                "color": _SLACK_COLOURS[told.severity],
                "author_name": f"{canary.name}.{canary.namespace}",
                "text": plain(told.text),
                "mrkdwn_in": ["text"],
                "fields": [
                    {"title": title, "value": plain(value), "short": False}
                    for title, value in _facts(canary).items()
                ],
            }
        ],
    }


def _teams(canary: Canary, told: Told, _status: Status, _provider: AlertProvider) -> dict[str, Any]:
    """A message card."""
    name = f"{canary.name}.{canary.namespace}"
    facts = [{"name": title, "value": value} for title, value in _facts(canary).items()]
    return {
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": _TEAMS_COLOURS[told.severity],
        "summary": name,
        "sections": [{"activityTitle": told.text, "activitySubtitle": name, "facts": facts}],
    }


def _generic(canary: Canary, told: Told, status: Status, _provider: AlertProvider) -> dict[str, Any]:
    return {
        "severity": told.severity,
        "name": canary.name,
        "namespace": canary.namespace,
        "target": canary.target.name,
        "phase": status.phase,
        "message": told.text,
        "metadata": dict(_facts(canary)),
    }


def _discord(address: str) -> str:
    """Discord takes Slack's form where its address ends in /slack."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address  # which is then told to be none
    path = parts.path.rstrip("/")
    return urlunsplit(parts if path.endswith("/slack") else parts._replace(path=f"{path}/slack"))


_FORMS: Mapping[str, Callable[[Canary, Told, Status, AlertProvider], dict[str, Any]]] = {
    "slack": _slack,
    "discord": _discord_form,
    "msteams": _teams,
    "generic": _generic,
}
