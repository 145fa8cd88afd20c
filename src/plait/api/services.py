"""What the API says of one service: how it is routed, who may call it, who is kept out, and where that is written."""

from __future__ import annotations

from dataclasses import dataclass

from plait.api.views import Written


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """A port that clients call; `protocol` is one of plait.model.catalog.Protocol."""

    name: str
    number: int
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationView:
    """Who gets a `share` (percent) of what a rule matches; `subset` "" is the whole service, `port` 0 the called one.

    `mirrored`: it gets copies, and its answers are seen by nobody.
    """

    host: str
    subset: str
    port: int
    share: float
    mirrored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """A rule of a route: what it `matches`, in words (none: every request), and what becomes of that.

    `answer`, in words, comes in place of destinations.  `more` says the rest, a phrase each: timeouts, retries, faults.
    """

    name: str
    matches: tuple[str, ...]
    answer: str
    destinations: tuple[DestinationView, ...]
    more: tuple[str, ...]
    written: Written | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesView:
    """The rules in force at some ports, the first that matches first.  Without an object behind them: the default."""

    ports: tuple[int, ...]
    rules: tuple[RuleView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRuleView:
    """One rule of a policy, in words: who may do what, and when; what is empty asks for nothing."""

    who: tuple[str, ...]
    what: tuple[str, ...]
    when: tuple[str, ...]
    written: Written | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """A policy that decides about a workload of the service; `action` in Istio's words, no rule: nothing is allowed.

    `dry_run`: it only tells what it would do.
    """

    action: str
    dry_run: bool
    workload: str
    rules: tuple[PolicyRuleView, ...]
    written: Written | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """A replica behind the service (`node`: NAMESPACE/WORKLOAD/NUMBER); `ejected_by` names replicas that avoid it now."""

    node: str
    version: str
    state: str
    address: str
    restarts: int
    certificate_expires: str | None = None
    message: str = ""
    ejected_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """The answer of GET /v1/services/{namespace}/{name}: a service as the mesh has it now.

    `mtls` is STRICT, PERMISSIVE or DISABLE for each workload behind it, or several of them.
    """

    namespace: str
    name: str
    host: str
    ports: tuple[PortView, ...]
    routes: tuple[RoutesView, ...]
    policies: tuple[PolicyView, ...]
    mtls: tuple[str, ...]
    instances: tuple[InstanceView, ...]
    written: Written | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalView:
    """Who was kept out of a service, how often within the window, and why; `source` "" is somebody without identity.

    `reason` is in plain words.  `written` is the rule that says it, or the one object that can have said it or where it
    would be allowed; None: there are several, or none.
    """

    source_namespace: str
    source: str
    source_version: str
    service: str
    destination_namespace: str
    destination: str
    destination_version: str
    requests: int
    reason: str
    written: Written | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The answer of GET /v1/refusals, most first."""

    refusals: tuple[RefusalView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectView:
    """The answer of GET /v1/objects: an object as it stands in its file, comments and all, and its first line there."""

    written: Written
    text: str
