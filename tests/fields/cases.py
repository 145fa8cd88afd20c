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
"""Raises AssertionError when something does not hold."""

API_VERSIONS = {
    "VirtualService": "networking.istio.io/v1",
    "DestinationRule": "networking.istio.io/v1",
    "Sidecar": "networking.istio.io/v1",
    "AuthorizationPolicy": "security.istio.io/v1",
    "RateLimit": "plait.dev/v1alpha1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "GRPCRoute": "gateway.networking.k8s.io/v1",
    "ReferenceGrant": "gateway.networking.k8s.io/v1",
    "RequestAuthentication": "security.istio.io/v1",
    "IstioOperator": "install.istio.io/v1alpha1",
    "Telemetry": "telemetry.istio.io/v1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`fields` are paths from the root of the object."""

    kind: str
    spec: str
    fields: tuple[str, ...]
    exchange: Exchange
    beside: str = ""
    """Other documents, as YAML."""
    slow: bool = False
    """Whether it takes seconds, and is run by `make prove` alone."""
    place: str = ""
    """Where its policy is said, if not where the exchange stands beside it."""
    subset: str = ""
    """To which all requests go."""

    @property
    def name(self) -> str:
        return f"{self.exchange.__name__}_{self.place}" if self.place else self.exchange.__name__

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


async def idle(mesh: Mesh, case: Case) -> list[str]:
    """The fields without which a case, which has to hold with them, holds nevertheless."""
    await _say(mesh, case)
    await case.exchange(mesh)
    found = []
    for field in case.fields:
        await _say(mesh, case, without=field)
        try:
            await case.exchange(mesh)
        except (AssertionError, KeyError):
            continue
        found.append(field)
    return found


async def _say(mesh: Mesh, case: Case, without: str = "") -> None:
    if case.kind == "RateLimit":
        await mesh.say("")  # whatever was counted before is forgotten
    mesh.subset = case.subset
    await mesh.say(case.text(without=without))


CASES: list[Case] = []


def proves(
    kind: str, spec: str, *fields: str, beside: str = "", slow: bool = False
) -> Callable[[Exchange], Exchange]:
    """Makes a function that makes requests the proof of some fields, given below `spec`."""

    def registered(exchange: Exchange) -> Exchange:
        paths = tuple(f"spec.{one}" for one in fields)
        case = Case(kind=kind, spec=spec, fields=paths, exchange=exchange, beside=beside, slow=slow)
        CASES.append(case)
        return exchange

    return registered
