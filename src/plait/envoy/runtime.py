"""What Envoys are told that changes often and has no place in a listener: their runtime, one resource for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plait.envoy import api, names, tracing
from plait.model.mesh import View
from plait.model.telemetry import Side

ALL, ALL_WORD = 10_000, "TEN_THOUSAND"
"""What shares are of; and what Envoy calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tapped:
    """Of how many requests of ALL whoever looks is told, at either end."""

    client: int = 0
    server: int = 0


NOT_TAPPED = Tapped()


def runtime(view: View, tapped: Tapped) -> Mapping[str, Any]:
    """What a proxy's runtime says, as in its JSON."""
    taps = {names.tap(Side.CLIENT): tapped.client, names.tap(Side.SERVER): tapped.server}
    return {**tracing.runtime(view), **taps}


def layer(values: Mapping[str, Any]) -> Any:
    """The resource that says it."""
    return api.message("envoy.service.runtime.v3.Runtime")(
        name=names.RUNTIME_LAYER, layer=api.any_struct(values)
    )
