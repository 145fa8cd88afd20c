"""Rules of routes in words: which requests they are for, and what becomes of these; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from plait.explain.phrases import either, few, no_test, percent, quoted, seconds, test
from plait.model.names import WorkloadKey
from plait.model.routing import (
    Backend,
    Changes,
    Clients,
    Cors,
    DirectResponse,
    Fault,
    MatchKind,
    PathChange,
    PathPart,
    Redirect,
    RedirectPort,
    RequestMatch,
    Retries,
    RouteRule,
    Session,
    StringMatch,
)
from plait.model.traffic import HashKey, HashKind

_EVERY_PATH = (StringMatch(MatchKind.PREFIX, "/"), StringMatch(MatchKind.SEGMENTS, "/"))
_WHOLE = 1_000_000
"""Millionths."""
_BODY = 60
"""So many letters of an answer are shown."""


def matches(match: RequestMatch | None) -> tuple[str, ...]:
    """What a request must be like, a phrase each, all of which must hold; (): every request, at the ports of the rule."""
    return tuple(_matches(match)) if match is not None else ()


def _matches(match: RequestMatch) -> Iterator[str]:
    if match.clients is not None and match.clients != Clients():
        yield clients(match.clients)
    if match.path is not None and match.path not in _EVERY_PATH:
        yield f"path {test(match.path)}{' in any case' if match.ignore_path_case else ''}"
    for name, asked in (("method", match.method), ("scheme", match.scheme), ("authority", match.authority)):
        if asked is not None:
            yield f"{name} {test(asked)}"
    for name, asked in match.headers:
        yield f"header {name} {test(asked)}"
    for name, asked in match.without_headers:
        yield f"header {name} {no_test(asked)}"
    for name, asked in match.query:
        yield f"query {name} {test(asked)}"


def clients(asked: Clients) -> str:
    """Who asks, by namespace and labels."""
    labels = ", ".join(f"{name}={value}" for name, value in asked.labels)
    place = f"namespace {asked.namespace}" if asked.namespace else ""
    if not labels:
        return f"from {place}"
    return f"from workloads with {labels}{f' in {place}' if place else ''}"


def callers(namespaces: tuple[str, ...], workloads: tuple[WorkloadKey, ...]) -> str:
    """Who asks, by name; "": whoever is left."""
    parts = []
    if namespaces:
        parts.append(f"namespace{'s' if len(namespaces) > 1 else ''} {few(namespaces)}")
    if workloads:
        parts.append(f"workload{'s' if len(workloads) > 1 else ''} {few(workloads)}")
    return f"from {' and '.join(parts)}" if parts else ""


def answer(rule: RouteRule) -> str:
    """What is answered in place of destinations; "": they answer."""
    match rule.answer:
        case Redirect():
            return _redirect(rule.answer)
        case DirectResponse(status=status, body=body):
            text = body.decode(errors="replace")
            shown = f": {text[:_BODY]}{'…' if len(text) > _BODY else ''}" if text else ""
            return f"{status} at once{shown}"
        case None:
            led = any(one.weight and one.host for one in rule.backends)
            return "" if led else f"{rule.nobody_status}: there is nobody to send to"


def _redirect(answer: Redirect) -> str:
    parts = []
    if answer.scheme:
        parts.append(f"scheme {answer.scheme}")
    if answer.host:
        parts.append(f"host {answer.host}")
    if answer.port is RedirectPort.CALLED:
        parts.append("the port that was called")
    elif not isinstance(answer.port, RedirectPort):
        parts.append(f"port {answer.port}")
    if answer.path is not None:
        parts.append(_path(answer.path))
    return (
        f"{answer.status}, elsewhere: {', '.join(parts)}" if parts else f"{answer.status}, to the same place"
    )


def more(rule: RouteRule) -> tuple[str, ...]:
    """What else is done, a phrase each; nothing of what is not said."""
    return tuple(_more(rule))


def _more(rule: RouteRule) -> Iterator[str]:
    if rule.timeout is not None:
        yield f"timeout {seconds(rule.timeout)}" if rule.timeout else "no timeout"
    if rule.retries is not None:
        yield _retries(rule.retries)
    elif rule.try_timeout is not None:
        yield f"{seconds(rule.try_timeout)} for each try"
    if rule.fault is not None:
        yield from _fault(rule.fault)
    if rule.path is not None:
        yield _path(rule.path)
    yield from changes(rule.changes)
    if rule.cors is not None:
        yield _cors(rule.cors)
    if rule.session is not None:
        yield _session(rule.session)
    keys = dict.fromkeys(one.hash_key for one in rule.backends if one.weight and one.hash_key is not None)
    yield from (_hash(key) for key in keys)


def _retries(retries: Retries) -> str:
    if not retries.attempts:
        return "no retries"
    parts = [f"{retries.attempts} {'retries' if retries.attempts > 1 else 'retry'}"]
    if retries.on:
        parts[0] += f" on {either(retries.on)}"
    if retries.per_try_timeout is not None:
        parts.append(f"{seconds(retries.per_try_timeout)} for each try")
    if retries.back_off is not None:
        parts.append(f"{seconds(retries.back_off)} between")
    if not retries.other_hosts:
        parts.append("at the same replica too")
    return ", ".join(parts)


def _fault(fault: Fault) -> Iterator[str]:
    if fault.delay is not None:
        yield f"{_share(fault.delay.millionths)} delayed by {seconds(fault.delay.seconds)}"
    if fault.abort is not None:
        status = f"{'gRPC status ' if fault.abort.grpc else ''}{fault.abort.status}"
        yield f"{_share(fault.abort.millionths)} answered {status} on purpose"


def _share(millionths: int) -> str:
    return "all" if millionths >= _WHOLE else percent(millionths / 10_000)


def _path(change: PathChange) -> str:
    text = quoted(change.text)
    match change.part:
        case PathPart.PREFIX:
            return f"matched part of the path becomes {text}"
        case PathPart.WHOLE:
            return f"path becomes {text}"
        case PathPart.PATTERN:
            return f"{quoted(change.pattern)} in the path becomes {text}"


def changes(changed: Changes) -> Iterator[str]:
    """What is changed of requests and responses, a phrase each."""
    if changed.authority:
        yield f"authority becomes {changed.authority}"
    for name, headers in (("request", changed.request), ("response", changed.response)):
        for header, value in headers.set:
            yield f"{name} header {header} set to {quoted(value)}"
        for header, value in headers.add:
            yield f"{name} header {header} added: {quoted(value)}"
        for header in headers.remove:
            yield f"{name} header {header} removed"


def of_destination(rule: RouteRule, backend: Backend, name: str) -> tuple[str, ...]:
    """What is changed of what goes to one destination alone, called by this name; the rule's authority comes first."""
    changed = replace(backend.changes, authority="") if rule.changes.authority else backend.changes
    return tuple(f"to {name}: {phrase}" for phrase in changes(changed))


def _cors(cors: Cors) -> str:
    origins = [test(one).removeprefix("is ") for one in cors.origins]
    parts = [f"CORS for {either(origins) if origins else 'nobody'}"]
    if cors.methods:
        parts.append(f"methods {either(cors.methods)}")
    if cors.headers:
        parts.append(f"headers {either(cors.headers)}")
    if cors.credentials:
        parts.append("with credentials")
    return ", ".join(parts)


def _session(session: Session) -> str:
    kept = f" for {seconds(session.lifetime)}" if session.lifetime is not None else ""
    return f"sessions kept by {session.kind} {session.name}{kept}"


def _hash(key: HashKey) -> str:
    if key.kind is HashKind.SOURCE:
        return "replica chosen by the caller's address"
    return f"replica chosen by {key.kind} {key.name}"
