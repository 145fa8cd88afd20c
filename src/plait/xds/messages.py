"""What passes between a proxy and its stream, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from plait.resource import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a DeltaDiscoveryRequest says.  `node` is its node's id, which only the first request carries."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    """The names and versions that the proxy has, told in the first request of a type."""
    nonce: str = ""
    error: str | None = None
    """Why the response of that nonce was rejected; None when it was not."""
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a DeltaDiscoveryResponse says."""

    type_url: str
    nonce: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A proxy has taken a response; `latency` in seconds since it was sent."""

    type_url: str
    names: tuple[str, ...]
    removed: tuple[str, ...]
    latency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A proxy has refused a response.

    `names` are the resources at fault; none while that is still to be found out by sending fewer at a time.
    """

    type_url: str
    names: tuple[str, ...]
    reason: str
    latency: float


Event = Accepted | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A resource that a proxy should have and refuses, in the version that it refused."""

    resource: Resource
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeStatus:
    """How one type stands with one proxy.

    Counted are resources: `wanted` of those that the proxy asks for now, `acknowledged` of these it has in the
    version wanted, `sent` on this stream so far.  `latency` is that of the last acknowledgement, in seconds.
    """

    type_url: str
    wanted: int
    acknowledged: int
    sent: int
    unanswered: bool
    latency: float | None
    rejections: tuple[Rejection, ...] = field(default=())
