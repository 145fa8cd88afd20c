"""Who the user behind a request is: tokens (JWT, RFC 7519), where they stand, and by which keys they are checked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plait.model.catalog import Labels
from plait.model.names import Origin


class PlaceKind(StrEnum):
    HEADER = "header"
    PARAM = "param"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True, order=True)
class TokenPlace:
    """Where in a request a token may stand; the name of a header is lower case."""

    kind: PlaceKind
    name: str
    prefix: str = ""
    """Of a header's value: what stands before the token."""


USUAL_PLACES = (
    TokenPlace(PlaceKind.HEADER, "authorization", "Bearer "),
    TokenPlace(PlaceKind.PARAM, "access_token"),
)
"""Where tokens stand of which nothing else is said (RFC 6750)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysAt:
    """Where keys are fetched: from a port of a service of the mesh."""

    host: str
    port: int
    path: str
    """With its query."""
    timeout: float = 5.0
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRule:
    """Tokens of one issuer.  Without keys there are none that hold: whatever stands in the places is refused."""

    issuer: str = ""
    audiences: tuple[str, ...] = ()
    """A token must be for one of them; (): for anybody."""
    keys: str | KeysAt | None = None
    """A JSON Web Key Set (RFC 7517) of public keys, or where there is one."""
    places: tuple[TokenPlace, ...] = USUAL_PLACES
    forward: bool = False
    """Whether the application gets the token too."""
    payload_header: str = ""
    """A header that tells the application the claims, in base64url; "": none."""
    claim_headers: tuple[tuple[str, str], ...] = ()
    """Headers that tell it a claim each: (header, claim; a dot leads into a nested one)."""
    spaced_claims: tuple[str, ...] = ()
    """Claims that are lists, written as one text with spaces between."""
    origin: Origin

    @property
    def told(self) -> tuple[str, ...]:
        """The headers that tell the application what was found, which nobody else may write."""
        found = (self.payload_header, *(header for header, _ in self.claim_headers))
        return tuple(dict.fromkeys(header for header in found if header))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAuthentication:
    """Whose tokens workloads take: who shows none is nobody, who shows one that does not hold is refused.

    `selector` empty: every workload of the namespace, and of the mesh when that is the root namespace.  `targets`:
    only what comes in for these services of the namespace; (): all that comes in.
    """

    namespace: str
    name: str
    selector: Labels = ()
    targets: tuple[str, ...] = ()
    rules: tuple[TokenRule, ...] = ()
    origin: Origin
