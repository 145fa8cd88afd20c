"""What Prometheus is told to scrape, in the form of its HTTP service discovery.

Everything is scraped through the API, at the address at which Prometheus has asked: in transparent mode an Envoy's
own port for metrics is out of its reach.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plait.api.views import ReplicaState, WorkloadStatus


def targets(workloads: Iterable[WorkloadStatus], address: str) -> list[dict[str, Any]]:
    """Each replica that is ready, and then the control plane; `address` is HOST:PORT of the API."""
    ready = (one for one in workloads if one.state is ReplicaState.READY)
    return [
        *(_target(address, f"/v1/proxies/{one.node}/metrics", **_labels(one)) for one in ready),
        _target(address, "/v1/metrics", job="plait"),
    ]


def _labels(one: WorkloadStatus) -> dict[str, str]:
    return {"namespace": one.namespace, "workload": one.name, "replica": str(one.replica)}


def _target(address: str, path: str, **labels: str) -> dict[str, Any]:
    return {"targets": [address], "labels": {"__metrics_path__": path, **labels}}
