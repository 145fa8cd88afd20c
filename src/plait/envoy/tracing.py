"""Spans, told by Envoy itself: each manager of HTTP makes one of each request that is sampled.

A call is two of them: the caller's proxy tells a CLIENT span, and the proxy of who is called a SERVER span below it.
A request that is tried several times has one of the first kind, with one of the second below it for each try that got
there.  W3C's context is taken up and passed on, and whether a request with it is sampled is what it says; a request without
it begins a trace, and whether that is sampled is decided by its x-request-id, so that one which is passed on is
decided about alike everywhere.

Who tells is not in the listener but in Envoy's environment, and how many requests are sampled is in its runtime: so
listeners are shared, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plait.envoy import build, names
from plait.model.mesh import ClusterKey, View
from plait.model.telemetry import SAMPLED, Collector, Observed, Tag, TagSource, Tracing

_CONFIG = "envoy.config.trace.v3.OpenTelemetryConfig"
_ENVIRONMENT = (
    "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig"
)

_ALL = 100.0
_MILLION = 1_000_000
_SAMPLING = "tracing.random_sampling"
_SAMPLERS = "envoy.extensions.tracers.opentelemetry.samplers.v3"
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


_CONTEXT_DECIDES = build.extension(
    "context-decides",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
    mutations=[
        {
            "append": {
                "header": {"key": names.FORCED_HEADER, "value": "%REQ(TRACEPARENT)%"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        }
    ],
)
"""What Envoy does not decide to sample it samples by no context either: so that it decides for all that has one."""
_REQUEST_ID = build.extension(
    "envoy.request_id.uuid",
    "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
    pack_trace_reason={"value": False},
)
"""An id stays as it is: what was decided stands in the context."""


def runtime(view: View) -> Mapping[str, Any]:
    """What a proxy's runtime says of tracing, as in its JSON: of so many requests each begins a trace that is told.

    A plain number there would be in percent, and only whole ones; what Envoy compares is in ten thousandths.
    """
    return {_SAMPLING: {"numerator": round(_most(view) * 100), "denominator": "TEN_THOUSAND"}}


def of_listeners(view: View) -> tuple[Observed, Observed]:
    """What a proxy's listeners are made of, of its client's and its server's side: all but what its runtime says.

    Where less is sampled at one side than at the other, that side's listeners say which part of what the other would.
    """
    most = _most(view)
    client, server = (_bounded(one, most) for one in (view.client, view.server))
    return client, server


def of_manager(told: Tracing, *, outbound: bool) -> dict[str, Any]:
    """What a manager says of tracing; nothing where no span is told: then context passes as it comes."""
    if not told.reported:
        return {}
    tags = {tag["tag"]: tag for tag in (_WITHOUT_QUERY, *(_B3 if outbound else ()), *map(_tag, told.tags))}
    config = {
        "provider": build.extension("envoy.tracers.opentelemetry", _CONFIG, **_config(told)),
        "random_sampling": {"value": SAMPLED},
        "custom_tags": list(tags.values()),
    }
    return {"tracing": config, "request_id_extension": {"typed_config": _REQUEST_ID["typed_config"]}}


def early(told: Tracing) -> list[dict[str, Any]]:
    """What a manager does to a request before it decides whether to trace it."""
    return [_CONTEXT_DECIDES] if told.reported else []


def _most(view: View) -> float:
    return max(view.client.tracing.sampled, view.server.tracing.sampled)


def _bounded(side: Observed, most: float) -> Observed:
    part = side.tracing.sampled / most * _ALL if most else _ALL
    return replace(side, tracing=replace(side.tracing, sampled=part))


def _config(told: Tracing) -> dict[str, Any]:
    return {
        **(_to_control_plane() if told.collector is None else _to(told.collector)),
        **({"sampler": _part(told.sampled)} if told.sampled < _ALL else {}),
        # Who tells: see bootstrap.own_labels.
        "resource_detectors": [
            build.extension("envoy.tracers.opentelemetry.resource_detectors.environment", _ENVIRONMENT)
        ],
    }


def _part(percent: float) -> dict[str, Any]:
    """Of the traces that would begin here only so many do."""
    some = build.extension(
        "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
        f"{_SAMPLERS}.TraceIdRatioBasedSamplerConfig",
        sampling_percentage=build.share(round(percent / _ALL * _MILLION)),
    )
    return build.extension(
        "envoy.tracers.opentelemetry.samplers.parent_based",
        f"{_SAMPLERS}.ParentBasedSamplerConfig",
        wrapped_sampler=some,
    )


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
