"""What a case is: a spec, the fields in it that are proved, and the requests that prove them."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from plait.model.document import child

if TYPE_CHECKING:
    from tests.fields.mesh import Mesh

Exchange = Callable[["Mesh"], Awaitable[None]]

API_VERSIONS = {
    "VirtualService": "networking.istio.io/v1",
    "DestinationRule": "networking.istio.io/v1",
    "Sidecar": "networking.istio.io/v1",
    "RateLimit": "plait.dev/v1alpha1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "GRPCRoute": "gateway.networking.k8s.io/v1",
    "ReferenceGrant": "gateway.networking.k8s.io/v1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`fields` are paths from the root of the object; `exchange` raises AssertionError when one does not hold."""

    kind: str
    spec: str
    fields: tuple[str, ...]
    exchange: Exchange
    beside: str = ""
    """Other documents, as YAML."""

    @property
    def name(self) -> str:
        return self.exchange.__name__

    def text(self, without: str = "") -> str:
        """The object as YAML, with one of its fields left away."""
        spec: dict[str, Any] = yaml.safe_load(self.spec)
        document = {
            "apiVersion": API_VERSIONS[self.kind],
            "kind": self.kind,
            "metadata": {"name": "it", "namespace": "bistro"},
            "spec": copy.deepcopy(spec),
        }
        if without:
            assert _leave_away(document, "", without), f"{without} is not in the spec of {self.name}"
        return f"{yaml.safe_dump(document, sort_keys=False)}---\n{self.beside}"


def _leave_away(value: Any, path: str, field: str) -> bool:
    items = list(
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in items:
        if child(path, key) == field:
            del value[key]
            return True
        if _leave_away(inner, child(path, key), field):
            return True
    return False


CASES: list[Case] = []


def proves(kind: str, spec: str, *fields: str, beside: str = "") -> Callable[[Exchange], Exchange]:
    """Makes a function that makes requests the proof of some fields, given below `spec`."""

    def registered(exchange: Exchange) -> Exchange:
        paths = tuple(f"spec.{one}" for one in fields)
        CASES.append(Case(kind=kind, spec=spec, fields=paths, exchange=exchange, beside=beside))
        return exchange

    return registered
