"""The few words of CEL that `envoy.filters.admission` writes, evaluated: https://github.com/google/cel-spec.

Operators, member access, lists, strings, whole numbers, and a few functions over strings.  Anything else is an UnknownError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from plait.explain.request import UnknownError

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<number>\d+u?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-!<>?:()\[\].,+]))"
)
_ESCAPE = re.compile(r"\\(?:U([0-9a-fA-F]{8})|u([0-9a-fA-F]{4})|(.))")
_SIMPLE = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t", "r": "\r"}
_LITERALS = {"true": True, "false": False}
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

_Thunk = Callable[[], Any]
"""What is evaluated only where it is needed, as CEL does it with alternatives."""


def evaluate(expression: str, attributes: Mapping[str, Any]) -> Any:
    """The value of an expression over attributes (`connection.mtls`: a mapping in a mapping); UnknownError."""
    parser = _Parser(_tokens(expression), attributes)
    value = parser.ternary()
    if parser.ahead:
        raise UnknownError(f"not understood in an expression: {parser.ahead!r}")
    return value()


def _tokens(expression: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, end = 0, len(expression.rstrip())
    while at < end:
        token = _TOKEN.match(expression, at)
        if token is None or token.lastgroup is None:
            raise UnknownError(f"not understood in an expression: {expression[at : at + 20]!r}")
        found.append((token.lastgroup, token[token.lastgroup]))
        at = token.end()
    return [*found, ("end", "")]


class _Parser:
    """Reads tokens one after the other, each kind of operator by a method of its own, the weakest first."""

    def __init__(self, tokens: list[tuple[str, str]], attributes: Mapping[str, Any]) -> None:
        self._tokens = tokens
        self._at = 0
        self._attributes = attributes

    @property
    def ahead(self) -> str:
        return self._tokens[self._at][1]

    def ternary(self) -> _Thunk:
        condition = self._any()
        if not self._took("?"):
            return condition
        then = self._any()
        self._need(":")
        otherwise = self.ternary()
        return lambda: then() if _truth(condition()) else otherwise()

    def _any(self) -> _Thunk:
        parts = [self._all()]
        while self._took("||"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda: any(_truth(part()) for part in parts)

    def _all(self) -> _Thunk:
        parts = [self._compared()]
        while self._took("&&"):
            parts.append(self._compared())
        return parts[0] if len(parts) == 1 else lambda: all(_truth(part()) for part in parts)

    def _compared(self) -> _Thunk:
        one = self._unary()
        compare = _COMPARED.get(self.ahead)
        if compare is None:
            return one
        self._at += 1
        other = self._unary()
        return lambda: compare(one(), other())

    def _unary(self) -> _Thunk:
        if self._took("!"):
            inner = self._unary()
            return lambda: not _truth(inner())
        return self._member()

    def _member(self) -> _Thunk:
        value = self._primary()
        while self._took("."):
            name = self._name()
            if self._took("("):
                argument = self.ternary()
                self._need(")")
                value = _called(value, name, argument)
            else:
                value = _picked(value, name)
        return value

    def _primary(self) -> _Thunk:
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "text":
            return _constant(_unescaped(text[1:-1]))
        if kind == "number":
            return _constant(int(text.removesuffix("u")))
        if kind == "name":
            return _constant(_LITERALS[text]) if text in _LITERALS else self._attribute(text)
        if text == "(":
            inner = self.ternary()
            self._need(")")
            return inner
        if text == "[":
            return self._list()
        raise UnknownError(f"not understood in an expression: {text!r}")

    def _list(self) -> _Thunk:
        items: list[_Thunk] = []
        while not self._took("]"):
            items.append(self.ternary())
            if self.ahead != "]":
                self._need(",")
        return lambda: [item() for item in items]

    def _attribute(self, name: str) -> _Thunk:
        return _picked(lambda: self._attributes, name)

    def _name(self) -> str:
        kind, text = self._tokens[self._at]
        if kind != "name":
            raise UnknownError(f"not understood in an expression: {text!r}")
        self._at += 1
        return text

    def _took(self, sign: str) -> bool:
        kind, text = self._tokens[self._at]
        found = kind == "sign" and text == sign
        self._at += found
        return found

    def _need(self, sign: str) -> None:
        if not self._took(sign):
            raise UnknownError(f"{sign!r} is missing in an expression before {self.ahead!r}")


def _constant(value: Any) -> _Thunk:
    return lambda: value


def _picked(of: _Thunk, name: str) -> _Thunk:
    def pick() -> Any:
        found = of()
        if not isinstance(found, Mapping) or name not in found:
            raise UnknownError(f"nothing is known of the attribute {name}")
        return found[name]

    return pick


def _called(on: _Thunk, name: str, argument: _Thunk) -> _Thunk:
    method = _METHODS.get(name)
    if method is None:
        raise UnknownError(f"the function {name} is not known")

    def call() -> bool:
        text, other = on(), argument()
        if not isinstance(text, str) or not isinstance(other, str):
            raise UnknownError(f"{name} of something that is no text")
        return method(text, other)

    return call


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnknownError(f"neither true nor false: {value!r}")
    return value


def _unescaped(text: str) -> str:
    def letter(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        if code:
            return chr(int(code, 16))
        if found[3] not in _SIMPLE:
            raise UnknownError(f"not understood in an expression: {found[0]!r}")
        return _SIMPLE[found[3]]

    return _ESCAPE.sub(letter, text)
