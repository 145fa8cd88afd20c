"""Who may call whom, and over what: authorization and the mode of mutual TLS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from plait.model.catalog import Labels
from plait.model.names import Origin


def _given(**fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name, values in fields.items() if values)


class Action(StrEnum):
    """What happens to a request that a rule of the policy holds for; asked in the order CUSTOM, DENY, ALLOW.

    CUSTOM: somebody else is asked.  AUDIT: it is told of, and nothing else.
    """

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


class Attribute(StrEnum):
    """What a condition looks at: something of the caller, its request, its token, or of what it called."""

    HEADER = "request.headers"
    REQUEST_PRINCIPAL = "request.auth.principal"
    AUDIENCE = "request.auth.audiences"
    PRESENTER = "request.auth.presenter"
    CLAIM = "request.auth.claims"
    SOURCE_IP = "source.ip"
    REMOTE_IP = "remote.ip"
    NAMESPACE = "source.namespace"
    PRINCIPAL = "source.principal"
    DESTINATION_IP = "destination.ip"
    DESTINATION_PORT = "destination.port"
    SERVER_NAME = "connection.sni"
    METADATA = "experimental.envoy.filters"

    @property
    def of_requests(self) -> bool:
        """Whether only requests of HTTP have it, and no connection."""
        return self.startswith("request.") or self is Attribute.METADATA


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Every given part must hold; a part holds when any of its values does.

    `principals` are SPIFFE IDs without `spiffe://`; `*` at the start or the end of a value is a wildcard, and
    `*` alone asks only that there is one.  `request_principals` are ISSUER/SUBJECT of a token that has been
    verified.  Blocks are networks (`10.0.0.0/8`): `ip_blocks` of whoever opened the connection,
    `remote_ip_blocks` of whoever it speaks for.  The not_ parts must hold for none of their values.
    """

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()

    @property
    def http_fields(self) -> tuple[str, ...]:
        """Those given that only requests have, by their names in Istio's API."""
        return _given(
            requestPrincipals=self.request_principals, notRequestPrincipals=self.not_request_principals
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Every given part must hold; wildcards as in Source.  Ports are those of the application.

    A path with `{*}` (any one segment) or `{**}` (anything, at the end) is a template and has no other wildcard.
    """

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    not_ports: tuple[int, ...] = ()

    @property
    def http_fields(self) -> tuple[str, ...]:
        """Those given that only requests have, by their names in Istio's API."""
        return _given(
            hosts=self.hosts,
            notHosts=self.not_hosts,
            methods=self.methods,
            notMethods=self.not_methods,
            paths=self.paths,
            notPaths=self.not_paths,
        )

    @property
    def anywhere(self) -> Operation:
        """It without its ports."""
        return replace(self, ports=(), not_ports=()) if self.ports or self.not_ports else self

    def is_for(self, port: int) -> bool:
        """Whether it may be done at a port."""
        return (not self.ports or port in self.ports) and port not in self.not_ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """An attribute has one of the values (when any are given), and none of the others.

    `path` says which header, which claim (and which below it), which filter's metadata and which key of that.
    """

    attribute: Attribute
    path: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()

    def is_for(self, port: int) -> bool:
        """Whether it may hold at a port."""
        if self.attribute is not Attribute.DESTINATION_PORT:
            return True
        return (not self.values or str(port) in self.values) and str(port) not in self.not_values


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """Any of the sources (none given: anybody) doing any of the operations (none given: anything).

    And every condition must hold.
    """

    index: int
    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    conditions: tuple[Condition, ...] = ()
    origin: Origin

    def at(self, port: int) -> PolicyRule | None:
        """The rule as it holds at a port, without what it says of ports; None when it can't hold there."""
        possible = tuple(one.anywhere for one in self.operations if one.is_for(port))
        if (self.operations and not possible) or not all(one.is_for(port) for one in self.conditions):
            return None
        asked = tuple(one for one in self.conditions if one.attribute is not Attribute.DESTINATION_PORT)
        return replace(self, operations=possible, conditions=asked)

    @property
    def http_fields(self) -> tuple[str, ...]:
        """What of it only requests have, by the names in Istio's API."""
        return (
            *(name for one in self.sources for name in one.http_fields),
            *(name for one in self.operations for name in one.http_fields),
            *(str(one.attribute) for one in self.conditions if one.attribute.of_requests),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationPolicy:
    """An ALLOW policy shuts out whatever no rule of an ALLOW policy names; DENY is asked first.

    `selector` empty: every workload of the namespace, and of the mesh when that is the root namespace.
    `targets` are services of the namespace: the workloads behind any of them, and there is no selector.
    A policy that could not be read whole has been closed by its reader: an unreadable ALLOW rule is left out,
    an unreadable DENY rule denies more.
    """

    namespace: str
    name: str
    action: Action
    selector: Labels = ()
    targets: tuple[str, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
    provider: str = ""
    """Of CUSTOM: the name of who is asked."""
    dry_run: bool = False
    """It is looked at, counted and told of, and decides nothing."""
    origin: Origin

    @property
    def decides(self) -> bool:
        """Whether anything depends on it, rather than being told of it alone."""
        return not self.dry_run and self.action is not Action.AUDIT


class MtlsMode(StrEnum):
    STRICT = "STRICT"
    PERMISSIVE = "PERMISSIVE"
    DISABLE = "DISABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAuthentication:
    """The mode of mutual TLS for workloads; `mode` None: as the wider scope says.  Ports are the application's."""

    namespace: str
    name: str
    selector: Labels = ()
    mode: MtlsMode | None = None
    ports: tuple[tuple[int, MtlsMode], ...] = ()
    origin: Origin
