"""One delta ADS stream as a state machine: no sockets, no clock, no protobuf.

Theory of operation
===================

A Stream serves one proxy.  It is fed with what the proxy says (`receive`) and with what the proxy should
have (`publish`); it is asked for what to send next (`pull`), one response at a time, whenever the transport
can take one.  As nothing is composed before it can be sent, a slow proxy costs no memory: whatever was
published meanwhile is one response to the newest.

Each type that the proxy asked for has a Watch: the names asked for (or the wildcard), the versions the proxy
has, those it refused.  At most one response of a type is unanswered at any time.

**Rounds.**  Taking a proxy from one snapshot to the next is a round.  A round keeps its snapshot to the end,
so that a stream of publishes can't starve its last steps; then the newest begins the next one.  Its steps,
each begun when the one before has been answered:

    make    new and changed clusters, then the endpoints that they and their users wait for
    use     extensions, listeners, then scopes, then routes: whatever names the clusters made
    break   what the snapshot has no more: listeners, scopes, routes, clusters, endpoints

There is no variable that says where a round stands.  `pull` walks the steps from the start and stops at the
first that has something to send or waits for an answer, so that whatever the proxy asks for late (the
endpoints of a new cluster, the routes of a new listener) finds its place by itself.

Nothing is broken before the proxy has asked for each type of use that its snapshot has, or has answered
something: one that comes back tells its clusters first, then all the rest, before it answers anything, and a
route that it still has may name a cluster that is gone.

**Endpoints do not wait.**  They are sent from the newest snapshot, in the midst of a round too: Envoy holds
back its answer to a cluster until that cluster is warm, hence has its endpoints, and an endpoint that is
gone should be gone at once.  A round's use waits only for endpoints that were due when it began, and for
those of the clusters that it made.  While a round lags behind, endpoints known only to its own, older,
snapshot are served too.

**Nor does the runtime wait**, which names nothing and is named by nothing: it is sent from the newest snapshot too,
before anything else, for Envoy's start waits for it.  Nothing is synced before it is answered.

**A changed cluster gets its endpoints again**, even unchanged: Envoy warms the new one beside the old, and
without that waits for its fetch timeout (15 s) before it takes them from its cache.  It doesn't ask: it is
subscribed already.  Changed listeners and scopes need no such thing, as Envoy's route configurations are
shared by name.

**A rejection is an answer.**  It opens the steps behind it: the proxy stays on its last good version of what
was refused, and all else goes on.  Nothing refused is sent again before it changes (or something of its type
is removed, with which it may have clashed).  The others of the rejected response are sent again, since Envoy
takes clusters and listeners one by one and does not note the version of those it took.  If the reason names
none of the response, fewer are sent at a time until the one at fault stands alone.

While a listener, a scope or a route is refused, no route, cluster or endpoints are taken away: the last good
version may still name them.

**A proxy that does not ask** for the endpoints of a cluster is not waited for: Envoy asks before it
acknowledges the cluster, so that whoever has acknowledged it and not asked has no use for them.  A proxy that
does not answer at all holds up itself alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from plait.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    NO_LAYERS,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    TYPES,
    Layered,
    Layers,
    Snapshot,
)
from plait.xds.messages import Event, Rejection, Request, Response, TypeStatus
from plait.xds.watch import Watch

_USE = (LISTENER, EXTENSION, SCOPED_ROUTES, ROUTES)
_BREAK = (*_USE, CLUSTER, ENDPOINTS)
_USED = (ROUTES, CLUSTER, ENDPOINTS)
_NO_USERS = (RUNTIME, CLUSTER, ENDPOINTS)


class Stream:
    """The server's end of one delta ADS stream.  Times are seconds of any clock that only goes forward."""

    def __init__(self, snapshot: Snapshot, generation: int) -> None:
        self._watches: dict[str, Watch] = {}
        self._users: tuple[Watch, ...] = ()
        """Those of _USE in their order; and types that we don't know, which are told that there is nothing."""
        self._serial = 0
        self._newest = self._round = Layered.of(snapshot)
        self._newest_generation = self._round_generation = generation
        self._endpoints = self._round.get(ENDPOINTS, NO_LAYERS)
        self._owed: Mapping[str, int] = {}
        """Endpoints that this round's use waits for -> the first response (by serial) that can bring them.  Shared with
        others, never changed."""
        self._completed: int | None = None
        self._answered = False

    def publish(self, snapshot: Snapshot, generation: int) -> None:
        """The proxy should have this from now on; generations only grow."""
        self._newest, self._newest_generation = Layered.of(snapshot), generation
        if self._completed == self._round_generation:
            self._begin()
        else:
            mine, newest = self._round.get(ENDPOINTS, NO_LAYERS), self._newest.get(ENDPOINTS, NO_LAYERS)
            self._endpoints = _with_older(newest, mine)
            for type_url in (RUNTIME, ENDPOINTS):
                watch = self._watches.get(type_url)
                if watch is not None:
                    watch.aim(self._target(type_url))

    def receive(self, request: Request, now: float) -> Event | None:
        """What the proxy says: an answer, a change of what it asks for, or both.

        Changes count even when the nonce is of a response that was superseded; the answer then doesn't.
        """
        watch = self._watches.get(request.type_url)
        if watch is None or request.subscribe:
            self._completed = None  # the round has more to bring
        if watch is None:
            self._watches[request.type_url] = watch = Watch.opened_by(request, self._target(request.type_url))
            self._users = tuple(
                self._watches[type_url] for type_url in self._order() if type_url not in _NO_USERS
            )
            if request.type_url == ENDPOINTS:
                self._owe_endpoints(watch)
            return None
        outcome = watch.answered(request, now) if request.nonce else None
        if request.subscribe:
            watch.subscribe(request.subscribe)
        if request.unsubscribe:
            watch.unsubscribe(request.unsubscribe)
        event = None
        if outcome is not None:
            self._answered = True
            event, serial = outcome
            if request.type_url == ENDPOINTS and self._owed:
                names = frozenset(event.names)
                self._owed = {
                    name: due for name, due in self._owed.items() if due > serial or name not in names
                }
        if request.type_url == ENDPOINTS and request.subscribe:
            self._owed = {**self._owed, **dict.fromkeys(request.subscribe, self._serial + 1)}
        return event

    def pull(self, now: float) -> Response | None:
        """The next response, in an order that makes before it breaks; None until something is heard."""
        while True:
            for step in (self._tune, self._make, self._use, self._break):
                response, waits = step(now)
                if response is not None or waits:
                    return response
            runtime = self._watches.get(RUNTIME)
            if runtime is None or not runtime.unanswered:
                self._completed = self._round_generation
            if self._newest_generation == self._round_generation:
                return None
            self._begin()

    @property
    def settled(self) -> bool:
        """Whether a round was completed since the proxy last asked for something more."""
        return self._completed is not None

    def synced(self, generation: int) -> bool:
        """Whether the proxy has answered for everything of this generation, or of a newer one."""
        if self._completed is None or self._completed < generation:
            return False
        if self._watches.keys() == {RUNTIME}:
            return False  # all else is about to be asked for
        # A proxy that comes back tells its clusters first: it is about to tell its endpoints as well.
        clusters = self._watches.get(CLUSTER)
        return (
            ENDPOINTS in self._watches
            or clusters is None
            or not any(clusters.has(name) for name in self._endpoints)
        )

    def status(self) -> tuple[TypeStatus, ...]:
        return tuple(
            self._watches[type_url].status(self._newest.get(type_url, NO_LAYERS))
            for type_url in self._order()
        )

    @property
    def refuses(self) -> bool:
        """Whether the proxy refuses anything, be it of the newest snapshot or of an older one."""
        return any(watch.refuses for watch in self._watches.values())

    def rejections(self) -> tuple[Rejection, ...]:
        """What the proxy refuses of the newest snapshot."""
        return tuple(
            rejection
            for type_url in self._order()
            for rejection in self._watches[type_url].rejections(self._newest.get(type_url, NO_LAYERS))
        )

    def _order(self) -> Iterator[str]:
        """The types asked for; those we don't know come last, and are answered that there is nothing."""
        yield from (type_url for type_url in TYPES if type_url in self._watches)
        yield from (type_url for type_url in self._watches if type_url not in TYPES)

    def _begin(self) -> None:
        """Begin a round to the newest snapshot."""
        self._round, self._round_generation = self._newest, self._newest_generation
        self._endpoints = self._round.get(ENDPOINTS, NO_LAYERS)
        self._owed = {}
        for type_url, watch in self._watches.items():
            watch.aim(self._round.get(type_url, NO_LAYERS))
        endpoints = self._watches.get(ENDPOINTS)
        if endpoints is not None and not endpoints.nothing_due:
            self._owe_endpoints(endpoints)

    def _owe_endpoints(self, watch: Watch) -> None:
        due = self._serial + 1
        if watch.fresh and not self._owed:
            self._owed = _all_due(watch.names, due)
        else:
            lacking = {resource.name: due for resource in watch.lacking()}
            self._owed = {**lacking, **self._owed}

    def _target(self, type_url: str) -> Layers:
        if type_url == ENDPOINTS:
            return self._endpoints
        return (self._newest if type_url == RUNTIME else self._round).get(type_url, NO_LAYERS)

    def _tune(self, now: float) -> tuple[Response | None, bool]:
        """What nothing waits for: what to send."""
        runtime = self._watches.get(RUNTIME)
        return (None if runtime is None else self._respond(runtime, now)), False

    def _make(self, now: float) -> tuple[Response | None, bool]:
        """The first step: what to send, and whether the steps behind it must wait."""
        clusters, endpoints = self._watches.get(CLUSTER), self._watches.get(ENDPOINTS)
        if clusters is not None:
            response = self._respond(clusters, now)
            if response is not None:
                self._remind_endpoints(response)
                return response, True
        if endpoints is not None:
            response = self._respond(endpoints, now)
            if response is not None:
                return response, True
        waits = clusters is not None and clusters.unanswered
        return None, waits or (endpoints is not None and bool(self._owed) and self._owes(endpoints))

    def _use(self, now: float) -> tuple[Response | None, bool]:
        for watch in self._users:
            if watch.nothing_due:
                continue
            response = self._respond(watch, now)
            if response is not None or watch.unanswered:
                return response, True
        return None, False

    def _break(self, now: float) -> tuple[Response | None, bool]:
        if not self._answered and any(
            type_url not in self._watches for type_url in _USE if self._round.get(type_url)
        ):
            return None, False
        clings = any(watch.refuses and watch.rejections(watch.target) for watch in self._users)
        for type_url in _BREAK:
            watch = self._watches.get(type_url)
            if watch is None or watch.nothing_stale or (clings and type_url in _USED):
                continue
            stale = watch.stale()
            if stale and not watch.unanswered:
                self._serial += 1
                return watch.remove(stale, self._serial, now), True
            if watch.unanswered and (stale or type_url != ENDPOINTS):
                return None, True
        return None, False

    def _respond(self, watch: Watch, now: float) -> Response | None:
        response = watch.respond(self._serial + 1, now)
        if response is not None:
            self._serial += 1
        return response

    def _remind_endpoints(self, clusters: Response) -> None:
        """Send the endpoints of changed clusters again: Envoy warms the new ones with them."""
        watch = self._watches.get(ENDPOINTS)
        if watch is None:
            return
        again = [
            cluster.name
            for cluster in clusters.resources
            if cluster.name in self._endpoints and watch.wants(cluster.name)
        ]
        for name in again:
            watch.forget(name)
        if again:
            self._owed = {**self._owed, **dict.fromkeys(again, self._serial + 1)}

    def _owes(self, endpoints: Watch) -> bool:
        """Whether owed endpoints are still to come: neither here, nor withdrawn, refused or wanted no more."""
        return any(name in self._endpoints and endpoints.lacks(self._endpoints[name]) for name in self._owed)


@lru_cache(maxsize=16)
def _all_due(names: frozenset[str], serial: int) -> Mapping[str, int]:
    """The same for all that have just come and ask for the same: a thousand may wait for their turn with it."""
    return dict.fromkeys(names, serial)


def _with_older(newest: Layers, older: Layers) -> Layers:
    """The newest, and what only the older ones have."""
    gone = newest.table.since(older.table).gone
    left = {name: older[name] for name in (*gone, *older.own) if name not in newest}
    return Layers(newest.table, {**left, **newest.own}) if left else newest
