"""Whom to trust, what somebody holds, and what follows: plain values, the same at both ends of the link.

What is to be trusted changes while a mesh runs, by rotations of the authority.  Each change has a number, so that
an older word which comes later is known for what it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509

BACKDATED = 300.0
"""By how many seconds (at most) a certificate holds from before it was signed: clocks differ."""
_SHARE = 10
"""And never by more than this part of the time that it holds from then on."""

_TOLERANCE = 1.0
"""Seconds: certificates tell times to the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What every holder of a certificate should go by; the greater `number` is the later word.

    `roots` (PEM) are trusted.  A certificate that `issuer` has not signed, or has before `renew_before` (seconds
    since the epoch), is to be renewed now.
    """

    number: int
    roots: str
    issuer: str
    renew_before: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What somebody has: a certificate, by its issuer and times (seconds since the epoch), and the roots that it trusts."""

    issuer: str
    issued: float
    """From when on the certificate holds."""
    signed: float
    expires: float
    roots: str
    """Their fingerprint."""

    @staticmethod
    def of(chain: str, roots: str) -> Held:
        """What follows from a certificate with its chain and the roots beside it (PEM); ValueError if it is none."""
        leaf = x509.load_pem_x509_certificate(chain.encode())
        start, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
        signed = start + min(BACKDATED, (end - start) / (_SHARE + 1))
        return Held(
            issuer=issuer_of(leaf), issued=start, signed=signed, expires=end, roots=fingerprint(roots)
        )

    def outdated(self, trust: Trust) -> bool:
        """Whether it is to be renewed, however long it would hold."""
        return self.issuer != trust.issuer or self.signed < trust.renew_before - _TOLERANCE


def backdated(lifetime: float) -> float:
    """By how many seconds a certificate that shall hold for `lifetime` from now on is dated back."""
    return min(BACKDATED, lifetime / _SHARE)


def fingerprint(roots: str) -> str:
    """A short name for a set of roots (PEM)."""
    return hashlib.sha256(roots.encode()).hexdigest()[:16]


def issuer_of(certificate: x509.Certificate) -> str:
    """A name for the key that has signed a certificate: the beginning of its identifier; "" when it tells none."""
    try:
        said = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return ""
    return (said.key_identifier or b"").hex()[:16]


def key_name(certificate: x509.Certificate) -> str:
    """The name of a certificate's own key, as `issuer_of` calls it in what that signs; as RFC 5280 makes it by SHA-1."""
    try:
        said = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        said = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    return said.hex()[:16]
