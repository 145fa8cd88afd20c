"""How a new version of a workload takes over, in words that belong to no dialect: plans, and where each stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from plait.model.catalog import Workload
from plait.model.names import ObjectRef, Origin, WorkloadKey, service_host
from plait.model.routing import RequestMatch, RouteRule
from plait.model.traffic import PortPolicies

REVISION_LABEL = "plait.dev/revision"


class Version(StrEnum):
    """The two versions of a workload while one takes over."""

    PRIMARY = "primary"
    """The one that serves, under the workload's own name."""
    CANARY = "canary"
    """The one that is tried, under a name of its own."""


TRIED = (REVISION_LABEL, Version.CANARY.value)
"""The label of what is tried, beside those of what serves: whoever has it is called by what asks for this very label, and by nothing else."""


def canary_key(target: WorkloadKey) -> WorkloadKey:
    """The name under which a new version runs beside the one that serves."""
    return WorkloadKey(target.namespace, f"{target.name}-{Version.CANARY}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A value passes when it lies between the two, or on one; None: no bound at this end."""

    least: float | None = None
    most: float | None = None


class Builtin(StrEnum):
    """What is known of every service without a query, by Flagger's names."""

    SUCCESS_RATE = "request-success-rate"
    """Percent of the attempts that did not fail."""
    DURATION = "request-duration"
    """The 99th percentile, in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The canary is compared with the version that serves, over the same minutes, instead of with numbers.

    `alpha`: with what probability a version that is no worse is stopped all the same, over all looks together.
    `horizon`: after so many requests of the canary it has passed if nothing was found.
    """

    alpha: float = 0.05
    horizon: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One thing that is looked at each interval; either `builtin` or `template`.

    `window` in seconds; `at_least`: fewer requests in it say nothing.  `baseline` is of a builtin alone.
    """

    name: str
    window: float = 60.0
    bounds: Bounds = Bounds()
    builtin: Builtin | None = None
    template: ObjectRef | None = None
    variables: tuple[tuple[str, str], ...] = ()
    baseline: Baseline | None = None
    at_least: int = 1
    origin: Origin


class HookType(StrEnum):
    """When somebody is asked or told, in Flagger's words."""

    CONFIRM_ROLLOUT = "confirm-rollout"
    PRE_ROLLOUT = "pre-rollout"
    ROLLOUT = "rollout"
    CONFIRM_TRAFFIC_INCREASE = "confirm-traffic-increase"
    CONFIRM_PROMOTION = "confirm-promotion"
    POST_ROLLOUT = "post-rollout"
    ROLLBACK = "rollback"
    EVENT = "event"

    @property
    def is_gate(self) -> bool:
        """Whether it holds the rollout up until somebody agrees."""
        return self in {
            HookType.CONFIRM_ROLLOUT,
            HookType.CONFIRM_TRAFFIC_INCREASE,
            HookType.CONFIRM_PROMOTION,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A service that is asked or told.  A gate without a `url` is opened by `plait canary approve` alone.

    `timeout` in seconds.
    """

    name: str
    type: HookType
    url: str = ""
    timeout: float = 10.0
    retries: int = 0
    metadata: tuple[tuple[str, str], ...] = ()
    mute_alert: bool = False
    origin: Origin


class AlertSeverity(StrEnum):
    """What somebody wants to be told: this, and what is worse."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Who is told what happens to a rollout: an AlertProvider, by its object."""

    name: str
    severity: AlertSeverity = AlertSeverity.INFO
    provider: ObjectRef
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Who was sent to the canary once stays there for the run; `lifetime` of the cookie in seconds.

    `primary_cookie`: those who were answered by the version that serves stay there as well, by this; "": they don't.
    """

    cookie: str
    lifetime: int = 86_400
    primary_cookie: str = ""


class Strategy(StrEnum):
    """How a new version is tried."""

    CANARY = "canary"
    """By more and more of the traffic."""
    AB = "A/B"
    """By those requests that match."""
    BLUE_GREEN = "blue-green"
    """By nobody's requests, or copies of them; then by all at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """How often it is looked, at what, how far each good look leads, and how many bad ones are too many.

    `interval` in seconds; weights in percent.  `steps` are the canary's weights one after the other, whichever
    way they were written (stepWeight and maxWeight, stepWeights); () with `iterations`.
    """

    interval: float = 60.0
    threshold: int = 1
    steps: tuple[int, ...] = ()
    promotion_step: int = 0
    """By so much the traffic goes to what took over, once it was promoted; 0: at once."""
    iterations: int = 0
    matches: tuple[RequestMatch, ...] = ()
    mirror: bool = False
    mirror_weight: int = 100
    primary_ready: int = 100
    canary_ready: int = 100
    """Percent of the replicas that have to be ready."""
    affinity: Affinity | None = None
    metrics: tuple[Metric, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    alerts: tuple[Alert, ...] = ()
    traffic_deadline: float = 600.0
    """Seconds that it may wait for enough requests to say something."""

    @property
    def strategy(self) -> Strategy:
        if not self.iterations:
            return Strategy.CANARY
        return Strategy.AB if self.matches else Strategy.BLUE_GREEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A plan by which a workload's new versions take over.

    `service` is called for the workload; `port` (0: all that are HTTP) is shifted.  `rule` is what the Canary says
    of routing itself, without backends; None: nothing, and the user's own routes hold.  Times in seconds.
    """

    namespace: str
    name: str
    target: WorkloadKey
    service: str
    port: int
    port_name: str = ""
    target_port: int | str = 0
    """What a Service is made of where nobody has written one; 0: `port`."""
    rule: RouteRule | None = None
    policies: PortPolicies | None = None
    """How the two versions are called, where no DestinationRule says it."""
    analysis: Analysis
    progress_deadline: float = 600.0
    skip_analysis: bool = False
    suspend: bool = False
    revert_on_deletion: bool = False
    origin: Origin

    @property
    def key(self) -> WorkloadKey:
        """Its own namespace and name."""
        return WorkloadKey(self.namespace, self.name)

    @property
    def host(self) -> str:
        return service_host(self.namespace, self.service)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTemplate:
    """A query for the value of a metric; `address` "": the mesh's own store, which answers named queries."""

    namespace: str
    name: str
    provider: str
    address: str = ""
    query: str
    insecure: bool = False
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertProvider:
    """Somebody who is told; `type` is how: slack, msteams, discord, or generic."""

    namespace: str
    name: str
    type: str
    address: str
    channel: str = ""
    username: str = ""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Where a rollout stands, as far as routes and replicas follow from it.

    `weight` percent of the traffic go to the canary, `mirrored` percent are copied to it; `matched`: what the
    analysis' matches catch goes to it.  `cookie`: the value of this run, for who stays at the canary; "" where
    nobody does.
    """

    primary: Workload
    """The version that serves: what was promoted last."""
    candidate: Workload | None = None
    """The version that is tried, as it is written (under the target's own name); None: none runs."""
    weight: int = 0
    mirrored: int = 0
    matched: bool = False
    cookie: str = ""


Shifts = Mapping[WorkloadKey, Shift]
"""By the Canary's namespace and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """All that is written about rollouts; in the Mesh."""

    canaries: tuple[Canary, ...] = ()
    templates: tuple[MetricTemplate, ...] = ()
    providers: tuple[AlertProvider, ...] = ()
    targets: Mapping[WorkloadKey, Workload] = field(default_factory=dict)
    """By the Canary's key: its target as it is written now; a Canary without one is not there."""


NO_PLANS = Plans()
