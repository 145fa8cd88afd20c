"""One proxy over the API: what it was sent last, and what there is none of."""

from __future__ import annotations

import pytest

from plait.api.client import ApiError, Client
from plait.api.proxies import ProxyView, PushView
from plait.api.views import Written
from plait.model.names import ReplicaKey, WorkloadKey
from tests.api.planes import PROXY, FakePlane, served

SHOWN = ProxyView(
    status=PROXY,
    identity="spiffe://cluster.local/ns/bistro/sa/frontend",
    certificate_expires="2931-02-03T04:05:06Z",
    pushes=(
        PushView(
            at="2031-02-03T04:05:07.250+00:00",
            type="Cluster",
            resources=3,
            removed=1,
            bytes=4711,
            outcome="rejected",
            latency_ms=0.25,
            reason="<b>no</b>",
        ),
        PushView(
            at="2031-02-03T04:05:07+00:00", type="Listener", resources=0, removed=0, bytes=9, outcome="sent"
        ),
    ),
    written=(
        Written(kind="DestinationRule", namespace="bistro", name="a", field="spec", file="a.yaml", line=3),
    ),
)


async def test_one_proxy_comes_as_the_control_plane_tells_it() -> None:
    plane = FakePlane(proxied=(PROXY,), pushed={PROXY.node: SHOWN})
    async with served(plane), Client(plane.socket) as client:
        assert await client.proxy(ReplicaKey(WorkloadKey("bistro", "frontend"), 0)) == SHOWN
        for namespace, name, number in (("bistro", "frontend", 1), ("other", "frontend", 0), ("..", "x", 0)):
            with pytest.raises(ApiError) as missing:
                await client.proxy(ReplicaKey(WorkloadKey(namespace, name), number))
            assert (missing.value.status, missing.value.code) == (404, "not_found")
