"""The sessionPersistence of a rule of the Gateway API (GEP-1619): who was answered once is led back."""

from __future__ import annotations

import re
from enum import StrEnum

from plait.dialects.checks import seconds
from plait.model.document import Cursor
from plait.model.routing import Session, SessionKind

_SHOWN = 80
_LONGEST_NAME = 128
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~A-Za-z0-9]+\Z")


class _Type(StrEnum):
    COOKIE = "Cookie"
    HEADER = "Header"


class _Lifetime(StrEnum):
    SESSION = "Session"
    PERMANENT = "Permanent"


def session(cursor: Cursor, name: str) -> Session | None:
    """How requests of one client are kept together; None when nothing is said, or it can't be read.

    `name` is that of the cookie or header where none is given: no other rule may have the same.
    """
    if not cursor.present:
        return None
    kind = cursor.at("type").choice(_Type, _Type.COOKIE)
    own = _name(cursor.at("sessionName")) or name
    lifetime = _lifetime(cursor, kind)
    idle = cursor.at("idleTimeout")
    if seconds(idle) is not None:
        idle.warn("session.timeout", "has no effect: nobody knows when a session was used last")
    if cursor.error_count():
        return None
    if kind is _Type.HEADER:
        return Session(kind=SessionKind.HEADER, name=own.lower())
    return Session(kind=SessionKind.COOKIE, name=own, lifetime=lifetime)


def _name(cursor: Cursor) -> str:
    text = cursor.text()
    if text and (len(text) > _LONGEST_NAME or not _NAME.match(text)):
        cursor.error("header.name", f"{text[:_SHOWN]!r} is no name of a header or a cookie")
    return text


def _lifetime(cursor: Cursor, kind: _Type) -> float | None:
    """Seconds that a cookie is kept; None: until the browser is closed."""
    timeout, config = cursor.at("absoluteTimeout"), cursor.at("cookieConfig")
    lifetime = config.at("lifetimeType").choice(_Lifetime, _Lifetime.SESSION)
    length = seconds(timeout, least=1.0)
    if kind is _Type.HEADER and config.present:
        config.warn("session.no-effect", "has no effect: the session is kept by a header")
    elif lifetime is _Lifetime.PERMANENT:
        if not timeout.present:
            cursor.error("field.required", "an absoluteTimeout is missing, which a permanent cookie has")
        return length
    if length is not None:
        message = "has no effect: only the lifetime of a permanent cookie is limited"
        timeout.warn("session.timeout", message)
    return None
