"""What proxies tell of requests (see `envoy.filters.tap`), read, and matched against what somebody looks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import translate
from typing import Any

from google.protobuf.message import DecodeError

from plait.api.views import TapFilter, TappedRequest
from plait.envoy import api, labels
from plait.envoy.filters import tap
from plait.model.names import ReplicaKey, WorkloadKey, service_host
from plait.model.telemetry import Side

End = tuple[ReplicaKey, Side]
"""Who tells: a proxy, at one end of its requests."""

_LOGS = "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest"
_NODE = "node_name"
"""By which Envoy says who it is."""
_GLOB = re.compile(r"[*?\[]")
_STATUS = re.compile(r"[1-5]xx|\d{1,3}")


def told(body: bytes) -> Iterator[tuple[End, Sequence[Any]]]:
    """Who says that he tells, and his records; ValueError for bytes that are none."""
    try:
        message = api.told(_LOGS, body)
    except DecodeError as error:
        raise ValueError(f"not what a log is told by: {error}") from error
    for one in message.resource_logs:
        said = _strings(one.resource.attributes)
        key, side = ReplicaKey.parse(said.get(_NODE, "")), said.get(tap.SIDE)
        if key is not None and side in set(Side):
            yield (key, Side(side)), [record for scope in one.scope_logs for record in scope.log_records]


def request(record: Any, end: End) -> TappedRequest:
    """The request that a record of a proxy tells of."""
    key, side = end
    said = _strings(record.attributes)
    own, version = str(key.workload), said.get("version", "")
    service = labels.service(said.get("cluster" if side is Side.CLIENT else "service", ""))
    if side is Side.CLIENT:
        callee = labels.callee(said.get("callee", ""))
        source, source_version, principal = own, version, ""
        destination, destination_version = _workload(callee), callee.get("version", "")
    else:
        principal = said.get("principal", "")
        caller = labels.caller(said.get("subject", ""), principal)
        source, source_version = _workload(caller), caller.get("version", "")
        destination, destination_version = own, version
    return TappedRequest(
        time=_time(record.time_unix_nano),
        side=side,
        replica=str(key),
        source=source,
        source_version=source_version,
        source_principal=principal,
        destination=destination,
        destination_version=destination_version,
        service=service.get("host", ""),
        protocol=said.get("protocol", ""),
        method=said.get("method", ""),
        authority=said.get("authority", ""),
        path=said.get("path", ""),
        status=_number(said.get("status", "")) or 0,
        grpc_status=_number(said.get("grpc_status", "")),
        flags=said.get("flags", ""),
        details=said.get("details", ""),
        duration_ms=_number(said.get("duration_ms", "")) or 0,
        received_bytes=_number(said.get("received_bytes", "")) or 0,
        sent_bytes=_number(said.get("sent_bytes", "")) or 0,
        cluster=said.get("cluster", ""),
        route=said.get("route", ""),
        request_id=said.get("request_id", ""),
        trace_id=record.trace_id.hex(),
    )


def workload_key(text: str) -> WorkloadKey:
    """Whom a user means; ValueError."""
    match text.split("/"):
        case [namespace, name] if namespace and name:
            return WorkloadKey(namespace, name)
        case _:
            raise ValueError(f"{text!r} names no workload: write NAMESPACE/WORKLOAD")


class Matcher:
    """A filter as it is applied; ValueError for one that can't be."""

    def __init__(self, wanted: TapFilter) -> None:
        self._source = workload_key(wanted.source) if wanted.source else None
        self._destination = to = workload_key(wanted.destination) if wanted.destination else None
        self._host = service_host(to.namespace, to.name) if to else ""
        self._namespace = wanted.namespace
        self._method = wanted.method.upper()
        self._path = _path(wanted.path)
        self._status = _status(wanted.status)

    def concerns(self, workload: WorkloadKey, side: Side) -> bool:
        """Whether a workload is to tell of its requests at this end.

        Each request is told of once: by who sends it where that was named, and by who serves it otherwise.
        """
        if self._source is not None:
            return side is Side.CLIENT and workload == self._source
        if side is not Side.SERVER or self._namespace not in {"", workload.namespace}:
            return False
        return self._destination in {None, workload}

    def matches(self, one: TappedRequest) -> bool:
        """Whether a request of such a proxy is wanted; one that was sent to nobody is told by the service it was for."""
        to = one.destination or f"service {one.service}"
        return (
            (self._destination is None or to in {str(self._destination), f"service {self._host}"})
            and (not self._namespace or self._namespace == _namespace(one))
            and (not self._method or self._method == one.method)
            and (self._path is None or self._path.match(one.path) is not None)
            and (self._status is None or self._status.fullmatch(str(one.status)) is not None)
        )


def _strings(attributes: Any) -> dict[str, str]:
    """Attributes by name, without those of which Envoy says (by `-`) that there are none."""
    return {one.key: text for one in attributes if (text := one.value.string_value) not in {"", "-"}}


def _workload(parts: dict[str, str]) -> str:
    name, namespace = parts.get("workload"), parts.get("namespace")
    return f"{namespace}/{name}" if name and namespace else ""


def _namespace(one: TappedRequest) -> str:
    """Of whom is called."""
    if one.destination:
        return one.destination.partition("/")[0]
    match one.service.split("."):
        case [_, namespace, "svc", *_]:
            return namespace
        case _:
            return ""


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _path(text: str) -> re.Pattern[str] | None:
    """A beginning, or a pattern for the whole."""
    if not text:
        return None
    if _GLOB.search(text):
        return re.compile(translate(text))
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is no path: it begins with / or has a *")
    return re.compile(re.escape(text))


def _status(text: str) -> re.Pattern[str] | None:
    if not text:
        return None
    if not _STATUS.fullmatch(text):
        raise ValueError(f"{text!r} is no status: write 503, or 5xx")
    return re.compile(text.replace("x", r"\d"))
