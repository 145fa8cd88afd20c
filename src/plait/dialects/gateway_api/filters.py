"""Filters: what a rule does besides choosing a backend.  None of them is ever left out and the rest done."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from plait.dialects.checks import port_number
from plait.dialects.gateway_api.bounds import bounded, items
from plait.dialects.gateway_api.cors import cors
from plait.dialects.gateway_api.headers import header_changes
from plait.dialects.gateway_api.paths import path_change
from plait.dialects.gateway_api.services import SERVICE, host_of, kind_of, told
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.names import is_dns_subdomain
from plait.model.routing import (
    NO_CHANGES,
    Backend,
    Changes,
    Cors,
    HeaderChanges,
    Mirror,
    PathChange,
    Redirect,
    RedirectPort,
)

_MOST_FILTERS = 16
_LONGEST_HOST = 253
_REDIRECTS = (301, 302, 303, 307, 308)
_DEFAULT_STATUS = 302
_DEFAULT_PORTS: Mapping[str, int | RedirectPort] = {"http": 80, "https": 443}
_MILLION = 1_000_000
_SHOWN = 80


class FilterKind(StrEnum):
    REQUEST_HEADERS = "RequestHeaderModifier"
    RESPONSE_HEADERS = "ResponseHeaderModifier"
    MIRROR = "RequestMirror"
    REDIRECT = "RequestRedirect"
    REWRITE = "URLRewrite"
    CORS = "CORS"
    EXTENSION = "ExtensionRef"
    AUTH = "ExternalAuth"


_FIELDS = {
    FilterKind.REQUEST_HEADERS: "requestHeaderModifier",
    FilterKind.RESPONSE_HEADERS: "responseHeaderModifier",
    FilterKind.MIRROR: "requestMirror",
    FilterKind.REDIRECT: "requestRedirect",
    FilterKind.REWRITE: "urlRewrite",
    FilterKind.CORS: "cors",
    FilterKind.EXTENSION: "extensionRef",
}

OF_GRPC = (FilterKind.REQUEST_HEADERS, FilterKind.RESPONSE_HEADERS, FilterKind.MIRROR)
OF_HTTP = (*OF_GRPC, FilterKind.REDIRECT, FilterKind.REWRITE, FilterKind.CORS)
OF_GRPC_BACKEND = (FilterKind.REQUEST_HEADERS, FilterKind.RESPONSE_HEADERS)
OF_HTTP_BACKEND = (*OF_GRPC_BACKEND, FilterKind.REWRITE)


class _Scheme(StrEnum):
    HTTP = "http"
    HTTPS = "https"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What all filters of a rule do together."""

    answer: Redirect | None = None
    path: PathChange | None = None
    changes: Changes = NO_CHANGES
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None


def filters(
    cursor: Cursor, subject: Subject, kinds: Collection[FilterKind], prefix: str | None
) -> Filters | None:
    """What the filters of a rule do; None when not all of them can be read: then nobody may get its requests.

    `kinds` are those that are honoured here; `prefix` is what the only match of the rule looks at.
    """
    found = _by_kind(cursor, kinds)
    redirects, rewrites = found.get(FilterKind.REDIRECT, ()), found.get(FilterKind.REWRITE, ())
    if redirects and rewrites:
        redirects[0].error("filter.together", "a URLRewrite beside a RequestRedirect can't be")
    if redirects:
        for kind in (FilterKind.REQUEST_HEADERS, FilterKind.MIRROR):
            for beside in found.get(kind, ()):
                no_effect(beside)
    answer = _redirect(redirects[0], prefix) if redirects else None
    path, authority = _rewrite(rewrites[0], prefix) if rewrites else (None, "")
    request, response = _header_changes(found)
    mirrors = tuple(
        mirror for one in found.get(FilterKind.MIRROR, ()) if (mirror := _mirror(one, subject)) is not None
    )
    policy = cors(found[FilterKind.CORS][0]) if FilterKind.CORS in found else None
    if cursor.error_count() or cursor.unread():
        return None
    return Filters(
        answer=answer,
        path=path,
        changes=Changes(authority=authority, request=request, response=response),
        mirrors=mirrors,
        cors=policy,
    )


def backend_changes(cursor: Cursor, kinds: Collection[FilterKind]) -> Changes:
    """What the filters of one backend do; errors at the cursor when not all of them can be read or honoured there."""
    found = _by_kind(cursor, kinds)
    rewrite = found.get(FilterKind.REWRITE, ())
    request, response = _header_changes(found)
    authority = _hostname(rewrite[0].at("hostname")) if rewrite else ""
    return Changes(authority=authority, request=request, response=response)


def _header_changes(found: Mapping[FilterKind, Sequence[Cursor]]) -> tuple[HeaderChanges, HeaderChanges]:
    """Those of the request, and those of the response."""
    request, response = (
        header_changes(found[kind][0]) if kind in found else HeaderChanges()
        for kind in (FilterKind.REQUEST_HEADERS, FilterKind.RESPONSE_HEADERS)
    )
    return request, response


def no_effect(cursor: Cursor) -> None:
    """Tell that something has no effect in a rule that redirects."""
    cursor.warn("redirect.no-effect", "has no effect: the rule redirects, and nobody is sent the request")


def _by_kind(cursor: Cursor, kinds: Collection[FilterKind]) -> dict[FilterKind, list[Cursor]]:
    """What is said of each kind of filter; all but mirrors can be said once."""
    found: dict[FilterKind, list[Cursor]] = {}
    for item in items(cursor, _MOST_FILTERS):
        kind = _kind(item, kinds)
        if kind is None:
            continue
        said = item.at(_FIELDS[kind])
        if not said.present:
            said.error("field.required", f"the type is {kind}, and this is missing")
        elif kind in found and kind is not FilterKind.MIRROR:
            item.error("filter.twice", f"{kind} stands before in this list: only one is taken")
        else:
            found.setdefault(kind, []).append(said)
    return found


def _kind(item: Cursor, kinds: Collection[FilterKind]) -> FilterKind | None:
    """The kind of a filter that is honoured here; None and an error when it is no such one."""
    cursor = item.at("type")
    if not cursor.value and not item.error_count():
        cursor.error("field.required", "the type is missing")
    text = cursor.text()
    if text in kinds:
        kind = FilterKind(text)
        for other, field in _FIELDS.items():
            if other is not kind and other in (*kinds, FilterKind.EXTENSION) and item.has(field):
                item.at(field).error("filter.type", f"the type is {kind}: {field} has no effect")
        return kind
    if text == FilterKind.EXTENSION:
        item.at(_FIELDS[FilterKind.EXTENSION]).ignore()
        cursor.error("filter.unsupported", "Plait has no filters but those of the Gateway API itself")
    elif text in tuple(FilterKind):
        cursor.error("filter.unsupported", f"Plait does not honour {text} here yet")
    elif text:
        cursor.error("field.choice", f"{text[:_SHOWN]!r} is not one of {', '.join(kinds)}")
    return None


def _redirect(cursor: Cursor, prefix: str | None) -> Redirect:
    """Where else what is asked for is; without a port that of the scheme, or without a scheme the one called."""
    scheme = cursor.at("scheme")
    if scheme.present:
        scheme.choice(_Scheme, _Scheme.HTTP)
    port = cursor.at("port")
    status = cursor.at("statusCode").integer(_DEFAULT_STATUS)
    if status not in _REDIRECTS:
        told_ones = ", ".join(map(str, _REDIRECTS))
        cursor.at("statusCode").error("redirect.status", f"{status} is none of {told_ones}")
    number: int | RedirectPort = _DEFAULT_PORTS.get(scheme.text(), RedirectPort.CALLED)
    host, path = _hostname(cursor.at("hostname")), path_change(cursor.at("path"), prefix)
    if not (scheme.present or host or port.present or path or cursor.error_count()):
        message = "it leads to where the request was: name a scheme, a hostname, a port or a path"
        cursor.warn("redirect.empty", message)
    return Redirect(
        scheme=scheme.text(),
        host=host,
        port=port_number(port) if port.present else number,
        path=path,
        status=status,
    )


def _rewrite(cursor: Cursor, prefix: str | None) -> tuple[PathChange | None, str]:
    path, authority = path_change(cursor.at("path"), prefix), _hostname(cursor.at("hostname"))
    if path is None and not authority and not cursor.error_count():
        cursor.warn("rewrite.empty", "it rewrites nothing: name a hostname or a path")
    return path, authority


def _hostname(cursor: Cursor) -> str:
    text = bounded(cursor, _LONGEST_HOST)
    if text and not is_dns_subdomain(text):
        message = f"{text[:_SHOWN]!r} is no host: lower case letters, digits, - and dots, without a port"
        cursor.error("host.invalid", message)
    elif cursor.present and not text and not cursor.error_count():
        cursor.error("field.required", "a host is missing")
    return text


def _mirror(cursor: Cursor, subject: Subject) -> Mirror | None:
    """Who gets copies; None when nobody does, and an error at the backend when that is nothing to send to."""
    amount = _share(cursor)
    reference = cursor.at("backendRef")
    kind = kind_of(reference, SERVICE)
    if kind != SERVICE and not reference.error_count():
        for field in ("name", "namespace", "port"):
            reference.at(field).ignore()
        reference.warn("backend.kind", f"nothing can be sent to a {told(kind)}: there are no copies")
        return None
    host, port = host_of(reference, subject), port_number(reference.at("port"))
    if not amount or cursor.error_count():
        return None
    backend = Backend(host=host, port=port, weight=100, origin=subject.origin(reference))
    return Mirror(backend=backend, millionths=amount)


def _share(cursor: Cursor) -> int:
    """How many of a million requests are copied."""
    percent, fraction = cursor.at("percent"), cursor.at("fraction")
    if percent.present and fraction.present:
        fraction.error("mirror.percentage", "only one of percent and fraction can be given")
    if not fraction.present:
        return percent.integer(100, least=0, most=100) * _MILLION // 100
    denominator = fraction.at("denominator").integer(100, least=1, most=2**31 - 1)
    if not fraction.has("numerator"):
        fraction.at("numerator").error("field.required", "the numerator is missing")
    numerator = fraction.at("numerator").integer(0, least=0, most=denominator)
    return round(numerator * _MILLION / denominator)
