"""Who may call whom, and over what: authorization and the mode of mutual TLS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plait.model.catalog import Labels
from plait.model.names import Origin


class Action(StrEnum):
    """What happens to a request that a rule of the policy holds for; asked in the order CUSTOM, DENY, ALLOW.

    CUSTOM: somebody else is asked.  AUDIT: it is told of, and nothing else.
    """

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Every given part must hold; a part holds when any of its values does.

    `principals` are SPIFFE IDs without `spiffe://`; `*` at the start or the end of a value is a wildcard, and
    `*` alone asks only that there is one.  The not_ parts must hold for none of their values.
    """

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Every given part must hold; wildcards as in Source.  Ports are those of the application."""

    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    not_ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """Any of the sources (none given: anybody) doing any of the operations (none given: anything)."""

    index: int
    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationPolicy:
    """An ALLOW policy shuts out whatever no rule of an ALLOW policy names; DENY is asked first.

    `selector` empty: every workload of the namespace, and of the mesh when that is the root namespace.
    A policy that could not be read whole has been closed by its reader: an unreadable ALLOW rule is left out,
    an unreadable DENY rule denies more.
    """

    namespace: str
    name: str
    action: Action
    selector: Labels = ()
    rules: tuple[PolicyRule, ...] = ()
    provider: str = ""
    """Of CUSTOM: the name of who is asked."""
    dry_run: bool = False
    """It is looked at, counted and told of, and decides nothing."""
    origin: Origin


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
