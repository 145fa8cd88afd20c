"""One type on one stream: what the proxy asks for, what it has, and what it would not take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from plait.resource import Resource
from plait.xds.messages import Accepted, Event, Rejected, Rejection, Request, Response, TypeStatus
from plait.xds.nack import culprits

WILDCARD = "*"

Target = Mapping[str, Resource]


@dataclass(slots=True)
class _Unanswered:
    """The one response that waits for its answer.  `versions` loses what was asked for anew meanwhile."""

    nonce: str
    names: tuple[str, ...]
    versions: dict[str, str]
    removed: tuple[str, ...]
    serial: int
    sent_at: float


@dataclass(frozen=True, slots=True)
class _Refusal:
    version: str
    reason: str


@dataclass(slots=True)
class Watch:
    """The subscription to one type."""

    type_url: str
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    _held: dict[str, str] = field(default_factory=dict)
    """Name -> version that the proxy has, as far as it said so."""
    _doubtful: set[str] = field(default_factory=set)
    """Sent in a response that was rejected: Envoy may have taken them all the same, one by one."""
    _refused: dict[str, _Refusal] = field(default_factory=dict)
    _untold: set[str] = field(default_factory=set)
    """Asked for by name, and not yet answered that there is none (or what it is)."""
    _must_answer: bool = False
    _unanswered: _Unanswered | None = None
    _limit: int | None = None
    """At most so many resources a response, while a rejection that names nobody is being narrowed down."""
    _nothing_due: Target | None = None
    _nothing_stale: Target | None = None
    """The target that was compared last without result: short cuts, dropped at each change."""
    _sent: int = 0
    _latency: float | None = None

    @staticmethod
    def opened_by(request: Request) -> Watch:
        """The watch that the first request of a type on a stream asks for.

        A request without names is a wildcard, and only the first can be one in that form.  Versions that the
        proxy says it has are believed.  A wildcard of which the proxy has nothing is answered even when there
        is nothing to say: Envoy's start waits for that.
        """
        watch = Watch(request.type_url)
        watch.names = set(request.subscribe) - {WILDCARD}
        watch.wildcard = WILDCARD in request.subscribe or not request.subscribe
        watch._held = {name: version for name, version in request.versions if watch.wants(name)}
        watch._untold = watch.names - watch._held.keys()
        watch._must_answer = watch.wildcard and not watch._held
        return watch

    @property
    def unanswered(self) -> bool:
        return self._unanswered is not None

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def has(self, name: str) -> bool:
        """Whether the proxy has some version of this."""
        return name in self._held

    def lacks(self, resource: Resource) -> bool:
        """Whether the proxy should be sent this: it wants it, has another version or none, and did not refuse it."""
        name, version = resource.name, resource.version
        if not self.wants(name) or self._held.get(name) == version:
            return False
        refusal = self._refused.get(name)
        return refusal is None or refusal.version != version

    def subscribe(self, names: Iterable[str]) -> None:
        """Names asked for after the first request; what the proxy asks for again it is sent again."""
        for name in names:
            if name == WILDCARD:
                self.wildcard = self._must_answer = True
            else:
                self.names.add(name)
                self.forget(name)
                self._untold.add(name)
        self._changed()

    def unsubscribe(self, names: Iterable[str]) -> None:
        for name in names:
            if name == WILDCARD:
                self.wildcard = self._must_answer = False
                for other in (self._held.keys() | self._doubtful | self._refused.keys()) - self.names:
                    self._drop(other)
                continue
            self.names.discard(name)
            self._untold.discard(name)
            self._drop(name)
            if self.wildcard:
                self._untold.add(name)  # the proxy can't know whether the wildcard holds it: it is told
        self._changed()

    def forget(self, name: str) -> None:
        """What the proxy was sent by this name counts no more, so that it is sent again."""
        self._held.pop(name, None)
        self._refused.pop(name, None)
        if self._unanswered is not None:
            self._unanswered.versions.pop(name, None)
        self._changed()

    def respond(self, target: Target, serial: int, now: float) -> Response | None:
        """What to send so that the proxy gets what it lacks; None while an answer is out, or if it lacks nothing.

        `serial` numbers the response among all of the stream; its text is the nonce.
        """
        if self.unanswered or (self._nothing_due is target and not self._must_answer):
            return None
        due = [resource for resource in self._chosen(target) if self.lacks(resource)]
        absent = tuple(sorted(name for name in self._untold if name not in target))
        self._untold.clear()
        if not due and not absent and not self._must_answer:
            self._nothing_due = target
            self._limit = None
            return None
        self._must_answer = False
        return self._send(tuple(due[: self._limit]), absent, serial, now)

    def stale(self, target: Target) -> tuple[str, ...]:
        """Names that the proxy has, or may have, and should not have any more."""
        if self._nothing_stale is target:
            return ()
        gone = tuple(sorted((self._held.keys() | self._doubtful) - target.keys()))
        if not gone:
            self._nothing_stale = target
        return gone

    def remove(self, names: tuple[str, ...], serial: int, now: float) -> Response:
        return self._send((), names, serial, now)

    def answered(self, request: Request, now: float) -> tuple[Event, int] | None:
        """Take an acknowledgement or a rejection: what happened, and the serial of the response it answers.

        None if the nonce is not that of the response that waits: an answer to what was superseded.
        """
        waiting = self._unanswered
        if waiting is None or request.nonce != waiting.nonce:
            return None
        self._unanswered = None
        self._changed()
        made_room = any(name in self._held for name in waiting.removed)
        for name in waiting.removed:
            self._drop(name)
        latency = now - waiting.sent_at
        if request.error is not None:
            blamed = self._reject(waiting, request.error)
            rejected = Rejected(type_url=self.type_url, names=blamed, reason=request.error, latency=latency)
            return rejected, waiting.serial
        self._latency = latency
        for name in waiting.versions:
            self._drop(name)
        self._held.update(waiting.versions)
        if made_room:
            self._refused.clear()  # what is gone may be what they clashed with: they get one more chance
        if self._limit is not None:
            self._limit *= 2
        accepted = Accepted(
            type_url=self.type_url, names=waiting.names, removed=waiting.removed, latency=latency
        )
        return accepted, waiting.serial

    def status(self, target: Target) -> TypeStatus:
        wanted = tuple(self._chosen(target))
        return TypeStatus(
            type_url=self.type_url,
            wanted=len(wanted),
            acknowledged=sum(self._held.get(resource.name) == resource.version for resource in wanted),
            sent=self._sent,
            unanswered=self.unanswered,
            latency=self._latency,
            rejections=self.rejections(target),
        )

    def rejections(self, target: Target) -> tuple[Rejection, ...]:
        """What the proxy refuses of the target as it is now."""
        return tuple(
            Rejection(resource=resource, reason=refusal.reason)
            for name, refusal in sorted(self._refused.items())
            if (resource := target.get(name)) is not None and resource.version == refusal.version
        )

    def _chosen(self, target: Target) -> Iterable[Resource]:
        if self.wildcard:
            return target.values()
        return (target[name] for name in sorted(self.names & target.keys()))

    def _send(
        self, resources: tuple[Resource, ...], removed: tuple[str, ...], serial: int, now: float
    ) -> Response:
        nonce = str(serial)
        versions = {resource.name: resource.version for resource in resources}
        self._unanswered = _Unanswered(nonce, tuple(versions), versions, removed, serial, now)
        self._sent += len(resources)
        return Response(type_url=self.type_url, nonce=nonce, resources=resources, removed=removed)

    def _reject(self, waiting: _Unanswered, reason: str) -> tuple[str, ...]:
        """Note who is at fault; the others of the response are sent again, as Envoy may have them or not."""
        blamed = culprits(waiting.names, reason)
        if not blamed and len(waiting.names) == 1:
            blamed = waiting.names
        if not blamed and waiting.names:
            self._limit = max(1, len(waiting.names) // 2)
        for name, version in waiting.versions.items():
            self._doubtful.add(name)
            if name in blamed:
                self._refused[name] = _Refusal(version, reason)
            else:
                self._held.pop(name, None)
        return blamed

    def _changed(self) -> None:
        self._nothing_due = self._nothing_stale = None

    def _drop(self, name: str) -> None:
        """Know nothing of this name any more."""
        self.forget(name)
        self._doubtful.discard(name)
