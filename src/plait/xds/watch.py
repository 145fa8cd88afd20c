"""One type on one stream: what the proxy asks for, what it has, and what it would not take.

What a proxy has is kept as a Table that it shares with other proxies, and what differs from that: in a mesh of
thousands of proxies most have the same, and a change costs each of them what has changed, not what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

from plait.resource import NO_TABLE, Layers, Resource, Table
from plait.xds.messages import Accepted, Event, Rejected, Rejection, Request, Response, TypeStatus
from plait.xds.nack import culprits

WILDCARD = "*"


@lru_cache(maxsize=64)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """The same set for equal sets: most proxies ask for the same names."""
    return names


@dataclass(slots=True)
class _Unanswered:
    """The one response that waits for its answer.  `versions` loses what was asked for anew meanwhile."""

    nonce: str
    names: tuple[str, ...]
    versions: dict[str, str]
    removed: tuple[str, ...]
    serial: int
    sent_at: float
    completes: Table | None
    """The proxy has all of this table that it wants and does not refuse, once it has accepted this."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    version: str
    reason: str


@dataclass(slots=True)
class Watch:
    """The subscription to one type."""

    type_url: str
    target: Layers
    """What the proxy should have."""
    wildcard: bool = False
    names: frozenset[str] = frozenset()
    _table: Table = NO_TABLE
    """The proxy has what it wants of this, but for ..."""
    _held: dict[str, str | None] = field(default_factory=dict)
    """... these, of which it has another version, or none (None); and what the table does not hold at all."""
    _doubtful: set[str] = field(default_factory=set)
    """Sent in a response that was rejected: Envoy may have taken them all the same, one by one."""
    _refused: dict[str, _Refusal] = field(default_factory=dict)
    _untold: frozenset[str] = frozenset()
    """Asked for by name, and not yet answered that there is none (or what it is); the shared names when it is all."""
    _must_answer: bool = False
    _unanswered: _Unanswered | None = None
    _limit: int | None = None
    """At most so many resources a response, while a rejection that names nobody is being narrowed down."""
    nothing_due: bool = False
    nothing_stale: bool = False
    """The proxy lacks nothing, or has nothing that it should not have, and no answer is out: what was found last, and
    holds until a change."""
    _sent: int = 0
    _latency: float | None = None

    @staticmethod
    def opened_by(request: Request, target: Layers) -> Watch:
        """The watch that the first request of a type on a stream asks for.

        A request without names is a wildcard, and only the first can be one in that form.  Versions that the
        proxy says it has are believed, and kept as what sets it apart from the target: one that comes back tells
        thousands, nearly all of which are those.  A wildcard of which the proxy has nothing is answered even when
        there is nothing to say: Envoy's start waits for that.
        """
        watch = Watch(request.type_url, target)
        watch.names = _shared(frozenset(request.subscribe) - {WILDCARD})
        watch.wildcard = WILDCARD in request.subscribe or not request.subscribe
        watch._held = {name: one for name, one in request.versions.items() if watch.wants(name)}
        watch._untold = watch.names - watch._held.keys() if watch._held else watch.names
        watch._must_answer = watch.wildcard and not watch._held
        if watch._held:
            watch._complete(target.table, {})
        return watch

    def aim(self, target: Layers) -> None:
        """The proxy should have this from now on."""
        if not self.target.same(target):
            self._changed()
        self.target = target

    @property
    def unanswered(self) -> bool:
        return self._unanswered is not None

    @property
    def refuses(self) -> bool:
        """Whether the proxy refuses anything, be it as it is now or as it was."""
        return bool(self._refused)

    @property
    def fresh(self) -> bool:
        """Whether the proxy has nothing yet, and asks by name."""
        return self._table is NO_TABLE and not self._held and not self.wildcard

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def has(self, name: str) -> bool:
        """Whether the proxy has some version of this."""
        return self._version(name) is not None

    def lacks(self, resource: Resource) -> bool:
        """Whether the proxy should be sent this: it wants it, has another version or none, and did not refuse it."""
        name, version = resource.name, resource.version
        if not self.wants(name) or self._version(name) == version:
            return False
        refusal = self._refused.get(name)
        return refusal is None or refusal.version != version

    def lacking(self) -> list[Resource]:
        """All that the proxy should be sent."""
        target = self.target
        if self._refused:
            return [resource for resource in self._candidates(target) if self.lacks(resource)]
        # The same without a call for each: nobody refuses anything, and a thousand proxies may lack thousands.
        changed, table, own = target.table.since(self._table).changed, target.table.resources, target.own
        held, wildcard, names = self._held, self.wildcard, self.names
        found = [
            one
            for name, one in changed.items()
            if (wildcard or name in names) and name not in own and held.get(name) != one.version
        ]
        found += [
            table[name]
            for name, version in held.items()
            if name in table
            and table[name].version != version
            and name not in changed
            and name not in own
            and self.wants(name)
        ]
        found += [
            one
            for name, one in own.items()
            if (wildcard or name in names)
            and (held[name] if name in held else self._version(name)) != one.version
        ]
        return found

    def subscribe(self, names: Iterable[str]) -> None:
        """Names asked for after the first request; what the proxy asks for again it is sent again."""
        asked = set(names)
        if not asked:
            return
        if WILDCARD in asked:
            asked.discard(WILDCARD)
            self._keep(self.names)
            self.wildcard = self._must_answer = True
        self.names = _shared(self.names | asked)
        waiting = self._unanswered.versions if self._unanswered is not None else {}
        for known in (self._table.resources, self._held, self._refused, waiting):
            for name in asked & known.keys():
                self.forget(name)
        self._untold |= asked
        self._changed()

    def unsubscribe(self, names: Iterable[str]) -> None:
        left = set(names)
        if not left:
            return
        if WILDCARD in left:
            left.discard(WILDCARD)
            self._keep(self.names)
            self.wildcard = self._must_answer = False
        self.names = _shared(self.names - left)
        self._untold -= left
        for name in left:
            self._drop(name)
        if self.wildcard:
            self._untold |= left  # the proxy can't know whether the wildcard holds them: it is told
        self._changed()

    def forget(self, name: str) -> None:
        """What the proxy was sent by this name counts no more, so that it is sent again."""
        self._lose(name)
        self._refused.pop(name, None)
        if self._unanswered is not None:
            self._unanswered.versions.pop(name, None)
        self._changed()

    def respond(self, serial: int, now: float) -> Response | None:
        """What to send so that the proxy gets what it lacks; None while an answer is out, or if it lacks nothing.

        `serial` numbers the response among all of the stream; its text is the nonce.
        """
        if self.nothing_due or self._unanswered is not None:
            return None
        due, target = self.lacking(), self.target
        absent: tuple[str, ...] = ()
        if self._untold:
            absent = tuple(sorted(self._untold.difference(target.table.resources, target.own)))
            self._untold = frozenset()
        if not due and not absent and not self._must_answer:
            self._complete(target.table, {})
            self.nothing_due = True
            self._limit = None
            return None
        self._must_answer = False
        whole = self._limit is None or len(due) <= self._limit
        return self._send(tuple(due[: self._limit]), absent, serial, now, target.table if whole else None)

    def stale(self) -> tuple[str, ...]:
        """Names that the proxy has, or may have, and should not have any more."""
        if self.nothing_stale:
            return ()
        target = self.target
        doubted = chain(target.table.since(self._table).gone, self._held)
        suspects = {name for name in doubted if self.has(name)} | self._doubtful
        gone = tuple(sorted(name for name in suspects if name not in target))
        self.nothing_stale = not gone and self._unanswered is None
        return gone

    def remove(self, names: tuple[str, ...], serial: int, now: float) -> Response:
        return self._send((), names, serial, now, None)

    def answered(self, request: Request, now: float) -> tuple[Event, int] | None:
        """Take an acknowledgement or a rejection: what happened, and the serial of the response it answers.

        None if the nonce is not that of the response that waits: an answer to what was superseded.
        """
        waiting = self._unanswered
        if waiting is None or request.nonce != waiting.nonce:
            return None
        self._unanswered = None
        self._changed()
        made_room = False
        for name in waiting.removed:
            made_room = made_room or self.has(name)
            self._drop(name)
        latency = now - waiting.sent_at
        if request.error is not None:
            blamed = self._reject(waiting, request.error)
            rejected = Rejected(type_url=self.type_url, names=blamed, reason=request.error, latency=latency)
            return rejected, waiting.serial
        self._latency = latency
        self._doubtful.difference_update(waiting.versions)
        for name in self._refused.keys() & waiting.versions.keys() if self._refused else ():
            del self._refused[name]
        self._complete(waiting.completes or self._table, waiting.versions)
        if made_room:
            self._refused.clear()  # what is gone may be what they clashed with: they get one more chance
        if self._limit is not None:
            self._limit *= 2
        accepted = Accepted(
            type_url=self.type_url, names=waiting.names, removed=waiting.removed, latency=latency
        )
        return accepted, waiting.serial

    def status(self, target: Layers) -> TypeStatus:
        wanted = len(target) if self.wildcard else self._asked_of(target)
        behind = sum(
            self.wants(one.name) and self._version(one.name) != one.version
            for one in self._candidates(target)
        )
        return TypeStatus(
            type_url=self.type_url,
            wanted=wanted,
            acknowledged=wanted - behind,
            sent=self._sent,
            unanswered=self.unanswered,
            latency=self._latency,
            rejections=self.rejections(target),
        )

    def rejections(self, target: Layers) -> tuple[Rejection, ...]:
        """What the proxy refuses of the target as it is now."""
        if not self._refused:
            return ()
        return tuple(
            Rejection(resource=resource, reason=refusal.reason)
            for name, refusal in sorted(self._refused.items())
            if (resource := target.get(name)) is not None and resource.version == refusal.version
        )

    def _asked_of(self, target: Layers) -> int:
        """How many of the names asked for there are."""
        table = target.table.resources
        return len(self.names & table.keys()) + sum(
            name in self.names for name in target.own if name not in table
        )

    def _version(self, name: str) -> str | None:
        """The version that the proxy has, as far as it said so."""
        if name in self._held:
            return self._held[name]
        resource = self._table.resources.get(name)
        return resource.version if resource is not None and self.wants(name) else None

    def _candidates(self, target: Layers) -> Iterator[Resource]:
        """Every resource of the target, once, that the proxy may have to be sent."""
        changed = target.table.since(self._table).changed
        table, own = target.table.resources, target.own
        yield from (one for one in changed.values() if one.name not in own) if own else changed.values()
        yield from (
            table[name] for name in self._held if name in table and name not in changed and name not in own
        )
        yield from own.values()

    def _complete(self, table: Table, accepted: Mapping[str, str]) -> None:
        """The proxy has taken these; of what it wants of the table it now lacks nothing but what it refuses or forgot."""
        difference = table.since(self._table)
        held = self._held
        # What it has of the others stays as it is, and is seen against the new table from now on.
        names = (name for name in chain(difference.changed, difference.gone) if name not in accepted)
        others = {name: self._version(name) for name in names if name not in held and self.wants(name)}
        mine = table.resources
        self._table = table
        self._held = {
            name: version
            for name, version in ({**others, **held, **accepted} if others or accepted else held).items()
            if version != (mine[name].version if name in mine else None) and self.wants(name)
        }

    def _keep(self, names: frozenset[str]) -> None:
        """Know nothing any more but of these."""
        suspects = {*self._table.resources, *self._held, *self._doubtful, *self._refused}
        self._held = {name: version for name in names if (version := self._version(name)) is not None}
        self._table = NO_TABLE
        for name in suspects - names:
            self._drop(name)
        if self._unanswered is not None:
            self._unanswered.completes = None

    def _send(
        self,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...],
        serial: int,
        now: float,
        completes: Table | None,
    ) -> Response:
        nonce = str(serial)
        versions = {resource.name: resource.version for resource in resources}
        self._unanswered = _Unanswered(nonce, tuple(versions), versions, removed, serial, now, completes)
        self._changed()
        self._sent += len(resources)
        return Response(type_url=self.type_url, nonce=nonce, resources=resources, removed=removed)

    def _reject(self, waiting: _Unanswered, reason: str) -> tuple[str, ...]:
        """Note who is at fault; the others of the response are sent again, as Envoy may have them or not."""
        blamed = culprits(waiting.names, reason)
        if not blamed and len(waiting.names) == 1:
            blamed = waiting.names
        if not blamed and waiting.names:
            self._limit = max(1, len(waiting.names) // 2)
        for name, version in tuple(waiting.versions.items()):
            self._doubtful.add(name)
            if name in blamed:
                self._refused[name] = _Refusal(version, reason)
            else:
                self._lose(name)
        return blamed

    def _lose(self, name: str) -> None:
        """The proxy counts as having no version of this."""
        if name in self._table.resources:
            self._held[name] = None
        else:
            self._held.pop(name, None)

    def _changed(self) -> None:
        self.nothing_due = self.nothing_stale = False

    def _drop(self, name: str) -> None:
        """Know nothing of this name any more."""
        self.forget(name)
        self._doubtful.discard(name)
