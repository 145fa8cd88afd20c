"""A user's own authority, in a folder with the files that Istio takes, looked at before anything is signed by it.

    ca-cert.pem      the certificate that signs
    ca-key.pem       its key, for its owner's eyes alone
    root-cert.pem    the root, or several, that everybody is to trust
    cert-chain.pem   what stands between the two, if anything does; ca-cert.pem itself and the root may stand in it

The key is read where it lies and is never copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from plait.identity.certificates import SigningKey, moment, pem
from plait.identity.files import Insecure, read_private
from plait.identity.rotation import Issuer
from plait.identity.trust import key_name

CERTIFICATE, KEY, ROOTS, CHAIN = "ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"

_LEAST_BITS = 2048
_LARGEST = 1024 * 1024


class AuthorityError(Exception):
    """The files of an authority can't be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A user's authority, as it was found sound."""

    issuer: Issuer
    roots: tuple[str, ...]
    key: SigningKey = field(repr=False)


def read(folder: Path, now: float) -> Given:
    """The authority in a folder, if it can sign what the mesh needs from now on; AuthorityError."""
    when = moment(now)
    certificate = _certificates(folder / CERTIFICATE)[0]
    roots = _certificates(folder / ROOTS)
    between = _certificates(folder / CHAIN) if (folder / CHAIN).exists() else []
    chain = _path(certificate, between, roots, folder)
    root = chain[-1] if chain[-1] in roots else next(one for one in roots if _issued(chain[-1], one))
    shown = [one for one in chain if one != root]
    for below, one in enumerate((*shown, root)):
        file = ROOTS if one == root else CHAIN if below else CERTIFICATE
        _check_signer(one, folder / file, when, below=below)
    key = _key(folder / KEY, certificate)
    issuer = Issuer(name=key_name(certificate), chain="".join(map(pem, shown)), root=pem(root), given=True)
    return Given(issuer=issuer, roots=tuple(dict.fromkeys(map(pem, roots))), key=key)


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        text = path.read_bytes()
        found = x509.load_pem_x509_certificates(text[:_LARGEST])
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise AuthorityError(f"{path} holds no certificates that can be read (PEM): {error}") from error
    if not found:
        raise AuthorityError(f"{path} holds no certificate")
    return found


def _key(path: Path, certificate: x509.Certificate) -> SigningKey:
    try:
        key = serialization.load_pem_private_key(read_private(path), password=None)
    except Insecure as error:
        raise AuthorityError(str(error)) from error
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # What the library says may tell of what it has read.
        raise AuthorityError(
            f"{path} holds no private key that can be read (PEM, without a password)"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise AuthorityError(f"{path}: the key is neither RSA nor ECDSA")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _LEAST_BITS:
        raise AuthorityError(f"{path}: an RSA key of {key.key_size} bits is too weak; {_LEAST_BITS} at least")
    if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
    ):
        raise AuthorityError(f"{path}: the curve {key.curve.name} is not taken; use P-256, P-384 or P-521")
    if key.public_key() != certificate.public_key():
        raise AuthorityError(f"{path} is not the key of {CERTIFICATE}")
    return key


def _path(
    certificate: x509.Certificate,
    between: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    folder: Path,
) -> list[x509.Certificate]:
    """From the one that signs up to the one that a root has issued, or that is a root."""
    path = [certificate]
    while path[-1] not in roots and not any(_issued(path[-1], root) for root in roots):
        above = next((one for one in between if one not in path and _issued(path[-1], one)), None)
        if above is None:
            raise AuthorityError(
                f"{folder}: {_named(path[-1])} was issued by none of {ROOTS} and by nothing in {CHAIN}: "
                "the chain leads to no root"
            )
        path.append(above)
    return path


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_signer(certificate: x509.Certificate, path: Path, when: datetime, *, below: int) -> None:
    """Whether it may sign now, with so many authorities below it; AuthorityError."""
    what = f"{path}: {_named(certificate)}"
    if certificate.not_valid_after_utc <= when:
        raise AuthorityError(f"{what} has expired, at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if certificate.not_valid_before_utc > when:
        raise AuthorityError(
            f"{what} does not hold before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        )
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise AuthorityError(f"{what} is not a certificate authority's (no basic constraints)") from error
    if not constraints.ca:
        raise AuthorityError(f"{what} is not a certificate authority's (CA is false)")
    if constraints.path_length is not None and constraints.path_length < below:
        raise AuthorityError(
            f"{what} allows {constraints.path_length} authorities below it (path length); {below} are there"
        )
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise AuthorityError(f"{what} may not sign certificates (key usage)")


def _named(certificate: x509.Certificate) -> str:
    return f"the certificate of {certificate.subject.rfc4514_string() or 'nobody'}"
