"""What the kinds of Flagger share: their group and version, references to each other, addresses, numbers."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.names import ObjectRef, is_dns_label, is_dns_subdomain

GROUP = "flagger.app"
VERSIONS = ("v1beta1",)

_SHOWN = 80
_MOST = 1e15
_BLANK = re.compile(r"[\x00-\x20\x7f]")


def reference(cursor: Cursor, kind: str, subject: Subject) -> ObjectRef:
    """An object of this group; where no namespace is named it is of the same one as the object that is read."""
    name, namespace = cursor.at("name"), cursor.at("namespace")
    text, place = name.text(), namespace.text() or subject.namespace
    if not text and not name.error_count():
        name.error("field.required", f"a name is missing: that of the {kind}")
    elif text and not is_dns_subdomain(text):
        name.error("name.invalid", f"no {kind} can be named {text[:_SHOWN]!r}")
    if namespace.present and not is_dns_label(place):
        namespace.error("name.invalid", f"no namespace can be named {place[:_SHOWN]!r}")
    return ObjectRef(GROUP, kind, place, text)


def address(cursor: Cursor) -> str:
    """A required address of HTTP; "" and an error, which never repeats it: there may be a secret in it."""
    text = cursor.text()
    if not text:
        if not cursor.error_count():
            cursor.error("field.required", "an address is missing, such as http://checks.bistro:8080/")
        return ""
    if _is_address(text):
        return text
    cursor.error("address.invalid", "this is no address such as http://checks.bistro:8080/ or https://...")
    return ""


def _is_address(text: str) -> bool:
    if _BLANK.search(text):
        return False
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def no_secret(cursor: Cursor, instead: str) -> None:
    """An error where a Secret is named, for there are none here; it says what to do instead."""
    secret = cursor.at("secretRef")
    secret.ignore()
    if secret.present:
        secret.error("secret.unknown", f"Plait has no Secrets: {instead}")


def number(cursor: Cursor) -> float | None:
    """A number; None when there is none, or an error."""
    value = cursor.value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        cursor.error("field.type", "expected a number")
        return None
    if not -_MOST <= value <= _MOST:
        cursor.error("field.range", f"{str(value)[:_SHOWN]} is too much")
        return None
    return float(value)


def name_of(item: Cursor, what: str, taken: set[str]) -> str:
    """A required name that no other has: it is how verdicts and answers are told apart."""
    cursor = item.at("name")
    text = cursor.text()
    if not text and not cursor.error_count():
        cursor.error("field.required", f"the name of a {what} is missing")
    elif text in taken:
        cursor.error("canary.name-twice", f"another {what} is named {text[:_SHOWN]!r}")
    taken.add(text)
    return text
