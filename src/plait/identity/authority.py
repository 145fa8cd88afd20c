"""The certificate authority: a root, the intermediate that signs for it, and how both are made anew.

A request proves possession of a key and nothing more: the names in a certificate are those that the caller knows the
holder by.  How all of it is kept says `keyring`, how it changes while it is in use `rotation`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from plait.identity import certificates, given, rotation
from plait.identity.certificates import (
    NOBODY,
    Certificate,
    RequestRefused,
    SigningKey,
    Subject,
    moment,
    pem,
)
from plait.identity.files import Insecure
from plait.identity.given import AuthorityError, Given
from plait.identity.keyring import Keyring, signers
from plait.identity.keys import Keypair, csr, key_pem, new_key
from plait.identity.names import CONTROL_PLANE, control_plane_uri
from plait.identity.rotation import Holder, Issuer, Phase, State
from plait.identity.trust import Trust
from plait.model.settings import CERTIFICATE_LIFETIME

__all__ = [
    "LIFETIME", "Authority", "AuthorityError", "Certificate", "RequestRefused", "RotationError", "Subject", "What",
]  # fmt: skip

LIFETIME = CERTIFICATE_LIFETIME
"""How long a certificate holds, in seconds, when nothing else is asked for."""
SHORTEST_LIFETIME, LONGEST_LIFETIME = 60.0, 30 * 86_400.0
"""What it may be set to: an intermediate holds three times as long, and is made anew at half of that."""

_PATIENCE = 60.0
"""Seconds for which who is away is waited for while nothing can be signed; after a start of ours everybody is."""
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")


class RotationError(Exception):
    """A rotation can't begin now; the message says why."""


class What(StrEnum):
    """What is to be made anew."""

    ROOT = "root"
    INTERMEDIATE = "intermediate"
    LEAVES = "leaves"


class Authority:
    """The authority of one trust domain.  Its certificates last no longer than what they stand on."""

    def __init__(  # noqa: PLR0913 - what `open` has found
        self,
        keyring: Keyring,
        *,
        state: State,
        key: SigningKey | None,
        lifetime: float,
        folder: Path | None,
        own: Given | None,
        opened: float,
    ) -> None:
        self.trust_domain = keyring.trust_domain
        self.state = state
        self.lifetime = lifetime
        self._keyring = keyring
        self._key = key
        """Of who signs now; None: it was a user's, and is not there any more."""
        self._folder = folder
        self._given = own
        self._opened = opened

    @staticmethod
    def open(
        directory: Path,
        *,
        trust_domain: str,
        now: float,
        lifetime: float = LIFETIME,
        folder: Path | None = None,
    ) -> Authority:
        """The authority kept in a directory; a new one when the directory is empty or not there.

        `lifetime`: of certificates, in seconds; `folder`: of a user's own authority (see `given`).  AuthorityError
        when what lies there is damaged, expired, of another trust domain, or open to others.
        """
        check_trust_domain(trust_domain)
        own = given.read(folder, now) if folder is not None else None
        keyring = Keyring(directory, trust_domain)
        try:
            state = keyring.read()
            if state is None:
                state = _first(keyring, own, now)
                keyring.write(state)
            _check(state, now, directory)
            key = _key_of(keyring, state.issuer, own)
            keyring.write_roots(state)
            keyring.tidy(state)
        except Insecure as error:
            raise AuthorityError(str(error)) from error
        return Authority(
            keyring,
            state=state,
            key=key,
            lifetime=lifetime,
            folder=folder,
            own=own,
            opened=now,
        )

    @property
    def roots(self) -> str:
        """The roots that are trusted now (PEM)."""
        return self.trust.roots

    @property
    def can_sign(self) -> bool:
        """Whether the key is there of who signs now: a user may have replaced his files before all were told."""
        return self._key is not None

    @property
    def trust(self) -> Trust:
        """What everybody is to go by."""
        return self.state.trust

    def sign(  # noqa: PLR0913 - a certificate says that many things
        self,
        csr: str,
        *,
        uri: str,
        now: float,
        dns: tuple[str, ...] = (),
        subject: Subject = NOBODY,
        lifetime: float | None = None,
    ) -> Certificate:
        """A certificate for the key in a request (PEM), under the names given here and no others.

        `uri` is the holder's SPIFFE ID, `lifetime` in seconds (None: the authority's).  RequestRefused when the
        request is malformed, was not made with its own key, or its key is weak; when `uri` is not of this trust
        domain; and when nothing can be signed now.
        """
        if self._key is None:
            raise RequestRefused("the key that signs is gone, and not everybody trusts the new root yet")
        above = signers(self.state.issuer)
        ends = [one.not_valid_after_utc for one in above]
        end = min(moment(now + (self.lifetime if lifetime is None else lifetime)), *ends)
        if end <= moment(now):
            raise RequestRefused("the certificate of the authority has expired")
        signed = certificates.leaf(
            csr,
            uri=uri,
            trust_domain=self.trust_domain,
            dns=dns,
            subject=subject,
            now=now,
            end=end,
            by=self._key,
            of=above[0],
        )
        return Certificate(
            chain=pem(signed) + self.state.issuer.chain,
            issued=signed.not_valid_before_utc.timestamp(),
            expires=signed.not_valid_after_utc.timestamp(),
        )

    def control_plane(self, *, now: float, lifetime: float | None = None) -> Keypair:
        """A new key for the control plane itself with its serving certificate; kept in memory alone."""
        key = new_key()
        uri = control_plane_uri(self.trust_domain)
        signed = self.sign(csr(key), uri=uri, dns=(CONTROL_PLANE,), now=now, lifetime=lifetime)
        return Keypair(key=key_pem(key), chain=signed.chain, roots=self.roots)

    def rotate(self, what: What, now: float) -> None:
        """Begin to make something anew; RotationError when that can't be done now, AuthorityError."""
        if self.state.phase is not Phase.STEADY:
            raise RotationError(f"a rotation is under way ({self.state.phase}); see: plait ca status")
        if what is What.LEAVES:
            self._begin(self.state.issuer, self.state.roots, now)
        elif self._folder is not None:
            self._given = given.read(self._folder, now)
            if not self._take_given(now):
                raise RotationError(f"there is nothing new in {self._folder}: replace its files first")
        elif what is What.ROOT:
            self._begin_anew(now)
        else:
            issuer = self._keyring.intermediate(self.state.issuer.root, now)
            self._begin(issuer, self.state.roots, now)

    def step(self, holders: Iterable[Holder], now: float) -> bool:
        """Go on by what everybody has by now, and make anew what comes to its end; whether anything has changed."""
        before = self.state
        self._keep(rotation.step(self.state, holders, now, only_present=self._hopeless(now)))
        if self.state.phase is Phase.STEADY or self._key is None:
            self._follow(now)
        return self.state is not before

    def awaited(self, holders: Iterable[Holder], now: float) -> tuple[str, ...]:
        """Whom a rotation waits for now."""
        return rotation.awaited(self.state, holders, now, only_present=self._hopeless(now))

    def _hopeless(self, now: float) -> bool:
        """Whether who is away can't be waited for: nobody can renew meanwhile, and all have had time to come back."""
        return self._key is None and now - max(self.state.since, self._opened) > _PATIENCE

    def _follow(self, now: float) -> None:
        """Begin what is due by itself."""
        if self._given is not None:
            if self.state.following is None or self.state.following != self._given.issuer:
                self._take_given(now)
        elif self.state.issuer.given:
            if self.state.following is None:
                self._begin_anew(now)
        elif self.state.phase is Phase.STEADY:
            signer, root = signers(self.state.issuer)
            if root.not_valid_after_utc - moment(now) < 2 * certificates.INTERMEDIATE_LIFETIME:
                self._begin_anew(now)
            elif moment(now) - signer.not_valid_before_utc > _half(signer):
                issuer = self._keyring.intermediate(self.state.issuer.root, now)
                self._begin(issuer, self.state.roots, now)

    def _take_given(self, now: float) -> bool:
        """Have the user's own authority sign, unless it does; whether it did not."""
        assert self._given is not None
        issuer, roots = self._given.issuer, self._given.roots
        if self.state.issuer == issuer and set(self.state.roots) == set(roots):
            return False
        self._begin(issuer, roots, now)
        return True

    def _begin_anew(self, now: float) -> None:
        issuer = self._keyring.root(now)
        self._begin(issuer, (issuer.root,), now)

    def _begin(self, issuer: Issuer, roots: tuple[str, ...], now: float) -> None:
        self._keep(rotation.begin(self.state, issuer, roots, now))

    def _keep(self, state: State) -> None:
        """Write it down, then go by it."""
        if state is self.state:
            return
        self._keyring.write(state)
        if state.issuer != self.state.issuer:
            self._key = _key_of(self._keyring, state.issuer, self._given)
        self.state = state
        self._keyring.tidy(state)


def check_trust_domain(name: str) -> None:
    """AuthorityError when this can't be a trust domain."""
    if not _TRUST_DOMAIN.fullmatch(name):
        raise AuthorityError(f"{name!r} can't be a trust domain: use a-z, 0-9, dots, dashes, underscores")


def _half(certificate: x509.Certificate) -> timedelta:
    return (certificate.not_valid_after_utc - certificate.not_valid_before_utc) / 2


def _first(keyring: Keyring, own: Given | None, now: float) -> State:
    if own is not None:
        return rotation.first(own.issuer, own.roots, now)
    issuer = keyring.root(now)
    return rotation.first(issuer, (issuer.root,), now)


def _key_of(keyring: Keyring, issuer: Issuer, own: Given | None) -> SigningKey | None:
    """The key of who signs; None when it was a user's, and lies there no more."""
    if not issuer.given:
        return keyring.key(issuer)
    return own.key if own is not None and own.issuer.name == issuer.name else None


def _check(state: State, now: float, directory: Path) -> None:
    root = signers(state.issuer)[-1]
    if not state.issuer.given and root.not_valid_after_utc <= moment(now):
        raise AuthorityError(
            f"the root in {directory} expired at {root.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; "
            f"remove {directory} to begin anew"
        )
