"""Somebody who is asked whether a request may pass (Envoy's ext_authz), and the settings of a mesh that name them."""

from __future__ import annotations

from dataclasses import dataclass

from plait.model.names import Origin
from plait.model.routing import StringMatch
from plait.model.telemetry import NO_DEFAULTS, TelemetryDefaults


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBody:
    """How much of a request's body is shown to whoever is asked."""

    most: int
    """Bytes; a request with more is refused (413), or `partial`: shown as far as that."""
    partial: bool = False
    raw: bool = False
    """Of gRPC: as bytes and not as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorizer:
    """A service of the mesh that is asked, over HTTP or gRPC.

    Of headers: matches of names in lower case; exact, by prefix, or by a suffix (a regular expression).
    """

    name: str
    grpc: bool
    host: str
    port: int
    timeout: float = 600.0
    """Seconds (Istio's default)."""
    fail_open: bool = False
    """Whether a request passes when there is no answer."""
    status_on_error: int = 403
    body: CheckedBody | None = None
    path_prefix: str = ""
    shown: tuple[StringMatch, ...] = ()
    """Headers of the request that are shown."""
    added: tuple[tuple[str, str], ...] = ()
    """Headers that are said beside them."""
    to_application: tuple[StringMatch, ...] = ()
    """Headers of the answer that the application gets, when it is yes."""
    to_caller: tuple[StringMatch, ...] = ()
    """Headers of the answer that the caller gets, when it is yes."""
    to_denied: tuple[StringMatch, ...] = ()
    """The same when it is no; (): all of them."""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConfig:
    """What an IstioOperator says of the whole mesh."""

    namespace: str
    name: str
    trust_domain: str = ""
    """"": nothing is said of it."""
    trust_domain_aliases: tuple[str, ...] = ()
    authorizers: tuple[Authorizer, ...] = ()
    unread: tuple[str, ...] = ()
    """Names of authorizers that can't be read: whoever asks them is denied."""
    telemetry: TelemetryDefaults = NO_DEFAULTS
    origin: Origin
