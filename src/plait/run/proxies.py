"""How one proxy looks from outside: what it was sent last, and what is behind that which it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from plait.api.proxies import ProxyView, PushView
from plait.api.views import Written
from plait.link.messages import ReplicaReport
from plait.model.names import ObjectRef, Origin
from plait.run import views
from plait.run.own_metrics import type_name
from plait.run.places import written
from plait.sources.store import Store
from plait.xds.pushes import Push
from plait.xds.server import ProxyStatus as XdsStatus


def proxy(report: ReplicaReport, status: XdsStatus | None, pushes: Iterable[Push], store: Store) -> ProxyView:
    """The proxy of a replica; no status: nothing was made for it yet."""
    known = status or XdsStatus(node=str(report.replica.key), connected=None, synced=False, types=())
    return ProxyView(
        status=views.proxy(known),
        identity=report.identity,
        certificate_expires=views.iso(report.certificate_expires) if report.certificate_expires else None,
        pushes=tuple(map(_push, pushes)),
        written=_refused(known, store),
    )


def _push(push: Push) -> PushView:
    return PushView(
        at=datetime.fromtimestamp(push.at, UTC).isoformat(timespec="milliseconds"),
        type=type_name(push.type_url),
        resources=push.resources,
        removed=push.removed,
        bytes=push.bytes,
        outcome=push.outcome,
        latency_ms=views.milliseconds(push.latency),
        reason=push.reason,
    )


def _refused(status: XdsStatus, store: Store) -> tuple[Written, ...]:
    """The objects behind what it refuses, each once, those of the same resource as they made it."""
    origins: dict[ObjectRef, Origin] = {}
    for kind in status.types:
        for one in kind.rejections:
            for origin in one.resource.origins:
                origins.setdefault(origin.ref, origin)
    return tuple(written(origin, store) for origin in origins.values())
