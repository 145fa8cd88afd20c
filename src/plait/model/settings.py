"""Settings of a whole mesh."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """`root_namespace` is where policies for the whole mesh are written (Istio's own default)."""

    trust_domain: str = "cluster.local"
    root_namespace: str = "istio-system"
