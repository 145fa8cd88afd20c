"""The localityLbSetting of a DestinationRule: which replicas clients prefer for where they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plait.dialects.checks import is_label_key
from plait.model.document import Cursor
from plait.model.locality import REGION, SUBZONE, ZONE, Distribution, Locality, LocalityBalancing

_SHOWN = 80
_PATTERN = re.compile(r"(?:\*|[^/*]+(?:/\*|/[^/*]+(?:/\*|/[^/*]+)?)?)\Z")
_REGION = re.compile(r"[^/*]+\Z")
_ALL = 100
_WAYS = ("distribute", "failover", "failoverPriority")


def locality_balancing(cursor: Cursor) -> LocalityBalancing | None:
    """Whom clients prefer; None when nothing is said, or it can't be read."""
    if not cursor.present:
        return None
    enabled = cursor.at("enabled").boolean(default=True)
    distribute, failover, priority = (cursor.at(name) for name in _WAYS)
    if distribute.present and (failover.present or priority.present):
        distribute.error(
            "traffic.locality", "distribute can't be given beside failover or failoverPriority: keep one"
        )
    found = LocalityBalancing(
        enabled=enabled,
        distributions=tuple(_distributions(distribute)),
        failover=tuple(_failover(failover)),
        priority=tuple(_priority(priority)),
    )
    parts = sorted(name for name, _ in found.priority if name in (REGION, ZONE, SUBZONE))
    if found.failover and parts:
        failover.error(
            "traffic.locality", f"failoverPriority orders by {parts[0]} itself: keep one of the two"
        )
    if not enabled and (distribute.present or failover.present or priority.present):
        cursor.at("enabled").warn(
            "traffic.locality", "false: nobody is preferred, and what stands beside has no effect"
        )
    return None if cursor.error_count() else found


def _distributions(cursor: Cursor) -> Iterator[Distribution]:
    seen: list[Locality] = []
    for item in cursor.each():
        clients = _locality(item.at("from"), item.at("from").text(), seen)
        shares = tuple(_shares(item.at("to")))
        if clients is not None and not item.error_count():
            yield Distribution(clients=clients, shares=shares)


def _shares(cursor: Cursor) -> Iterator[tuple[Locality, int]]:
    seen: list[Locality] = []
    total = 0
    for text, item in cursor.entries():
        weight = item.integer(0, least=1, most=_ALL)
        total += weight
        place = _locality(item, text, seen)
        if place is not None:
            yield place, weight
    if total != _ALL and not cursor.error_count():
        cursor.error("traffic.locality", f"the shares add up to {total}, and not to {_ALL}")


def _locality(cursor: Cursor, text: str, seen: list[Locality]) -> Locality | None:
    """A pattern of places, of which none is one that a pattern from before stands for."""
    if cursor.error_count():
        return None
    if not _PATTERN.match(text):
        message = f"{text[:_SHOWN]!r} is not of the form REGION/ZONE/SUBZONE, which may end early or with *"
        cursor.error("traffic.locality", message)
        return None
    found = Locality.parse(text)
    if any(found.meets(other) for other in seen):
        message = f"{text[:_SHOWN]!r} stands for places that another pattern beside it stands for"
        cursor.error("traffic.locality", message)
        return None
    seen.append(found)
    return found


def _failover(cursor: Cursor) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for item in cursor.each():
        regions = [_region(item.at(name)) for name in ("from", "to")]
        if item.error_count():
            continue
        source, target = regions
        if source == target:
            item.at("to").error("traffic.locality", "the same region: name another one")
        elif source in seen:
            message = f"where clients in {source[:_SHOWN]} go is said before"
            item.at("from").error("traffic.locality", message)
        else:
            seen.add(source)
            yield source, target


def _region(cursor: Cursor) -> str:
    text = cursor.text()
    if not text and not cursor.error_count():
        cursor.error("field.required", "a region is missing")
    elif text and not _REGION.match(text):
        cursor.error("traffic.locality", f"{text[:_SHOWN]!r} is no region: failover knows no zones and no *")
    return text


def _priority(cursor: Cursor) -> Iterator[tuple[str, str | None]]:
    for item in cursor.each():
        if not item.is_text():
            continue
        name, equals, value = item.value.partition("=")
        if is_label_key(name):
            yield name, value if equals else None
        else:
            item.error("label.invalid", f"{name[:_SHOWN]!r} is no key of a label")
