"""Routes: by which authority a request finds its routes, and what those do with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from plait.envoy import api, build, names
from plait.envoy.filters import ORDER, session
from plait.model.mesh import ClusterKey, InboundPort, OutboundRoutes, ServiceName
from plait.model.names import aliases
from plait.model.routing import (
    Backend,
    Changes,
    DirectResponse,
    MatchKind,
    Mirror,
    PathChange,
    PathPart,
    Redirect,
    RedirectPort,
    RequestMatch,
    Retries,
    RouteRule,
    StringMatch,
)
from plait.model.traffic import HashKey, HashKind

_ROUTES = "envoy.config.route.v3.RouteConfiguration"
_NO_TIMEOUT = build.seconds(0)

_IDEMPOTENT = "GET|HEAD|PUT|DELETE|OPTIONS|TRACE"
_NEVER_SENT = ("connect-failure", "refused-stream", "reset-before-request", "retriable-headers")
_REPEATABLE = (*_NEVER_SENT, "reset", "retriable-status-codes")
_DEFAULT_RETRIES = 2
_OTHER_HOST_ATTEMPTS = 150
"""Draws for a replica that was not tried yet.  Who answers nobody is the least busy one: of three, when two of them
are dead, eight draws in nine lead to a dead one.
"""

_REDIRECTS = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_NOBODY = {500: "INTERNAL_SERVER_ERROR", 503: "SERVICE_UNAVAILABLE"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DEFAULT_BODY = 4096
"""Bytes of a direct response that Envoy takes without a word."""

_USER_DEFAULT = ("connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes")
"""Istio's conditions for a user who asks for retries and names none; with them status 503."""


def scope(authority: str, host: str, port: int) -> Any:
    """Leads requests for an authority to the routes of a host and port."""
    return api.message("envoy.config.route.v3.ScopedRouteConfiguration")(
        name=authority,
        route_configuration_name=names.routes(host, port),
        key={"fragments": [{"string_key": authority}]},
    )


def outbound(routes: OutboundRoutes) -> Any:
    """The routes to one host and port, in the order of the rules; what matches none is answered 404."""
    return api.message(_ROUTES)(
        name=names.routes(routes.host, routes.port),
        request_headers_to_remove=[names.CALLED_HEADER, names.FORCED_HEADER],
        response_headers_to_remove=[names.NOT_SENT_HEADER],
        max_direct_response_body_size_bytes={"value": largest}
        if (largest := _largest_body(routes))
        else None,
        virtual_hosts=[
            {
                "name": f"{routes.host}:{routes.port}",
                "domains": ["*"],
                "routes": [route for rule in routes.rules for route in _routes(rule, routes.port)],
            }
        ],
    )


def _largest_body(routes: OutboundRoutes) -> int:
    """Bytes of the largest answer that is given at once; 0 when Envoy's default has room for it."""
    bodies = (len(rule.answer.body) for rule in routes.rules if isinstance(rule.answer, DirectResponse))
    largest = max(bodies, default=0)
    return largest if largest > _DEFAULT_BODY else 0


def inbound(port: InboundPort) -> Any:
    """What comes in for one port of the workload: who may, and as which service it was called."""
    per_filter = {}
    for http_filter in ORDER:
        said = http_filter.on_inbound(port)
        if said is not None:
            per_filter[http_filter.at(port.number)] = api.pack(said)
    hosts = [_inbound_host(port, service, _domains(service)) for service in port.services]
    first = port.services[0] if port.services else None
    return api.message(_ROUTES)(
        name=names.inbound(port.number),
        ignore_port_in_host_matching=True,
        request_headers_to_remove=[names.FORCED_HEADER],
        virtual_hosts=[*hosts, _inbound_host(port, first, ["*"])],
        typed_per_filter_config=per_filter,
    )


def _domains(service: ServiceName) -> list[str]:
    return list(aliases(service.namespace, service.name, service.namespace))


def _inbound_host(port: InboundPort, service: ServiceName | None, domains: list[str]) -> dict[str, Any]:
    """Its route is called as the service is, which metrics say."""
    route = {
        "name": service.host if service is not None else "",
        "match": {"prefix": "/"},
        "response_headers_to_remove": [names.NOT_SENT_HEADER],
        "route": {
            "cluster": names.inbound(port.number)
            if port.protocol.is_http
            else names.inbound_http(port.number),
            "timeout": _NO_TIMEOUT,
            # An application may close an idle connection just as a request is about to use it.
            "retry_policy": {"retry_on": "reset-before-request", "num_retries": {"value": 1}},
        },
    }
    return {"name": domains[0], "domains": domains, "routes": [route]}


def _routes(whole: RouteRule, port: int) -> Iterator[dict[str, Any]]:
    for rule in session.apart(whole):
        said = {one.name: api.pack(config) for one in ORDER if (config := one.on_rule(rule)) is not None}
        for route in _actions(rule, port):
            yield {**route, **_origin(rule), "typed_per_filter_config": said}


def _origin(rule: RouteRule) -> dict[str, Any]:
    """Who made a route, for access logs; what a Service makes by being there says its cluster."""
    ref, field = rule.origin.ref, rule.origin.field
    if (ref.group, ref.kind) == ("", "Service"):
        return {}
    said = api.struct({names.ORIGIN: f"{ref} {field}".rstrip()})
    return {"metadata": {"filter_metadata": {names.METADATA: said}}}


def _actions(rule: RouteRule, port: int) -> Iterator[dict[str, Any]]:
    match = _match(rule.match)
    if rule.answer is not None:
        yield {
            "name": rule.name,
            "match": match,
            **_answer(rule.answer, rule.match, port),
            **_headers(rule.changes),
        }
    elif not sum(backend.weight for backend in rule.backends):
        yield {"name": rule.name, "match": match, "direct_response": {"status": rule.nobody_status}}
    elif rule.retries is not None:
        yield _route(rule, match, _asked_retries(rule.retries))
    else:
        yield from _safe_routes(rule)


def _safe_routes(rule: RouteRule) -> Iterator[dict[str, Any]]:
    """The default retries: what is idempotent may be repeated, the rest only when it was never sent.

    Two routes, since Envoy's condition on the method would take the second kind its retries altogether.
    """
    match = rule.match
    method = match.method if match else None
    known = method is not None and method.kind is MatchKind.EXACT
    idempotent = method is not None and method.value in _IDEMPOTENT.split("|")
    if not known or idempotent:
        found = _match(match)
        if not known:
            found["headers"] = [
                *found.get("headers", ()),
                build.header(":method", StringMatch(MatchKind.REGEX, _IDEMPOTENT)),
            ]
        yield _route(rule, found, _safe_retries(rule, _REPEATABLE, statuses=(503,)))
    if not known or not idempotent:
        yield _route(rule, _match(match), _safe_retries(rule, _NEVER_SENT))


def _safe_retries(rule: RouteRule, conditions: Iterable[str], statuses: Iterable[int] = ()) -> dict[str, Any]:
    policy = _retry_policy(conditions, _DEFAULT_RETRIES, statuses)
    if rule.try_timeout is not None:
        policy["per_try_timeout"] = build.seconds(rule.try_timeout)
    return policy


def _route(rule: RouteRule, match: dict[str, Any], retry_policy: dict[str, Any] | None) -> dict[str, Any]:
    action: dict[str, Any] = {
        "timeout": _NO_TIMEOUT if rule.timeout is None else build.seconds(rule.timeout),
        "cluster_not_found_response_code": _NOBODY[rule.nobody_status],
    }
    shares = [backend for backend in rule.backends if backend.weight]
    authority = rule.changes.authority
    headers = _headers(rule.changes)
    if len(shares) == 1:
        action["cluster"] = _cluster(shares[0])
        authority = authority or shares[0].changes.authority
        headers = _joined(headers, _headers(shares[0].changes))
    else:
        # Envoy would change the headers of a cluster first, and those of the route would have the last word.
        first = headers if any(_headers(one.changes) for one in shares) else {}
        clusters = [_share(one, authority, first) | session.of_share(rule, one) for one in shares]
        action["weighted_clusters"] = {"clusters": clusters}
        headers = {} if first else headers
    if authority:
        action["host_rewrite_literal"] = authority
    if rule.path is not None:
        action |= _new_path(rule.path, rule.match)
    keys = dict.fromkeys(backend.hash_key for backend in shares if backend.hash_key is not None)
    if keys:
        action["hash_policy"] = [_hash_policy(key) for key in keys]
    if rule.mirrors:
        action["request_mirror_policies"] = [_mirror(one) for one in rule.mirrors]
    if retry_policy is not None:
        action["retry_policy"] = retry_policy
    return {"name": rule.name, "match": match, "route": action, **headers}


def _hash_policy(key: HashKey) -> dict[str, Any]:
    match key.kind:
        case HashKind.HEADER:
            return {"header": {"header_name": key.name}}
        case HashKind.QUERY:
            return {"query_parameter": {"name": key.name}}
        case HashKind.SOURCE:
            return {"connection_properties": {"source_ip": True}}
        case HashKind.COOKIE:
            cookie: dict[str, Any] = {"name": key.name, "path": key.path}
            if key.lifetime is not None:
                cookie["ttl"] = build.seconds(key.lifetime)
            if key.attributes:
                cookie["attributes"] = [{"name": name, "value": value} for name, value in key.attributes]
            return {"cookie": cookie}


def _share(backend: Backend, authority: str, headers: dict[str, Any]) -> dict[str, Any]:
    """One of several clusters; `headers` are changed before its own."""
    share = {
        "name": _cluster(backend),
        "weight": {"value": backend.weight},
        **_joined(headers, _headers(backend.changes)),
    }
    if backend.changes.authority and not authority:
        share["host_rewrite_literal"] = backend.changes.authority
    return share


def _joined(first: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """The changes of headers of two, one after the other."""
    return {name: [*first.get(name, ()), *then.get(name, ())] for name in dict.fromkeys((*first, *then))}


def _mirror(mirror: Mirror) -> dict[str, Any]:
    return {
        "cluster": _cluster(mirror.backend),
        "runtime_fraction": {"default_value": build.share(mirror.millionths)},
        "trace_sampled": {"value": False},
    }


def _new_path(change: PathChange, match: RequestMatch | None) -> dict[str, Any]:
    match change.part:
        case PathPart.PREFIX:
            return _new_prefix(change.text, match)
        case PathPart.WHOLE:
            return {"path_rewrite": change.text.replace("%", "%%")}
        case PathPart.PATTERN:
            pattern = {"regex": change.pattern}
            return {"regex_rewrite": {"pattern": pattern, "substitution": change.text}}


def _new_prefix(text: str, match: RequestMatch | None) -> dict[str, Any]:
    """Another prefix; when segments go and nothing comes for them, one slash of the two that would meet goes too."""
    path = match.path if match else None
    if path is None or path.kind is not MatchKind.SEGMENTS or text != "/":
        return {"prefix_rewrite": text}
    pattern = {"regex": f"^{re.escape(path.value)}/*"}
    return {"regex_rewrite": {"pattern": pattern, "substitution": "/"}}


def _answer(answer: Redirect | DirectResponse, match: RequestMatch | None, called: int) -> dict[str, Any]:
    if isinstance(answer, Redirect):
        return {"redirect": _redirect(answer, match, called)}
    response: dict[str, Any] = {"status": answer.status}
    if answer.body:
        response["body"] = {"inline_bytes": answer.body}
    return {"direct_response": response}


def _redirect(answer: Redirect, match: RequestMatch | None, called: int) -> dict[str, Any]:
    found: dict[str, Any] = {"response_code": _REDIRECTS[answer.status], "host_redirect": answer.host}
    if answer.scheme:
        found["scheme_redirect"] = answer.scheme
    port = called if answer.port is RedirectPort.CALLED else answer.port
    if not isinstance(port, RedirectPort):
        default = port == _DEFAULT_PORTS[answer.scheme or "http"]
        # Without a word the host would keep the port that the client wrote, unless it is another host.
        if not default or not (answer.host or called == _DEFAULT_PORTS["http"]):
            found["port_redirect"] = port
    if answer.path is not None and answer.path.part is PathPart.PREFIX:
        found |= _new_prefix(answer.path.text, match)
    elif answer.path is not None:
        found["path_redirect"] = answer.path.text
    return found


def _headers(changes: Changes) -> dict[str, Any]:
    """The changes of headers, for a route or for one of several clusters."""
    found: dict[str, Any] = {}
    for name, changed in (("request", changes.request), ("response", changes.response)):
        added = [_changed(one, "OVERWRITE_IF_EXISTS_OR_ADD") for one in changed.set]
        added += [_changed(one, "APPEND_IF_EXISTS_OR_ADD") for one in changed.add]
        if added:
            found[f"{name}_headers_to_add"] = added
        if changed.remove:
            found[f"{name}_headers_to_remove"] = list(changed.remove)
    return found


def _changed(header: tuple[str, str], action: str) -> dict[str, Any]:
    name, value = header
    return {"header": {"key": name, "value": value}, "append_action": action, "keep_empty_value": True}


def _cluster(backend: Backend) -> str:
    return names.cluster(ClusterKey(backend.host, backend.port, backend.subset))


def _match(match: RequestMatch | None) -> dict[str, Any]:
    if match is None:
        return {"prefix": "/"}
    found: dict[str, Any] = _path(match.path)
    if match.ignore_path_case:
        found["case_sensitive"] = {"value": False}
    headers = [build.header(name, test) for name, test in match.headers]
    headers += [_without_header(name, test) for name, test in match.without_headers]
    for name, test in ((":method", match.method), (":authority", match.authority), (":scheme", match.scheme)):
        if test is not None:
            headers.append(build.header(name, test))
    if headers:
        found["headers"] = headers
    if match.query:
        found["query_parameters"] = [_query(name, test) for name, test in match.query]
    return found


def _path(test: StringMatch | None) -> dict[str, Any]:
    if test is None:
        return {"prefix": "/"}
    match test.kind:
        case MatchKind.EXACT:
            return {"path": test.value}
        case MatchKind.PREFIX:
            return {"prefix": test.value}
        case MatchKind.SEGMENTS:
            return {"path_separated_prefix": test.value}
        case MatchKind.REGEX:
            return {"safe_regex": {"regex": test.value}}
        case MatchKind.PRESENT:
            return {"prefix": "/"}


def _without_header(name: str, test: StringMatch) -> dict[str, Any]:
    found = build.header(name, test) | {"invert_match": True}
    if test.kind is not MatchKind.PRESENT:
        found["treat_missing_header_as_empty"] = True
    return found


def _query(name: str, test: StringMatch) -> dict[str, Any]:
    if test.kind is MatchKind.PRESENT:
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": build.string_match(test)}


def _asked_retries(retries: Retries) -> dict[str, Any] | None:
    """What the user asks for, for every method; none when the number of attempts is none."""
    if not retries.attempts:
        return None
    conditions = [condition for condition in retries.on if not condition.isdecimal()]
    statuses = [int(condition) for condition in retries.on if condition.isdecimal()]
    if not retries.on:
        conditions, statuses = list(_USER_DEFAULT), [503]
    elif statuses and "retriable-status-codes" not in conditions:
        conditions.append("retriable-status-codes")
    policy = _retry_policy(conditions, retries.attempts, statuses=statuses)
    if retries.per_try_timeout is not None:
        policy["per_try_timeout"] = build.seconds(retries.per_try_timeout)
    if retries.back_off is not None:
        policy["retry_back_off"] = {"base_interval": build.seconds(retries.back_off)}
    if not retries.other_hosts:
        del policy["retry_host_predicate"], policy["host_selection_retry_max_attempts"]
    return policy


def _retry_policy(conditions: Iterable[str], attempts: int, statuses: Iterable[int] = ()) -> dict[str, Any]:
    return {
        "retry_on": ",".join(conditions),
        "num_retries": {"value": attempts},
        "retriable_status_codes": list(statuses),
        "retriable_headers": [{"name": names.NOT_SENT_HEADER, "present_match": True}],
        "retry_host_predicate": [
            build.extension(
                "envoy.retry_host_predicates.previous_hosts",
                "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            )
        ],
        "host_selection_retry_max_attempts": _OTHER_HOST_ATTEMPTS,
    }
