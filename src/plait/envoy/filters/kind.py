"""What a filter must answer to have a place in ORDER."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plait.envoy import api, names
from plait.model.mesh import InboundPort
from plait.model.routing import RouteRule


def _nothing(_: object) -> Any | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFilter:
    """One HTTP filter of our proxies."""

    name: str
    on_listener: Callable[[], Any]
    """Its configuration in the listener, the same for every proxy; None when it is discovered."""
    outbound: bool
    inbound: bool
    waits: bool
    """Installed disabled; enabled by the routes that have something to say to it."""
    discovered: str = ""
    """The type of its configuration where that is a resource of its own for each port (ECDS)."""
    on_inbound: Callable[[InboundPort], Any | None] = _nothing
    """Its configuration on the inbound routes of a port, or None: nothing to say."""
    on_rule: Callable[[RouteRule], Any | None] = _nothing
    """Its configuration on the outbound routes of a rule, or None: nothing to say."""

    def at(self, port: int) -> str:
        """Its name at a port of the workload: that of its resource, where it has one."""
        return names.of_port(self.name, port) if self.discovered else self.name


def enabled() -> Any:
    """What a route says to a filter that waits, and that is to do what its resource says."""
    return api.message("envoy.config.route.v3.FilterConfig")(config={})
