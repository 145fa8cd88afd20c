"""Services that are asked about a rollout, or hear of what happens to it; what they are sent is Flagger's."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from plait.model.rollout import AlertSeverity, Canary, HookType, Webhook
from plait.rollout.status import Answer, Phase, Status, Told
from plait.run.rollouts.posting import Reply, Unreached, post

log = logging.getLogger(__name__)

_PAUSE = 0.5
"""Seconds between two tries."""
_TOO_MANY = 429
_HEARS_ENDS = frozenset({HookType.POST_ROLLOUT, HookType.ROLLBACK, HookType.EVENT})
"""These are told the phase as it is; to whoever is asked about a run it is Progressing, as with Flagger."""


class Webhooks:
    """Calls webhooks."""

    async def ask(self, canary: Canary, hook: Webhook, status: Status) -> Answer:
        """Whether it agrees, and what it says; within its timeout, all tries together.  Who can't be asked does not."""
        if not hook.url:
            return Answer(agreed=False, text=f"opened by: plait canary approve {canary.key}")
        return await _ask(hook, _payload(canary, hook, status, dict(hook.metadata)))

    async def tell(self, canary: Canary, told: Told, status: Status) -> None:
        """Every event webhook hears of it; who can't be told is named in the log."""
        event = {
            "eventMessage": told.text,
            "eventType": "Normal" if told.severity is AlertSeverity.INFO else "Warning",
            "timestamp": str(int(time.time() * 1000)),
        }

        async def one(hook: Webhook) -> None:
            payload = _payload(canary, hook, status, {**dict(hook.metadata), **event})
            answer = await _ask(hook, payload)
            if not answer.agreed:
                log.warning("%s: the webhook %s was not told: %s", canary.key, hook.name, answer.text)

        hooks = [hook for hook in canary.analysis.webhooks if hook.type is HookType.EVENT]
        await asyncio.gather(*map(one, hooks))


def _payload(canary: Canary, hook: Webhook, status: Status, metadata: dict[str, str]) -> dict[str, Any]:
    """What Flagger sends; the checksum is the revision that was tried last."""
    return {
        "name": canary.name,
        "namespace": canary.namespace,
        "phase": status.phase if hook.type in _HEARS_ENDS else Phase.PROGRESSING,
        "checksum": status.applied,
        "metadata": metadata,
    }


async def _ask(hook: Webhook, payload: dict[str, Any]) -> Answer:
    """One answer out of so many tries; an answer that would be another one later is none."""
    text = ""
    try:
        async with asyncio.timeout(hook.timeout):
            for left in range(hook.retries, -1, -1):
                try:
                    reply = await post(hook.url, payload)
                except Unreached as why:
                    text = str(why)
                else:
                    text = reply.text if reply.agrees else reply.words
                    if reply.agrees or not _passes(reply):
                        return Answer(agreed=reply.agrees, text=text)
                if left:
                    await asyncio.sleep(_PAUSE)
    except TimeoutError:
        late = f"no answer within {hook.timeout:g} s"
        text = f"{late}; before that: {text}" if text else late
    return Answer(agreed=False, text=text)


def _passes(reply: Reply) -> bool:
    """Whether it says that somebody is overburdened or broken, which may be over soon."""
    return reply.status == _TOO_MANY or reply.status >= 500
