"""docs/fields.md: every field of the kinds of traffic management, whether it is honoured, and what proves it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tests.fields.destination_rule
import tests.fields.grpc_route
import tests.fields.http_route
import tests.fields.rate_limit
import tests.fields.reference_grant
import tests.fields.sidecar
import tests.fields.virtual_service  # noqa: F401  # they register their cases
from plait.dialects import DIALECTS
from plait.model.document import child
from tests.dialects.whole import WHOLE
from tests.fields.cases import API_VERSIONS, CASES
from tests.fields.lifted import LIFTED

_POLICIES = (
    "spec.trafficPolicy",
    "spec.trafficPolicy.portLevelSettings[]",
    "spec.subsets[].trafficPolicy",
    "spec.subsets[].trafficPolicy.portLevelSettings[]",
)
TOLD: Mapping[str, Mapping[str, tuple[object, str]]] = {
    "DestinationRule": {
        f"{policy}.{field}": told
        for policy in _POLICIES
        for field, told in {
            "connectionPool.http.h2UpgradePolicy": ("DO_NOT_UPGRADE", "traffic.http-version"),
            "connectionPool.http.useClientProtocol": (True, "traffic.http-version"),
        }.items()
    },
    **{
        kind: {
            "spec.hostnames": (["web.example"], "hostnames.no-effect"),
            "spec.rules[].sessionPersistence.idleTimeout": ("1h", "session.timeout"),
        }
        for kind in ("HTTPRoute", "GRPCRoute")
    },
}
"""Fields that nothing follows from, each with a value that asks for something, and the finding that says so."""
NAMES: Mapping[str, tuple[str, ...]] = {
    "VirtualService": ("spec.http[].match[].name", "spec.http[].name"),
    "RateLimit": ("spec.limits[].name",),
    "HTTPRoute": ("spec.rules[].name",),
    "GRPCRoute": ("spec.rules[].name",),
}
"""Fields that are for people."""
ELSEWHERE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Sidecar": {
        "spec.outboundTrafficPolicy.mode": (
            "tests/envoy/test_transparent.py",
            "test_a_sidecar_shuts_the_way_out_for_those_whom_it_is_for",
        )
    }
}
"""Fields that take another mesh to prove than the cases have: the file, and the test."""

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "fields.md"

UNPROVEN = "honoured"
"""What is left: no test would fail without the field."""
_HEAD = """\
# Fields

Every field of the kinds that say how requests travel. **proved**: the test named beside it sends real requests through real Envoys, and fails when the field is left away. **told**: nothing follows from it, and whoever asks for something by it is told so by the finding beside it. **a name**: for people; nothing follows from it. **not honoured**: whoever writes it is told so (`field.unsupported`).

Names that end in `_at_a_port`, `_in_a_subset` and `_at_a_port_of_a_subset` are run by `make prove`, and so are those of `warmup`, which takes its time; all others belong to `make test`.

Written from the tests by `make golden`; not by hand.
"""


def table() -> str:
    """The page, as it should be."""
    parts = [_HEAD]
    for kind in API_VERSIONS:
        rows = "\n".join(f"| `{field}` | {state} | {proof} |" for field, state, proof in rows_of(kind))
        parts.append(f"## {kind}\n\n| field | state | proving test |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _proofs(kind: str) -> dict[str, list[str]]:
    """The proven fields of a kind, each with the names of the tests."""
    proofs: dict[str, list[str]] = {}
    for case in (*CASES, *(one for _, one in LIFTED)):
        for field in case.fields if case.kind == kind else ():
            named = proofs.setdefault(generic(field), [])
            if case.name not in named:
                named.append(case.name)
    for field, (_, test) in ELSEWHERE.get(kind, {}).items():
        proofs.setdefault(field, []).append(test)
    return proofs


def rows_of(kind: str) -> Iterator[tuple[str, str, str]]:
    """Field, state and proof, for each field of a kind."""
    proofs = _proofs(kind)
    unsupported = {
        pattern for (_, name), one in DIALECTS.items() if name == kind for pattern in one.unsupported
    }
    honoured = {generic(path) for path in _paths(WHOLE[kind]["spec"], "spec")}
    told = TOLD.get(kind, {})
    for field in sorted(honoured | proofs.keys() | unsupported | told.keys()):
        if field in proofs:
            yield field, "proved", ", ".join(f"`{name}`" for name in proofs[field])
        elif field in unsupported:
            yield field, "not honoured", ""
        elif field in told:
            yield field, "told", f"`{told[field][1]}`"
        elif field in NAMES.get(kind, ()):
            yield field, "a name", ""
        elif not any(other.startswith((f"{field}.", f"{field}[")) for other in honoured):
            yield field, UNPROVEN, ""


def _paths(value: Any, path: str) -> Iterator[str]:
    """Every field, down to those maps whose keys are the user's own."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        below = child(path, key)
        yield below
        if isinstance(inner, (dict, list)) and not OWN.search(below):
            yield from _paths(inner, below)


OWN = re.compile(
    r"(?:\.set|\.add|\.to|\.labels|\.sourceLabels|\.matchLabels|\bmatch\[\d*\]\.headers|\bmatches\[\d*\]\.headers"
    r"|\.queryParams|\.remove|Methods|Headers)$"
)
"""Maps and lists whose keys or words are the user's own."""


def generic(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)
