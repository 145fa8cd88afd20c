"""OTLP for spans: from the bytes of an export to Spans, and the answer to it.

Over HTTP it may be JSON, which is protobuf's but for its ids, which are in hex.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from plait.envoy import api
from plait.model.names import ReplicaKey, WorkloadKey
from plait.telemetry.spans import Kind, Span, Teller, kept, printable, without_query

_REQUEST = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"
_RESPONSE = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse"

_KINDS = {2: Kind.SERVER, 3: Kind.CLIENT, 4: Kind.PRODUCER, 5: Kind.CONSUMER}
_FAILED = 2
_IDS = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")
_TRACE_ID, _SPAN_ID = 16, 8
"""Bytes."""
_END_OF_TIME = 2**62
"""Nanoseconds since the epoch: in the year 2116."""

_OF_ENVOY_ITSELF = frozenset(
    {"component", "node_id", "zone", "upstream_cluster.name", "downstream_cluster", "guid:x-client-trace-id"}
)
"""Of what a sidecar says: known without, or said twice."""


def read(body: bytes, *, text: bool = False) -> Any:
    """An export as a message; `text`: it is JSON.  ValueError when it is none."""
    if text:
        return _from_json(body)
    try:
        return api.told(_REQUEST, body)
    except DecodeError as error:
        raise ValueError(f"not an export of spans: {error}") from error


def answer(left_out: int = 0, *, text: bool = False) -> bytes:
    """What whoever exports is told: that so many spans were left out, since there are too many."""
    response = api.message(_RESPONSE)()
    if left_out:
        response.partial_success.rejected_spans = left_out
        response.partial_success.error_message = "more spans than can be kept"
    if text:
        return json_format.MessageToJson(response, descriptor_pool=api.pool(), indent=None).encode()
    return api.serialize(response)


def size(request: Any) -> int:
    """How many spans there are in an export."""
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


def spans(request: Any, workload: WorkloadKey, teller: Teller) -> Iterator[Span]:
    """The spans of an export by a workload; one without proper ids and times is none."""
    for resource in request.resource_spans:
        said = dict(_pairs(resource.resource.attributes))
        service = said.get("service.name", "") or workload.name
        replica = _replica(said.get("service.instance.id", ""), workload)
        for one in (one for scope in resource.scope_spans for one in scope.spans):
            if len(one.trace_id) == _TRACE_ID and len(one.span_id) == _SPAN_ID and _is_time(one):
                yield _span(one, workload, teller, service, replica)


def _span(one: Any, workload: WorkloadKey, teller: Teller, service: str, replica: int | None) -> Span:
    pairs = _pairs(one.attributes)
    if teller is Teller.SIDECAR:
        pairs = (pair for pair in pairs if pair[0] not in _OF_ENVOY_ITSELF)
    attributes = kept(pairs)
    start = one.start_time_unix_nano
    return Span(
        trace=one.trace_id.hex(),
        id=one.span_id.hex(),
        parent=one.parent_span_id.hex(),
        name=printable(without_query(one.name)[:256]),
        kind=_KINDS.get(one.kind, Kind.INTERNAL),
        start=start,
        end=max(start, one.end_time_unix_nano),
        workload=workload,
        replica=replica,
        teller=teller,
        service=printable(service[:256]),
        failed=one.status.code == _FAILED or attributes.get("error") == "true",
        message=printable(one.status.message[:256]),
        attributes=attributes,
    )


def _is_time(one: Any) -> bool:
    return bool(max(one.start_time_unix_nano, one.end_time_unix_nano) < _END_OF_TIME)


def _replica(instance: str, workload: WorkloadKey) -> int | None:
    """Which replica tells, by its own word, if that is one of the workload."""
    key = ReplicaKey.parse(instance)
    return key.number if key is not None and key.workload == workload else None


def _pairs(attributes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for one in attributes:
        yield one.key, _text(one.value)


def _text(value: Any) -> str:
    match value.WhichOneof("value"):
        case "string_value":
            return str(value.string_value)
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value" | "double_value" as field:
            return str(getattr(value, field))
        case "bytes_value":
            return str(value.bytes_value.hex())
        case "array_value":
            return ", ".join(_text(item) for item in value.array_value.values)
        case "kvlist_value":
            return ", ".join(
                f"{name}={text}" for name, text in kept(_pairs(value.kvlist_value.values)).items()
            )
        case _:
            return ""


def _from_json(body: bytes) -> Any:
    try:
        value = json.loads(body)
        if not isinstance(value, dict):
            raise json_format.ParseError("it is no object")  # noqa: TRY301 - told like all that is wrong with it
        for resource in _each(value, "resourceSpans"):
            for scope in _each(resource, "scopeSpans"):
                for span in _each(scope, "spans"):
                    _ids_as_base64(span)
                    for link in _each(span, "links"):
                        _ids_as_base64(link)
        return json_format.ParseDict(
            value, api.message(_REQUEST)(), ignore_unknown_fields=True, descriptor_pool=api.pool()
        )
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise ValueError(f"not an export of spans in JSON: {error}") from error


def _each(value: Any, name: str) -> list[Any]:
    """The list under a name; empty where the form is another: then the reader of protobuf says so."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


def _ids_as_base64(value: Any) -> None:
    if isinstance(value, dict):
        for name in _IDS:
            if isinstance(text := value.get(name), str):
                value[name] = b64encode(bytes.fromhex(text)).decode()
