"""The certificate authority: one self-signed root in a directory, and what it signs.

A request proves possession of a key and nothing more: the names in a certificate are those that the caller
knows the holder by.  The root key is read and written by this module alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from plait.identity.files import Insecure, private_directory, read_private, write_private
from plait.identity.keys import Key, Keypair, csr, key_pem, load_key, new_key
from plait.identity.names import CONTROL_PLANE, control_plane_uri

LIFETIME = 86_400.0
"""How long a certificate holds, in seconds, when nothing else is asked for."""

_ROOT_LIFETIME = timedelta(days=3650)
_BACKDATED = 300.0
"""By how many seconds (at most) a certificate holds from before now: clocks differ."""

_LONGEST_REQUEST = 16_384
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)+")


class AuthorityError(Exception):
    """The files of the authority can't be used; the message says why and what to do."""


class RequestRefused(Exception):  # noqa: N818 - the answer to a request
    """A certificate request can't be granted; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the subject of a certificate says, for the labels of metrics and never for authorization."""

    workload: str = ""
    app: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A signed certificate with its chain up to, and without, the root (PEM), and the seconds between which it holds."""

    chain: str
    issued: float
    expires: float


class Authority:
    """The root of one trust domain.  Its certificates last no longer than it does."""

    __slots__ = ("_key", "_root", "roots", "trust_domain")

    def __init__(self, *, trust_domain: str, key: Key, root: x509.Certificate) -> None:
        self.trust_domain = trust_domain
        self.roots = root.public_bytes(serialization.Encoding.PEM).decode("ascii")
        self._key = key
        self._root = root

    @staticmethod
    def open(directory: Path, *, trust_domain: str, now: float) -> Authority:
        """The authority kept in a directory; a new one when the directory is empty or not there.

        AuthorityError when what lies there is damaged, expired, of another trust domain, or open to others.
        """
        if not _TRUST_DOMAIN.fullmatch(trust_domain):
            raise AuthorityError(
                f"{trust_domain!r} can't be a trust domain: use a-z, 0-9, dots, dashes, underscores"
            )
        try:
            private_directory(directory)
            key = _read_key(directory / "root.key", certificate=directory / "root.pem")
            root = _read_root(directory / "root.pem")
            if root is None:
                # Also when only the key was written before a crash: nothing has been signed by it yet.
                root = _self_signed(key, trust_domain, _moment(now))
                write_private(directory / "root.pem", root.public_bytes(serialization.Encoding.PEM))
        except Insecure as error:
            raise AuthorityError(str(error)) from error
        _check_root(root, key, trust_domain, _moment(now), directory)
        return Authority(trust_domain=trust_domain, key=key, root=root)

    def sign(  # noqa: PLR0913 - a certificate says that many things
        self,
        csr: str,
        *,
        uri: str,
        now: float,
        dns: tuple[str, ...] = (),
        subject: Subject = Subject(),
        lifetime: float = LIFETIME,
    ) -> Certificate:
        """A certificate for the key in a request (PEM), under the names given here and no others.

        `uri` is the holder's SPIFFE ID, `lifetime` in seconds.  RequestRefused when the request is malformed,
        was not made with its own key, or its key is weak; when `uri` is not of this trust domain; and when
        the root has expired.
        """
        public_key = _public_key(csr)
        if not uri.startswith(f"spiffe://{self.trust_domain}/") or not _PATH.fullmatch(
            uri.removeprefix(f"spiffe://{self.trust_domain}")
        ):
            raise RequestRefused(f"{uri!r} is no SPIFFE ID of the trust domain {self.trust_domain}")
        start = _moment(now - min(_BACKDATED, lifetime / 10))
        end = min(_moment(now + lifetime), self._root.not_valid_after_utc)
        if end <= _moment(now):
            raise RequestRefused("the root certificate has expired")
        name = _name(subject)
        names = [x509.UniformResourceIdentifier(uri), *(x509.DNSName(host) for host in dns)]
        leaf = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._root.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            # RFC 5280: where the subject says nothing, the alternative name must be critical.
            .add_extension(x509.SubjectAlternativeName(names), critical=not list(name))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(_issued_by(self._root), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        chain = leaf.public_bytes(serialization.Encoding.PEM).decode("ascii")
        return Certificate(chain=chain, issued=start.timestamp(), expires=end.timestamp())

    def control_plane(self, *, now: float, lifetime: float = LIFETIME) -> Keypair:
        """A new key for the control plane itself with its serving certificate; kept in memory alone."""
        key = new_key()
        uri = control_plane_uri(self.trust_domain)
        signed = self.sign(csr(key), uri=uri, dns=(CONTROL_PLANE,), now=now, lifetime=lifetime)
        return Keypair(key=key_pem(key), chain=signed.chain, roots=self.roots)


def _read_key(path: Path, *, certificate: Path) -> Key:
    """The root key; a new one when neither it nor a certificate for it was ever written."""
    try:
        return load_key(read_private(path).decode("ascii"))
    except FileNotFoundError:
        if certificate.exists():
            raise AuthorityError(
                f"{path} is missing; put it back, or remove {path.parent} to begin anew"
            ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuthorityError(f"{path} is damaged: {error}") from error
    key = new_key()
    write_private(path, key_pem(key).encode())
    return key


def _read_root(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(read_private(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise AuthorityError(f"{path} is damaged: {error}") from error


def _self_signed(key: Key, trust_domain: str, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Plait root of {trust_domain}"[:63])])
    identity = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=_BACKDATED))
        .not_valid_after(now + _ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificates=True), critical=True)
        .add_extension(identity, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _check_root(root: x509.Certificate, key: Key, trust_domain: str, now: datetime, directory: Path) -> None:
    again = f"remove {directory} to begin anew"
    try:
        is_authority = root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        names = root.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        root.verify_directly_issued_by(root)
    except (x509.ExtensionNotFound, InvalidSignature, ValueError, TypeError) as error:
        raise AuthorityError(f"{directory}/root.pem is not a root of Plait's: {error}; {again}") from error
    if not is_authority:
        raise AuthorityError(f"{directory}/root.pem is not a certificate authority's; {again}")
    if root.public_key() != key.public_key():
        raise AuthorityError(f"{directory}/root.key is not the key of root.pem; {again}")
    if root.not_valid_after_utc <= now:
        raise AuthorityError(
            f"{directory}/root.pem expired at {root.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; {again}"
        )
    if names.get_values_for_type(x509.UniformResourceIdentifier) != [f"spiffe://{trust_domain}"]:
        raise AuthorityError(f"{directory}/root.pem is not of the trust domain {trust_domain}; {again}")


def _public_key(request: str) -> ec.EllipticCurvePublicKey:
    """The key in a certificate request; RequestRefused when it can't be trusted."""
    if len(request) > _LONGEST_REQUEST:
        raise RequestRefused("the certificate request is too long")
    try:
        parsed = x509.load_pem_x509_csr(request.encode())
        key = parsed.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
            key.curve, ec.SECP256R1 | ec.SECP384R1
        ):
            raise RequestRefused("the key must be ECDSA over P-256 or P-384")
        proven = parsed.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RequestRefused(f"the certificate request can't be read: {error}") from error
    if not proven:
        raise RequestRefused("the certificate request was not signed with its own key")
    return key


def _name(subject: Subject) -> x509.Name:
    parts = (
        (NameOID.ORGANIZATION_NAME, subject.version),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, subject.app),
        (NameOID.COMMON_NAME, subject.workload),
    )
    return x509.Name([x509.NameAttribute(oid, _short(value)) for oid, value in parts if value])


def _short(value: str) -> str:
    """At most 63 bytes: X.509 allows 64, a label 63."""
    return value.encode(errors="ignore")[:63].decode(errors="ignore")


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issued_by(root: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _moment(seconds: float) -> datetime:
    """A time as certificates hold it: to the second."""
    return datetime.fromtimestamp(int(seconds), UTC)
