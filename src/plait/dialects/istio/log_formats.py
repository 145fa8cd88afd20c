"""Formats of access logs: Envoy's operators (`%RESPONSE_CODE%`) in a text, or in the values of an object.

An operator that Envoy does not know, or knows otherwise, would have it refuse the whole listener; so those that are
taken stand here.  Credentials and queries of requests are written nowhere: an operator that would write the former is
refused, and one for a path is told without its query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto

from plait.dialects.checks import is_token
from plait.model.document import Cursor

_LONGEST = 8192
_SHOWN = 80
_OPERATOR = re.compile(r"%(?:%|(?P<name>[A-Z0-9_]+)(?:\((?P<options>[^\n]*?)\))?(?::(?P<length>\d{1,5}))?%)")
_CREDENTIAL = re.compile(
    r"authoriz|cookie|token|jwt|secret|passw|api[-_]?key|credential|session", re.IGNORECASE
)
_PATHS: Mapping[tuple[str, ...], str] = {
    (":path",): "PATH",
    ("x-envoy-original-path",): "ORIG",
    ("x-envoy-original-path", ":path"): "ORIG_OR_PATH",
}
"""Headers that hold a path with its query, and Envoy's word for which of them is meant."""
_QUERIES = (":path", "location", "referer", "x-envoy-original-path", "x-original-uri", "x-original-url")
"""Headers that may hold a query."""
_PLACES = ("CLUSTER", "DYNAMIC", "LISTENER", "ROUTE", "UPSTREAM_HOST", "VIRTUAL_HOST")
_TOKEN_METADATA = "envoy.filters.http.jwt_authn"  # noqa: S105  # a name


class _Takes(Enum):
    """What stands in the parentheses behind an operator."""

    NOTHING = auto()
    HEADER = auto()
    """One header, or two: the second where the first is missing."""
    ANYTHING = auto()
    """Or nothing."""
    NAMES = auto()
    """Names with colons between them."""


_ENDS = tuple(
    f"{end}_{address}{part}"
    for end, address in (
        ("DOWNSTREAM", "REMOTE_ADDRESS"),
        ("DOWNSTREAM", "DIRECT_REMOTE_ADDRESS"),
        ("DOWNSTREAM", "LOCAL_ADDRESS"),
        ("UPSTREAM", "REMOTE_ADDRESS"),
        ("UPSTREAM", "LOCAL_ADDRESS"),
    )
    for part in ("", "_WITHOUT_PORT")
)
_OF_TLS = tuple(
    f"{end}_{what}"
    for end in ("DOWNSTREAM", "UPSTREAM")
    for what in (
        "PEER_SUBJECT", "PEER_ISSUER", "PEER_URI_SAN", "PEER_DNS_SAN", "LOCAL_URI_SAN", "LOCAL_DNS_SAN",
        "TLS_VERSION", "TLS_CIPHER",
    )
)  # fmt: skip
_NOTHING = (
    "ACCESS_LOG_TYPE", "BYTES_RECEIVED", "BYTES_SENT", "CONNECTION_ID", "CONNECTION_TERMINATION_DETAILS",
    "DOWNSTREAM_HANDSHAKE_DURATION", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_LOCAL_SUBJECT", "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON", "DOWNSTREAM_WIRE_BYTES_RECEIVED", "DOWNSTREAM_WIRE_BYTES_SENT",
    "DURATION", "FILTER_CHAIN_NAME", "GRPC_STATUS_NUMBER", "HOSTNAME", "LOCAL_REPLY_BODY", "PROTOCOL",
    "REQUESTED_SERVER_NAME", "REQUEST_DURATION", "REQUEST_HEADERS_BYTES", "REQUEST_TX_DURATION", "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS", "RESPONSE_DURATION", "RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG", "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TRAILERS_BYTES", "RESPONSE_TX_DURATION", "ROUNDTRIP_DURATION", "ROUTE_NAME", "SPAN_ID", "STREAM_ID",
    "TRACE_ID", "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW", "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION", "UPSTREAM_HOST", "UPSTREAM_HOST_NAME", "UPSTREAM_LOCAL_PORT",
    "UPSTREAM_PROTOCOL", "UPSTREAM_REMOTE_PORT", "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_TRANSPORT_FAILURE_REASON", "UPSTREAM_WIRE_BYTES_RECEIVED", "UPSTREAM_WIRE_BYTES_SENT",
    "VIRTUAL_CLUSTER_NAME",
)  # fmt: skip
_HEADERS = (
    "REQ",
    "REQUEST_HEADER",
    "RESP",
    "RESPONSE_HEADER",
    "TRAILER",
    "RESPONSE_TRAILER",
    "REQ_WITHOUT_QUERY",
)
OPERATORS: Mapping[str, _Takes] = {
    **dict.fromkeys((*_NOTHING, *_ENDS, *_OF_TLS), _Takes.NOTHING),
    **dict.fromkeys(_HEADERS, _Takes.HEADER),
    **dict.fromkeys(("START_TIME", "GRPC_STATUS", "PATH"), _Takes.ANYTHING),
    **dict.fromkeys(
        ("METADATA", "DYNAMIC_METADATA", "CLUSTER_METADATA", "UPSTREAM_METADATA", "FILTER_STATE"),
        _Takes.NAMES,
    ),
}
_TIME = re.compile(r"(?:[-\w .,:/+]|%(?:[1-9]?f|[aAbBcdDeFGgHIjmMpPrRsSTuUVwWxXyYzZ%]))*")
_GRPC = ("", "CAMEL_STRING", "SNAKE_STRING", "NUMBER")


def text(cursor: Cursor) -> str:
    """A format as it is sent to Envoys; "" where there is none, or with an error."""
    written = cursor.text()
    return _format(cursor, written) if written else ""


def fields(cursor: Cursor) -> tuple[tuple[str, str], ...]:
    """The formats of an object's values."""
    return tuple((key, found) for key, item in cursor.entries() if (found := text(item)))


def _format(cursor: Cursor, written: str) -> str:
    if len(written) > _LONGEST or "\0" in written:
        cursor.error("format.invalid", f"a format has at most {_LONGEST} letters, and no NUL")
        return ""
    found, at = [], 0
    queries = False
    for operator in _OPERATOR.finditer(written):
        found.append(written[at : operator.start()])
        at = operator.end()
        said = operator.group()
        if operator["name"]:
            problem = _problem(operator)
            if problem:
                cursor.error("format.invalid", f"{said[:_SHOWN]}: {problem}")
                return ""
            path = _path(operator)
            queries = queries or bool(path)
            said = path or said.replace("%REQ_WITHOUT_QUERY(", "%REQ(", 1)
        found.append(said)
    found.append(written[at:])
    if any("%" in part for part in found[::2]):
        cursor.error("format.invalid", "a percent sign that begins no operator is written %%")
        return ""
    if queries:
        cursor.warn("format.query", "queries may hold secrets: the path is written without its own")
    return "".join(found)


def _problem(operator: re.Match[str]) -> str:
    """Why it can't be sent to an Envoy."""
    name, options = operator["name"], operator["options"]
    takes = OPERATORS.get(name)
    if takes is None:
        if "QUERY" in name or name == "CEL":
            return "it may write what is secret in a request"
        return "no operator that is taken here; see docs/guide/access-logs.md"
    if operator["length"] and not (takes in (_Takes.HEADER, _Takes.NAMES) or name == "PATH"):
        return "no length follows it"
    match takes:
        case _Takes.NOTHING:
            return "" if options is None else "nothing follows it in parentheses"
        case _Takes.HEADER:
            return _of_header(options or "")
        case _Takes.NAMES:
            return _of_names(name, options or "")
        case _Takes.ANYTHING if name == "START_TIME":
            return "" if _TIME.fullmatch(options or "") else "no format of a time"
        case _Takes.ANYTHING if name == "PATH":
            how, _, which = (options or "NQ").partition(":")
            known = how == "NQ" and which in ("", *_PATHS.values())
            return (
                "" if known else "write NQ, and perhaps :PATH, :ORIG or :ORIG_OR_PATH: queries are not logged"
            )
        case _Takes.ANYTHING:
            return "" if (options or "") in _GRPC else f"one of {', '.join(_GRPC[1:])}"


def header_problem(name: str) -> str:
    """Why a header is told to nobody; "" when it may be."""
    if _CREDENTIAL.search(name):
        return "credentials are told to nobody"
    return "it may hold a query, and these are told to nobody" if name.lower() in _QUERIES else ""


def _of_header(options: str) -> str:
    names = options.lower().split("?")
    if tuple(names) in _PATHS:
        return ""
    if len(names) > 2 or not all(is_token(name.removeprefix(":")) for name in names):
        return "write the name of a header, or of two with a ? between them"
    return next((problem for name in names if (problem := header_problem(name))), "")


def _of_names(name: str, options: str) -> str:
    place, *names = options.split(":")
    parts = names if name == "METADATA" else [place, *names]
    if not parts or not all(re.fullmatch(r"[-\w.]+", part) for part in parts):
        return "write names with colons between them"
    if name == "METADATA" and place not in _PLACES:
        return f"the first is one of {', '.join(_PLACES)}"
    if name == "FILTER_STATE" and (
        len(parts) > 2 or (len(parts) == 2 and parts[1] not in ("PLAIN", "TYPED"))
    ):
        return "behind the name of a state stands PLAIN, TYPED or nothing"
    if _TOKEN_METADATA in parts or any(_CREDENTIAL.search(part) for part in parts):
        return "credentials are told to nobody"
    return ""


def _path(operator: re.Match[str]) -> str:
    """What is written for a header that holds a path."""
    if operator["name"] not in ("REQ", "REQUEST_HEADER", "REQ_WITHOUT_QUERY"):
        return ""
    which = _PATHS.get(tuple(name.lower() for name in operator["options"].split("?")))
    length = f":{operator['length']}" if operator["length"] else ""
    return f"%PATH(NQ:{which}){length}%" if which else ""
