"""What the authority's certificates say: a root, an intermediate under it, and the leaves that everybody shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from plait.identity.keys import Key
from plait.identity.trust import BACKDATED, backdated

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ROOT_LIFETIME = timedelta(days=3650)
INTERMEDIATE_LIFETIME = timedelta(days=90)

_LONGEST_REQUEST = 16_384
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)+")


class RequestRefused(Exception):  # noqa: N818 - the answer to a request
    """A certificate request can't be granted; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the subject of a certificate says, for the labels of metrics and never for authorization."""

    workload: str = ""
    app: str = ""
    version: str = ""


NOBODY = Subject()


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A signed certificate with its chain up to, and without, the root (PEM), and the seconds between which it holds."""

    chain: str
    issued: float
    expires: float


def root(key: Key, trust_domain: str, now: float) -> x509.Certificate:
    """A self-signed root, under which one intermediate may stand above a leaf."""
    name = _authority_name("root", key, trust_domain)
    builder = _authority(key.public_key(), name, name, trust_domain, path_length=1)
    start = moment(now)
    return (
        builder.not_valid_before(start - timedelta(seconds=BACKDATED))
        .not_valid_after(start + ROOT_LIFETIME)
        .sign(key, hashes.SHA256())
    )


def intermediate(
    key: Key, trust_domain: str, now: float, *, by: SigningKey, of: x509.Certificate
) -> x509.Certificate:
    """A certificate for who signs leaves and nothing else, by the key of a root; it lasts no longer than that root."""
    name = _authority_name("intermediate", key, trust_domain)
    builder = _authority(key.public_key(), name, of.subject, trust_domain, path_length=0)
    start = moment(now)
    return (
        builder.not_valid_before(start - timedelta(seconds=BACKDATED))
        .not_valid_after(min(start + INTERMEDIATE_LIFETIME, of.not_valid_after_utc))
        .add_extension(_issued_by(of), critical=False)
        .sign(by, hashes.SHA256())
    )


def leaf(  # noqa: PLR0913 - a certificate says that many things
    csr: str,
    *,
    uri: str,
    trust_domain: str,
    dns: tuple[str, ...],
    subject: Subject,
    now: float,
    end: datetime,
    by: SigningKey,
    of: x509.Certificate,
) -> x509.Certificate:
    """A certificate for the key in a request (PEM), until `end`; RequestRefused.  See Authority.sign."""
    public_key = _public_key(csr)
    if not uri.startswith(f"spiffe://{trust_domain}/") or not _PATH.fullmatch(
        uri.removeprefix(f"spiffe://{trust_domain}")
    ):
        raise RequestRefused(f"{uri!r} is no SPIFFE ID of the trust domain {trust_domain}")
    name = _name(subject)
    names = [x509.UniformResourceIdentifier(uri), *(x509.DNSName(host) for host in dns)]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(of.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(now - backdated(end.timestamp() - now)))
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
        .add_extension(_issued_by(of), critical=False)
        .sign(by, hashes.SHA256())
    )


def pem(certificate: x509.Certificate) -> str:
    """A certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def certificates(text: str) -> tuple[x509.Certificate, ...]:
    """The certificates in a text (PEM); ValueError when there is none."""
    return tuple(x509.load_pem_x509_certificates(text.encode()))


def moment(seconds: float) -> datetime:
    """A time as certificates hold it: to the second."""
    return datetime.fromtimestamp(int(seconds), UTC)


def _authority(
    key: ec.EllipticCurvePublicKey, name: x509.Name, issuer: x509.Name, trust_domain: str, *, path_length: int
) -> x509.CertificateBuilder:
    identity = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(certificates=True), critical=True)
        .add_extension(identity, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority_name(kind: str, key: Key, trust_domain: str) -> x509.Name:
    """Another one for each key: who looks for an issuer looks by its name."""
    part = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:8]
    text = f"Plait {kind} {part} of {trust_domain}"[:63]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


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


def _issued_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:  # of a user's own
        identifier = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
