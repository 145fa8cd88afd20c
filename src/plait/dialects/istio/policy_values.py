"""The values in the rules of an AuthorizationPolicy: each is what the model says, or an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Network, ip_network
from typing import TypeVar

from plait.model.document import Cursor
from plait.model.names import is_dns_label, is_dns_subdomain

V = TypeVar("V", str, int)

LONGEST = 2048
"""Characters of a value: no longer one is told of a request, and Envoy refuses regular expressions that are too large."""

_LONGEST_LABEL = 63
_SHOWN = 80
_ONE, _REST = "{*}", "{**}"
"""The operators of a path's template: any one segment, and all that is left."""
_HOST = re.compile(r"[-a-z0-9._:\[\]*]+\Z")


def values(cursor: Cursor, read: Callable[[Cursor], V]) -> tuple[V, ...]:
    """The values of a part; none of them when any can't be read: half of a part may mean less or more."""
    if cursor.value is None:
        return ()
    found = tuple(read(_bounded(item)) for item in cursor.each())
    if cursor.value == []:
        cursor.error("policy.empty", "an empty list says nothing: leave it away to mean any")
    return () if cursor.error_count() else found


def _bounded(item: Cursor) -> Cursor:
    if isinstance(item.value, str) and len(item.value) > LONGEST:
        item.error("policy.length", f"{item.value[:_SHOWN]!r}... has more than {LONGEST} characters")
    return item


def pattern(item: Cursor) -> str:
    """A value that may have a * at its start or its end."""
    text = item.text()
    if not text:
        if not item.error_count():
            item.error("policy.empty", "an empty value matches nothing")
    elif "*" in text[1:-1] or text == "**":
        item.error("policy.wildcard", "a * stands at the start or the end of a value, not within")
    elif text != "*" and text.startswith("*") and text.endswith("*"):
        item.error("policy.wildcard", "a * stands at the start or at the end of a value, not at both")
    return text


def namespace(item: Cursor) -> str:
    text = pattern(item)
    if len(text.strip("*").encode()) > _LONGEST_LABEL:
        item.error("policy.length", f"no namespace is longer than {_LONGEST_LABEL} characters")
    return text


def principal(item: Cursor) -> str:
    text = pattern(item)
    if text.startswith("spiffe://"):
        message = f"a principal is written without spiffe://: {text.removeprefix('spiffe://')[:_SHOWN]}"
        item.error("policy.principal", message)
    return text


def listed(item: Cursor) -> str:
    """A pattern; in brackets it is looked for in a list."""
    text = item.text()
    if not (text.startswith("[") and text.endswith("]")):
        return pattern(item)
    return f"[{pattern(replace(item, value=text[1:-1]))}]"


def account(item: Cursor, namespace: str) -> str:
    """A service account, as NAME or NAMESPACE/NAME, to the principals that it may be in any trust domain."""
    text = item.text()
    before, slash, name = text.rpartition("/")
    where = before if slash else namespace
    if not is_dns_label(where) or not is_dns_subdomain(name):
        if not item.error_count():
            item.error("policy.account", f"{text[:_SHOWN]!r} is no service account: NAME or NAMESPACE/NAME")
        return ""
    return f"*/ns/{where}/sa/{name}"


def request_principal(item: Cursor) -> str:
    """ISSUER/SUBJECT; a wildcard at one end leaves either open, or a part of it."""
    text = pattern(item)
    if text and "/" not in text and "*" not in text:
        item.error("policy.request-principal", f"{text[:_SHOWN]!r} is not of the form ISSUER/SUBJECT")
    return text


def block(item: Cursor) -> str:
    """An address or a network, as a network."""
    text = item.text()
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        if not item.error_count():
            item.error("policy.address", f"{text[:_SHOWN]!r} is neither an address nor a network: 10.0.0.0/8")
        return ""
    if isinstance(found, IPv6Network) and (found.network_address.ipv4_mapped or "%" in text):
        item.error("policy.address", f"{text[:_SHOWN]!r} is an address that nobody calls from: write IPv4")
    return str(found)


def method(item: Cursor) -> str:
    text = pattern(item)
    if text != text.upper():
        item.error("policy.method", f"methods are upper case: {text[:_SHOWN]!r} matches none")
    return text


def host(item: Cursor) -> str:
    """A host, perhaps with a port; in lower case and without the dot at the end of a name that is said to be whole."""
    text = pattern(item).lower()
    name, colon, port = text.rpartition(":")
    if not colon or ":" in name:
        name, colon, port = text, "", ""
    found = name.removesuffix(".") + colon + port
    if text and (not _HOST.match(text) or (found != text and found in ("", "*"))):
        item.error("policy.host", f"{text[:_SHOWN]!r} is no host")
    return found


def path(item: Cursor) -> str:
    text = item.text()
    if _ONE in text or _REST in text:
        return _template(item, text)
    text = pattern(item)
    if text and not text.startswith(("/", "*")):
        item.error("policy.path", f"paths begin with /: {text[:_SHOWN]!r} matches none")
    return text


def _template(item: Cursor, text: str) -> str:
    rest = text.replace(_ONE, "")
    if not text.startswith("/"):
        item.error("policy.path", f"paths begin with /: {text[:_SHOWN]!r} matches none")
    elif any(sign in rest.replace(_REST, "") for sign in "{}*"):
        item.error("policy.path-template", f"a template has {_ONE} and {_REST}, and no other *, {{ or }}")
    elif rest.count(_REST) > 1 or _ONE in text.partition(_REST)[2]:
        item.error("policy.path-template", f"{_REST} stands once in a template, after every {_ONE}")
    return text


def port(item: Cursor) -> int:
    text = item.text()
    if text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) < 65536:
        return int(text)
    if not item.error_count():
        item.error("field.range", f"{text[:_SHOWN]!r} is no port from 1 to 65535")
    return 0
