"""A Resource: what `envoy` makes and `xds` carries.  A name, a type, bytes and their hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from plait.model.names import Origin

_TYPE = "type.googleapis.com/envoy.config."
CLUSTER = _TYPE + "cluster.v3.Cluster"
ENDPOINTS = _TYPE + "endpoint.v3.ClusterLoadAssignment"
LISTENER = _TYPE + "listener.v3.Listener"
EXTENSION = _TYPE + "core.v3.TypedExtensionConfig"
SCOPED_ROUTES = _TYPE + "route.v3.ScopedRouteConfiguration"
ROUTES = _TYPE + "route.v3.RouteConfiguration"

TYPES = (CLUSTER, ENDPOINTS, LISTENER, EXTENSION, SCOPED_ROUTES, ROUTES)
"""Every type we serve, in the order that makes before it breaks."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One named piece of configuration, serialised once for everybody who gets it.

    `version` is a hash of `body` alone, equal in every process that renders the same content.  `framed` is the
    `envoy.service.discovery.v3.Resource` message (name, version, body) ready to be joined into a delta answer.
    """

    type_url: str
    name: str
    version: str
    body: bytes = field(repr=False)
    framed: bytes = field(repr=False, compare=False)
    origins: tuple[Origin, ...] = field(default=(), compare=False, repr=False)


Snapshot = Mapping[str, Mapping[str, Resource]]
"""All that one proxy should have: type URL -> name -> Resource.  Never mutated once handed over."""
