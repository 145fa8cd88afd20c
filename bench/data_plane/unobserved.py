"""Plait as it is, but for all that observes requests: no metrics and no traces, at either end.

`python -m bench.data_plane.unobserved up FOLDER ...` is `plait up FOLDER ...`, and the control plane that it starts is
this module as well.  What observes is taken out of listeners when they are made, so that all else stays as it is.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

from plait.cli import main as plait
from plait.envoy import api, build
from plait.model.names import Origin
from plait.resource import LISTENER, Resource
from plait.run import control_plane, runner
from plait.run.part import Part

_STATS = "envoy.access_loggers.stats"
_CONTROL_PLANE, _SELF = "plait.run.control_plane", "bench.data_plane.unobserved"


def unobserved(listener: Any) -> Any:
    """A listener without the access logs that count, and without traces."""
    chains = [*listener.filter_chains]
    if listener.HasField("default_filter_chain"):
        chains.append(listener.default_filter_chain)
    for one in (one for chain in chains for one in chain.filters if one.HasField("typed_config")):
        config = api.parse(one.typed_config.type_url, one.typed_config.value)
        fields = config.DESCRIPTOR.fields_by_name
        if "access_log" in fields:
            kept = [log for log in config.access_log if log.name != _STATS]
            config.ClearField("access_log")
            config.access_log.extend(kept)
        if "tracing" in fields:
            config.ClearField("tracing")
        one.typed_config.value = api.serialize(config)
    return listener


def _resource(type_url: str, name: str, message: Any, origins: tuple[Origin, ...] = ()) -> Resource:
    return _made(type_url, name, unobserved(message) if type_url == LISTENER else message, origins)


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
