"""What a filter must answer to have a place in ORDER."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plait.model.mesh import InboundPort
from plait.model.routing import RouteRule


def _nothing(_: object) -> Any | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFilter:
    """One HTTP filter of our proxies."""

    name: str
    on_listener: Callable[[], Any]
    """Its configuration in the listener, the same for every proxy."""
    outbound: bool
    inbound: bool
    waits: bool
    """Installed disabled; enabled by the routes that have something to say to it."""
    on_inbound: Callable[[InboundPort], Any | None] = _nothing
    """Its configuration on the inbound routes of a port, or None: nothing to say."""
    on_rule: Callable[[RouteRule], Any | None] = _nothing
    """Its configuration on the outbound routes of a rule, or None: nothing to say."""
