"""Settings of a whole mesh."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

CERTIFICATE_LIFETIME = 86_400.0
LONGEST_CONNECTION = 86_400.0

_SURE = 0.45
"""The part of its life that a certificate has before it at every handshake, if it is renewed when it should be."""


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
    """`root_namespace` is where policies for the whole mesh are written (Istio's own default).

    Whoever has an identity of one of the `trust_domain_aliases` is who has the same one of `trust_domain`.
    `certificate_lifetime` is how long certificates hold, `longest_connection` how long a stream or a TCP connection
    may last, both in seconds.
    """

    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    root_namespace: str = "istio-system"
    outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy.REGISTRY_ONLY
    certificate_lifetime: float = CERTIFICATE_LIFETIME
    longest_connection: float = LONGEST_CONNECTION

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """The mesh's own, and those that mean the same."""
        return tuple(dict.fromkeys((self.trust_domain, *self.trust_domain_aliases)))

    @property
    def certain(self) -> float:
        """For how many seconds from a handshake on both certificates hold."""
        return self.certificate_lifetime * _SURE
