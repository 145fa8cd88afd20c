"""What clients see of a mesh: not all of them the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plait.model.catalog import Labels, Service
from plait.model.names import Origin
from plait.model.routing import RouteTable
from plait.model.settings import OutboundTrafficPolicy
from plait.model.traffic import DestinationSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Whom some clients may call, and how; all by fully qualified host."""

    services: Mapping[str, Service]
    routes: Mapping[str, tuple[RouteTable, ...]]
    """Of several tables for a host the first that holds at a port is that of the port."""
    destinations: Mapping[str, DestinationSettings]
    """Of services alone: what is said of a wildcard is here for each that it covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressHosts:
    """Hosts that clients call: `namespace` "*" is any, `host` may be a wildcard."""

    namespace: str
    host: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressScope:
    """Whom the selected workloads of a namespace call at all (() selects each of them); None: whomever they see."""

    namespace: str
    selector: Labels
    hosts: tuple[EgressHosts, ...] | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
    """None: as the mesh has it."""
    origin: Origin
