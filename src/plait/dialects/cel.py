"""Expressions in CEL (https://github.com/google/cel-spec), read, and refused where Envoy would refuse them.

Envoy takes no macro but `has`, no conversion to strings, and none of the functions that CEL's extensions add.  What it
takes and can't evaluate (an attribute that there is not) holds for no request, so that is refused as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from plait.dialects import regexes

LONGEST = 4096
"""Letters of an expression."""
DEEPEST = 24
"""Of what stands in one another; Envoy's own parser ends at 32."""

_TOKEN = re.compile(
    r"\s*(?:(?P<real>\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)"
    r"|(?P<number>0x[0-9a-fA-F]+u?|\d+u?)"
    r"|(?P<raw>[rR](?:'[^'\n]*'|\"[^\"\n]*\"))"
    r"|(?P<text>'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-!<>?:()\[\].,+*/%]))"
)
_ESCAPE = re.compile(r"\\(?:U([0-9a-fA-F]{8})|u([0-9a-fA-F]{4})|[xX]([0-9a-fA-F]{2})|([0-3][0-7]{2})|(.))")
_SIMPLE = {
    **{sign: sign for sign in "\\'\"?`"},
    **dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True)),
}
_LITERALS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
_RESERVED = frozenset((
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "namespace",
    "package", "return", "var", "void", "while",
))  # fmt: skip
_COMPARED = ("==", "!=", "<", "<=", ">", ">=", "in")

_OF_TLS = (
    *(f"{what}_{whose}_certificate" for what in ("subject", "dns_san", "uri_san") for whose in ("local", "peer")),
    "sha256_peer_certificate_digest", "tls_version", "transport_failure_reason",
)  # fmt: skip
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "request": (
        "duration", "headers", "host", "id", "method", "path", "protocol", "query", "referer", "scheme", "size",
        "time", "total_size", "url_path", "useragent",
    ),
    "response": (
        "backend_latency", "code", "code_details", "flags", "grpc_status", "headers", "size", "total_size", "trailers",
    ),
    "connection": ("id", "mtls", "requested_server_name", "termination_details", *_OF_TLS),
    "upstream": (
        "address", "cx_pool_ready_duration", "local_address", "locality", "port", "request_attempt_count", *_OF_TLS,
    ),
    "source": ("address", "port"),
    "destination": ("address", "port"),
    "metadata": (),
    "filter_state": (),
    "upstream_filter_state": (),
    "xds": (
        "cluster_metadata", "cluster_name", "filter_chain_name", "listener_direction", "listener_metadata", "node",
        "route_metadata", "route_name", "upstream_host_metadata", "virtual_host_metadata", "virtual_host_name",
    ),
}  # fmt: skip
"""Envoy's attributes; (): the user's own names follow."""
_METHODS = ("contains", "endsWith", "matches", "startsWith")
_OF_TIMES = (
    "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds",
    "getMinutes", "getMonth", "getSeconds",
)  # fmt: skip
_FUNCTIONS = ("double", "duration", "int", "matches", "size", "timestamp", "uint")
_TESTS = frozenset((*_COMPARED, "&&", "||", "!", "has", *_METHODS))
"""Whatever is true or false."""


class CelError(ValueError):
    """What is wrong with an expression, and where, in words."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A text, a number, true, false or null."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`of.name`."""

    of: Node
    name: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """An operator (by its sign; `&&` and `||` of any number), a function, or a method (its object first).

    `?` has three arguments, and `[]` what is looked into, and for what.
    """

    function: str
    arguments: tuple[Node, ...]
    method: bool = False


Node = Constant | Name | Member | Items | Call


def parse(expression: str) -> Node:
    """What an expression says; CelError."""
    reader = _Reader(tuple(_tokens(expression)))
    found = reader.expression()
    reader.end()
    return found


def refusal(expression: str) -> str:
    """Why an expression can be no condition for Envoy; "" when it can be one."""
    if len(expression) > LONGEST:
        return f"more than {LONGEST} letters"
    try:
        found = parse(expression)
    except CelError as error:
        return str(error)
    problem = next(_problems(found), "")
    return problem or ("" if _may_be_test(found) else "it is neither true nor false")


def _may_be_test(node: Node) -> bool:
    match node:
        case Constant(value=value):
            return isinstance(value, bool)
        case Items():
            return False
        case Call(function="?", arguments=(_, then, otherwise)):
            return _may_be_test(then) and _may_be_test(otherwise)
        case Call(function=function):
            return function in _TESTS or function == "[]"
        case _:
            return True


def _problems(node: Node) -> Iterator[str]:
    match node:
        case Name(name=name):
            if name not in ATTRIBUTES:
                yield _unknown("attribute", name, ATTRIBUTES)
        case Member(of=Name(name=root), name=name) if root in ATTRIBUTES:
            known = ATTRIBUTES[root]
            if known and name not in known:
                yield _unknown("attribute", f"{root}.{name}", [f"{root}.{one}" for one in known])
        case Member(of=of):
            yield from _problems(of)
        case Items(items=items):
            yield from (problem for item in items for problem in _problems(item))
        case Call():
            yield from _problems_of_call(node)
        case Constant():
            pass


def _problems_of_call(call: Call) -> Iterator[str]:
    name, arguments = call.function, call.arguments
    if name == "has" and not call.method:
        if len(arguments) != 1 or not isinstance(arguments[0], Member):
            yield "has() asks for one field, such as has(request.useragent)"
    elif call.method and name in (*_METHODS, *_OF_TIMES, "size"):
        wanted = 2 if name in _METHODS else 1
        if len(arguments) != wanted and not (name in _OF_TIMES and len(arguments) == 2):
            yield f"{name}() takes {wanted - 1} argument{'s' if wanted != 2 else ''}"
    elif not call.method and name in _FUNCTIONS:
        wanted = 2 if name == "matches" else 1
        if len(arguments) != wanted:
            yield f"{name}() takes {wanted} argument{'s' if wanted != 1 else ''}"
    elif name.isidentifier() and name != "in":
        yield _unknown("function", name, (*_METHODS, *_FUNCTIONS, "has") if not call.method else _METHODS)
    if name == "matches" and len(arguments) == 2 and isinstance(arguments[1], Constant):
        pattern = arguments[1].value
        problem = regexes.refusal(pattern) if isinstance(pattern, str) else "it is no text"
        if problem:
            yield f"matches({str(pattern)[:80]!r}): {problem}"
    yield from (problem for argument in arguments for problem in _problems(argument))


def _unknown(what: str, name: str, known: Mapping[str, object] | list[str] | tuple[str, ...]) -> str:
    close = get_close_matches(name, sorted(known), n=1)
    return f"Envoy has no {what} {name[:80]!r}{f'; did you mean {close[0]!r}?' if close else ''}"


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at, end = 0, len(expression.rstrip())
    while at < end:
        token = _TOKEN.match(expression, at)
        if token is None or token.lastgroup is None:
            raise CelError(f"not understood at {at + 1}: {expression[at : at + 20].strip()!r}")
        yield token.lastgroup, token[token.lastgroup]
        at = token.end()
    yield "end", ""


class _Reader:
    """Reads tokens one after the other, each kind of operator by a method of its own, the weakest first."""

    def __init__(self, tokens: tuple[tuple[str, str], ...]) -> None:
        self._tokens = tokens
        self._at = 0
        self._deep = 0

    def expression(self) -> Node:
        self._deepen()
        found = self._either()
        if self._took("?"):
            then = self._either()
            self._need(":")
            found = Call("?", (found, then, self.expression()))
        self._deep -= 1
        return found

    def end(self) -> None:
        """CelError where anything is left."""
        kind, text = self._tokens[self._at]
        if kind != "end":
            raise CelError(f"not understood: {text[:20]!r}")

    def _either(self) -> Node:
        return self._alike("||", self._both)

    def _both(self) -> Node:
        return self._alike("&&", self._compared)

    def _alike(self, sign: str, read: Callable[[], Node]) -> Node:
        parts = [read()]
        while self._took(sign):
            parts.append(read())
        return parts[0] if len(parts) == 1 else Call(sign, tuple(parts))

    def _compared(self) -> Node:
        return self._chain(_COMPARED, self._sum)

    def _sum(self) -> Node:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._chain(("*", "/", "%"), self._unary)

    def _chain(self, signs: tuple[str, ...], read: Callable[[], Node]) -> Node:
        found, before = read(), self._deep
        while sign := self._took(*signs):
            self._deepen()
            found = Call(sign, (found, read()))
        self._deep = before
        return found

    def _deepen(self) -> None:
        self._deep += 1
        if self._deep > DEEPEST:
            raise CelError(f"nested deeper than {DEEPEST} levels")

    def _unary(self) -> Node:
        sign = self._took("!", "-")
        if not sign:
            return self._member()
        self._deepen()
        found = Call(sign, (self._unary(),))
        self._deep -= 1
        return found

    def _member(self) -> Node:
        found, before = self._primary(), self._deep
        while sign := self._took(".", "["):
            self._deepen()
            if sign == "[":
                found = Call("[]", (found, self.expression()))
                self._need("]")
                continue
            name = self._name()
            if self._took("("):
                found = Call(name, (found, *self._list(")")), method=True)
            else:
                found = Member(found, name)
        self._deep = before
        return found

    def _primary(self) -> Node:
        kind, text = self._tokens[self._at]
        self._at += 1
        match kind:
            case "text":
                return Constant(_unescaped(text[1:-1]))
            case "raw":
                return Constant(text[2:-1])
            case "number":
                return Constant(_whole(text))
            case "real":
                return Constant(float(text))
            case "name" if text in _LITERALS:
                return Constant(_LITERALS[text])
            case "name" if text not in _RESERVED and text != "in":
                return Call(text, self._list(")")) if self._took("(") else Name(text)
            case "sign" if text == "(":
                inner = self.expression()
                self._need(")")
                return inner
            case "sign" if text == "[":
                return Items(self._list("]"))
            case "end":
                raise CelError("it ends too early")
            case _:
                raise CelError(f"not understood: {text[:20]!r}")

    def _list(self, closing: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._took(closing):
            if found:
                self._need(",")
            found.append(self.expression())
        return tuple(found)

    def _name(self) -> str:
        kind, text = self._tokens[self._at]
        if kind != "name" or text in _RESERVED or text == "in" or text in _LITERALS:
            raise CelError(f"a name is missing before {text[:20]!r}")
        self._at += 1
        return text

    def _took(self, *signs: str) -> str:
        """The sign that stands here, if it is one of these; "" otherwise."""
        kind, text = self._tokens[self._at]
        if kind not in ("sign", "name") or text not in signs:
            return ""
        self._at += 1
        return text

    def _need(self, sign: str) -> None:
        if not self._took(sign):
            raise CelError(f"{sign!r} is missing before {self._tokens[self._at][1][:20]!r}")


def _whole(text: str) -> int:
    number = int(text.removesuffix("u"), 0 if text.startswith("0x") else 10)
    if number >= 2 ** (64 if text.endswith("u") else 63):
        raise CelError(f"{text[:20]} is too large")
    return number


def _unescaped(text: str) -> str:
    def letter(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        number = int(code, 16) if code else int(found[4], 8) if found[4] else -1
        if 0xD800 <= number < 0xE000 or number > 0x10FFFF:
            raise CelError(f"{found[0]!r} is no letter")
        if number >= 0:
            return chr(number)
        if found[5] not in _SIMPLE:
            raise CelError(f"there is no escape {found[0]!r}")
        return _SIMPLE[found[5]]

    return _ESCAPE.sub(letter, text)
