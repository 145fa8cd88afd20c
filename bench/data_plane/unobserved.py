"""Plait as it is, but for all that observes requests: no metrics and no traces, at either end.

`python -m bench.data_plane.unobserved up FOLDER ...` is `plait up FOLDER ...`, and the control plane that it starts is
this module as well.  What observes is taken out of listeners and routes when they are made, so that all else stays as
it is.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

from plait.cli import main as plait
from plait.envoy import api, build, names, tracing
from plait.envoy.filters.traced import TRACED
from plait.model.names import Origin
from plait.resource import LISTENER, ROUTES, Resource
from plait.run import control_plane, runner
from plait.run.part import Part

_OURS = frozenset({*tracing.OF_OURS, names.UNDECIDED_HEADER})
_STATS = "envoy.access_loggers.stats"
_CONTROL_PLANE, _SELF = "plait.run.control_plane", "bench.data_plane.unobserved"


def unobserved(listener: Any) -> Any:
    """A listener without the access logs that count, and without what tells what is traced from the rest."""
    chains = [*listener.filter_chains]
    if listener.HasField("default_filter_chain"):
        chains.append(listener.default_filter_chain)
    for one in (one for chain in chains for one in chain.filters if one.HasField("typed_config")):
        config = api.parse(one.typed_config.type_url, one.typed_config.value)
        fields = config.DESCRIPTOR.fields_by_name
        if "access_log" in fields:
            kept = [_whole(log) for log in config.access_log if log.name != _STATS]
            config.ClearField("access_log")
            config.access_log.extend(kept)
        if "http_filters" in fields:
            others = [each for each in config.http_filters if each.name != TRACED.name]
            config.ClearField("http_filters")
            config.http_filters.extend(others)
        one.typed_config.value = api.serialize(config)
    return listener


def _whole(log: Any) -> Any:
    """An access log that does not look for what was handed on."""
    if log.filter.and_filter.filters and log.filter.and_filter.filters[-1].HasField("metadata_filter"):
        first = api.serialize(log.filter.and_filter.filters[0])
        log.filter.Clear()
        log.filter.MergeFromString(first)
    return log


def untraced(configuration: Any) -> Any:
    """Routes without those that lead to what traces, and without what is done for them and for applications."""
    for host in configuration.virtual_hosts:
        others = [one for one in host.routes if not _leads_to_traced(one)]
        host.ClearField("routes")
        host.routes.extend(others)
        for one in host.routes:
            kept = [each for each in one.request_headers_to_add if each.header.key != tracing.CONTEXT]
            one.ClearField("request_headers_to_add")
            one.request_headers_to_add.extend(kept)
    removed = [name for name in configuration.request_headers_to_remove if name not in _OURS]
    configuration.ClearField("request_headers_to_remove")
    configuration.request_headers_to_remove.extend(removed)
    return configuration


def _leads_to_traced(route: Any) -> bool:
    return any(one.header.key == names.TRACED_HEADER for one in route.request_headers_to_add)


_WITHOUT = {LISTENER: unobserved, ROUTES: untraced}


def _resource(type_url: str, name: str, message: Any, origins: tuple[Origin, ...] = ()) -> Resource:
    without = _WITHOUT.get(type_url)
    return _made(type_url, name, message if without is None else without(message), origins)


_made = build.resource


def _part(name: str, command: list[str], *rest: Any) -> Part:
    """A part of the mesh; the control plane is this module."""
    return Part(name, [_SELF if word == _CONTROL_PLANE else word for word in command], *rest)


def main() -> None:
    if sys.argv[1:2] == ["up"]:
        with patch.object(runner, "Part", _part):
            plait.main()
    else:
        with patch.object(build, "resource", _resource):
            control_plane.main()


if __name__ == "__main__":
    main()
