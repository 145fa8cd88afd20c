"""One proxy's side of delta ADS, as Envoy speaks it to Plait; no sockets.

What the tests with real Envoys show, and what is done here too: the runtime is asked for first, and clusters when it
is there; the endpoints of new ones are asked for before the answer to the clusters, which waits for them; listeners
are asked for when the first endpoints are there; what a listener or a scope names is asked for before the answer to
it.  A stream that comes back says of each type what it has, all at once.

Nothing that a proxy has is ever taken from it here: the meshes to measure with lose nothing.
"""

from __future__ import annotations

from functools import lru_cache

from bench.control_plane.simulated.discovery import (
    WILDCARD,
    Named,
    News,
    acknowledgement,
    greeting,
    message,
    request,
)
from plait.envoy.names import RUNTIME_LAYER
from plait.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, RUNTIME

PROBE = "nobody"
"""A route that there is not.  The answer to who asks for it says that all it said before was taken in."""


class Proxy:
    """What it asks for and what it was told; both outlive the stream."""

    __slots__ = ("_asked", "_heard", "_name", "_waiting")

    def __init__(self, name: str) -> None:
        self._name = name
        self._asked: dict[str, frozenset[str]] = {}
        self._heard: dict[str, list[News]] = {}
        self._waiting = b""
        """The answer to clusters whose endpoints are not there yet."""

    def opening(self, *, probe: bool = False) -> list[bytes]:
        """What it says first on a stream, in parts; with a probe at the end, when that is asked for."""
        self._waiting = b""
        if not self._heard:
            self._asked = {RUNTIME: frozenset((RUNTIME_LAYER,))}
        said: list[bytes] = []
        for type_url, names in self._asked.items():
            more = frozenset((PROBE,)) if probe and type_url == ROUTES else frozenset()
            first = _first(type_url, names | more, tuple(self._heard.get(type_url, ())))
            said += (message(first),) if said else greeting(self._name, first)
        return said

    def take(self, news: News, nonce: str) -> list[bytes]:
        """What it says to a response."""
        type_url = news.type_url
        if news.removed and news.removed != (PROBE,):
            raise ValueError(f"{self._name} is to lose {news.removed[0]}")
        self._heard.setdefault(type_url, []).append(news)
        said = [asked for wanted, names in news.asks.items() if (asked := self._ask(wanted, names))]
        if type_url == RUNTIME and CLUSTER not in self._asked:
            said.append(self._ask(CLUSTER, WILDCARD))
        answer = acknowledgement(type_url, nonce)
        if type_url == CLUSTER and ENDPOINTS in news.asks:
            self._waiting = answer
            return said
        if type_url in (CLUSTER, ENDPOINTS):
            if self._waiting:
                said.append(self._waiting)
                self._waiting = b""
            if LISTENER not in self._asked:
                said.append(self._ask(LISTENER, WILDCARD))
        said.append(answer)
        return said

    def version(self, type_url: str, name: str) -> str | None:
        """The version that it has of a resource."""
        for news in reversed(self._heard.get(type_url, ())):
            version = news.version(name)
            if version is not None:
                return version
        return None

    @property
    def complete(self) -> bool:
        """Whether it has everything that it asked for, up to the routes."""
        return ROUTES in self._heard and all(
            _complete(names, tuple(self._heard.get(type_url, ()))) for type_url, names in self._asked.items()
        )

    def _ask(self, type_url: str, names: frozenset[str]) -> bytes:
        """A request for what was not asked for yet; empty when there is nothing."""
        before = self._asked.get(type_url)
        if before is None:
            self._asked[type_url] = names
            return message(request(type_url, names=names))
        if names <= before:
            return b""
        self._asked[type_url] = before | names
        return message(request(type_url, names=names - before))


@lru_cache(maxsize=4096)
def _first(type_url: str, names: frozenset[str], heard: tuple[News, ...]) -> bytes:
    return request(type_url, names=names, had=_held(heard).values())


@lru_cache(maxsize=4096)
def _complete(names: frozenset[str], heard: tuple[News, ...]) -> bool:
    return bool(heard) and (names == WILDCARD or names <= _held(heard).keys())


@lru_cache(maxsize=4096)
def _held(heard: tuple[News, ...]) -> dict[str, Named]:
    """What somebody has who has heard this."""
    return {one.name: one for news in heard for one in news.resources}
