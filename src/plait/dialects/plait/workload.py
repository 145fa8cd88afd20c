"""Workload: a program to run in the mesh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from plait.dialects.checks import dns_label, port_number, seconds
from plait.dialects.kind import Kind, Subject
from plait.dialects.protocols import UNDECLARED, declared
from plait.model.catalog import (
    CommandProbe,
    HttpProbe,
    Probe,
    Process,
    Protocol,
    Readiness,
    Restart,
    TcpProbe,
    Workload,
    WorkloadPort,
)
from plait.model.document import Cursor
from plait.model.names import is_dns_label, is_dns_subdomain
from plait.model.reading import Fact

MOST_REPLICAS = 1000
RESERVED_PORTS = frozenset({15001, 15006, 15021, 15090})
"""Where every sidecar itself listens."""

_SOONEST = 0.05
"""Seconds: readiness is not asked for more often."""


class _Protocol(StrEnum):
    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    TCP = "tcp"
    UDP = "udp"


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    if not is_dns_label(subject.name):
        message = "the name of a Workload is lower case letters, digits and - between them, 63 at most"
        root.at("metadata").at("name").error("name.invalid", message)
    account = spec.at("serviceAccount").text("default")
    if not is_dns_subdomain(account):
        spec.at("serviceAccount").error("name.invalid", f"{account[:80]!r} is no name of a service account")
    ports = tuple(_ports(spec.at("ports")))
    process = Process(
        command=_command(spec.at("command")),
        env=_env(spec.at("env")),
        working_dir=spec.at("workingDir").text(),
        user=_user(spec.at("user")),
        ports=ports,
        readiness=_readiness(spec.at("readiness"), ports),
        restart=spec.at("restart").choice(Restart, Restart.ALWAYS),
        grace_seconds=float(spec.at("terminationGracePeriodSeconds").integer(30, least=0, most=24 * 3600)),
    )
    replicas = spec.at("replicas").integer(1, least=0, most=MOST_REPLICAS)
    if spec.error_count() or root.at("metadata").error_count():
        return ()  # a program is run as it is said or not at all
    workload = Workload(
        namespace=subject.namespace,
        name=subject.name,
        labels=subject.labels,
        service_account=account,
        replicas=replicas,
        process=process,
        origin=subject.origin(root),
    )
    return (workload,)


def _command(cursor: Cursor) -> tuple[str, ...]:
    command = cursor.strings()
    if not cursor.error_count() and (not command or not command[0]):
        cursor.error("field.required", "a command is missing: a list of the program and its arguments")
    return command


def _user(cursor: Cursor) -> str:
    user = cursor.text()
    if user == "root" or (user.isdecimal() and not int(user)):
        message = (
            "a workload does not run as root, who could leave the mesh and read its keys: name another user"
        )
        cursor.error("workload.user-root", message)
    return user


def _env(cursor: Cursor) -> tuple[tuple[str, str], ...]:
    env = cursor.string_map()
    for name in env:
        if not name or "=" in name:
            cursor.at(name).error("name.invalid", f"{name[:80]!r} is no name of an environment variable")
    return tuple(sorted(env.items()))


def _ports(cursor: Cursor) -> Iterator[WorkloadPort]:
    names: set[str] = set()
    numbers: set[int] = set()
    for item in cursor.each():
        name = dns_label(item.at("name"), "name of a port") if item.at("name").present else ""
        number = port_number(item.at("port"))
        protocol = _protocol(item, name, number)
        if name and name in names:
            item.at("name").error("port.duplicate", f"another port is named {name!r}")
        if number in numbers:
            item.at("port").error("port.duplicate", f"another port has the number {number}")
        if number in RESERVED_PORTS:
            item.at("port").error("port.reserved", f"{number} is a port of the sidecar's own")
        names.add(name)
        numbers.add(number)
        yield WorkloadPort(name=name, number=number, protocol=protocol)


def _protocol(item: Cursor, name: str, number: int) -> Protocol:
    cursor = item.at("protocol")
    found = declared(name, "", number)
    if cursor.present:
        found = Protocol(cursor.choice(_Protocol, _Protocol.TCP))
    if found is None:
        item.warn("port.protocol-undeclared", f"port {number} {UNDECLARED}, or give it a protocol")
    if found is Protocol.UDP:
        item.warn("port.udp", f"UDP port {number} is not carried by the proxies")
    return found or Protocol.UNDECLARED


def _readiness(cursor: Cursor, ports: tuple[WorkloadPort, ...]) -> Readiness | None:
    if not cursor.present:
        return None
    ways = [way for way in ("http", "tcp", "command") if cursor.at(way).present]
    interval = seconds(cursor.at("interval"), 1.0, least=_SOONEST)
    timeout = seconds(cursor.at("timeout"), 1.0, least=_SOONEST)
    if len(ways) != 1:
        if ways or not cursor.error_count():
            cursor.error("readiness.one-way", "exactly one of http, tcp and command says when it is ready")
        return None
    probe: Probe
    match ways[0]:
        case "http":
            http = cursor.at("http")
            probe = HttpProbe(path=_path(http.at("path")), port=_probed_port(http.at("port"), ports))
        case "tcp":
            tcp = cursor.at("tcp")
            port = tcp.at("port") if isinstance(tcp.value, Mapping) else tcp
            probe = TcpProbe(port=_probed_port(port, ports))
        case _:
            probe = CommandProbe(command=_command(cursor.at("command")))
    return Readiness(probe=probe, interval=interval or 1.0, timeout=timeout or 1.0)


def _path(cursor: Cursor) -> str:
    path = cursor.text("/")
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        cursor.error("readiness.path", f"{path[:80]!r} is no path: it begins with / and has no blanks")
    return path


def _probed_port(cursor: Cursor, ports: tuple[WorkloadPort, ...]) -> int:
    if not isinstance(cursor.value, str):
        return port_number(cursor)
    for port in ports:
        if port.name == cursor.value and port.name:
            return port.number
    cursor.error("readiness.port", f"no port is named {cursor.value[:80]!r}")
    return 0


WORKLOAD = Kind(group="plait.dev", name="Workload", versions=("v1alpha1",), read=read)
