"""Marks what a manager hands on to the one that traces, which tells of it: so each request is told of once.

By its metadata, which nobody writes but we: a header would be the application's word, wherever a request is answered
before its routes are looked at.
"""

from __future__ import annotations

from typing import Any

from plait.envoy import api
from plait.envoy.filters.kind import HttpFilter, enabled

_NAME, _KEY = "plait.traced", "handed-on"


def _mark() -> Any:
    mark = {"metadata_namespace": _NAME, "value": api.any_struct({_KEY: True})}
    return api.message("envoy.extensions.filters.http.set_metadata.v3.Config")(metadata=[mark])


def on_route() -> dict[str, Any]:
    """What a route says that hands on."""
    return {_NAME: api.pack(enabled())}


def once(log: dict[str, Any]) -> dict[str, Any]:
    """An access log without what was handed on."""
    here = {
        "metadata_filter": {
            "matcher": {"filter": _NAME, "path": [{"key": _KEY}], "value": {"bool_match": False}},
            "match_if_key_not_found": {"value": True},
        }
    }
    which = {"and_filter": {"filters": [log["filter"], here]}} if "filter" in log else here
    return {**log, "filter": which}


TRACED = HttpFilter(name=_NAME, on_listener=_mark, outbound=True, inbound=False, waits=True)
