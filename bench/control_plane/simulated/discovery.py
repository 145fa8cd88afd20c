"""Delta discovery without message classes: what a response names, what a proxy asks for after it, and requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from plait.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SCOPED_ROUTES
from plait.xds.wire import varint

WILDCARD = frozenset(("*",))

Asks = dict[str, frozenset[str]]
"""Type URL -> names to ask for."""

_MANAGER = (
    b"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_EDS = 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Each field of a message: its number, and where its value begins and ends."""
    at, end = 0, len(data)
    while at < end:
        key, at = _number(data, at)
        match key & 7:
            case 2:
                size, at = _number(data, at)
                yield key >> 3, at, at + size
                at += size
            case 0:
                begin = at
                _, at = _number(data, at)
                yield key >> 3, begin, at
            case 1 | 5 as kind:
                size = 8 if kind == _FIXED64 else 4
                yield key >> 3, at, at + size
                at += size
            case kind:
                raise ValueError(f"a field of kind {kind}")
    if at != end:
        raise ValueError("a message that is cut off")


def every(data: bytes, *path: int) -> Iterator[bytes]:
    """The values at a path of field numbers, through every message that is repeated on it."""
    number, *rest = path
    for found, begin, end in fields(data):
        if found == number:
            value = data[begin:end]
            if rest:
                yield from every(value, *rest)
            else:
                yield value


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """One version of a resource, and what a proxy asks for that has it."""

    name: str
    version: str
    asks: tuple[tuple[str, str], ...]
    had: bytes
    """How a request says that the proxy has it: an entry of `initial_resource_versions`."""


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """What a response brings, whatever its nonce."""

    type_url: str
    resources: tuple[Named, ...]
    removed: tuple[str, ...]
    asks: Asks

    def version(self, name: str) -> str | None:
        """The version that it brings of a resource, "" when it says that there is none; None: not a word of it."""
        if name in self.removed:
            return ""
        return next((one.version for one in self.resources if one.name == name), None)


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it was read: its nonce, and where in its bytes that stands."""

    news: News
    nonce: str
    place: tuple[int, int]


class Reader:
    """Reads responses; a version of a resource that was seen before is not read again."""

    def __init__(self) -> None:
        self._seen: dict[bytes, Named] = {}

    def read(self, data: bytes) -> Response:
        """ValueError when this is no response."""
        framed, removed = [], []
        type_url, place = "", (0, 0)
        for number, begin, end in fields(data):
            match number:
                case 2:
                    framed.append(data[begin:end])
                case 4:
                    type_url = data[begin:end].decode()
                case 5:
                    place = (begin, end)
                case 6:
                    removed.append(data[begin:end].decode())
                case _:
                    pass
        if not type_url or place == (0, 0):
            raise ValueError("a response without a type or a nonce")
        resources = tuple(self._named(type_url, one) for one in framed)
        news = News(type_url, resources, tuple(removed), _together(resources))
        return Response(news, data[slice(*place)].decode(), place)

    def _named(self, type_url: str, framed: bytes) -> Named:
        named = self._seen.get(framed)
        if named is not None:
            return named
        name = version = ""
        wrapped = b""
        for number, begin, end in fields(framed):
            match number:
                case 1:
                    version = framed[begin:end].decode()
                case 2:
                    wrapped = framed[begin:end]
                case 3:
                    name = framed[begin:end].decode()
                case _:
                    pass
        asks = tuple(asked_by(type_url, name, b"".join(every(wrapped, 2))))
        named = self._seen[framed] = Named(name, version, asks, _had(name, version))
        return named


def asked_by(type_url: str, name: str, body: bytes) -> Iterator[tuple[str, str]]:
    """Type and name of what a proxy asks for once it has this resource."""
    if type_url == CLUSTER:
        if _EDS in (value[0] for value in every(body, 2)):
            yield ENDPOINTS, name
    elif type_url == SCOPED_ROUTES:
        yield from ((ROUTES, value.decode()) for value in every(body, 2))
    elif type_url == LISTENER:
        for chain in (*every(body, 3), *every(body, 25)):
            for network_filter in every(chain, 3):
                yield from _asked_by_filter(network_filter)


def _asked_by_filter(network_filter: bytes) -> Iterator[tuple[str, str]]:
    """An HTTP connection manager asks for routes, or for scopes; what is configured elsewhere for an extension."""
    if any(every(network_filter, 5)):
        yield EXTENSION, b"".join(every(network_filter, 1)).decode()
    if _MANAGER not in every(network_filter, 4, 1):
        return
    for manager in every(network_filter, 4, 2):
        yield from ((ROUTES, value.decode()) for value in every(manager, 3, 2))
        if any(every(manager, 31)):
            yield SCOPED_ROUTES, "*"


def request(type_url: str, *, names: frozenset[str] = WILDCARD, had: Iterable[Named] = ()) -> bytes:
    """The first request of a type on a stream, or one for more names; what a message is made of."""
    asked = b"" if names == WILDCARD else subscription(names)
    return _text(2, type_url) + asked + b"".join([one.had for one in had])


@lru_cache(maxsize=256)
def subscription(names: frozenset[str]) -> bytes:
    return b"".join(_text(3, name) for name in sorted(names))


@lru_cache(maxsize=1 << 16)
def acknowledgement(type_url: str, nonce: str) -> bytes:
    return message(_text(2, type_url) + _text(6, nonce))


def greeting(name: str, request: bytes) -> tuple[bytes, ...]:
    """The first message of a stream, which says who asks; in parts, of which all but the first are shared.

    The node is as large as Envoy's, which tells its 516 extensions.
    """
    own = _text(1, name) + _text(6, "envoy")
    head = bytes((1 << 3 | _BYTES,)) + varint(len(own) + len(_EXTENSIONS)) + own
    return _prefix(len(head) + len(_EXTENSIONS) + len(request)) + head, _EXTENSIONS, request


def message(data: bytes) -> bytes:
    """As gRPC sends it."""
    return _prefix(len(data)) + data


def _prefix(length: int) -> bytes:
    """Not compressed, and so long."""
    return b"\0" + length.to_bytes(4, "big")


def _together(resources: tuple[Named, ...]) -> Asks:
    asked: dict[str, set[str]] = {}
    for one in resources:
        for type_url, name in one.asks:
            asked.setdefault(type_url, set()).add(name)
    return {type_url: frozenset(names) for type_url, names in asked.items()}


def _had(name: str, version: str) -> bytes:
    return _field(5, _text(1, name) + _text(2, version))


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | _BYTES,)) + varint(len(data)) + data


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A varint, and where it ends."""
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    shift = 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7


_EXTENSIONS = _field(9, _text(1, f"envoy.{'x' * 108}")) * 516
