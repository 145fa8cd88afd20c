"""The certificate authority: what it signs, what it refuses, and how its key is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from plait.identity.authority import Authority, AuthorityError, RequestRefused, Subject
from plait.identity.keys import csr, key_pem, load_key, matches, new_key, validity

URI = "spiffe://cluster.local/ns/bistro/sa/frontend"
NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC).timestamp()
DAY = 86_400.0


def opened(directory: Path, *, trust_domain: str = "cluster.local", now: float = NOW) -> Authority:
    return Authority.open(directory, trust_domain=trust_domain, now=now)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return tmp_path / "ca"


@pytest.fixture
def authority(ca: Path) -> Authority:
    return opened(ca)


def leaf_of(chain: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain.encode())


def verifier(authority: Authority, when: float) -> verification.PolicyBuilder:
    roots = verification.Store([x509.load_pem_x509_certificate(authority.roots.encode())])
    return (
        verification.PolicyBuilder().store(roots).time(datetime.fromtimestamp(when, UTC).replace(tzinfo=None))
    )


def pem(request: x509.CertificateSigningRequest) -> str:
    return request.public_bytes(serialization.Encoding.PEM).decode()


def test_a_certificate_verifies_under_the_root_for_as_long_as_it_holds(authority: Authority) -> None:
    key = new_key()
    signed = authority.sign(csr(key), uri=URI, now=NOW)
    leaf = leaf_of(signed.chain)
    assert matches(key, signed.chain)
    assert signed.expires == NOW + DAY
    assert validity(signed.chain) == (signed.issued, signed.expires)
    client = verifier(authority, NOW).build_client_verifier().verify(leaf, [])
    assert client.subjects is not None
    assert [name.value for name in client.subjects] == [URI]
    for when in (signed.issued - 1, signed.expires + 1):
        with pytest.raises(verification.VerificationError):
            verifier(authority, when).build_client_verifier().verify(leaf, [])


def test_clocks_a_little_behind_accept_it_too_and_short_lives_are_backdated_less(
    authority: Authority,
) -> None:
    assert authority.sign(csr(new_key()), uri=URI, now=NOW).issued == NOW - 300
    assert authority.sign(csr(new_key()), uri=URI, now=NOW, lifetime=50).issued == NOW - 5


def test_the_control_plane_has_a_name_that_clients_check_and_nobody_else_has(authority: Authority) -> None:
    keypair = authority.control_plane(now=NOW)
    assert matches(load_key(keypair.key), keypair.chain)
    assert keypair.roots == authority.roots
    server = verifier(authority, NOW).build_server_verifier(x509.DNSName("control-plane.plait"))
    server.verify(leaf_of(keypair.chain), [])
    with pytest.raises(verification.VerificationError):
        server.verify(leaf_of(authority.sign(csr(new_key()), uri=URI, now=NOW).chain), [])
    assert "BEGIN" not in repr(keypair).split("chain=", maxsplit=1)[0]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_agrees_strictly(authority: Authority, ca: Path, tmp_path: Path) -> None:
    subject = Subject(workload="frontend", app="frontend", version="v1")
    signed = authority.sign(csr(new_key()), uri=URI, now=NOW, subject=subject)
    (tmp_path / "leaf.pem").write_text(signed.chain)
    command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW)), "-CAfile", str(ca / "root.pem")]
    for purpose in ("sslclient", "sslserver"):
        subprocess.run(
            [*command, "-purpose", purpose, str(tmp_path / "leaf.pem")], check=True, capture_output=True
        )


def test_names_come_from_the_authority_and_never_from_the_request(authority: Authority) -> None:
    key = new_key()
    wish = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")]))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("control-plane.plait"),
                    x509.UniformResourceIdentifier("spiffe://cluster.local/admin"),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    leaf = leaf_of(authority.sign(pem(wish), uri=URI, now=NOW).chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [x509.UniformResourceIdentifier(URI)]
    assert names.critical  # for the subject is empty
    assert list(leaf.subject) == []
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ]


def test_the_subject_carries_labels_cut_to_what_x509_takes(authority: Authority) -> None:
    subject = Subject(workload="w" * 100, app="\u00e9" * 40, version="")
    leaf = leaf_of(authority.sign(csr(new_key()), uri=URI, now=NOW, subject=subject).chain)
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "w" * 63
    assert leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value == "\u00e9" * 31
    assert leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME) == []


def test_serial_numbers_differ(authority: Authority) -> None:
    request = csr(new_key())
    serials = {leaf_of(authority.sign(request, uri=URI, now=NOW).chain).serial_number for _ in range(20)}
    assert len(serials) == 20


def request_with(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return pem(x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, algorithm))


def test_other_keys_and_broken_requests_are_refused(authority: Authority) -> None:
    good = x509.load_pem_x509_csr(csr(new_key()).encode()).public_bytes(serialization.Encoding.DER)
    tampered = bytearray(good)
    tampered[-5] ^= 0xFF  # in the signature
    stolen = good.replace(
        new := x509.load_der_x509_csr(good)
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint),
        new_key()
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint),
    )
    assert new in good

    def as_pem(der: bytes) -> str:
        return pem(x509.load_der_x509_csr(der))

    for request in (
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "x" * 100_000,
        "\ud800",
        as_pem(bytes(tampered)),
        as_pem(stolen),
        request_with(rsa.generate_private_key(65537, 2048)),
        request_with(ec.generate_private_key(ec.SECP192R1())),
        request_with(ed25519.Ed25519PrivateKey.generate()),
    ):
        with pytest.raises(RequestRefused):
            authority.sign(request, uri=URI, now=NOW)
    authority.sign(request_with(ec.generate_private_key(ec.SECP384R1())), uri=URI, now=NOW)


def test_no_identity_beyond_the_trust_domain_is_signed(authority: Authority) -> None:
    request = csr(new_key())
    for uri in (
        "spiffe://other.local/ns/a/sa/b",
        "spiffe://cluster.local",
        "spiffe://cluster.local/",
        "spiffe://cluster.local/ns//sa/b",
        "spiffe://cluster.local/ns/../sa/b",
        "spiffe://cluster.local/ns/a b",
        "spiffe://cluster.local/ns/a?x=y",
        "spiffe://cluster.local/ns/a\n",
        "https://cluster.local/ns/a/sa/b",
        "spiffe://cluster.local.evil/ns/a/sa/b",
    ):
        with pytest.raises(RequestRefused):
            authority.sign(request, uri=uri, now=NOW)


def test_no_certificate_outlives_the_root(authority: Authority) -> None:
    end = x509.load_pem_x509_certificate(authority.roots.encode()).not_valid_after_utc.timestamp()
    assert end == NOW + 3650 * DAY
    assert authority.sign(csr(new_key()), uri=URI, now=end - 60).expires == end
    with pytest.raises(RequestRefused, match="expired"):
        authority.sign(csr(new_key()), uri=URI, now=end)


def test_the_same_authority_is_opened_again(authority: Authority, ca: Path) -> None:
    again = opened(ca, now=NOW + DAY)
    assert again.roots == authority.roots
    verifier(authority, NOW + DAY).build_client_verifier().verify(
        leaf_of(again.sign(csr(new_key()), uri=URI, now=NOW + DAY).chain), []
    )


def test_key_and_directory_are_private_under_any_umask(ca: Path) -> None:
    before = os.umask(0)
    try:
        opened(ca)
    finally:
        os.umask(before)
    assert ca.stat().st_mode & 0o777 == 0o700
    assert (ca / "root.key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in ca.iterdir()) == ["root.key", "root.pem"]


def test_a_crash_between_key_and_certificate_is_mended(authority: Authority, ca: Path) -> None:
    (ca / "root.pem").unlink()
    again = opened(ca)
    key = load_key((ca / "root.key").read_text())
    assert matches(key, again.roots)
    assert matches(key, authority.roots)


def test_files_that_others_can_read_or_have_planted_are_refused(
    authority: Authority, ca: Path, tmp_path: Path
) -> None:
    def refused(words: str) -> None:
        with pytest.raises(AuthorityError, match=words):
            opened(ca)

    (ca / "root.key").chmod(0o640)
    refused("wider than 0600")
    (ca / "root.key").chmod(0o600)
    ca.chmod(0o750)
    refused("wider than 0700")
    ca.chmod(0o700)
    opened(ca)

    (ca / "root.key").rename(tmp_path / "elsewhere.key")
    (ca / "root.key").symlink_to(tmp_path / "elsewhere.key")
    refused("symbolic link")
    (ca / "root.key").unlink()
    refused("missing")

    ca.rename(tmp_path / "other")
    ca.symlink_to(tmp_path / "other")
    refused("symbolic link")


def test_a_planted_link_is_never_written_through(ca: Path, tmp_path: Path) -> None:
    ca.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    for name in ("root.key", "root.pem"):
        (ca / name).symlink_to(victim)
        with pytest.raises(AuthorityError, match="symbolic link"):
            opened(ca)
        assert not victim.exists()
        (ca / name).unlink()


def test_a_root_that_does_not_fit_is_refused_with_the_reason(authority: Authority, ca: Path) -> None:
    key = load_key((ca / "root.key").read_text())
    root = (ca / "root.pem").read_text()

    def refused(words: str, *, now: float = NOW, trust_domain: str = "cluster.local") -> None:
        with pytest.raises(AuthorityError, match=words):
            opened(ca, now=now, trust_domain=trust_domain)

    refused("expired", now=NOW + 3651 * DAY)
    refused("trust domain", trust_domain="other.local")
    refused("can't be a trust domain", trust_domain="not a domain")

    (ca / "root.key").write_text(key_pem(new_key()))
    refused("not the key")
    (ca / "root.key").write_text("junk")
    refused("damaged")
    (ca / "root.key").write_text(key_pem(key))
    (ca / "root.pem").write_text("junk")
    refused("damaged")
    (ca / "root.pem").write_text(authority.sign(csr(key), uri=URI, now=NOW).chain)
    refused("not a root")
    (ca / "root.pem").write_text(_self_signed_without_authority(key))
    refused("not a certificate authority")
    (ca / "root.pem").write_text(root)
    opened(ca)


def _self_signed_without_authority(key: ec.EllipticCurvePrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local")])
    now = datetime.fromtimestamp(NOW, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
