"""docs/fields.md: every field of the kinds of traffic management, whether it is honoured, and what proves it."""

from __future__ import annotations

import re
from collections.abc import Iterator
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

FILE = Path(__file__).parents[2] / "docs" / "fields.md"

_HEAD = """\
# Fields

Every field of the kinds that say how requests travel. **proved**: the test named beside it sends real requests through real Envoys, and fails when the field is left away. **honoured**: it has its effect, and no test of that kind yet. **not honoured**: whoever writes it is told so (`field.unsupported`).

Written from the tests by `make golden`; not by hand.
"""


def table() -> str:
    """The page, as it should be."""
    parts = [_HEAD]
    for kind in API_VERSIONS:
        rows = "\n".join(f"| `{field}` | {state} | {proof} |" for field, state, proof in _rows(kind))
        parts.append(f"## {kind}\n\n| field | state | proving test |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _rows(kind: str) -> Iterator[tuple[str, str, str]]:
    proofs: dict[str, list[str]] = {}
    for case in CASES:
        for field in case.fields if case.kind == kind else ():
            named = proofs.setdefault(_generic(field), [])
            if case.name not in named:
                named.append(case.name)
    unsupported = {
        pattern for (_, name), one in DIALECTS.items() if name == kind for pattern in one.unsupported
    }
    honoured = {_generic(path) for path in _paths(WHOLE[kind]["spec"], "spec")}
    for field in sorted(honoured | proofs.keys() | unsupported):
        if field in proofs:
            yield field, "proved", ", ".join(f"`{name}`" for name in proofs[field])
        elif field in unsupported:
            yield field, "not honoured", ""
        elif not any(other.startswith((f"{field}.", f"{field}[")) for other in honoured):
            yield field, "honoured", ""


def _paths(value: Any, path: str) -> Iterator[str]:
    """Every field, down to those maps whose keys are the user's own."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        below = child(path, key)
        yield below
        if isinstance(inner, (dict, list)) and not _OWN.search(below):
            yield from _paths(inner, below)


_OWN = re.compile(
    r"(?:\.set|\.add|\.to|\.labels|\].headers|\.withoutHeaders|\.queryParams|\.hosts|\.remove|Methods|Headers)$"
)


def _generic(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)
