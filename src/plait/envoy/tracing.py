"""Spans, told by Envoy itself, of the requests that are sampled; what is not sampled pays two looks at its routes.

A call is two of them: the caller's proxy tells a CLIENT span, and the proxy of who is called a SERVER span below it.
A request that is tried several times has one of the first kind, with one of the second below it for each try that got
there.  W3C's context is taken up and passed on, and whether a request with it is sampled is what it says; a request
without it begins a trace by its x-request-id, or by chance: see `runtime`.

Envoy's tracer makes a span of all that it sees, sampled or not.  So managers that everything comes to have none, and
the first routes of each virtual host lead what is sampled to another manager of the same Envoy, that has one, and the
same routes, of which those first ones don't take what comes from there.  At the client it does all that routes ask
for, and tells of the request in place of the first one (see filters/traced).  At the server it passes on what the
first one has let through, which tells of it.

Who has a sidecar is decided about there.  That a request is not sampled is said between sidecars by no word at all,
and to applications by a context of ours; it is the exceptions that are named (names.UNDECIDED_HEADER): callers without
a sidecar, and those whose sidecar traces nothing.  An application that names itself one is decided about once more,
where it calls; one that says x-plait-traced is not traced there.

Who tells is not in the listener but in Envoy's environment, and how many requests are sampled is in its runtime: so
listeners are shared, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plait.envoy import build, names
from plait.envoy.filters import traced
from plait.model.mesh import ClusterKey, View
from plait.model.telemetry import SAMPLED, Collector, Observed, Side, Tag, TagSource, Tracing

_CONFIG = "envoy.config.trace.v3.OpenTelemetryConfig"
_ENVIRONMENT = (
    "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig"
)

_TIMEOUT = 10.0
"""Seconds that the mesh's own collector may take for a message."""

_WITHOUT_QUERY: dict[str, Any] = {
    "tag": "http.url",
    "value": "%REQ(:SCHEME)%://%REQ(:AUTHORITY)%%PATH(NQ:ORIG_OR_PATH)%",
}
"""In place of what Envoy would say, which is with its query: that may hold anything."""
_B3: tuple[dict[str, Any], ...] = tuple(
    {"tag": tag, "request_header": {"name": header}} for tag, header in names.B3_TAGS.items()
)


_REQUEST_ID = build.extension(
    "envoy.request_id.uuid",
    "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
    pack_trace_reason={"value": False},
    use_request_id_for_trace_sampling={"value": False},
)
"""An id stays as it is, whatever it is: what was decided stands in the context."""

CONTEXT = "traceparent"
"""The header that says in which trace a request is, and whether that is sampled."""
_SAMPLED = ("-01", "-03")
"""How a context ends that says so; the second: of an id that is random, too."""
_ID = "x-request-id"
_PICKED, _BY_ID = "00", 100 / 256
"""How an id begins that is picked before all others, and how many ids do, in percent."""
_ALL, _MILLION = 100.0, 1_000_000
_NOT_SAMPLED = "00-0000000000000%START_TIME(%s%9f)%-706c6169742d3030-00"
"""A context of nobody: of the time in nanoseconds."""

MOST_HEADERS, MOST_HEADERS_KB = 200, 8192
"""Of a request or an answer on its way to or from the manager that traces: how many is for others to bound."""


UNDECIDED: dict[str, Any] = {"append": build.set_header(names.UNDECIDED_HEADER, "true")}
"""The change of headers that says of a request that nobody has decided about it."""
OF_OURS = (names.TRACED_HEADER, names.FROM_HEADER)
"""What a request to the manager that traces carries, and one that leaves this Envoy does not, whoever wrote it."""


def runtime(view: View) -> Mapping[str, Any]:
    """What a proxy's runtime says of tracing, as in its JSON: of so many requests each begins a trace that is told.

    At the client first those whose x-request-id is one of a few, so that one which is passed on is decided about alike
    everywhere; where more are asked for, chance picks among the others.  A plain number would be in percent, and only
    whole ones.
    """
    client, server = (
        said.sampled if said.reported else 0.0 for said in (view.client.tracing, view.server.tracing)
    )
    by_id = min(client, _BY_ID)
    return {
        names.TRACE_BY_ID: _share(by_id / _BY_ID),
        names.trace(Side.CLIENT): _share((client - by_id) / (_ALL - _BY_ID)),
        names.trace(Side.SERVER): _share(server / _ALL),
    }


def _share(part: float) -> dict[str, Any]:
    return build.share(round(part * _MILLION))


def of_listener(side: Observed) -> Observed:
    """What listeners are made of: all but what the runtime says."""
    if side.tracing.sampled == SAMPLED:
        return side
    return replace(side, tracing=replace(side.tracing, sampled=SAMPLED))


def of_manager(told: Tracing, *, outbound: bool) -> dict[str, Any]:
    """What the manager says of it that is sent the requests that are traced.

    Nothing where no span is told: then context passes as it comes.
    """
    if not told.reported:
        return {}
    tags = {tag["tag"]: tag for tag in (_WITHOUT_QUERY, *(_B3 if outbound else ()), *map(_tag, told.tags))}
    config = {
        "provider": build.extension("envoy.tracers.opentelemetry", _CONFIG, **_config(told)),
        "custom_tags": list(tags.values()),
    }
    return {"tracing": config, "request_id_extension": {"typed_config": _REQUEST_ID["typed_config"]}}


def routes(side: Side, cluster: str, named: str = "") -> list[dict[str, Any]]:
    """The first of a virtual host, all of this name: what is to be traced goes to a cluster.

    That is what somebody has decided to trace, or what nobody has decided about, and id or chance pick.
    """
    matches: list[dict[str, Any]] = [
        {"headers": [{"name": CONTEXT, "string_match": {"suffix": end}}]} for end in _SAMPLED
    ]
    undecided = [_absent(CONTEXT)]
    if side is Side.CLIENT:
        by_id = {"name": _ID, "string_match": {"prefix": _PICKED}}
        matches.append({"headers": [by_id, *undecided], **_part(names.TRACE_BY_ID)})
    else:
        undecided.append({"name": names.UNDECIDED_HEADER, "present_match": True})
    matches.append({"headers": undecided, **_part(names.trace(side))})
    return [_to_traced(side, cluster, named, match) for match in matches]


def _part(key: str) -> dict[str, Any]:
    """Of a match: so many as the runtime says."""
    return {"runtime_fraction": {"default_value": build.share(0), "runtime_key": key}}


def _to_traced(side: Side, cluster: str, named: str, match: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": named,
        "match": {"prefix": "/", **match, "headers": [*match["headers"], _absent(names.TRACED_HEADER)]},
        "route": {"cluster": cluster, "timeout": build.seconds(0), "retry_policy": _ONCE_MORE},
        "request_headers_to_add": [
            build.set_header(names.TRACED_HEADER, "%DOWNSTREAM_LOCAL_ADDRESS%"),
            build.set_header(names.FROM_HEADER, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ],
        **({"typed_per_filter_config": traced.on_route()} if side is Side.CLIENT else {}),
    }


_ONCE_MORE = {"retry_on": "reset-before-request", "num_retries": {"value": 1}}
"""A connection may be closed just as a request is about to use it."""


def _absent(header: str) -> dict[str, Any]:
    return {"name": header, "present_match": True, "invert_match": True}


def to_application(told: Tracing) -> dict[str, Any]:
    """Of a route to the application: what is not traced when it gets there stays so, whatever is called for it."""
    if not told.reported:
        return {}
    context = {"header": {"key": CONTEXT, "value": _NOT_SAMPLED}, "append_action": "ADD_IF_ABSENT"}
    return {"request_headers_to_add": [context]}


def _config(told: Tracing) -> dict[str, Any]:
    return {
        **(_to_control_plane() if told.collector is None else _to(told.collector)),
        # Who tells: see bootstrap.own_labels.
        "resource_detectors": [
            build.extension("envoy.tracers.opentelemetry.resource_detectors.environment", _ENVIRONMENT)
        ],
    }


def _to_control_plane() -> dict[str, Any]:
    """By the connection that is there already."""
    service = {"cluster_name": names.XDS_CLUSTER, "skip_envoy_headers": True}
    return {"grpc_service": {"envoy_grpc": service, "timeout": build.seconds(_TIMEOUT)}}


def _to(collector: Collector) -> dict[str, Any]:
    cluster = names.cluster(ClusterKey(collector.host, collector.port))
    authority = f"{collector.host}:{collector.port}"
    timeout = build.seconds(collector.timeout)
    headers = [{"key": name, "value": value.replace("%", "%%")} for name, value in collector.headers]
    if not collector.path:
        service = {"cluster_name": cluster, "authority": authority, "skip_envoy_headers": True}
        return {"grpc_service": {"envoy_grpc": service, "timeout": timeout, "initial_metadata": headers}}
    return {
        "http_service": {
            "http_uri": {
                "uri": f"http://{authority}{collector.path}",
                "cluster": cluster,
                "timeout": timeout,
            },
            "request_headers_to_add": [{"header": header} for header in headers],
        }
    }


def _tag(tag: Tag) -> dict[str, Any]:
    match tag.source:
        case TagSource.LITERAL:
            return {"tag": tag.name, "literal": {"value": tag.value}}
        case TagSource.ENVIRONMENT:
            return {"tag": tag.name, "environment": {"name": tag.value, "default_value": tag.default}}
        case TagSource.HEADER:
            return {"tag": tag.name, "request_header": {"name": tag.value, "default_value": tag.default}}
        case TagSource.FORMAT:
            return {"tag": tag.name, "value": tag.value}
