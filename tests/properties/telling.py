"""What follows from a set of documents: findings, and the resources of every replica.

    python -m tests.properties.telling

reads sets as JSON, one a line, and answers each with a hash of what follows from it.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import cycle
from typing import Any

import plait.compiler
import plait.compiler.endpoints as endpoints_module
from plait.compiler.endpoints import endpoints
from plait.compiler.sharing import Made, PerMesh
from plait.compiler.view import view
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.catalog import Replica
from plait.model.change import Located, Stated
from plait.model.mesh import Mesh
from plait.model.names import ObjectRef
from plait.model.settings import MeshSettings, Mode
from plait.resource import Snapshot
from plait.run.compilation import Compilation, Compiled
from plait.run.offline import replicas
from plait.sources.files.parse import parse

SETTINGS = MeshSettings()
_ESCAPED = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
"""What YAML takes in no other form, or takes for the end of a line."""

Resources = Mapping[tuple[str, str, str], tuple[bytes, object]]
"""(node, type, name) -> the bytes, and what made them."""


@dataclass(frozen=True, slots=True)
class Told:
    """All that follows from a set of documents."""

    findings: tuple[str, ...]
    held: tuple[ObjectRef, ...]
    resources: Resources

    def unlike(self, other: Told) -> list[object]:
        """What is told otherwise there: findings, and the keys of resources."""
        keys = self.resources.keys() | other.resources.keys()
        return [
            *sorted({*self.findings} ^ {*other.findings}),
            *sorted({*self.held} ^ {*other.held}),
            *sorted(key for key in keys if self.resources.get(key) != other.resources.get(key)),
        ]

    def digest(self) -> str:
        text = repr((self.findings, self.held, sorted(self.resources.items())))
        return blake2b(text.encode(), digest_size=16).hexdigest()


def located(values: Iterable[Mapping[str, Any]]) -> tuple[Located, ...]:
    """Documents as a file states them."""
    change = parse("in.yaml", written(values))
    assert isinstance(change, Stated), change
    return change.documents


def written(values: Iterable[Mapping[str, Any]]) -> bytes:
    """Documents as YAML."""
    return "\n---\n".join(map(_yaml, values)).encode()


def _yaml(value: Mapping[str, Any]) -> str:
    """JSON, with what YAML takes in no other form written as it does."""
    text = json.dumps(value, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def running(mesh: Mesh) -> tuple[Replica, ...]:
    """A replica for each that is wanted, in either mode by turns."""
    turns = zip(replicas(mesh, Mode.EXPLICIT), replicas(mesh, Mode.TRANSPARENT), cycle((0, 1)), strict=False)
    return tuple((explicit, transparent)[turn] for explicit, transparent, turn in turns)


def tell(compiled: Compiled, told: Iterable[Replica], renderer: Renderer) -> Told:
    """What follows for some replicas; AssertionError when a snapshot names what is not in it."""
    told = tuple(told)
    found = endpoints(compiled.mesh, told)
    resources: dict[tuple[str, str, str], tuple[bytes, object]] = {}
    for one in (view(compiled.mesh, replica) for replica in told):
        snapshot = renderer.render(one, found)
        assert check(snapshot, one.outbound.missing) == ()
        resources.update(_resources(str(one.node), snapshot))
    renderer.sweep()
    return Told(tuple(sorted(map(repr, compiled.findings))), tuple(compiled.held), resources)


def _resources(node: str, snapshot: Snapshot) -> Iterator[tuple[tuple[str, str, str], tuple[bytes, object]]]:
    for kind, resources in snapshot.items():
        for name, one in resources.items():
            yield (node, kind, name), (one.body, one.origins)


def told_by_nobody_before(documents: Iterable[Located]) -> Told:
    """What follows for whoever has never compiled anything."""
    forget()
    compiled = Compilation(SETTINGS).compile(documents)
    return tell(compiled, running(compiled.mesh), Renderer())


def forget() -> None:
    """As if this process had compiled nothing yet."""
    for found in pkgutil.iter_modules(plait.compiler.__path__, "plait.compiler."):
        for kept in vars(importlib.import_module(found.name)).values():
            if isinstance(kept, PerMesh):
                kept._shared, kept._latest = Made(), None
    endpoints_module._MADE = Made()


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(told_by_nobody_before(located(json.loads(line))).digest() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
