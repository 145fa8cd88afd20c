"""Whether routes are of hosts that are there, and lead to somebody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from plait.compiler.hosts import (
    called_ports,
    covers,
    destination_port,
    hint,
    is_wildcard,
    service_of_host,
)
from plait.compiler.references.findings import error, warning
from plait.model.catalog import Service
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.routing import Backend, HostRoutes, RouteRule, Session, SessionKind
from plait.model.scope import Sight
from plait.model.traffic import DestinationSettings


def check_hosts(mesh: Mesh, owned: Iterable[HostRoutes]) -> Iterator[Finding]:
    """Hosts that are no services."""
    for routes in owned:
        for host in routes.hosts:
            yield from _routed_host(mesh, routes, host)


def check_backends(mesh: Mesh) -> Iterator[Finding]:
    """What is wrong with the routes of anybody; what is the same for several is looked at once."""
    looked_at: set[tuple[object, ...]] = set()
    for sight in mesh.every_sight:
        for host, tables in sight.routes.items():
            for table in tables:
                backends = [backend for rule in table.rules for backend in rule.destinations]
                settings = (sight.destinations.get(backend.host) for backend in backends)
                hidden = tuple(backend.host in sight.services for backend in backends)
                place = (host, id(table), hidden, *map(id, settings))
                if place not in looked_at:
                    looked_at.add(place)
                    called = called_ports(sight, host, table)
                    for backend in backends:
                        yield from _backend(mesh, sight, backend, called)
                    for rule in table.rules:
                        if rule.session is not None:
                            yield from _session(rule, rule.session)


def _routed_host(mesh: Mesh, routes: HostRoutes, host: str) -> Iterator[Finding]:
    if is_wildcard(host):
        if not any(covers(host, service) for service in mesh.services):
            message = f"no service has a host like {host}"
            yield warning("route.wildcard-without-service", message, routes.origin)
    elif host not in mesh.services:
        meant = hint(host, mesh.services)
        if meant or service_of_host(host):
            message = f"there is no service {host}; requests to this very name are routed all the same{meant}"
            yield warning("route.host-without-service", message, routes.origin)


def _backend(mesh: Mesh, sight: Sight, backend: Backend, called: Iterable[int]) -> Iterator[Finding]:
    if not backend.host:
        return  # whoever made it nobody has told why
    service = sight.services.get(backend.host)
    if service is None and backend.host in mesh.services:
        message = f"{backend.host} is not exported to the clients of this route"
        yield error("route.hidden-host", message, backend.origin)
        return
    if service is None:
        message = f"there is no service {backend.host}{hint(backend.host, mesh.services)}"
        yield error("route.unknown-host", message, backend.origin)
        return
    settings = sight.destinations.get(backend.host)
    if backend.subset and backend.subset not in _subset_names(settings):
        yield _missing_subset(mesh, service, backend, settings)
    ports = ", ".join(str(port.number) for port in service.ports)
    for port in dict.fromkeys(destination_port(service, backend, caller) for caller in called):
        found = service.port(port)
        if found is None and not backend.port:
            message = f"{backend.host} has several ports ({ports}): name the one that requests for port {port} go to"
            yield error("route.ambiguous-port", message, backend.origin)
        elif found is None:
            message = f"{backend.host} has no port {port}; it has {ports}"
            yield error("route.unknown-port", message, backend.origin)
        elif not found.protocol.may_be_http:
            message = f"port {port} of {backend.host} is {found.protocol}, not HTTP"
            yield error("route.port-not-http", message, backend.origin)


def _missing_subset(
    mesh: Mesh, service: Service, backend: Backend, settings: DestinationSettings | None
) -> Finding:
    """An error of the route; but where clients have settings of their own it is these that lack something.

    An object with an error keeps its last version: what others say of a host must not bring that about.
    """
    message = f"no destination rule defines subset {backend.subset} of {backend.host}"
    speakers = (service.namespace, mesh.settings.root_namespace, backend.origin.ref.namespace)
    if settings is None or settings.origin.ref.namespace in speakers:
        return error("route.missing-subset", message, backend.origin)
    clients = settings.origin.ref
    message = f"{message} for clients in namespace {clients.namespace}, who heed {clients}"
    return warning("route.missing-subset", message, backend.origin)


def _session(rule: RouteRule, session: Session) -> Iterator[Finding]:
    if session.kind is SessionKind.HEADER and len(rule.backends) > 1:
        message = (
            f"weights come first, and header {session.name} leads back only within the backend that they choose: "
            "keep the session by a cookie, or send to one backend"
        )
        yield warning("session.split", message, rule.origin)


def _subset_names(settings: DestinationSettings | None) -> frozenset[str]:
    return frozenset(subset.name for subset in settings.subsets) if settings else frozenset()
