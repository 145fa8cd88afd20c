"""Whom an Envoy leaves alone because they failed (outlier detection), as its admin interface tells it.

What it has counted says of which clusters it leaves anybody alone, and these are all that it is asked about: for the
whole of a large mesh it writes megabytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from plait.agent.counted import CLUSTER, EJECTIONS, Counted

_NAMED = 50
"""So many clusters are asked for by name; a question has to be shorter than what Envoy takes."""
_ANY = r"outbound\|.*"


def clusters(found: Counted) -> tuple[str, ...]:
    """The clusters of which somebody is left alone."""
    suffix = f".{EJECTIONS}"
    return tuple(
        name.removeprefix(CLUSTER).removesuffix(suffix)
        for name, number in found.numbers.items()
        if number and name.endswith(suffix)
    )


def page(of: Sequence[str]) -> str:
    """Where the admin interface tells all about some clusters."""
    wanted = "|".join(map(re.escape, of)) if len(of) <= _NAMED else _ANY
    return f"/clusters?format=json&filter={quote(f'^({wanted})$', safe='')}"


def read(text: bytes) -> tuple[str, ...]:
    """Who is left alone, each endpoint (HOST:PORT) once, sorted; ValueError for what is no such page."""
    try:
        return tuple(sorted(set(_ejected(json.loads(text)))))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not what Envoy tells of clusters: {error!r}") from error


def _ejected(told: Any) -> Iterator[str]:
    for cluster in told.get("cluster_statuses", ()):
        for host in cluster.get("host_statuses", ()):
            if host.get("health_status", {}).get("failed_outlier_check"):
                at = host["address"]["socket_address"]
                yield f"{at['address']}:{at['port_value']}"
