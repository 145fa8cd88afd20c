"""Somebody else is asked whether a request may pass: policies with the action CUSTOM.

As with Istio an RBAC filter looks at their rules, denies nothing, and writes down whether one holds; whoever is to
be asked is asked only then.  It comes before all that is denied and allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plait.envoy import api, build, names
from plait.envoy.filters import rbac
from plait.envoy.filters.kind import HttpFilter, enabled
from plait.model.authorizer import Authorizer
from plait.model.mesh import ClusterKey, InboundPort
from plait.model.policy import Action, AuthorizationPolicy
from plait.model.routing import MatchKind, StringMatch

_CONFIG = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
_RBAC = "envoy.extensions.filters.http.rbac.v3"
_SHADOW = "custom_"
_MET = f"{_SHADOW}shadow_effective_policy_id"
"""The key under which RBAC says which rule holds."""

_Message = dict[str, Any]


def asks(port: InboundPort) -> bool:
    """Whether anybody is asked about requests to a port."""
    return port.authorizer is not None and any(map(_asking, port.policies))


def _asking(policy: AuthorizationPolicy) -> bool:
    return policy.action is Action.CUSTOM and policy.decides


def _nothing() -> Any:
    return api.message(f"{_RBAC}.RBAC")()


def _rules(port: InboundPort) -> Any | None:
    """The rules, only looked at."""
    if not asks(port):
        return None
    rules = rbac.rules(port, Action.DENY, _asking)
    told = {"shadow_rules": rules, "shadow_rules_stat_prefix": _SHADOW}
    return api.message(f"{_RBAC}.RBACPerRoute")(rbac=told)


def _asked(port: InboundPort) -> Any | None:
    return enabled() if asks(port) else None


CUSTOM = HttpFilter(
    name=names.RBAC_CUSTOM,
    on_listener=_nothing,
    outbound=False,
    inbound=True,
    waits=True,
    on_inbound=_rules,
)
EXT_AUTHZ = HttpFilter(
    name="ext-authz",
    on_listener=lambda: None,
    outbound=False,
    inbound=True,
    waits=True,
    discovered=_CONFIG,
    on_inbound=_asked,
)


def extension(authorizer: Authorizer, port: int) -> Any:
    """Who is asked and how, as a resource of its own."""
    config = {
        "transport_api_version": "V3",
        "failure_mode_allow": authorizer.fail_open,
        "status_on_error": {"code": authorizer.status_on_error},
        "filter_enabled_metadata": {
            "filter": "envoy.filters.http.rbac",
            "path": [{"key": _MET}],
            "value": {"present_match": True},
        },
        **(_grpc(authorizer) if authorizer.grpc else _http(authorizer)),
    }
    if authorizer.body is not None:
        config["with_request_body"] = {
            "max_request_bytes": authorizer.body.most,
            "allow_partial_message": authorizer.body.partial,
            "pack_as_bytes": authorizer.body.raw,
        }
    return api.message("envoy.config.core.v3.TypedExtensionConfig")(
        **build.extension(names.of_port(EXT_AUTHZ.name, port), _CONFIG, **config)
    )


def _grpc(authorizer: Authorizer) -> _Message:
    cluster = names.cluster(_key(authorizer))
    target = {"cluster_name": cluster, "authority": f"{authorizer.host}:{authorizer.port}"}
    return {"grpc_service": {"envoy_grpc": target, "timeout": build.seconds(authorizer.timeout)}}


def _http(authorizer: Authorizer) -> _Message:
    answer = {
        "allowed_upstream_headers": _headers(authorizer.to_application),
        "allowed_client_headers_on_success": _headers(authorizer.to_caller),
        "allowed_client_headers": _headers(authorizer.to_denied),
    }
    added = [{"key": name, "value": value} for name, value in authorizer.added]
    service = {
        "server_uri": {
            "uri": f"http://{authorizer.host}:{authorizer.port}",
            "cluster": names.cluster(_key(authorizer)),
            "timeout": build.seconds(authorizer.timeout),
        },
        "path_prefix": authorizer.path_prefix,
        "authorization_request": {"headers_to_add": added},
        "authorization_response": {name: told for name, told in answer.items() if told},
    }
    shown = _headers(authorizer.shown)
    return {"http_service": service, **({"allowed_headers": shown} if shown else {})}


def _key(authorizer: Authorizer) -> ClusterKey:
    return ClusterKey(authorizer.host, authorizer.port)


def _headers(matches: Iterable[StringMatch]) -> _Message:
    patterns = [build.string_match(one) | _any_case(one) for one in matches]
    return {"patterns": patterns} if patterns else {}


def _any_case(match: StringMatch) -> _Message:
    return {} if match.kind is MatchKind.REGEX else {"ignore_case": True}
