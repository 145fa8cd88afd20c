"""What a policy asks of a request, in the words of Envoy's RBAC: permissions (what is done) and principals (by whom).

Some tests can be read in a wider and in a narrower way: a host without a port, a header with blanks around it.
What lets in is read narrowly, what shuts out widely, so that no way of writing a request gets round either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from plait.envoy import names
from plait.model.policy import Attribute, Condition, Operation, Source

_SPIFFE = "spiffe://"

_Message = dict[str, Any]
_Test = Callable[[str, bool], _Message]
"""Of a value, in the wider or the narrower way."""


@dataclass(frozen=True, slots=True)
class _Words:
    """How permissions or principals are joined."""

    every: str
    some: str
    inner: str
    negation: str

    def all(self, parts: list[_Message]) -> _Message:
        return {self.every: {self.inner: parts}} if parts else {"any": True}

    def part(
        self, values: Iterable[str], not_values: Iterable[str], test: _Test, *, wide: bool
    ) -> Iterator[_Message]:
        """The tests of one field: none when it is not given."""
        if found := [test(value, wide) for value in values]:
            yield self._any(found)
        if found := [test(value, not wide) for value in not_values]:
            yield {self.negation: self._any(found)}

    def _any(self, tests: list[_Message]) -> _Message:
        return tests[0] if len(tests) == 1 else {self.some: {self.inner: tests}}


_PERMISSION = _Words("and_rules", "or_rules", "rules", "not_rule")
_PRINCIPAL = _Words("and_ids", "or_ids", "ids", "not_id")


def permission(operation: Operation, conditions: Iterable[Condition], *, wide: bool) -> _Message:
    """What an operation asks, and those conditions that are about what is done.  `wide`: it shuts out."""
    fields: tuple[tuple[Iterable[str], Iterable[str], _Test], ...] = (
        (operation.hosts, operation.not_hosts, _host),
        (operation.methods, operation.not_methods, _method),
        (operation.paths, operation.not_paths, _path),
    )
    parts = [
        part
        for values, not_values, test in fields
        for part in _PERMISSION.part(values, not_values, test, wide=wide)
    ]
    return _PERMISSION.all([*parts, *_asked(_PERMISSION, _DONE, conditions, wide=wide)])


def principal(source: Source, conditions: Iterable[Condition], *, wide: bool) -> _Message:
    """What a source asks, and those conditions that are about who does it.  `wide`: it shuts out."""
    fields: tuple[tuple[Iterable[str], Iterable[str], _Test], ...] = (
        (source.principals, source.not_principals, _identity),
        (source.request_principals, source.not_request_principals, _request_principal),
        (source.namespaces, source.not_namespaces, _namespace),
        (source.ip_blocks, source.not_ip_blocks, _source_ip),
        (source.remote_ip_blocks, source.not_remote_ip_blocks, _source_ip),
    )
    parts = [
        part
        for values, not_values, test in fields
        for part in _PRINCIPAL.part(values, not_values, test, wide=wide)
    ]
    return _PRINCIPAL.all([*parts, *_asked(_PRINCIPAL, _BY_WHOM, conditions, wide=wide)])


def _asked(
    words: _Words,
    tests: Mapping[Attribute, Callable[[tuple[str, ...]], _Test]],
    conditions: Iterable[Condition],
    *,
    wide: bool,
) -> Iterator[_Message]:
    for one in conditions:
        if one.attribute in tests:
            yield from words.part(one.values, one.not_values, tests[one.attribute](one.path), wide=wide)


# What is done --------------------------------------------------------------------------------------------


def _host(value: str, wide: bool) -> _Message:  # noqa: FBT001  # a _Test
    """A host in any case, with or without the dot at its end; read widely, with any port if it has none, and a user."""
    if value == "*":
        return {"header": {"name": ":authority", "present_match": True}}
    name, port = _host_and_port(value)
    before, after = ("([^@]*@)?" if wide else "", name)
    if name.startswith("*"):
        before, after = ".*", name[1:]
    elif not port and name.endswith("*"):
        return _authority(f"{before}{re.escape(name[:-1])}.*")
    ending = re.escape(port[:-1]) + ".*" if port.endswith("*") else re.escape(port)
    return _authority(f"{before}{re.escape(after)}\\.?{ending or ('(:[0-9]*)?' if wide else '')}")


def _host_and_port(value: str) -> tuple[str, str]:
    """`example.com` and `:80`; a network address of IPv6 has colons of its own."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:[^:]*)", value)
    return (found[1], found[2]) if found else (value, "")


def _authority(pattern: str) -> _Message:
    return {"header": {"name": ":authority", "string_match": {"safe_regex": {"regex": f"(?is){pattern}"}}}}


def _method(value: str, _wide: bool) -> _Message:  # noqa: FBT001  # a _Test
    return {"header": {"name": ":method", "string_match": _wildcard(value)}}


def _path(value: str, _wide: bool) -> _Message:  # noqa: FBT001  # a _Test
    """A path without its query."""
    if "{*}" in value or "{**}" in value:
        literal = re.escape(value)
        pattern = literal.replace(re.escape("{**}"), ".*").replace(re.escape("{*}"), "[^/]+")
        return {"url_path": {"path": {"safe_regex": {"regex": pattern}}}}
    return {"url_path": {"path": _wildcard(value)}}


def _destination_ip(value: str, _wide: bool) -> _Message:  # noqa: FBT001  # a _Test
    return {"destination_ip": _network(value)}


def _server_name(value: str, _wide: bool) -> _Message:  # noqa: FBT001  # a _Test
    return {"requested_server_name": _wildcard(value)}


def _metadata_of(path: tuple[str, ...]) -> _Test:
    """Of what another filter has said of the request; a value in brackets is looked for in a list."""
    namespace, key = path

    def test(value: str, _wide: bool) -> _Message:  # noqa: FBT001  # a _Test
        listed = value.startswith("[") and value.endswith("]")
        matcher: _Message = {"string_match": _wildcard(value[1:-1] if listed else value)}
        return _metadata(namespace, (key,), {"list_match": {"one_of": matcher}} if listed else matcher)

    return test


# By whom -------------------------------------------------------------------------------------------------


def _identity(value: str, _wide: bool) -> _Message:  # noqa: FBT001  # a _Test
    """A principal, written without `spiffe://`; `*` alone is anybody with a certificate.

    Envoy looks at the subject of a certificate too, of which a workload chooses parts: so every test names the
    scheme.
    """
    if value == "*":
        return {"authenticated": {}}
    if value.startswith("*"):
        return _authenticated({"safe_regex": {"regex": f"{_SPIFFE}.*{re.escape(value[1:])}"}})
    return _authenticated(_wildcard(_SPIFFE + value))


def _namespace(value: str, _wide: bool) -> _Message:  # noqa: FBT001  # a _Test
    pattern = re.escape(value).replace(r"\*", "[^/]*")
    return _authenticated({"safe_regex": {"regex": f"{_SPIFFE}[^/]+/ns/{pattern}/sa/[^/]+"}})


def _authenticated(name: _Message) -> _Message:
    return {"authenticated": {"principal_name": name}}


def _source_ip(value: str, _wide: bool) -> _Message:  # noqa: FBT001  # a _Test
    """Whoever opened the connection; nobody in a mesh of sidecars speaks for another (see remote.ip in the guide)."""
    return {"direct_remote_ip": _network(value)}


def _request_principal(value: str, wide: bool) -> _Message:  # noqa: FBT001  # a _Test
    """ISSUER/SUBJECT of the token.  The last slash is the one between, for issuers have some (Istio); widely any is."""
    ways = [(value[:at], value[at + 1 :]) for at, letter in enumerate(value) if letter == "/"]
    if not wide:
        ways = ways[-1:]
    if "*" in value and (wide or not ways):
        ways.append(("*", value) if value.startswith("*") else (value, "*"))
    tests = [_token_of(issuer, subject) for issuer, subject in ways]
    return tests[0] if len(tests) == 1 else {"or_ids": {"ids": tests}}


def _token_of(issuer: str, subject: str) -> _Message:
    tests = (("iss", issuer), ("sub", subject))
    return {
        "and_ids": {"ids": [_payload((claim,), {"string_match": _wildcard(one)}) for claim, one in tests]}
    }


def _claim(path: tuple[str, ...]) -> _Test:
    """A claim that is a string or a list of strings."""

    def test(value: str, _wide: bool) -> _Message:  # noqa: FBT001  # a _Test
        one = {"string_match": _wildcard(value)}
        return _payload(path, {"or_match": {"value_matchers": [one, {"list_match": {"one_of": one}}]}})

    return test


def _header(path: tuple[str, ...]) -> _Test:
    """A header; read widely, with blanks around its value, which HTTP/2 carries and HTTP/1.1 takes away."""
    (name,) = path

    def test(value: str, wide: bool) -> _Message:  # noqa: FBT001  # a _Test
        if value == "*":
            return {"header": {"name": name, "present_match": True}}
        as_written = {"header": {"name": name, "string_match": _wildcard(value)}}
        if not wide or name.startswith(":"):
            return as_written
        with_blanks = {"header": {"name": name, "string_match": {"safe_regex": {"regex": _blanks(value)}}}}
        return {"or_ids": {"ids": [as_written, with_blanks]}}

    return test


def _blanks(value: str) -> str:
    literal = re.escape(value.strip("*"))
    if value.startswith("*"):
        return rf"(?s).*{literal}[ \t]*"
    return rf"(?s)[ \t]*{literal}.*" if value.endswith("*") else rf"[ \t]*{literal}[ \t]*"


def _always(test: _Test) -> Callable[[tuple[str, ...]], _Test]:
    return lambda _path: test


_DONE: Mapping[Attribute, Callable[[tuple[str, ...]], _Test]] = {
    Attribute.DESTINATION_IP: _always(_destination_ip),
    Attribute.SERVER_NAME: _always(_server_name),
    Attribute.METADATA: _metadata_of,
}
_BY_WHOM: Mapping[Attribute, Callable[[tuple[str, ...]], _Test]] = {
    Attribute.SOURCE_IP: _always(_source_ip),
    Attribute.REMOTE_IP: _always(_source_ip),
    Attribute.NAMESPACE: _always(_namespace),
    Attribute.PRINCIPAL: _always(_identity),
    Attribute.REQUEST_PRINCIPAL: _always(_request_principal),
    Attribute.AUDIENCE: lambda _path: _claim(("aud",)),
    Attribute.PRESENTER: lambda _path: _claim(("azp",)),
    Attribute.CLAIM: _claim,
    Attribute.HEADER: _header,
}


# Of both -------------------------------------------------------------------------------------------------


def _payload(path: tuple[str, ...], value: _Message) -> _Message:
    """Of the token that has been verified; without one it never holds."""
    return _metadata(names.TOKEN_METADATA, (names.TOKEN_PAYLOAD, *path), value)


def _metadata(namespace: str, path: tuple[str, ...], value: _Message) -> _Message:
    matcher = {"filter": namespace, "path": [{"key": key} for key in path], "value": value}
    return {"sourced_metadata": {"metadata_matcher": matcher}}


def _network(value: str) -> _Message:
    network = ip_network(value)
    return {"address_prefix": str(network.network_address), "prefix_len": {"value": network.prefixlen}}


def _wildcard(value: str) -> _Message:
    if value == "*":
        return {"safe_regex": {"regex": ".+"}}
    if value.startswith("*"):
        return {"suffix": value[1:]}
    if value.endswith("*"):
        return {"prefix": value[:-1]}
    return {"exact": value}
