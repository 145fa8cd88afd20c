"""A user's own authority: taken when it is sound, and otherwise refused with the one reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID

from plait.identity import given
from plait.identity.authority import Authority, AuthorityError
from plait.identity.keys import csr, new_key

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
URI = "spiffe://cluster.local/ns/bistro/sa/frontend"

AnyKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass
class Signer:
    """One authority of a chain, and how it is made."""

    name: str
    key: AnyKey = field(default_factory=new_key)
    ca: bool | None = True
    path_length: int | None = None
    signs: bool | None = True
    start: timedelta = timedelta(days=-1)
    end: timedelta = timedelta(days=365)
    certificate: x509.Certificate | None = None

    def issued(self, by: Signer | None = None) -> Signer:
        above = by or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, above.name)]))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + self.start)
            .not_valid_after(NOW + self.end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        )
        if self.ca is not None:
            limit = self.path_length if self.ca else None
            builder = builder.add_extension(x509.BasicConstraints(self.ca, limit), critical=True)
        if self.signs is not None:
            usage = x509.KeyUsage(
                digital_signature=True, key_cert_sign=self.signs, crl_sign=self.signs, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                decipher_only=False,
            )  # fmt: skip
            builder = builder.add_extension(usage, critical=True)
        if by is not None:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
            builder = builder.add_extension(identifier, critical=False)
        algorithm = None if isinstance(above.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        self.certificate = builder.sign(above.key, algorithm)
        return self

    @property
    def pem(self) -> bytes:
        assert self.certificate is not None
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def written(folder: Path, signer: Signer, roots: list[Signer], between: list[Signer] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "ca-cert.pem").write_bytes(signer.pem)
    (folder / "ca-key.pem").write_bytes(signer.key_pem)
    (folder / "ca-key.pem").chmod(0o600)
    (folder / "root-cert.pem").write_bytes(b"".join(one.pem for one in roots))
    if between:
        (folder / "cert-chain.pem").write_bytes(b"".join(one.pem for one in between))
    return folder


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def verified(tmp_path: Path, folder: Path) -> x509.Certificate:
    """A leaf that this authority signs, as a peer sees it who trusts its roots."""
    authority = Authority.open(
        tmp_path / "ca", trust_domain="cluster.local", now=NOW.timestamp(), folder=folder
    )
    signed = authority.sign(csr(new_key()), uri=URI, now=NOW.timestamp())
    leaf, *chain = x509.load_pem_x509_certificates(signed.chain.encode())
    roots = verification.Store(x509.load_pem_x509_certificates(authority.roots.encode()))
    builder = verification.PolicyBuilder().store(roots).time(NOW.replace(tzinfo=None))
    builder.build_client_verifier().verify(leaf, chain)
    assert list((tmp_path / "ca").glob("*.key")) == []  # the user's key stays where it lies
    return leaf


@pytest.mark.parametrize("make", [new_key, rsa_key, lambda: ec.generate_private_key(ec.SECP384R1())])
def test_an_intermediate_of_any_usual_key_signs(tmp_path: Path, make: Callable[[], AnyKey]) -> None:
    root = Signer("root", rsa_key()).issued()
    middle = Signer("middle", path_length=1).issued(root)
    signer = Signer("signer", make(), path_length=0).issued(middle)
    # As Istio's examples have it: the signer itself and the root stand in the chain too.
    verified(tmp_path, written(tmp_path / "given", signer, [root], [signer, middle, root]))


def test_a_root_may_sign_by_itself_and_several_be_trusted(tmp_path: Path) -> None:
    root, other = Signer("root").issued(), Signer("other").issued()
    leaf = verified(tmp_path, written(tmp_path / "given", root, [other, root]))
    assert leaf.issuer == root.certificate.subject  # type: ignore[union-attr]


def refused(tmp_path: Path, words: str, signer: Signer, roots: list[Signer], between: list[Signer]) -> None:
    with pytest.raises(AuthorityError, match=words):
        given.read(written(tmp_path / "given", signer, roots, between), NOW.timestamp())


@pytest.mark.parametrize(
    ("signer", "words"),
    [
        (Signer("x", end=timedelta(seconds=-1)), "has expired"),
        (Signer("x", start=timedelta(seconds=1)), "does not hold before"),
        (Signer("x", ca=False), "CA is false"),
        (Signer("x", ca=None), "no basic constraints"),
        (Signer("x", signs=False), "may not sign certificates"),
        (Signer("x", ed25519.Ed25519PrivateKey.generate()), "neither RSA nor ECDSA"),
        (Signer("x", ec.generate_private_key(ec.SECP192R1())), "secp192r1 is not taken"),
        (Signer("x", rsa_key(1024)), "1024 bits is too weak"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_signer_that_cannot_sign_is_refused(tmp_path: Path, signer: Signer, words: str) -> None:
    root = Signer("root").issued()
    refused(tmp_path, words, signer.issued(root), [root], [])


def test_what_stands_above_is_looked_at_too(tmp_path: Path) -> None:
    for above, words in (
        (Signer("m", path_length=0), r"allows 0 authorities below it \(path length\); 1 are there"),
        (Signer("m", end=timedelta(days=-1)), "has expired"),
        (Signer("m", ca=False), "CA is false"),
    ):
        root = Signer("root").issued()
        middle = above.issued(root)
        refused(tmp_path, words, Signer("signer").issued(middle), [root], [middle])
    root = Signer("root", path_length=1).issued()
    middle = Signer("middle").issued(root)
    refused(tmp_path, "path length", Signer("signer").issued(middle), [root], [middle])
    root = Signer("root", end=timedelta(days=-1)).issued()
    refused(tmp_path, "root-cert.pem.* has expired", Signer("signer").issued(root), [root], [])


def test_a_chain_has_to_lead_to_a_root(tmp_path: Path) -> None:
    root, other = Signer("root").issued(), Signer("root").issued()  # of the same name, and another key
    middle = Signer("middle").issued(root)
    signer = Signer("signer").issued(middle)
    refused(tmp_path, "leads to no root", signer, [root], [])
    refused(tmp_path, "leads to no root", signer, [other], [middle])


def test_the_key_has_to_be_the_certificates_own_and_its_owners_alone(tmp_path: Path) -> None:
    root = Signer("root").issued()
    folder = written(tmp_path / "given", Signer("signer").issued(root), [root])
    key, good = folder / "ca-key.pem", (folder / "ca-key.pem").read_bytes()

    def refused_now(words: str) -> None:
        with pytest.raises(AuthorityError, match=words) as raised:
            given.read(folder, NOW.timestamp())
        assert "PRIVATE" not in str(raised.value)

    key.chmod(0o640)
    refused_now("wider than 0600")
    key.chmod(0o600)
    key.write_bytes(root.key_pem)
    refused_now("is not the key of ca-cert.pem")
    key.write_bytes(good[:60])
    refused_now("holds no private key that can be read")
    key.unlink()
    refused_now("No such file")
    (tmp_path / "elsewhere").write_bytes(good)
    key.symlink_to(tmp_path / "elsewhere")
    refused_now("symbolic link")
    key.unlink()
    key.write_bytes(good)
    key.chmod(0o600)
    given.read(folder, NOW.timestamp())
    (folder / "root-cert.pem").write_text("nothing")
    refused_now("root-cert.pem holds no certificates")
