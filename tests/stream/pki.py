"""Certificates for one test: an authority, and leaves with the names that a test asks for."""

import datetime as dt
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plait.identity.keys import Keypair
from plait.xds.transport.tls import mutual

CONTROL_PLANE = "control-plane.plait"


@dataclass(frozen=True)
class Leaf:
    key: bytes
    chain: bytes

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The files of the chain and of the key, the latter for nobody else to read."""
        chain, key = folder / "chain.pem", folder / "key.pem"
        chain.write_bytes(self.chain)
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(self.key)
        return chain, key


class Authority:
    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("a test's root")
        self.root = _pem(
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def leaf(self, common_name: str, *, uris: tuple[str, ...] = (), dns: tuple[str, ...] = ()) -> Leaf:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(common_name), self._name, key.public_key())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.DNSName(name) for name in dns]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return Leaf(pem, _pem(builder.sign(self._key, hashes.SHA256())))

    def server_context(self, *, ask_for_client: bool = True) -> Callable[[], ssl.SSLContext]:
        """The contexts of a control plane, which has one certificate from its start to its end."""
        leaf = self.leaf("control-plane", dns=(CONTROL_PLANE,))
        keypair = Keypair(key=leaf.key.decode(), chain=leaf.chain.decode(), roots=self.root.decode())
        latest = mutual(lambda: keypair)
        if not ask_for_client:
            latest().verify_mode = ssl.CERT_NONE
        return latest


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
