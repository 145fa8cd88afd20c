"""Private keys, the requests made with them, and what their owners read in certificates."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Keypair:
    """A private key, the certificate chain for it, and the roots to trust: PEM texts."""

    key: str = field(repr=False)
    chain: str
    roots: str


def new_key() -> Key:
    """A new private key: ECDSA over P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key) -> str:
    """The key as PEM (PKCS 8, not encrypted): for a file of 0600, never for a log."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def load_key(pem: str) -> Key:
    """The key that a PEM text holds; ValueError when it holds none of ours."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not an elliptic curve key")  # noqa: TRY004 - the text is wrong, not its type
    return key


def csr(key: Key) -> str:
    """A certificate request (PEM) that proves possession of the key and asks for no name: the authority knows."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")


def validity(chain: str) -> tuple[float, float]:
    """From when to when the first certificate of a chain holds, in seconds since the epoch; ValueError if none."""
    leaf = x509.load_pem_x509_certificate(chain.encode())
    return leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()


def matches(key: Key, chain: str) -> bool:
    """Whether the first certificate of a chain is for this key; ValueError when there is no certificate."""
    return x509.load_pem_x509_certificate(chain.encode()).public_key() == key.public_key()
