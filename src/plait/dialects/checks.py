"""Checks that several kinds share: labels, ports, durations."""

from __future__ import annotations

import re

from plait.model.catalog import Labels
from plait.model.document import Cursor
from plait.model.names import is_dns_label, is_dns_subdomain

LONGEST = 365 * 24 * 3600.0
"""Seconds: no duration in a mesh is longer than a year."""

_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~A-Za-z0-9]+\Z")
_SHOWN = 80


def labels(cursor: Cursor) -> Labels:
    """Labels as Kubernetes allows them; what is no label is an error and left out."""
    found = []
    for key, item in cursor.entries():
        if not is_label_key(key):
            item.error("label.invalid", f"{key[:_SHOWN]!r} is no key of a label")
        elif item.is_text() and not _LABEL_VALUE.match(item.value):
            message = (
                f"{item.value[:_SHOWN]!r} is no value of a label: 63 letters, digits, -, _ and . at most"
            )
            item.error("label.invalid", message)
        elif isinstance(item.value, str):
            found.append((key, item.value))
    return tuple(sorted(found))


def is_label_key(text: str) -> bool:
    """Whether a label may have this key: a name, perhaps with a domain before a slash."""
    prefix, slash, name = text.rpartition("/")
    return bool(_LABEL_NAME.match(name)) and (not slash or is_dns_subdomain(prefix))


def port_number(cursor: Cursor) -> int:
    """A port; 0 and an error when there is none or it can't be one."""
    if not cursor.present:
        cursor.error("field.required", "a port number is missing")
    return cursor.integer(0, least=1, most=65535)


def dns_label(cursor: Cursor, what: str) -> str:
    """A required name of the form of a DNS label; "" and an error when it is none."""
    text = cursor.text()
    if is_dns_label(text):
        return text
    if not cursor.present or text == "":
        cursor.error("field.required", f"{what} is missing")
    else:
        message = f"{text[:_SHOWN]!r} is no {what}: lower case letters, digits and - between them, 63 at most"
        cursor.error("name.invalid", message)
    return ""


def seconds(cursor: Cursor, default: float | None = None, *, least: float = 0.0) -> float | None:
    """A duration of at least `least` seconds and at most a year."""
    value = cursor.seconds(default)
    if value is None or not cursor.present or least <= value <= LONGEST:
        return value
    cursor.error("field.range", f"{cursor.text()[:_SHOWN]} is outside {least:g}s to a year")
    return default


def moment(cursor: Cursor) -> str:
    """A time as Kubernetes writes it, whose text sorts as the time does; "" when there is none, or an error."""
    text = cursor.text()
    if text and not _MOMENT.match(text):
        cursor.error("field.type", f"{text[:_SHOWN]!r} is not a time such as 2026-01-31T12:00:00Z")
        return ""
    return text


def is_token(text: str) -> bool:
    """Whether this may be the name of a header or of a method (RFC 9110, section 5.6.2)."""
    return _TOKEN.match(text) is not None
