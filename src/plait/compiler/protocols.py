"""What is spoken at a port: a Service and a Workload may both say it, and what either declares holds.

HTTP comes before TCP where they differ, so that no policy or route that speaks of requests is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from plait.compiler.selection import Population
from plait.model.catalog import Protocol, Service, ServicePort, Workload
from plait.model.names import WorkloadKey

_Place = tuple[WorkloadKey, int]
"""A port of a workload."""


def spoken(own: Protocol, elsewhere: Iterable[Protocol]) -> Protocol:
    """What is spoken at a port that says `own`, when these are said of it elsewhere."""
    if own.is_http:
        return own
    others = tuple(elsewhere)
    http = next((one for one in others if one.is_http), None)
    if http is not None:
        return http
    return Protocol.TCP if own is Protocol.UNDECLARED and Protocol.TCP in others else own


def joined(services: Mapping[str, Service], workloads: Mapping[WorkloadKey, Workload]) -> dict[str, Service]:
    """The services; of their undeclared ports it is said what the workloads behind them say, or others before those."""
    open_in = {one.namespace for one in services.values() if _undeclared(one)}
    nearby = Population.of(one for one in workloads.values() if one.namespace in open_in)
    behind = {
        host: nearby.selected(one.namespace, one.selector)
        for host, one in services.items()
        if one.namespace in open_in
    }
    said: dict[_Place, list[Protocol]] = {}
    for host, selected in behind.items():
        for port in services[host].ports:
            for place, protocol in _places(port, selected):
                said.setdefault(place, [protocol]).append(port.protocol)
    return {
        host: _joined(service, behind[host], said) if _undeclared(service) else service
        for host, service in services.items()
    }


def _undeclared(service: Service) -> bool:
    return any(port.protocol is Protocol.UNDECLARED for port in service.ports)


def _joined(
    service: Service, workloads: Iterable[Workload], said: Mapping[_Place, list[Protocol]]
) -> Service:
    return replace(
        service,
        ports=tuple(
            replace(port, protocol=spoken(port.protocol, _said(_places(port, workloads), said)))
            if port.protocol is Protocol.UNDECLARED
            else port
            for port in service.ports
        ),
    )


def _said(
    places: Iterable[tuple[_Place, Protocol]], said: Mapping[_Place, list[Protocol]]
) -> Iterator[Protocol]:
    for place, _ in places:
        yield from said[place]


def _places(port: ServicePort, behind: Iterable[Workload]) -> Iterator[tuple[_Place, Protocol]]:
    """The ports of workloads that a port of a service leads to, and what those say of them."""
    for workload in behind:
        for target in workload.process.ports:
            if port.target in (target.number, target.name):
                yield (workload.key, target.number), target.protocol
