"""The service of a Canary: who is called for its target, and what the Canary says of routing itself."""

from __future__ import annotations

from dataclasses import dataclass

from plait.dialects.checks import dns_label, port_number, seconds
from plait.dialects.istio.answers import rewrite
from plait.dialects.istio.callees import callee
from plait.dialects.istio.cors import cors
from plait.dialects.istio.gateways import MESH
from plait.dialects.istio.headers import changes
from plait.dialects.istio.matches import matches
from plait.dialects.istio.retries import retries_of
from plait.dialects.istio.traffic_policies import UNSUPPORTED as OF_POLICIES
from plait.dialects.istio.traffic_policies import policies
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.names import is_dns_label, service_host
from plait.model.routing import RequestMatch, RouteRule
from plait.model.traffic import PortPolicies

UNSUPPORTED = (
    *(
        f"spec.service.{field}"
        for field in (
            "apex", "appProtocol", "backendTimeout", "backends", "canary", "gatewayRefs", "meshName", "mirror",
            "primary", "rewrite.type", "trafficDistribution", "unmanagedMetadata", "retries.retryRemoteLocalities",
        )
    ),
    *(f"spec.service.trafficPolicy.{field}" for field in OF_POLICIES),
    *(f"spec.service.trafficPolicy.portLevelSettings[].{field}" for field in OF_POLICIES[:-2]),
)  # fmt: skip

_SHOWN = 80
_OF_ROUTING = ("match", "rewrite", "retries", "timeout", "headers", "corsPolicy")
_SWITCHES = ("delegation", "headless", "portDiscovery")
"""What is not honoured, and not asked for by false."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryService:
    """What `spec.service` says, in the words of `model.rollout.Canary`."""

    name: str
    port: int
    port_name: str
    target_port: int | str
    rule: RouteRule | None
    policies: PortPolicies | None


def service(cursor: Cursor, target: str, subject: Subject) -> CanaryService:
    """The service, by the target's name unless it has one of its own."""
    named, policy = cursor.at("name"), cursor.at("trafficPolicy")
    name = dns_label(named, "name of a Service") if named.present else target
    for switch in _SWITCHES:
        if cursor.at(switch).boolean():
            path = cursor.at(switch).path
            cursor.at(switch).warn("field.unsupported", f"Plait does not honour {path} yet")
    _warn_about_elsewhere(cursor, service_host(subject.namespace, name), subject)
    return CanaryService(
        name=name,
        port=port_number(cursor.at("port")) if cursor.at("port").present else 0,
        port_name=_port_name(cursor.at("portName")),
        target_port=_target_port(cursor.at("targetPort")),
        rule=_rule(cursor, subject),
        policies=policies(policy) if policy.present else None,
    )


def _port_name(cursor: Cursor) -> str:
    return dns_label(cursor, "name of a port") if cursor.present else "http"


def _target_port(cursor: Cursor) -> int | str:
    """A number, or the name of a port of the workload; 0 when none is given."""
    if not isinstance(cursor.value, str):
        return port_number(cursor) if cursor.present else 0
    if not is_dns_label(cursor.value):
        cursor.error("name.invalid", f"{cursor.value[:_SHOWN]!r} is no number and no name of a port")
    return cursor.value


def _rule(cursor: Cursor, subject: Subject) -> RouteRule | None:
    """The one rule for requests to the service; None when nothing is said of them."""
    match = _match(cursor.at("match"), subject)
    path, authority = rewrite(cursor.at("rewrite"))
    rule = RouteRule(
        match=match,
        path=path,
        changes=changes(cursor.at("headers"), authority),
        cors=cors(cursor.at("corsPolicy")),
        timeout=seconds(cursor.at("timeout")),
        retries=retries_of(cursor.at("retries")),
        origin=subject.origin(cursor),
    )
    return rule if any(cursor.has(field) for field in _OF_ROUTING) else None


def _match(cursor: Cursor, subject: Subject) -> RequestMatch | None:
    """Which requests the rule is for; what matches nothing of it is answered 404."""
    found = matches(cursor, subject)
    written = len(cursor.value) if isinstance(cursor.value, list) else 0
    if written > 1:
        message = (
            "a Canary has one match: write a VirtualService for several, of which it shifts every destination"
        )
        cursor.error("canary.matches", message)
    elif written and not found and not cursor.error_count():
        cursor.error("match.left-out", "it matches nobody in the mesh: leave it away")
    return found[0] if found else None


def _warn_about_elsewhere(cursor: Cursor, own: str, subject: Subject) -> None:
    """Says of gateways and other hosts that nothing is done for them."""
    others = [name for name in cursor.at("gateways").strings() if name != MESH]
    if others:
        message = f"Plait does not honour the gateways {', '.join(others)[:200]} yet; sidecars are told"
        cursor.at("gateways").warn("gateway.unsupported", message)
    for item in cursor.at("hosts").each():
        if item.is_text() and callee(item.value, subject.namespace) != own:
            message = (
                f"requests to {item.value[:_SHOWN]!r} are not routed by a Canary: write a VirtualService for it "
                f"that leads to {own}, of which it shifts every destination"
            )
            item.warn("canary.host", message)
