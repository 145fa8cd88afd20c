"""What a dialect understood of one document."""

from __future__ import annotations

from dataclasses import dataclass

from plait.model.authentication import RequestAuthentication
from plait.model.authorizer import MeshConfig
from plait.model.catalog import Service, Workload
from plait.model.finding import Finding
from plait.model.limits import RateLimit
from plait.model.policy import AuthorizationPolicy, PeerAuthentication
from plait.model.rollout import AlertProvider, Canary, MetricTemplate
from plait.model.routing import AttachedRoutes, DelegateRoutes, Grant, HostRoutes
from plait.model.scope import EgressScope
from plait.model.telemetry import Telemetry
from plait.model.traffic import DestinationSettings


@dataclass(frozen=True, slots=True)
class Namespace:
    name: str


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    namespace: str
    name: str


Fact = (
    Namespace
    | ServiceAccount
    | Service
    | Workload
    | HostRoutes
    | DelegateRoutes
    | AttachedRoutes
    | Grant
    | EgressScope
    | DestinationSettings
    | AuthorizationPolicy
    | PeerAuthentication
    | RateLimit
    | RequestAuthentication
    | MeshConfig
    | Telemetry
    | Canary
    | MetricTemplate
    | AlertProvider
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The facts that one document states, as far as it could be read, and what was found wrong with it."""

    facts: tuple[Fact, ...] = ()
    findings: tuple[Finding, ...] = ()
