"""The webhooks of an analysis: whom to ask or to tell, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plait.dialects.checks import seconds
from plait.dialects.flagger.shared import address, name_of
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.rollout import HookType, Webhook

MOST_RETRIES = 100
SHORTEST_TIMEOUT = 0.001
"""Seconds."""


def webhooks(cursor: Cursor, subject: Subject) -> Iterator[Webhook]:
    """All of them; errors for what can't be read."""
    taken: set[str] = set()
    for item in cursor.each():
        if isinstance(item.value, Mapping):
            yield _webhook(item, subject, taken)
        else:
            item.error("field.type", "expected an object: a webhook")


def _webhook(item: Cursor, subject: Subject, taken: set[str]) -> Webhook:
    kind, url = item.at("type"), item.at("url")
    of = HookType.ROLLOUT if kind.value == "" else kind.choice(HookType, HookType.ROLLOUT)
    return Webhook(
        name=name_of(item, "webhook", taken),
        type=of,
        url="" if of.is_gate and not url.text() else address(url),
        timeout=seconds(item.at("timeout"), 10.0, least=SHORTEST_TIMEOUT) or 10.0,
        retries=item.at("retries").integer(0, least=0, most=MOST_RETRIES),
        metadata=tuple(sorted(item.at("metadata").string_map().items())),
        mute_alert=item.at("muteAlert").boolean(),
        origin=subject.origin(item),
    )
