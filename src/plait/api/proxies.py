"""What the API says of one proxy."""

from __future__ import annotations

from dataclasses import dataclass

from plait.api.views import ProxyStatus, Written


@dataclass(frozen=True, slots=True, kw_only=True)
class PushView:
    """Something that was sent to a proxy: when, how much of which type, and how it was answered.

    `outcome` is sent (no answer yet), acknowledged or rejected, and `latency_ms` how long the answer took.
    """

    at: str
    type: str
    resources: int
    removed: int
    bytes: int
    outcome: str
    latency_ms: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyView:
    """The answer of GET /v1/proxies/{namespace}/{name}/{number}; `pushes` are the last ones, newest first.

    `written` are the objects behind what it refuses.
    """

    status: ProxyStatus
    identity: str = ""
    certificate_expires: str | None = None
    pushes: tuple[PushView, ...] = ()
    written: tuple[Written, ...] = ()
