"""Who looks at requests as they happen (`plait tap`), and how much proxies tell of them meanwhile.

While somebody looks, the proxies that he looks at are told so by their runtime, and tell of every request; when nobody
does any more, that is taken back.  Only this process knows who looks, so that nothing is left of it after an end of any
kind: the next one tells each proxy that nobody does.

A proxy with more requests than can be looked at is told to leave some out, by chance: so many that none tells of more
than MOST_OF_ONE a second, and all together of no more than MOST.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

from plait.api.views import TapFilter, TapLine, TappedRequest
from plait.envoy.runtime import ALL, NOT_TAPPED, Tapped
from plait.model.names import ReplicaKey, WorkloadKey
from plait.model.telemetry import Side
from plait.run.tapped import End, Matcher, request, told
from plait.xds.exports import PROTOBUF, Export

MOST_OF_ONE, MOST = 1000.0, 3000.0
"""Requests a second that one end of a proxy, and all of them together, may tell of."""
_WINDOW, _SHORTEST = 0.5, 0.2
"""Seconds after which it is looked at how much was told, and at the earliest if it is more than MOST."""
_MOST_READ = 3000
"""Records that are read between two such looks; the others of a proxy that tells more than it was told to are counted."""
_SILENCE = 0.5
"""Seconds after which whoever looks is sent a word: so it is found out when he is no more."""
_STEADY = 1.5
"""A share that would change by less than this factor stays as it is."""
_BACKLOG = 1000
"""Requests that may wait to be shown."""


class Taps:
    """All who look.

    `replicas` are those that run; `retell` is told whose runtime has changed, and `settled` returns when that is known
    to them.  `clock` tells seconds.
    """

    def __init__(
        self,
        replicas: Callable[[], Iterable[ReplicaKey]],
        retell: Callable[[Collection[ReplicaKey]], None],
        settled: Callable[[], Awaitable[object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replicas = replicas
        self._retell = retell
        self.settled = settled
        self.clock = clock
        self._looks: dict[Look, None] = {}
        self._shares: dict[End, int] = {}
        """Of how many of ALL requests an end tells that leaves some out."""
        self._told: Counter[End] = Counter()
        """Requests, since the time that follows."""
        self._since = clock()

    def tapped(self, key: ReplicaKey) -> Tapped:
        """Of how many requests a proxy is to tell."""
        if not self._looks:
            return NOT_TAPPED
        return Tapped(client=self._share((key, Side.CLIENT)), server=self._share((key, Side.SERVER)))

    def open(self, wanted: TapFilter, rate: int) -> Look:
        """Somebody looks, at so many requests a second at most, until it is closed.  ValueError for what can't be."""
        look = Look(self, Matcher(wanted), rate)
        with self._changing():
            self._looks[look] = None
        return look

    def close(self, look: Look) -> None:
        """Somebody looks no more."""
        with self._changing():
            self._looks.pop(look, None)
            self._shares = {end: share for end, share in self._shares.items() if self._concerned(end)}

    def close_all(self) -> None:
        """Nobody looks any more."""
        for look in tuple(self._looks):
            look.close()

    def telling(self, look: Look) -> int:
        """How many proxies tell somebody who looks of their requests."""
        return sum(any(look.concerns(key.workload, side) for side in Side) for key in self._replicas())

    def take(self, export: Export) -> bytes:
        """What a proxy tells of requests: shown to whom it concerns, and forgotten.  ValueError."""
        if export.content_type != PROTOBUF:
            raise ValueError("logs are taken as protobuf alone")
        sender = WorkloadKey(*export.sender.split("/"))
        if not any(look.concerns(sender, side) for look in self._looks for side in Side):
            return b""
        for end, records in told(export.body):
            share = self._share(end) if end[0].workload == sender else 0
            if not share:
                continue
            self._told[end] += len(records)
            looking = [look for look in self._looks if look.concerns(sender, end[1])]
            room = max(0, _MOST_READ - self._told.total() + len(records))
            for record in records[:room]:
                found = request(record, end)
                for look in looking:
                    look.show(found, ALL / share)
        self.adjust()
        return b""

    def adjust(self) -> None:
        """See how much was told in the last window, and have more or less of it told."""
        now = self.clock()
        seconds = now - self._since
        if seconds < (_SHORTEST if self._told.total() > MOST else _WINDOW):
            return
        ends = {*self._told, *self._shares}
        rates = {
            end: max(self._told[end], 1) * ALL / self._share(end) / seconds
            for end in ends
            if self._share(end)
        }
        self._told.clear()
        self._since = now
        changed = {end: share for end, share in _shares(rates).items() if _differs(self._share(end), share)}
        if changed:
            self._shares = {end: one for end, one in {**self._shares, **changed}.items() if one != ALL}
            self._retell({key for key, _ in changed})

    def _share(self, end: End) -> int:
        return self._shares.get(end, ALL) if self._concerned(end) else 0

    def _concerned(self, end: End) -> bool:
        key, side = end
        return any(look.concerns(key.workload, side) for look in self._looks)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Whoever is to tell more or less after this is told so."""
        before = {key: self.tapped(key) for key in self._replicas()}
        yield
        changed = [key for key, tapped in before.items() if self.tapped(key) != tapped]
        if changed:
            self._retell(changed)


class Look:
    """What one who looks is shown; to be closed."""

    def __init__(self, taps: Taps, matcher: Matcher, rate: int) -> None:
        self._taps = taps
        self._matcher = matcher
        self._rate = self._room = float(rate)
        """Requests that may be shown a second, and at once."""
        self._counted = taps.clock()
        self._waiting: deque[TappedRequest] = deque()
        self._left_out = 0.0
        self._proxies = 0
        """How many tell, as of the last line without a request."""
        self._news = asyncio.Event()
        self._closed = False

    def concerns(self, workload: WorkloadKey, side: Side) -> bool:
        """Whether a workload is to tell of its requests at this end."""
        return self._matcher.concerns(workload, side)

    def show(self, one: TappedRequest, stands_for: float) -> None:
        """A request that concerns this one was told of, and stands for so many, itself counted."""
        if not self._matcher.matches(one):
            return
        self._left_out += stands_for
        now = self._taps.clock()
        self._room = min(self._rate, self._room + (now - self._counted) * self._rate)
        self._counted = now
        if self._room >= 1 and len(self._waiting) < _BACKLOG:
            self._room -= 1
            self._left_out -= 1
            self._waiting.append(one)
            self._news.set()

    async def __aiter__(self) -> AsyncIterator[TapLine]:
        """A line without a request as soon as the proxies know, then one a request, and one a while where there is none."""
        await self._taps.settled()
        yield self._silence()
        while not self._closed:
            if not self._waiting:
                self._news.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SILENCE):
                        await self._news.wait()
            self._taps.adjust()
            if not self._waiting and not self._closed:
                yield self._silence()
            while self._waiting:
                yield self._line(self._waiting.popleft())

    def close(self) -> None:
        """Want to see no more."""
        if not self._closed:
            self._closed = True
            self._news.set()
            self._taps.close(self)

    def _silence(self) -> TapLine:
        self._proxies = self._taps.telling(self)
        return self._line(None)

    def _line(self, shown: TappedRequest | None) -> TapLine:
        return TapLine(request=shown, left_out=round(self._left_out), proxies=self._proxies)


def _shares(rates: Mapping[End, float]) -> Mapping[End, int]:
    """What each may tell of ALL, by how many requests a second it has; whoever has few tells all of them."""
    left, level = MOST, MOST_OF_ONE
    for number, rate in enumerate(sorted(rates.values())):
        fair = left / (len(rates) - number)
        if rate > fair:
            level = min(level, fair)
            break
        left -= rate
    return {end: ALL if rate <= level else max(1, int(ALL * level / rate)) for end, rate in rates.items()}


def _differs(before: int, after: int) -> bool:
    return (after == ALL) != (before == ALL) or not before / _STEADY < after < before * _STEADY
