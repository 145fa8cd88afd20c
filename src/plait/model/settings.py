"""Settings of a whole mesh."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """How traffic comes to a sidecar.

    explicit: the application is told where its proxy is.  transparent: the kernel brings all of it there.
    """

    EXPLICIT = "explicit"
    TRANSPARENT = "transparent"


class OutboundTrafficPolicy(StrEnum):
    """Where applications may call, in Istio's words: services of the mesh alone, or anywhere."""

    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """`root_namespace` is where policies for the whole mesh are written (Istio's own default)."""

    trust_domain: str = "cluster.local"
    root_namespace: str = "istio-system"
    outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy.REGISTRY_ONLY
