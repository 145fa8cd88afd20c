"""One request or connection as the callee's Envoy sees it, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from plait.model.names import Origin


class UnknownError(Exception):
    """This can't be judged: what was rendered asks for something that is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What comes to one port of a workload; for a port that is not HTTP the parts of HTTP mean nothing.

    `caller` is the SPIFFE ID of the certificate that was shown, empty: none.  `address` is whom the connection comes
    from, `destination` which address it was made to, empty: not known.  `sni` is the server name that the client has
    asked TLS for, None: not known.  `headers` have names in lower case.  `claims` is the payload of the token that was
    verified, None: no token.
    """

    caller: str = ""
    address: str = ""
    destination: str = ""
    port: int
    sni: str | None = None
    method: str = "GET"
    host: str = ""
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, Any] | None = None


class Verdict(StrEnum):
    ALLOWED = "ALLOWED"
    DENIED = "DENIED"


class Decision(StrEnum):
    """What decided: a rule, or what needs none."""

    RULE = "a rule"
    NO_ALLOW = "no ALLOW rule holds"
    NOTHING = "nothing denies it"
    NO_CERTIFICATE = "mutual TLS is STRICT and no certificate is shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of a policy, by the name that Envoy knows it by (see names.policy_rule), and where it is written."""

    name: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What policies that only watch (AUDIT, dry runs) would have done."""

    filter: str
    verdict: Verdict
    rule: Rule | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The verdict, what decided it and, where that is a rule, which."""

    verdict: Verdict
    decision: Decision
    rule: Rule | None = None
    watched: tuple[Watched, ...] = ()
