"""What proxies tell of requests: what is said of mesh, namespace and workload, laid over each other as Istio does it.

Of each of the three the oldest object holds, and the first by name where nobody knows their age.  A proxy calls as its
application does: whom that does not see, it can't tell, and who is told of requests is not told of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from plait.compiler.asking import port_of
from plait.compiler.selection import Selectors, selection
from plait.compiler.sharing import Made, PerMesh
from plait.model.authorizer import MeshConfig
from plait.model.catalog import Member, Protocol, Service
from plait.model.mesh import Mesh
from plait.model.scope import Sight
from plait.model.telemetry import (
    ENVOY,
    PROMETHEUS,
    SAMPLED,
    AccessLog,
    Collector,
    FileSink,
    LogRule,
    Observed,
    OtlpSink,
    Side,
    Sink,
    Telemetry,
    TelemetryDefaults,
    Tracing,
    TracingRule,
)

Provider = Sink | Collector


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """Who may be told, by name, and what holds in the absence of any other word."""

    sinks: Mapping[str, Sink]
    collectors: Mapping[str, Collector]
    counting: frozenset[str]
    left_out: frozenset[str]
    """Names by which nobody is told, of which whoever wrote them has been told."""
    defaults: TelemetryDefaults

    @property
    def names(self) -> frozenset[str]:
        return self.counting | self.left_out | self.sinks.keys() | self.collectors.keys()


def providers(configs: Iterable[MeshConfig]) -> Providers:
    """Those of all settings of the mesh; by a name by which different ones are meant nobody is told."""
    said = [config.telemetry for config in configs]
    named: dict[str, list[Provider]] = {}
    for one in (one for config in said for one in (*config.sinks, *config.collectors)):
        named.setdefault(one.name, []).append(one)
    counting = {PROMETHEUS, *(name for config in said for name in config.counting)}
    lost = {name for config in said for name in config.left_out}
    lost |= {name for name, found in named.items() if name in counting or not alike(found)}
    known = {name: found[0] for name, found in named.items() if name not in lost}
    defaults = _defaults(said)
    if ENVOY not in named and ENVOY not in lost:
        known[ENVOY] = defaults.built_in or FileSink(name=ENVOY)
    return Providers(
        sinks={name: one for name, one in known.items() if isinstance(one, (FileSink, OtlpSink))},
        collectors={name: one for name, one in known.items() if isinstance(one, Collector)},
        counting=frozenset(counting),
        left_out=frozenset(lost),
        defaults=defaults,
    )


def alike(several: Sequence[Provider]) -> bool:
    """Whether all of these say the same."""
    first, *others = several
    return all(_nowhere(one, first) == first for one in others)


def _nowhere(one: Provider, like: Provider) -> Provider:
    """It, as if it were said where the other is."""
    if isinstance(one, OtlpSink) and isinstance(like, OtlpSink):
        return replace(one, collector=replace(one.collector, origin=like.collector.origin))
    if isinstance(one, Collector) and isinstance(like, Collector):
        return replace(one, origin=like.origin)
    if isinstance(one, FileSink) and isinstance(like, FileSink):
        return replace(one, origin=like.origin)
    return one


def _defaults(said: Iterable[TelemetryDefaults]) -> TelemetryDefaults:
    """What the first says that says it."""
    found = TelemetryDefaults()
    for one in said:
        found = TelemetryDefaults(
            default_sinks=found.default_sinks or one.default_sinks,
            default_collectors=found.default_collectors or one.default_collectors,
            default_metrics=found.default_metrics or one.default_metrics,
            built_in=found.built_in or one.built_in,
            written=found.written or one.written,
            traced=one.traced if found.traced is None else found.traced,
            sampled=one.sampled if found.sampled is None else found.sampled,
        )
    return found


def may_tell(services: Mapping[str, Service], one: Collector) -> bool:
    """Whether a proxy that sees these services can tell a collector."""
    found = port_of(services, one.host, one.port)
    return found is not None and (bool(one.path) or found.protocol is not Protocol.HTTP)


class _Observing:
    """What is told of the requests of one Mesh."""

    def __init__(self, mesh: Mesh, made: Made) -> None:
        self.providers: Providers = made.of("providers", (mesh.mesh_configs,), providers)
        self._services = selection(mesh).services
        self._root = mesh.settings.root_namespace
        self.quiet = not mesh.telemetries and self.providers.defaults == TelemetryDefaults()
        """Whether nobody says anything, so that nobody tells more than ever."""
        self._selecting = Selectors.of(one for one in mesh.telemetries if not one.targets)
        self._targeting: dict[tuple[str, str], list[tuple[int, Telemetry]]] = {}
        self._place = {one.origin: index for index, one in enumerate(mesh.telemetries)}
        for index, one in enumerate(mesh.telemetries):
            for name in one.targets:
                self._targeting.setdefault((one.namespace, name), []).append((index, one))

    def said(self, member: Member) -> tuple[tuple[Telemetry, ...], ...]:
        """What is said of the mesh, of the namespace of a member, and of itself; the first of each holds."""
        root, own = self._root, member.namespace
        over = self._selecting.over(member, root)
        wide = [one for one in over if not one.selector]
        services = self._services.selecting(own, member.labels) if self._targeting else ()
        named = (one for service in services for one in self._targeting.get((own, service.name), ()))
        chosen = {self._place[one.origin]: one for one in over if one.selector and one.namespace == own}
        chosen |= dict(named)
        return (
            tuple(one for one in wide if one.namespace == root),
            tuple(one for one in wide if one.namespace == own) if own != root else (),
            tuple(chosen[place] for place in sorted(chosen)),
        )

    def over(self, member: Member, own: Iterable[Service], sight: Sight) -> tuple[Observed, Observed]:
        """What a member tells of the requests that it sends, and of those that it is sent.

        `own` are the services that it stands behind.
        """
        holding = tuple(level[0] for level in self.said(member) if level)
        itself = frozenset(service.host for service in own)
        client, server = (self._at(side, holding, sight, itself) for side in Side)
        return client, server

    def _at(self, side: Side, holding: Sequence[Telemetry], sight: Sight, itself: frozenset[str]) -> Observed:
        logs = (
            AccessLog(sink=sink, condition=condition)
            for name, condition in self.logging(side, holding).items()
            if (sink := self._sink(name)) is not None
            and (isinstance(sink, FileSink) or _reaches(sink.collector, sight, itself))
        )
        counted = True
        for rule in (rule for one in holding for rule in one.metrics if side in rule.sides):
            ours = not rule.providers or not self.providers.counting.isdisjoint(rule.providers)
            if rule.disabled is not None and ours:
                counted = not rule.disabled
        return Observed(
            tracing=self._tracing(side, holding, sight, itself), logs=tuple(logs), metrics=counted
        )

    def _sink(self, name: str) -> Sink | None:
        if name == _WRITTEN:
            return self.providers.defaults.written
        return self.providers.sinks.get(name)

    def logging(self, side: Side, holding: Sequence[Telemetry]) -> Mapping[str, str]:
        """To whom requests are told, by name, and on which condition.

        Of the last object that names any providers, those alone are told; whoever names none speaks of those that the
        one before named.
        """
        named: tuple[str, ...] = self.providers.defaults.default_sinks
        said = [one.logs for one in holding if one.logs]
        if not said:
            return dict.fromkeys(named or ((_WRITTEN,) if self.providers.defaults.written else ()), "")
        in_scope = named
        for rules in said:
            in_scope = tuple(name for rule in rules for name in rule.providers) or in_scope
        found: dict[str, str] = {}
        for rule in (rule for rules in said for rule in rules):
            named = rule.providers or named
            if side in rule.sides:
                _apply(rule, [name for name in named if name in in_scope], found)
        return found

    def _tracing(
        self, side: Side, holding: Sequence[Telemetry], sight: Sight, itself: frozenset[str]
    ) -> Tracing:
        defaults = self.providers.defaults
        rules = [rule for one in holding for rule in one.tracing if side in rule.sides]
        spoken = bool(rules or defaults.default_collectors)
        provider = next(iter(defaults.default_collectors), "")
        found = Tracing(
            sampled=SAMPLED if defaults.sampled is None else defaults.sampled,
            reported=spoken or defaults.traced is not False,
        )
        for rule in rules:
            provider = rule.provider or provider
            found = _changed(found, rule)
        collector = self.providers.collectors.get(provider)
        if collector is None:
            return found
        if collector.host in itself:
            return replace(found, reported=False)
        return replace(found, collector=collector) if _reaches(collector, sight, itself) else found


_WRITTEN = ""
"""The name, which no provider has, of the file that requests are written to of which nothing else is said."""


def _apply(rule: LogRule, names: Iterable[str], found: dict[str, str]) -> None:
    for name in names:
        if rule.disabled:
            found.pop(name, None)
        else:
            found[name] = rule.condition


def _changed(tracing: Tracing, rule: TracingRule) -> Tracing:
    return replace(
        tracing,
        sampled=tracing.sampled if rule.sampled is None else rule.sampled,
        reported=tracing.reported if rule.reported is None else rule.reported,
        tags=tracing.tags if rule.tags is None else rule.tags,
    )


def _reaches(collector: Collector, sight: Sight, itself: frozenset[str]) -> bool:
    return collector.host not in itself and may_tell(sight.services, collector)


observing = PerMesh(_Observing)
"""What is told of the requests of a Mesh."""
