"""Authorization of one request, by the rendered resources of the callee's proxy.

HTTP is judged by the RBAC messages in the routes of its port, anything else by the expressions that admit connections
(envoy/filters/admission); with both go the names of rules that denials are logged by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.envoy import api, names
from plait.envoy.filters import admission
from plait.explain import cel
from plait.explain.matching import permission, principal
from plait.explain.request import (
    Decision,
    Explanation,
    Request,
    Rule,
    UnknownError,
    Verdict,
    Watched,
)
from plait.model.mesh import InboundPort
from plait.model.names import Origin
from plait.model.policy import MtlsMode
from plait.resource import EXTENSION, ROUTES, Snapshot

_PER_ROUTE = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute"
_FILTER_CONFIG = "envoy.config.route.v3.FilterConfig"
_STATE = "envoy.extensions.filters.network.set_filter_state.v3.Config"
_ALLOW, _DENY, _LOG = 0, 1, 2
"""RBAC.Action."""
_ORDER = (names.RBAC_AUDIT, names.RBAC_DENY, names.RBAC_ALLOW)
"""As they stand in the proxy: what is denied comes before what is allowed."""
_BEGIN, _END = "%CEL(", ")%"


def explain(snapshot: Snapshot, port: InboundPort, request: Request, *, http: bool) -> Explanation:
    """What becomes of a request to a port, or of a connection where `http` is false.

    `snapshot`: what the callee's proxy is told.  UnknownError when it can't be judged.
    """
    if port.mtls is MtlsMode.STRICT and not request.caller:
        return Explanation(verdict=Verdict.DENIED, decision=Decision.NO_CERTIFICATE)
    origins = {
        names.policy_rule(policy, rule): rule.origin for policy in port.policies for rule in policy.rules
    }
    name = names.inbound(port.number)
    if http:
        return _request(_resource(snapshot, ROUTES, name), request, origins)
    return _connection(_resource(snapshot, EXTENSION, name), name, request, origins)


def _resource(snapshot: Snapshot, type_url: str, name: str) -> Any:
    found = snapshot.get(type_url, {}).get(name)
    if found is None:
        raise UnknownError(f"its proxy is told nothing of {name}")
    return api.parse(type_url, found.body)


def _request(routes: Any, request: Request, origins: Mapping[str, Origin]) -> Explanation:
    """By the filters in their order; what somebody else is asked about can only be denied for sure, never allowed."""
    watched: list[Watched] = []
    decided = Explanation(verdict=Verdict.ALLOWED, decision=Decision.NOTHING)
    for name in _ORDER:
        rbac = _rbac(routes, name)
        if rbac is None:
            continue
        if rbac.HasField("matcher") or rbac.HasField("shadow_matcher"):
            raise UnknownError(f"{name} is told by a matcher, which is not known")
        if rbac.HasField("shadow_rules"):
            verdict, rule = _judged(rbac.shadow_rules, request, origins)
            watched.append(Watched(filter=name, verdict=verdict, rule=rule))
        if not rbac.HasField("rules"):
            continue
        verdict, rule = _judged(rbac.rules, request, origins)
        if verdict is Verdict.DENIED:
            decision = Decision.NO_ALLOW if rule is None else Decision.RULE
            return Explanation(verdict=verdict, decision=decision, rule=rule, watched=tuple(watched))
        if rule is not None:
            decided = Explanation(verdict=verdict, decision=Decision.RULE, rule=rule)
    _nobody_is_asked(routes, request, origins)
    return Explanation(
        verdict=decided.verdict, decision=decided.decision, rule=decided.rule, watched=tuple(watched)
    )


def _nobody_is_asked(routes: Any, request: Request, origins: Mapping[str, Origin]) -> None:
    """UnknownError when a rule holds by which an authorizer is asked (CUSTOM): an RBAC filter beside those of ORDER."""
    for name, said in sorted(routes.typed_per_filter_config.items()):
        if name in _ORDER or said.type_url.removeprefix(api.TYPE_PREFIX) != _PER_ROUTE:
            continue
        rbac = api.message(_PER_ROUTE).FromString(said.value).rbac
        for rules in (rbac.rules, rbac.shadow_rules):
            _, rule = _judged(rules, request, origins)
            if rule is not None:
                raise UnknownError(f"an authorizer is asked about it, by {rule.name}")


def _rbac(routes: Any, name: str) -> Any | None:
    """What the routes of a port say to one filter; None when they say nothing, and it rests."""
    said = routes.typed_per_filter_config.get(name)
    if said is None:
        return None
    kind = said.type_url.removeprefix(api.TYPE_PREFIX)
    if kind == _FILTER_CONFIG:
        said = api.message(_FILTER_CONFIG).FromString(said.value).config
        kind = said.type_url.removeprefix(api.TYPE_PREFIX)
    if kind != _PER_ROUTE:
        raise UnknownError(f"{name} is told by {kind}, which is not known")
    return api.message(_PER_ROUTE).FromString(said.value).rbac


def _judged(rules: Any, request: Request, origins: Mapping[str, Origin]) -> tuple[Verdict, Rule | None]:
    """Of one filter: the verdict, and the first rule that holds, in the order of names.

    Whoever is asked about has one identity.
    """
    asked = (one for one in sorted(rules.policies.items()) if one[0] != names.SEVERAL_IDENTITIES)
    held = next((name for name, policy in asked if _holds(policy, request)), None)
    rule = None if held is None else Rule(name=held, origin=origins.get(held))
    if rules.action == _LOG:
        return Verdict.ALLOWED, rule
    if rules.action not in {_ALLOW, _DENY}:
        raise UnknownError(f"the action {rules.action} is not known")
    allowed = (held is not None) == (rules.action == _ALLOW)
    return (Verdict.ALLOWED if allowed else Verdict.DENIED), rule


def _holds(policy: Any, request: Request) -> bool:
    if policy.HasField("condition") or policy.HasField("checked_condition"):
        raise UnknownError("a rule has a condition of its own, which is not known")
    return any(permission(one, request) for one in policy.permissions) and any(
        principal(one, request) for one in policy.principals
    )


def _connection(extension: Any, way: str, request: Request, origins: Mapping[str, Origin]) -> Explanation:
    """By the states that are set when the handshake is over: where one leads to the application, it is let in."""
    state = api.message(_STATE).FromString(extension.typed_config.value)
    attributes = _attributes(request)
    states: dict[str, str] = {}
    for one in state.on_downstream_tls_handshake:
        if one.object_key == names.IDENTITIES:
            continue
        # Who is asked about has one identity.
        text = one.format_string.text_format_source.inline_string.replace(admission.ALONE, "true")
        if not text.startswith(_BEGIN) or not text.endswith(_END):
            raise UnknownError(f"a state is set by {text[:40]!r}, which is not known")
        said = cel.evaluate(text.removeprefix(_BEGIN).removesuffix(_END), attributes)
        if said or not one.skip_if_empty:
            states[one.object_key] = said
    if states.get(names.CHOSEN_CLUSTER) == way:
        return Explanation(verdict=Verdict.ALLOWED, decision=Decision.NOTHING)
    denied = states.get(names.DENIED_BY, "")
    rule = Rule(name=denied, origin=origins[denied]) if denied in origins else None
    decision = Decision.NO_ALLOW if rule is None else Decision.RULE
    return Explanation(verdict=Verdict.DENIED, decision=decision, rule=rule)


def _attributes(request: Request) -> Mapping[str, Any]:
    """https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes"""
    connection = {"mtls": bool(request.caller), "uri_san_peer_certificate": request.caller}
    if request.sni is not None:
        connection["requested_server_name"] = request.sni
    destination: dict[str, Any] = {"port": request.port}
    if request.destination:
        destination["address"] = f"{request.destination}:{request.port}"
    source = {"address": f"{request.address}:0"} if request.address else {}
    return {"connection": connection, "source": source, "destination": destination}
