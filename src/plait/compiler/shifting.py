"""Requests to a host that is called in two versions: which rules lead to the one that is tried, and at which share.

The host without a subset is the version that serves; the one that is tried is a subset of the same host, of a name
that nobody can give to one of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from plait.compiler.attachment import Attached
from plait.compiler.delegation import both
from plait.compiler.sharing import Made
from plait.model.finding import Finding, Severity
from plait.model.names import Origin
from plait.model.rollout import TRIED, Affinity, Canary, Version
from plait.model.routing import (
    Backend,
    HeaderChanges,
    HostRoutes,
    MatchKind,
    Mirror,
    RequestMatch,
    RouteRule,
    RouteTable,
    StringMatch,
)
from plait.model.traffic import DestinationSettings, PortPolicies, Subset

Found = tuple[Finding, ...]

TRIED_SUBSET = f"_{Version.CANARY}"
"""The name of a subset of a user's begins with a letter or a digit."""
_MOST_WEIGHTS = 2**32 - 1
"""As far as Envoy adds up the weights of a route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """How far the requests to the host of a Canary have gone to the version that is tried.

    `port`: of which port these are; 0: of all that there are.  `runs`: whether there is such a version.  The other
    fields are those of a Shift.
    """

    canary: Canary
    port: int
    runs: bool = False
    weight: int = 0
    mirrored: int = 0
    matched: bool = False
    cookie: str = ""

    @property
    def host(self) -> str:
        return self.canary.host

    @property
    def changes_nothing(self) -> bool:
        """Whether rules hold as they are written."""
        return not self.runs or not (self.weight or self.mirrored or self.matched)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a rollout says of its host: a subset, and all the rest where nobody else says it."""

    settings: DestinationSettings
    table: RouteTable | None = None
    """For those ports at which no other table holds."""

    @property
    def host(self) -> str:
        return self.settings.host


def accepted(offered: DestinationSettings, stated: DestinationSettings | None) -> DestinationSettings:
    """What is stated of a host, and what is offered."""
    if stated is None:
        return offered
    silent = stated.policies == PortPolicies()
    return replace(
        stated,
        subsets=(*stated.subsets, *offered.subsets),
        policies=offered.policies if silent else stated.policies,
    )


def keeping(settings: DestinationSettings, wider: DestinationSettings | None) -> DestinationSettings:
    """Settings in place of wider ones, with the subset that is tried if these have it."""
    tried = tuple(one for one in wider.subsets if one.name == TRIED_SUBSET) if wider is not None else ()
    return replace(settings, subsets=(*settings.subsets, *tried)) if tried else settings


def offers(moves: Iterable[Move], made: Made) -> tuple[Offer, ...]:
    """What each rollout says of its host; nothing where it says nothing."""
    found = (made.of(("offer", move.canary.key), (move,), _offer) for move in moves)
    return made.same("offers", tuple(offer for offer in found if offer is not None))


def _offer(move: Move) -> Offer | None:
    canary = move.canary
    tried = Subset(name=TRIED_SUBSET, labels=(TRIED,), origin=canary.origin)
    settings = DestinationSettings(
        host=move.host,
        subsets=(tried,) if move.runs else (),
        policies=canary.policies or PortPolicies(),
        origin=canary.origin,
    )
    table = _table(move)
    says_nothing = not move.runs and canary.policies is None and table is None
    return None if says_nothing else Offer(settings=settings, table=table)


def _table(move: Move) -> RouteTable | None:
    canary = move.canary
    if canary.rule is None and move.changes_nothing:
        return None
    rule = canary.rule or RouteRule(origin=canary.origin)
    if rule.answer is None:
        rule = replace(rule, backends=(Backend(host=move.host, origin=canary.origin),))
    return RouteTable(
        rules=tuple(_moved((rule,), (move,))),
        ports=(canary.port,) if canary.port else (),
        origins=(canary.origin,),
    )


def moved_routes(
    owned: tuple[HostRoutes, ...], moves: tuple[Move, ...], made: Made
) -> tuple[HostRoutes, ...]:
    """The routes as they hold while new versions are tried."""
    return tuple(
        made.of(("moved", one.origin), (one, concerned), _moved_routes) if concerned else one
        for one in owned
        for concerned in (_concerned(one.origin, one.rules, moves, made),)
    )


def moved_tables(attached: tuple[Attached, ...], moves: tuple[Move, ...], made: Made) -> tuple[Attached, ...]:
    """What is attached to services as it holds while new versions are tried."""
    return tuple(
        made.of(("moved", one.host, one.export), (one, concerned), _moved_tables) if concerned else one
        for one in attached
        for rules in (tuple(rule for table in one.tables for rule in table.rules),)
        for concerned in (_concerned((one.host, one.export), rules, moves, made),)
    )


def _concerned(
    key: object, rules: tuple[RouteRule, ...], moves: tuple[Move, ...], made: Made
) -> tuple[Move, ...]:
    led = made.of(("led", key), (rules,), _led)
    return tuple(move for move in moves if move.host in led and not move.changes_nothing)


def _led(rules: tuple[RouteRule, ...]) -> frozenset[str]:
    return frozenset(backend.host for rule in rules for backend in rule.destinations)


def _moved_routes(routes: HostRoutes, moves: tuple[Move, ...]) -> HostRoutes:
    return replace(routes, rules=tuple(_moved(routes.rules, moves)))


def _moved_tables(attached: Attached, moves: tuple[Move, ...]) -> Attached:
    tables = tuple(replace(table, rules=tuple(_moved(table.rules, moves))) for table in attached.tables)
    return replace(attached, tables=tables)


def _moved(rules: Iterable[RouteRule], moves: Iterable[Move]) -> Iterable[RouteRule]:
    for move in moves:
        rules = tuple(one for rule in rules for one in _rules(rule, move))
    return rules


def _rules(rule: RouteRule, move: Move) -> Iterator[RouteRule]:
    """The rules in place of one: those for requests that are chosen come before it.

    Where one port alone is moved, a rule for all ports that leads to the port that was called becomes two.
    """
    match = rule.match
    called = match.port if match is not None else 0
    if move.port and not called and any(one.host and not one.port for one in rule.destinations):
        here = replace(rule, match=replace(match or RequestMatch(origin=rule.origin), port=move.port))
        if _Rule(here, move, move.port).is_moved:
            yield from _Rule(here, move, move.port).rules
    yield from _Rule(rule, move, called).rules


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule, of requests to the port `called` (0: to any), and how far some of its destinations have moved."""

    rule: RouteRule
    move: Move
    called: int

    @property
    def is_moved(self) -> bool:
        """Whether some of its destinations have moved."""
        return any(self._is_moved(one) for one in self.rule.destinations)

    def _is_moved(self, backend: Backend) -> bool:
        if backend.host != self.move.host or backend.subset:
            return False
        return self.move.port in (0, backend.port or self.called)

    @property
    def rules(self) -> Iterator[RouteRule]:
        move = self.move
        if self.is_moved:
            affinity = move.canary.analysis.affinity if move.cookie else None
            if move.matched:
                yield from self._chosen(move.canary.analysis.matches, 100)
            if affinity is not None and move.weight:
                yield from self._chosen((self._carrying(affinity.cookie),), 100)
            if affinity is not None and affinity.primary_cookie and 0 < move.weight < 100:
                yield from self._chosen((self._carrying(affinity.primary_cookie),), 0)
            yield self._whole(affinity)
        else:
            yield self.rule

    def _chosen(self, matches: Iterable[RequestMatch], weight: int) -> Iterator[RouteRule]:
        """The rule for those of its requests that match besides, with this share (0 or 100) for what is tried."""
        chosen = self._split(weight, None)
        for one in matches:
            match, possible = both(one, self.rule.match)
            if possible:
                yield replace(chosen, match=match)

    def _whole(self, affinity: Affinity | None) -> RouteRule:
        split = self._split(self.move.weight, affinity)
        total = sum(one.weight for one in self.rule.backends)
        copies = tuple(
            Mirror(backend=_tried(one), millionths=self.move.mirrored * 10_000 * one.weight // total)
            for one in self.rule.backends
            if one.weight and self._is_moved(one)
        )
        return replace(split, mirrors=(*split.mirrors, *(one for one in copies if one.millionths)))

    def _split(self, weight: int, affinity: Affinity | None) -> RouteRule:
        """The rule with so many percent for what is tried; who is sent to either is given its cookie."""
        backends = self.rule.backends
        alone, divided = len(backends) == 1, 0 < weight < 100
        parts = tuple(
            part
            for one in backends
            for part in (
                self._parts(
                    replace(one, weight=min(one.weight, 1)) if alone and divided else one, weight, affinity
                )
                if self._is_moved(one)
                else (replace(one, weight=one.weight * 100 if divided else one.weight),)
            )
        )
        mirrors = tuple(
            Mirror(backend=backend, millionths=mirror.millionths * share // 100)
            for mirror in self.rule.mirrors
            for backend, share in (
                ((mirror.backend, 100 - weight), (_tried(mirror.backend), weight))
                if self._is_moved(mirror.backend)
                else ((mirror.backend, 100),)
            )
            if share
        )
        return replace(self.rule, backends=_lowered(parts), mirrors=mirrors)

    def _parts(self, backend: Backend, weight: int, affinity: Affinity | None) -> Iterator[Backend]:
        serving, tried = backend, _tried(backend)
        if affinity is not None and weight:
            tried = self._giving(tried, affinity.cookie, affinity.lifetime)
            if affinity.primary_cookie and weight < 100:
                serving = self._giving(serving, affinity.primary_cookie, affinity.lifetime)
        if 0 < weight < 100:
            yield replace(serving, weight=backend.weight * (100 - weight))
            yield replace(tried, weight=backend.weight * weight)
        else:
            yield tried if weight else serving

    def _giving(self, backend: Backend, cookie: str, lifetime: int) -> Backend:
        """A backend whose answers give a cookie of this run."""
        text = f"{cookie}={self.move.cookie}; Path=/; Max-Age={lifetime}".replace("%", "%%")
        response = backend.changes.response
        giving: HeaderChanges = replace(response, add=(*response.add, ("set-cookie", text)))
        return replace(backend, changes=replace(backend.changes, response=giving))

    def _carrying(self, cookie: str) -> RequestMatch:
        """Whoever shows this cookie of this run, whatever other cookies there are."""
        text = re.escape(f"{cookie}={self.move.cookie}")
        test = StringMatch(MatchKind.REGEX, rf"(?:.*;[ \t]*)?{text}[ \t]*(?:;.*)?")
        return RequestMatch(headers=(("cookie", test),), origin=self.move.canary.origin)


def _tried(backend: Backend) -> Backend:
    return replace(backend, subset=TRIED_SUBSET)


def _lowered(backends: tuple[Backend, ...]) -> tuple[Backend, ...]:
    """With weights that Envoy can add up; nobody who has some loses all of it."""
    factor = -(-sum(one.weight for one in backends) // (_MOST_WEIGHTS - len(backends)))
    if factor < 2:
        return backends
    return tuple(replace(one, weight=max(one.weight // factor, min(one.weight, 1))) for one in backends)


def untouched(canaries: Iterable[Canary], owned: Iterable[HostRoutes], attached: Iterable[Attached]) -> Found:
    """What rollouts leave as it is in the routes of their hosts."""
    by_host = {canary.host: canary for canary in canaries}
    tables: tuple[HostRoutes | RouteTable, ...] = (
        *owned,
        *(table for one in attached for table in one.tables),
    )
    return tuple(
        finding
        for table in tables
        for rule in table.rules
        for backend in rule.backends
        if backend.host in by_host
        for finding in _left_alone(rule, backend, by_host[backend.host])
    )


def _left_alone(rule: RouteRule, backend: Backend, canary: Canary) -> Iterator[Finding]:
    ref = canary.origin.ref
    if backend.subset:
        message = f"names subset {backend.subset} of {canary.host}: {ref} does not move it, and it stays with the version that serves"
        yield _warning("canary.subset-named", message, backend.origin)
        return
    mine = rule.match.path if rule.match is not None else None
    for match in canary.analysis.matches:
        _, possible = both(match, rule.match)
        kinds = {one.kind for one in (mine, match.path) if one is not None}
        if not possible and MatchKind.REGEX in kinds:
            message = (
                f"whether a path matches both this rule and one of the matches of {ref} can't be told: none of its "
                "requests is led to the canary"
            )
            yield _warning("canary.match-undecided", message, rule.origin)


def _warning(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.WARNING, code, message, origin.ref, origin.field)
