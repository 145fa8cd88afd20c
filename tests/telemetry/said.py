"""What proxies say in tests: a store whose clock a test sets, and reports in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from plait.envoy import labels
from plait.model.names import ReplicaKey, WorkloadKey, service_host
from plait.telemetry.histogram import bin_of
from plait.telemetry.reports import ProxyReport, Traffic
from plait.telemetry.store import Store

NOW = 1_900_000_020.0
"""The beginning of a minute, and of a slot."""


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def own(key: ReplicaKey) -> Mapping[str, str]:
    """A workload's version stands in its name: `menu-v2`."""
    return of_workload(str(key.workload))


def of_workload(text: str) -> Mapping[str, str]:
    namespace, _, name = text.partition("/")
    app, _, version = name.partition("-")
    return {"workload": name, "namespace": namespace, "app": app, "version": version}


@asynccontextmanager
async def opened(path: Path, clock: Clock) -> AsyncIterator[Store]:
    store = Store(path / "telemetry.db", own, clock=clock)
    try:
        yield store
    finally:
        await store.close()


def bins(*milliseconds: float) -> tuple[tuple[int, int], ...]:
    found: dict[int, int] = {}
    for one in milliseconds:
        found[bin_of(one)] = found.get(bin_of(one), 0) + 1
    return tuple(sorted(found.items()))


def http(  # noqa: PLR0913 - what a request is counted by
    reporter: str,
    source: str,
    destination: str,
    *milliseconds: float,
    service: str = "",
    code: str = "200",
    flags: str = "",
    grpc: str = "",
    mtls: bool = True,
    family: str = "http",
    protocol: str = "http",
    **more: str,
) -> Traffic:
    """Requests that took so long each.  `source` and `destination` (`shop/menu-v2`) may be "": nobody known."""
    groups = {
        "reporter": reporter,
        "response_code": code,
        "response_flags": flags,
        "grpc_response_status": grpc,
        "protocol": protocol,
    }
    host = host_of(service or destination)
    if reporter == "source":
        groups["destination"] = named(destination, mtls=mtls)
        groups["other_end"] = f"outbound|80||{host}" if host else ""
    else:
        groups["service"] = host
        groups["security"] = "mutual_tls" if mtls else "none"
        if source:
            said = of_workload(source)
            groups["source_principal"] = f"spiffe://cluster.local/ns/{said['namespace']}/sa/default"
            version = f",O={said['version']}" if said["version"] else ""
            groups["other_end"] = f"CN={said['workload']},OU={said['app']}{version}"
    return Traffic(
        packed=labels.packed(family, groups | more), count=len(milliseconds), durations=bins(*milliseconds)
    )


def named(workload: str, *, mtls: bool = True) -> str:
    if not workload:
        return ""
    said = of_workload(workload)
    principal = f"spiffe://cluster.local/ns/{said['namespace']}/sa/default" if mtls else ""
    return labels.workload(
        name=said["workload"],
        namespace=said["namespace"],
        app=said["app"],
        version=said["version"],
        principal=principal,
    )


def host_of(workload: str) -> str:
    """The host of the service that a workload stands behind: it is called like the workload, without the version."""
    said = of_workload(workload)
    return service_host(said["namespace"], said["app"]) if workload else ""


def report(
    workload: str, *traffic: Traffic, at: float, seconds: float = 5.0, number: int = 0, **more: object
) -> ProxyReport:
    """By a replica; `at` is the end of what it tells of."""
    namespace, _, name = workload.partition("/")
    return ProxyReport(
        node=ReplicaKey(WorkloadKey(namespace, name), number),
        at=at,
        seconds=seconds,
        traffic=traffic,
        **more,  # type: ignore[arg-type]  # the other fields, as they are
    )
