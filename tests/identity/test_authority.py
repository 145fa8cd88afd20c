"""The certificate authority: what it signs, what it refuses, and how its key is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import nullcontext as nothing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from plait.identity.authority import Authority, AuthorityError, RequestRefused, RotationError, Subject, What
from plait.identity.keys import csr, key_pem, load_key, matches, new_key, validity
from plait.identity.rotation import Holder, Phase
from plait.identity.trust import Held
from tests.identity.test_given import Signer, written

URI = "spiffe://cluster.local/ns/bistro/sa/frontend"
NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC).timestamp()
DAY = 86_400.0
GIVEN = NOW
"""When the certificates of test_given hold."""


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


def above(chain: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(chain.encode())[1:]


def verifier(authority: Authority, when: float) -> verification.PolicyBuilder:
    roots = verification.Store(x509.load_pem_x509_certificates(authority.roots.encode()))
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
    client = verifier(authority, NOW).build_client_verifier().verify(leaf, above(signed.chain))
    assert client.subjects is not None
    assert [name.value for name in client.subjects] == [URI]
    for when in (signed.issued - 1, signed.expires + 1):
        with pytest.raises(verification.VerificationError):
            verifier(authority, when).build_client_verifier().verify(leaf, above(signed.chain))


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
    server.verify(leaf_of(keypair.chain), above(keypair.chain))
    chain = authority.sign(csr(new_key()), uri=URI, now=NOW).chain
    with pytest.raises(verification.VerificationError):
        server.verify(leaf_of(chain), above(chain))
    assert "BEGIN" not in repr(keypair).split("chain=", maxsplit=1)[0]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_agrees_strictly(authority: Authority, ca: Path, tmp_path: Path) -> None:
    subject = Subject(workload="frontend", app="frontend", version="v1")
    signed = authority.sign(csr(new_key()), uri=URI, now=NOW, subject=subject)
    (tmp_path / "leaf.pem").write_text(signed.chain)
    command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW)), "-CAfile", str(ca / "root.pem")]
    command += ["-untrusted", str(tmp_path / "leaf.pem")]
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


def test_a_root_signs_intermediates_and_these_sign_leaves(authority: Authority) -> None:
    chain = authority.sign(csr(new_key()), uri=URI, now=NOW).chain
    (intermediate,) = above(chain)
    root = leaf_of(authority.roots)
    intermediate.verify_directly_issued_by(root)
    leaf_of(chain).verify_directly_issued_by(intermediate)
    lengths = [
        one.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        for one in (root, intermediate)
    ]
    assert lengths == [1, 0]
    assert root.subject != intermediate.subject


def test_no_certificate_outlives_what_it_stands_on(authority: Authority) -> None:
    (intermediate,) = above(authority.sign(csr(new_key()), uri=URI, now=NOW).chain)
    end = intermediate.not_valid_after_utc.timestamp()
    assert end == NOW + 90 * DAY
    assert leaf_of(authority.roots).not_valid_after_utc.timestamp() == NOW + 3650 * DAY
    last = authority.sign(csr(new_key()), uri=URI, now=end - 60)
    assert last.expires == end
    assert Held.of(last.chain, authority.roots).signed == pytest.approx(end - 60, abs=1)
    with pytest.raises(RequestRefused, match="expired"):
        authority.sign(csr(new_key()), uri=URI, now=end)


def keys(ca: Path) -> set[str]:
    return {path.name for path in ca.glob("*.key")}


def all_have(authority: Authority, now: float) -> list[Holder]:
    signed = authority.sign(csr(new_key()), uri=URI, now=now)
    return [Holder(name="x", held=Held.of(signed.chain, authority.roots))]


def test_an_intermediate_is_made_anew_at_half_its_life_and_the_root_before_its_end(
    authority: Authority, ca: Path
) -> None:
    root, first, before = authority.roots, authority.trust.issuer, keys(ca)
    assert not authority.step([], NOW + 44 * DAY)
    assert authority.step([], NOW + 46 * DAY)
    assert authority.roots == root
    assert authority.trust.issuer != first
    assert len(keys(ca)) == 2
    assert len(keys(ca) & before) == 1
    now = NOW + 46 * DAY
    end = leaf_of(root).not_valid_after_utc.timestamp()
    while authority.roots == root:
        now += 40 * DAY if end - now > 300 * DAY else 5 * DAY
        authority.step(all_have(authority, now), now)
    assert 170 * DAY < end - now < 190 * DAY
    assert authority.roots.endswith(root)  # beside the new one


def test_a_rotation_of_the_root_survives_a_restart_at_every_phase(authority: Authority, ca: Path) -> None:
    old = authority.roots
    authority.rotate(What.ROOT, NOW)
    phases = []
    for _ in range(3):
        authority = opened(ca)
        phases.append(authority.state.phase)
        assert (ca / "root.pem").read_text() == authority.roots
        chain = authority.sign(csr(new_key()), uri=URI, now=NOW).chain
        verifier(authority, NOW).build_client_verifier().verify(leaf_of(chain), above(chain))
        with pytest.raises(RotationError) if authority.state.phase is not Phase.STEADY else nothing():
            authority.rotate(What.LEAVES, NOW)
        authority.step(all_have(authority, NOW + 1), NOW + 1)
    assert phases == [Phase.SPREADING, Phase.RENEWING, Phase.STEADY]
    assert old not in authority.roots
    assert len(keys(ca)) == 2


def test_leaves_alone_are_renewed_by_who_has_signed_them(authority: Authority) -> None:
    before = authority.trust
    held = all_have(authority, NOW)
    authority.rotate(What.LEAVES, NOW + 10)
    assert authority.trust.issuer == before.issuer
    assert authority.trust.roots == before.roots
    assert held[0].held.outdated(authority.trust)
    assert not all_have(authority, NOW + 10)[0].held.outdated(authority.trust)


def test_a_users_own_files_are_taken_up_with_the_same_overlap(tmp_path: Path, ca: Path) -> None:
    def own(name: str) -> Path:
        root = Signer(f"root of {name}").issued()
        return written(tmp_path / "own", Signer(name).issued(root), [root])

    opening = {"trust_domain": "cluster.local", "now": GIVEN}
    authority = Authority.open(ca, **opening)  # type: ignore[arg-type]
    made = authority.roots
    authority = Authority.open(ca, **opening, folder=own("first"))  # type: ignore[arg-type]
    assert authority.roots == made
    authority.step(all_have(authority, GIVEN), GIVEN)
    assert authority.state.phase is Phase.SPREADING
    for _ in range(2):
        authority.step(all_have(authority, GIVEN + 1), GIVEN + 1)
    first = authority.roots
    assert (authority.state.phase, made in first) == (Phase.STEADY, False)
    assert keys(ca) == set()
    with pytest.raises(RotationError, match="nothing new"):
        authority.rotate(What.ROOT, GIVEN)

    held = all_have(authority, GIVEN)
    folder = own("second")
    authority.rotate(What.ROOT, GIVEN)  # while this process has the old key, it signs
    assert authority.state.phase is Phase.SPREADING
    assert authority.sign(csr(new_key()), uri=URI, now=GIVEN).chain
    authority = Authority.open(ca, **opening, folder=folder)  # type: ignore[arg-type]
    assert not authority.can_sign
    (away,) = (replace(one, present=False) for one in held)
    assert authority.awaited([away], GIVEN + 59) == ("x",)
    assert authority.awaited([away], GIVEN + 61) == ()
    with pytest.raises(RequestRefused, match="key that signs is gone"):
        authority.sign(csr(new_key()), uri=URI, now=GIVEN)
    authority.step([], GIVEN)
    assert authority.can_sign
    authority.step([], GIVEN)
    assert (authority.state.phase, first in authority.roots) == (Phase.STEADY, False)

    authority = Authority.open(ca, **opening)  # and back to one that is made
    authority.step([], GIVEN)
    assert authority.state.phase is Phase.SPREADING
    assert len(keys(ca)) == 2


def test_the_same_authority_is_opened_again(authority: Authority, ca: Path) -> None:
    again = opened(ca, now=NOW + DAY)
    assert again.roots == authority.roots
    chain = again.sign(csr(new_key()), uri=URI, now=NOW + DAY).chain
    verifier(authority, NOW + DAY).build_client_verifier().verify(leaf_of(chain), above(chain))


def test_keys_and_directory_are_private_under_any_umask(ca: Path) -> None:
    before = os.umask(0)
    try:
        opened(ca)
    finally:
        os.umask(before)
    assert ca.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in ca.iterdir()} == {0o600}
    assert sorted(path.suffix for path in ca.iterdir()) == [".json", ".key", ".key", ".pem"]
    assert "PRIVATE" not in (ca / "authority.json").read_text()


def test_a_crash_before_or_after_the_state_was_written_is_mended(authority: Authority, ca: Path) -> None:
    (ca / "0123456789abcdef.key").write_text("of an intermediate that was never named")
    (ca / "root.pem").unlink()
    again = opened(ca)
    assert again.roots == authority.roots == (ca / "root.pem").read_text()
    assert len(keys(ca)) == 2


def test_files_that_others_can_read_or_have_planted_are_refused(
    authority: Authority, ca: Path, tmp_path: Path
) -> None:
    def refused(words: str) -> None:
        with pytest.raises(AuthorityError, match=words):
            opened(ca)

    key = ca / f"{authority.trust.issuer}.key"
    for path in (key, ca / "authority.json"):
        path.chmod(0o640)
        refused("wider than 0600")
        path.chmod(0o600)
    ca.chmod(0o750)
    refused("wider than 0700")
    ca.chmod(0o700)
    opened(ca)

    for path in (key, ca / "authority.json"):
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        refused("symbolic link")
        path.unlink()
        refused("missing")
        (tmp_path / "elsewhere").rename(path)
        opened(ca)

    ca.rename(tmp_path / "other")
    ca.symlink_to(tmp_path / "other")
    refused("symbolic link")


def test_a_planted_link_is_never_written_through(
    authority: Authority, ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not where a key will be written, should somebody know its name before."""
    victim = tmp_path / "victim"
    key, name = new_key(), "aaaaaaaaaaaaaaaa"
    monkeypatch.setattr("plait.identity.keyring.new_key", lambda: key)
    monkeypatch.setattr("plait.identity.keyring.key_name", lambda _: name)
    fresh = tmp_path / "fresh"
    fresh.mkdir(mode=0o700)
    for planted in (f"{name}.key", "root.pem"):
        (fresh / planted).symlink_to(victim)
    made = opened(fresh)
    assert not victim.exists()
    assert not (fresh / f"{name}.key").is_symlink()
    assert (fresh / f"{name}.key").read_text() == key_pem(key)
    assert (fresh / "root.pem").read_text() == made.roots
    (ca / "root.pem").unlink()
    (ca / "root.pem").symlink_to(victim)
    monkeypatch.undo()
    opened(ca)
    assert not victim.exists()


def test_an_authority_that_does_not_fit_is_refused_with_the_reason(authority: Authority, ca: Path) -> None:
    def refused(words: str, *, now: float = NOW, trust_domain: str = "cluster.local") -> None:
        with pytest.raises(AuthorityError, match=words) as raised:
            opened(ca, now=now, trust_domain=trust_domain)
        assert "PRIVATE" not in str(raised.value)

    refused("expired", now=NOW + 3651 * DAY)
    refused("trust domain", trust_domain="other.local")
    refused("can't be a trust domain", trust_domain="not a domain")

    key = ca / f"{authority.trust.issuer}.key"
    good = key.read_text()
    key.write_text(key_pem(new_key()))
    refused("not the key")
    key.write_text(good[:100])
    refused("damaged")
    key.write_text(good)
    state = ca / "authority.json"
    text = state.read_text()
    state.write_text("junk")
    refused("damaged")
    said = json.loads(text)
    said["state"]["issuer"]["chain"] = said["state"]["issuer"]["root"] = "junk"
    state.write_text(json.dumps(said))
    refused("damaged")
    state.write_text(text)
    opened(ca)
