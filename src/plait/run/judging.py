"""A question in a user's words, put to the proxies that would have to answer it: what `plait can` asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from plait.compiler.endpoints import endpoints
from plait.compiler.view import view
from plait.envoy.render import Renderer
from plait.explain.authorization import explain
from plait.explain.request import Explanation, Request
from plait.model.catalog import Protocol, Replica, Service, selects
from plait.model.mesh import InboundPort, Mesh, View
from plait.model.names import Identity, Origin, WorkloadKey, service_host
from plait.model.policy import Action, MtlsMode
from plait.model.settings import Mode
from plait.run import offline

NOBODY = "nobody"
"""A caller that shows no certificate."""
_SPIFFE = "spiffe://"


class QuestionError(Exception):
    """It can't be asked like that, in words for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May `caller` (NS/WORKLOAD, a principal, or NOBODY) do this at `target` (NS/NAME[:PORT])?"""

    caller: str
    target: str
    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, Any] | None = None
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The answer of one workload behind the target; `allowing`: the ALLOW policies over it."""

    asked: str
    workload: WorkloadKey
    port: int
    explanation: Explanation
    allowing: tuple[Origin, ...]


def judge(mesh: Mesh, question: Question, mode: Mode) -> tuple[Judged, ...]:
    """What each workload behind the target would do; QuestionError, or UnknownError (see explain)."""
    caller = _caller(mesh, question.caller)
    replicas = offline.replicas(mesh, mode)
    host, behind = _target(mesh, question.target, replicas)
    found = endpoints(mesh, replicas)
    renderer = Renderer()
    return tuple(
        _judged(view(mesh, replica), renderer, found, number, question, caller, host)
        for replica, number in behind
    )


def _judged(  # noqa: PLR0913, PLR0917 - all that an answer hangs on
    seen: View, renderer: Renderer, found: Any, number: int, question: Question, caller: str, host: str
) -> Judged:
    port = next(one for one in seen.inbound if one.number == number)
    http = port.protocol.may_be_http
    # Where the mesh speaks plain text nobody shows a certificate.
    shown = "" if port.mtls is MtlsMode.DISABLE else caller
    request = Request(
        caller=shown,
        address=question.address,
        port=port.number,
        method=question.method,
        host=question.headers.get("host", host),
        path=question.path,
        headers={name: value for name, value in question.headers.items() if name != "host"},
        claims=question.claims,
    )
    what = f"{question.method} {question.path}" if http else "a connection"
    return Judged(
        asked=f"{question.caller} -> {seen.node.workload}:{port.number}, {what}",
        workload=seen.node.workload,
        port=port.number,
        explanation=explain(renderer.render(seen, found), port, request, http=http),
        allowing=tuple(_allowing(port)),
    )


def _allowing(port: InboundPort) -> Iterator[Origin]:
    return (one.origin for one in port.policies if one.action is Action.ALLOW and not one.dry_run)


def _caller(mesh: Mesh, text: str) -> str:
    """The SPIFFE ID of a caller; empty for nobody."""
    if text == NOBODY:
        return ""
    principal = Identity.parse(_SPIFFE + text.removeprefix(_SPIFFE))
    if principal is not None:
        return principal.uri
    namespace, _, name = text.partition("/")
    workload = mesh.workloads.get(WorkloadKey(namespace, name))
    if workload is None:
        known = ", ".join(str(key) for key in sorted(mesh.workloads)) or "none"
        raise QuestionError(f"no workload {text}, and no principal is written so; there are: {known}")
    return Identity(mesh.settings.trust_domain, namespace, workload.service_account).uri


def _target(mesh: Mesh, text: str, replicas: tuple[Replica, ...]) -> tuple[str, list[tuple[Replica, int]]]:
    """The host that is called, and the first replica of each workload behind it with its port there."""
    named, _, port = text.partition(":")
    namespace, _, name = named.partition("/")
    if port and not port.isdecimal():
        raise QuestionError(f"{port!r} is no port")
    wanted = int(port) if port else None
    firsts = {one.key.workload: one for one in reversed(replicas)}
    service = mesh.services.get(service_host(namespace, name))
    if service is not None and (wanted is None or wanted in {one.number for one in service.ports}):
        return service.host, list(_behind(service, _port(service, wanted), firsts))
    replica = firsts.get(WorkloadKey(namespace, name))
    if replica is None:
        raise QuestionError(
            f"no service and no workload {named} has {f'port {port}' if port else 'a replica'}"
        )
    numbers = [one.number for one in replica.bindings if one.protocol is not Protocol.UDP]
    return service_host(namespace, name), [(replica, _one_of(numbers, wanted, named))]


def _port(service: Service, wanted: int | None) -> int:
    return _one_of([one.number for one in service.ports], wanted, f"{service.namespace}/{service.name}")


def _one_of(numbers: list[int], wanted: int | None, named: str) -> int:
    if wanted is None and len(numbers) == 1:
        return numbers[0]
    if wanted is None or wanted not in numbers:
        has = ", ".join(map(str, numbers)) or "none"
        raise QuestionError(f"name a port of {named}: it has {has}")
    return wanted


def _behind(
    service: Service, number: int, firsts: Mapping[WorkloadKey, Replica]
) -> Iterator[tuple[Replica, int]]:
    (port,) = (one for one in service.ports if one.number == number)
    found = False
    for _, replica in sorted(firsts.items()):
        binding = replica.binding(port.target)
        inside = replica.key.workload.namespace == service.namespace
        if inside and service.selector and selects(service.selector, replica.labels) and binding is not None:
            found = True
            yield replica, binding.number
    if not found:
        raise QuestionError(f"no workload stands behind port {number} of {service.namespace}/{service.name}")
