"""Attacks on mutual TLS: who shows no certificate, a wrong one, or another's; and who answers with one.

Each is refused by the counter that says why, and no byte reaches the application.  Whoever shows the right one, and
does all else alike, is heard.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.envoy.support import Authority, eventually, workload_uri
from tests.security.fortress import (
    BYTES,
    FRONTEND,
    HTTP,
    NOW,
    ODD,
    OUTSIDER,
    Fortress,
    bare,
    certificate,
    fortress,
    get,
    status,
    tell,
    untouched,
)
from tests.streams import speaking

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_CERTIFICATE = "ssl.fail_verify_no_cert"
NOT_OURS = "ssl.fail_verify_error"
NOT_A_WORKLOAD = "ssl.fail_verify_san"
NO_TLS = "ssl.connection_error"
NOWHERE = "no_filter_chain_match"
PAST, FUTURE = (-7200.0, -3600.0), (3600.0, 7200.0)
TICKETS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Fortress]:
    async with fortress() as made:
        yield made


async def refused(mesh: Fortress, tls: ssl.SSLContext | None, why: str, port: int, words: bytes) -> None:
    """Nothing comes back but perhaps a word of TLS, nothing gets in, and Envoy says why."""
    before = await mesh.stat(why)
    with untouched(mesh.application):
        answer = await tell(mesh.place(), port, words, tls)
        assert not status(answer), answer
        assert b"hello" not in answer

    async def told() -> bool:
        return await mesh.stat(why) > before

    await eventually(told)


async def heard(mesh: Fortress, tls: ssl.SSLContext) -> None:
    """What the attacks lack is all that they lack."""
    assert status(await tell(mesh.place(), HTTP, get(), tls)) == 200
    assert await tell(mesh.place(), BYTES, b"", tls) == b"hello"
    assert status(await tell(mesh.place(), ODD, get(), tls)) in {0, 200}


@pytest.mark.parametrize("port", [HTTP, BYTES, ODD])
@pytest.mark.parametrize(
    "words",
    [
        get(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        b"\x16\x03\x01\0\x05hello",
        b"hello\r\n\r\n",
    ],
    ids=["http", "http2", "half-tls", "bytes"],
)
async def test_clear_text_is_not_heard(mesh: Fortress, port: int, words: bytes) -> None:
    with untouched(mesh.application):
        before = await mesh.stat(NOWHERE)
        assert not status(await tell(mesh.place(), port, words))

        async def told() -> bool:
            return await mesh.stat(NOWHERE) > before

        await eventually(told)


Shown = Callable[[Fortress], ssl.SSLContext]


@dataclass(frozen=True, slots=True)
class Forged:
    """What somebody shows who is not let in, and the counter that tells why."""

    name: str
    shown: Shown
    why: str


def shows(*uris: str, validity: tuple[float, float] = NOW, dns: tuple[str, ...] = ()) -> Shown:
    return lambda mesh: mesh.client(*certificate(mesh.authority, *uris, validity=validity, dns=dns))


def by_another_authority(mesh: Fortress) -> ssl.SSLContext:
    return mesh.client(*certificate(Authority(), FRONTEND))


def by_itself(mesh: Fortress) -> ssl.SSLContext:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    return mesh.client(*certificate(mesh.authority, FRONTEND, key=key, signer=(name, key)))


def by_a_workload(mesh: Fortress) -> ssl.SSLContext:
    """A workload signs for another with the key of its own certificate, and shows both."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "outsider")])
    key = ec.generate_private_key(ec.SECP256R1())
    own, _ = certificate(mesh.authority, OUTSIDER, key=key, subject="outsider")
    chain, made = certificate(mesh.authority, FRONTEND, signer=(name, key))
    return mesh.client(chain + own, made)


FORGED = (
    Forged("none", lambda _: bare(), NO_CERTIFICATE),
    Forged("another authority's", by_another_authority, NOT_OURS),
    Forged("signed by itself", by_itself, NOT_OURS),
    Forged("signed by a workload", by_a_workload, NOT_OURS),
    Forged("expired", shows(FRONTEND, validity=PAST), NOT_OURS),
    Forged("not yet valid", shows(FRONTEND, validity=FUTURE), NOT_OURS),
    Forged("without any name", shows(), NOT_A_WORKLOAD),
    Forged("without a URI", shows(dns=("frontend.bistro.svc.cluster.local",)), NOT_A_WORKLOAD),
    Forged("its URI as a DNS name", shows(dns=("spiffe.cluster.local",)), NOT_A_WORKLOAD),
    Forged("an agent's", shows("spiffe://cluster.local/plait/agent/local"), NOT_A_WORKLOAD),
    Forged("the control plane's", shows("spiffe://cluster.local/plait/control-plane"), NOT_A_WORKLOAD),
    Forged("the trust domain's", shows("spiffe://cluster.local"), NOT_A_WORKLOAD),
    Forged("another trust domain's", shows("spiffe://elsewhere/ns/bistro/sa/frontend"), NOT_A_WORKLOAD),
    Forged(
        "a longer trust domain's",
        shows("spiffe://cluster.local.elsewhere/ns/bistro/sa/frontend"),
        NOT_A_WORKLOAD,
    ),
    Forged("with a user", shows("spiffe://cluster.local@elsewhere/ns/bistro/sa/frontend"), NOT_A_WORKLOAD),
    Forged("of another scheme", shows("https://cluster.local/ns/bistro/sa/frontend"), NOT_A_WORKLOAD),
    Forged("in upper case", shows("SPIFFE://CLUSTER.LOCAL/ns/bistro/sa/frontend"), NOT_A_WORKLOAD),
)


@pytest.mark.parametrize("forged", FORGED, ids=lambda forged: forged.name)
async def test_a_wrong_certificate_opens_nothing(mesh: Fortress, forged: Forged) -> None:
    for port, words in ((HTTP, get()), (BYTES, b"")):
        await refused(mesh, forged.shown(mesh), forged.why, port, words)
    await heard(mesh, shows(FRONTEND)(mesh))


@pytest.mark.parametrize(
    "uri",
    [
        OUTSIDER,
        workload_uri("market", "frontend"),
        f"{FRONTEND}/more",
        workload_uri("bistro", "frontend-2"),
        "spiffe://cluster.local/ns/bistro/sa/Frontend",
        "spiffe://cluster.local/ns/other/../bistro/sa/frontend",
        "spiffe://cluster.local/ns/bistro/sa/frontend?",
        "spiffe://cluster.local/ns/bistro%2fsa%2ffrontend/sa/x",
    ],
)
@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("http/0.9",), ("istio", "http/1.1")])
async def test_an_identity_that_resembles_another_is_not_it(
    mesh: Fortress, uri: str, alpn: tuple[str, ...]
) -> None:
    """Whatever is agreed on by ALPN, nothing or something that nobody speaks: the policies are asked."""
    with untouched(mesh.application):
        assert status(await tell(mesh.place(), HTTP, get(), mesh.holder(uri, *alpn))) in {0, 403}
        assert status(await tell(mesh.place(), ODD, get(), mesh.holder(uri, *alpn))) in {0, 403}
        assert await tell(mesh.place(), BYTES, b"", mesh.holder(uri, *alpn)) == b""
    assert status(await tell(mesh.place(), HTTP, get(), mesh.holder(FRONTEND, *alpn))) in {0, 200}


async def test_a_certificate_with_two_identities_has_the_rights_of_neither(mesh: Fortress) -> None:
    """Only an authority could make one; ours does not (tests/identity), and agents with one are turned away."""
    for uris in ((OUTSIDER, FRONTEND), (FRONTEND, OUTSIDER), (FRONTEND, FRONTEND)):
        with untouched(mesh.application):
            assert status(await tell(mesh.place(), HTTP, get(), shows(*uris)(mesh))) == 403
            assert await tell(mesh.place(), BYTES, b"", shows(*uris)(mesh)) == b""
    await heard(mesh, shows(FRONTEND)(mesh))
    assert await tell(mesh.place(), BYTES, b"", shows(FRONTEND)(mesh)) == b"hello"


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_tls_is_not_spoken(mesh: Fortress, newest: ssl.TLSVersion) -> None:
    pair = certificate(mesh.authority, FRONTEND)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old = mesh.client(*pair, oldest=ssl.TLSVersion.TLSv1, newest=newest, ciphers="ALL:@SECLEVEL=0")
    await refused(mesh, old, NO_TLS, HTTP, get())
    newer = mesh.client(*pair, newest=ssl.TLSVersion.TLSv1_2, ciphers="ALL:@SECLEVEL=0")
    await heard(mesh, newer)


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "AES128-SHA"])
async def test_a_weak_cipher_is_not_agreed_on(mesh: Fortress, cipher: str) -> None:
    pair = certificate(mesh.authority, FRONTEND)
    weak = mesh.client(*pair, newest=ssl.TLSVersion.TLSv1_2, ciphers=f"{cipher}:@SECLEVEL=0")
    await refused(mesh, weak, NO_TLS, HTTP, get())


async def test_a_session_saved_while_valid_is_worth_nothing_afterwards(mesh: Fortress) -> None:
    """In TLS 1.2 and 1.3; the certificates end while they are waited for."""
    ends = 1.5
    pairs = [certificate(mesh.authority, FRONTEND, validity=(-60.0, ends)) for _ in TICKETS]
    contexts = [mesh.client(*pair, newest=newest) for pair, newest in zip(pairs, TICKETS, strict=True)]
    saved = [await asyncio.to_thread(spoken, mesh.place(), tls, None) for tls in contexts]
    assert [answer for answer, _, _ in saved] == [200, 200]
    await asyncio.sleep(ends + 1.0)
    before = await mesh.stat(NOT_OURS)
    with untouched(mesh.application):
        for tls, (_, session, _) in zip(contexts, saved, strict=True):
            assert (await asyncio.to_thread(spoken, mesh.place(), tls, session))[::2] == (0, False)
    assert await mesh.stat(NOT_OURS) == before + 2
    payments = mesh.proxies["payments"]
    assert await payments.total(r"listener\..*\.ssl\.handshake") > 0
    assert await payments.total(r"listener\..*\.ssl\.session_reused") == 0


def spoken(
    address: str, tls: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[int, ssl.SSLSession | None, bool | None]:
    """The status of an answer, the session to resume, and whether one was."""
    reused = False
    try:
        with (
            socket.create_connection((address, HTTP)) as raw,
            tls.wrap_socket(raw, session=session) as secure,
        ):
            reused = bool(secure.session_reused)
            secure.sendall(get())
            answer = secure.recv(65536)
            return status(answer), secure.session, reused
    except (ssl.SSLError, ConnectionError):
        return 0, None, reused


@dataclass(slots=True)
class Impostor:
    """Somebody where `vault` should be, and what it is told."""

    heard: bytes = b""


@pytest.mark.parametrize(
    ("name", "shown", "why"),
    [
        ("another workload", lambda mesh: certificate(mesh.authority, OUTSIDER), NOT_A_WORKLOAD),
        ("the caller itself", lambda mesh: certificate(mesh.authority, FRONTEND), NOT_A_WORKLOAD),
        (
            "the same account elsewhere",
            lambda mesh: certificate(mesh.authority, workload_uri("market", "vault")),
            NOT_A_WORKLOAD,
        ),
        (
            "its DNS name alone",
            lambda mesh: certificate(mesh.authority, dns=("vault.bistro.svc.cluster.local",)),
            NOT_A_WORKLOAD,
        ),
        ("another authority", lambda _: certificate(Authority(), workload_uri("bistro", "vault")), NOT_OURS),
        (
            "an expired one",
            lambda mesh: certificate(mesh.authority, workload_uri("bistro", "vault"), validity=PAST),
            NOT_OURS,
        ),
        ("no tls", lambda _: None, NO_TLS),
    ],
    ids=lambda value: value if isinstance(value, str) and "." not in value else "",
)
async def test_a_server_that_is_not_who_was_meant_is_told_nothing(
    mesh: Fortress, name: str, shown: Callable[[Fortress], tuple[str, str] | None], why: str
) -> None:
    tls, true = served(mesh, shown(mesh)), served(mesh, certificate(mesh.authority, VAULT))
    assert tls is not true
    before = await mesh.stat(f"vault.bistro.svc.cluster.local.{why}", "frontend")
    assert not await called(mesh, tls), name
    assert await mesh.stat(f"vault.bistro.svc.cluster.local.{why}", "frontend") > before
    assert b"PRI" in await called(mesh, true)


VAULT = workload_uri("bistro", "vault")


def served(mesh: Fortress, pair: tuple[str, str] | None) -> ssl.SSLContext | None:
    if pair is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = mesh.folder / "server.pem"
    file.write_text("".join(pair))
    file.chmod(0o600)
    made.load_cert_chain(file)
    made.set_alpn_protocols(["h2"])
    return made


async def called(mesh: Fortress, tls: ssl.SSLContext | None) -> bytes:
    """What somebody where vault should be hears of a request that frontend sends there; he answers nothing."""
    impostor = Impostor()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            if tls is None:  # what is heard here is the beginning of a handshake
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                break
            impostor.heard += part
            if b"PRI" in impostor.heard:
                break

    front = mesh.replicas["frontend"].sidecar
    words = get("http://vault:8080/secret", host="vault:8080")
    async with speaking(listen, mesh.place("vault"), HTTP, ssl=tls):
        assert status(await tell(front.address, front.outbound, words)) == 503
    return impostor.heard
