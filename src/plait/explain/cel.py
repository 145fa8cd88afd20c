"""The few words of CEL that `envoy.filters.admission` writes, evaluated: https://github.com/google/cel-spec.

Operators, member access, lists, strings, whole numbers, and a few functions over strings.  Anything else is an UnknownError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from plait.dialects.cel import Call, CelError, Constant, Items, Member, Name, Node, parse
from plait.explain.request import UnknownError

_METHODS: Mapping[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
}
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "in": lambda one, other: one in other,
}


def evaluate(expression: str, attributes: Mapping[str, Any]) -> Any:
    """The value of an expression over attributes (`connection.mtls`: a mapping in a mapping); UnknownError."""
    try:
        node = parse(expression)
    except CelError as error:
        raise UnknownError(f"not understood in an expression: {error}") from error
    return _value(node, attributes)


def _value(node: Node, attributes: Mapping[str, Any]) -> Any:
    match node:
        case Constant(value=value):
            return value
        case Name(name=name):
            return _picked(attributes, name)
        case Member(of=whole, name=name):
            return _picked(_value(whole, attributes), name)
        case Items(items=items):
            return [_value(item, attributes) for item in items]
        case Call():
            return _of_call(node, lambda one: _value(one, attributes))


def _of_call(call: Call, of: Callable[[Node], Any]) -> Any:
    """Of alternatives only those are looked at that decide, as CEL does it."""
    match call:
        case Call("?", (condition, then, otherwise)):
            return of(then) if _truth(of(condition)) else of(otherwise)
        case Call("||", parts):
            return any(_truth(of(part)) for part in parts)
        case Call("&&", parts):
            return all(_truth(of(part)) for part in parts)
        case Call("!", (one,)):
            return not _truth(of(one))
        case Call(sign, (one, other)) if sign in _COMPARED:
            return _COMPARED[sign](of(one), of(other))
        case Call(name, (one, other), True) if name in _METHODS:
            return _called(name, of(one), of(other))
        case _:
            raise UnknownError(f"the function {call.function} is not known")


def _picked(found: Any, name: str) -> Any:
    if not isinstance(found, Mapping) or name not in found:
        raise UnknownError(f"nothing is known of the attribute {name}")
    return found[name]


def _called(name: str, text: Any, other: Any) -> bool:
    if not isinstance(text, str) or not isinstance(other, str):
        raise UnknownError(f"{name} of something that is no text")
    return _METHODS[name](text, other)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnknownError(f"neither true nor false: {value!r}")
    return value
