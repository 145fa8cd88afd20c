"""The conditions of a rule, its `when`: attributes by the names of Istio's reference, and what they must be.

Source: https://istio.io/latest/docs/reference/config/security/conditions/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from plait.dialects.checks import is_token
from plait.dialects.istio import policy_values as value
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.policy import Attribute, Condition

_Read = Callable[[Cursor], str]

_SHOWN = 80
_KEY = re.compile(r"([A-Za-z.]+)((?:\[[^\[\]]+\])*)\Z")
_BRACKETS = re.compile(r"\[([^\[\]]+)\]")
_METADATA = re.compile(r"experimental\.(envoy\.filters\.[A-Za-z0-9_.-]+)\[([^\[\]]+)\]\Z")
_PSEUDO = (":authority", ":method", ":path", ":scheme")
_ACCOUNT = "source.serviceAccount"

_PLAIN: Mapping[str, _Read] = {
    Attribute.REQUEST_PRINCIPAL: value.request_principal,
    Attribute.AUDIENCE: value.pattern,
    Attribute.PRESENTER: value.pattern,
    Attribute.SOURCE_IP: value.block,
    Attribute.REMOTE_IP: value.block,
    Attribute.NAMESPACE: value.namespace,
    Attribute.PRINCIPAL: value.principal,
    Attribute.DESTINATION_IP: value.block,
    Attribute.DESTINATION_PORT: lambda item: str(value.port(item)),
    Attribute.SERVER_NAME: lambda item: value.pattern(item).lower(),  # Envoy tells it in lower case
}


class _Named(NamedTuple):
    """What a key names, and how its values are read."""

    attribute: Attribute
    path: tuple[str, ...]
    read: _Read


def conditions(cursor: Cursor, subject: Subject) -> tuple[Condition, ...]:
    """Those that can be read, each as far as it can."""
    found = tuple(_conditions(cursor, subject))
    if cursor.value == []:
        cursor.error("policy.empty", "an empty list says nothing: leave it away")
    return found


def _conditions(cursor: Cursor, subject: Subject) -> Iterator[Condition]:
    for item in cursor.each():
        if not isinstance(item.value, Mapping):
            item.error("field.type", "expected an object: a condition")
            continue
        named = _named(item.at("key"), subject.namespace)
        read = named.read if named is not None else Cursor.text
        values, not_values = value.values(item.at("values"), read), value.values(item.at("notValues"), read)
        if not item.has("values") and not item.has("notValues"):
            item.error("policy.empty", "a condition has values, notValues, or both")
        if named is not None and (values or not_values):
            yield Condition(attribute=named.attribute, path=named.path, values=values, not_values=not_values)


def _named(cursor: Cursor, namespace: str) -> _Named | None:
    """The attribute; None and an error when there is none of this name."""
    text = cursor.text()
    if metadata := _METADATA.match(text):
        return _Named(Attribute.METADATA, (metadata[1], metadata[2]), value.listed)
    found = _KEY.match(text)
    name, path = (found[1], tuple(_BRACKETS.findall(found[2]))) if found else ("", ())
    if name in _PLAIN and not path:
        return _Named(Attribute(name), (), _PLAIN[name])
    if name == _ACCOUNT and not path:
        return _Named(Attribute.PRINCIPAL, (), lambda item: value.account(item, namespace))
    if name == Attribute.CLAIM and path:
        return _Named(Attribute.CLAIM, path, value.pattern)
    if name == Attribute.HEADER and len(path) == 1 and _is_header(path[0].lower()):
        return _Named(Attribute.HEADER, (path[0].lower(),), value.pattern)
    if not cursor.error_count():
        message = f"{text[:_SHOWN]!r} is no attribute of a request" if text else "a key is missing"
        cursor.error("policy.condition", message)
    return None


def _is_header(name: str) -> bool:
    return is_token(name) or name in _PSEUDO
