"""Attacks on the control plane: by proxies, by agents, and by whoever wants to be one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from plait.api.client import ApiError
from plait.identity.keys import csr, new_key
from plait.link.codec import FROM_AGENT, SIGN_REQUEST
from plait.link.messages import Hello, SignRequest, State
from plait.link.transport import LINK, SESSION_ID, unix_target
from plait.resource import CLUSTER
from plait.run.peers import authorize
from plait.run.registry import Registry
from plait.xds.conversation import Peer
from tests.e2e.mesh import until
from tests.envoy.support import Authority, workload_uri
from tests.security.fortress import FRONTEND, certificate
from tests.security.plane import PAIR, Agent, Plane, key, plane, report
from tests.stream.proxy import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="module")

DENIED, UNAVAILABLE = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def control() -> AsyncIterator[Plane]:
    async with plane() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local(control: Plane) -> AsyncIterator[Agent]:
    """The honest agent, whose replicas the others are after."""
    async with control.agent(
        "local", *map(report, ("payments", "reservations-v1", "reservations-v2"))
    ) as agent:
        await until(lambda: _has(control, 3), "its replicas to be known")
        yield agent


async def _has(control: Plane, number: int) -> bool:
    return len(await control.replicas()) == number


async def pair(agent: Agent, name: str) -> PAIR:
    answer, private = await agent.certificate(key(name))
    assert not answer.error, answer.error
    return answer.chain, private


# xDS -----------------------------------------------------------------------------------------------------


async def test_a_proxy_is_told_its_own_configuration_and_no_other(control: Plane, local: Agent) -> None:
    payments, v1 = await pair(local, "payments"), await pair(local, "reservations-v1")
    async with (
        control.channel(control.xds, payments) as over,
        Proxy("bistro/payments/0", over, (CLUSTER,)) as own,
    ):
        await until(lambda: own.has[CLUSTER], "the configuration of its own")
    own_agent = (local.keypair.chain, local.keypair.key)
    elsewhere = certificate(Authority(), workload_uri("bistro", "default"), subject="payments")

    async def refused(node: str, shown: PAIR | None, code: grpc.StatusCode) -> None:
        async with control.channel(control.xds, shown) as over, Proxy(node, over, (CLUSTER,)) as thief:
            assert (await thief.end())[0] in {code, grpc.StatusCode.INVALID_ARGUMENT}, node
        assert not thief.received, node

    attacks: list[tuple[str, PAIR | None, grpc.StatusCode]] = [
        ("bistro/reservations-v1/0", payments, DENIED),
        ("bistro/reservations-v2/0", v1, DENIED),  # of the same account
        ("bistro/payments/0", own_agent, DENIED),
        ("bistro/payments/0", elsewhere, UNAVAILABLE),
        ("bistro/payments/0", None, UNAVAILABLE),
    ]
    await asyncio.gather(*(refused(*attack) for attack in attacks))


@pytest.mark.parametrize(
    "node",
    [
        "bistro/payments/1",
        "other/payments/0",
        "bistro/nobody/0",
        "bistro/payments",
        "",
        "bistro/../bistro/payments/0",
        "bistro/payments/-0",
    ],
)
async def test_no_node_that_is_not_there_is_anybodys(tmp_path: Path, node: str) -> None:
    """Asked of the rule itself: a proxy that connects is waited for, since its replica may not be known yet."""
    registry = Registry(tmp_path / "registry.jsonl")
    registry.hello("local", [report("payments")])
    chain, _ = certificate(Authority(), workload_uri("bistro", "default"))
    peer = Peer(uris=(workload_uri("bistro", "default"),), common_name="payments", certificate=chain.encode())
    assert authorize(registry, "cluster.local", "bistro/payments/0", peer) is None
    assert authorize(registry, "cluster.local", node, peer)
    for other in (("spiffe://cluster.local/plait/agent/local",), (*peer.uris, *peer.uris), ()):
        assert authorize(registry, "cluster.local", "bistro/payments/0", replace(peer, uris=other))
    expired, _ = certificate(Authority(), *peer.uris, validity=(-7200.0, -3600.0))
    assert "expired" in str(
        authorize(registry, "cluster.local", "bistro/payments/0", replace(peer, certificate=expired.encode()))
    )


async def test_clear_text_opens_no_stream(control: Plane, local: Agent) -> None:
    del local
    for path in (control.state.xds_socket, control.state.link_socket, control.state.join_socket):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        answer = await asyncio.wait_for(reader.read(), 20)
        assert answer == b"" or answer[0] == 21, "at most an alert of TLS"
        writer.close()


# Whoever wants to be an agent ----------------------------------------------------------------------------


async def test_a_token_is_good_once_in_time_and_for_its_agent(control: Plane) -> None:
    async with control.api() as api:
        one, two, short = [await api.create_token("guest", lifetime) for lifetime in (600.0, 600.0, 0.3)]
        assert {one.id, two.id, short.id} <= {known.id for known in await api.tokens()}
        assert not (await control.join("guest", one.token)).error, "the honest twin"
        await api.revoke_token(two.id)
        with pytest.raises(ApiError, match="no join token"):
            await api.revoke_token(two.id)
        other = await api.create_token("guest")
        await asyncio.sleep(0.5)
        for agent, token, why in (
            ("guest", one.token, "not known"),
            ("guest", two.token, "not known"),
            ("guest", short.token, "expired"),
            ("local", other.token, "another agent"),
            ("guest", "", "not known"),
            ("guest", other.token[:-1], "not known"),
            ("guest", other.token + "x", "not known"),
            ("guest", other.id, "not known"),
            ("guest", "x" * 100_000, "not known"),
            ("../local", other.token, "no name"),
            ("guest/../../ns/bistro/sa/payments", other.token, "no name"),
            ("", other.token, "no name"),
        ):
            answer = await control.join(agent, token)
            assert why in answer.error, (agent, token, answer)
            assert not answer.chain
        stored = (control.state.control_plane / "tokens.json").read_text()
        assert not [token for token in (one.token, two.token, short.token, other.token) if token in stored]
        assert not (await control.join("guest", other.token)).error, "none of these used it up"


def request(
    signed_by: Any, *, subject: str = "", alternatives: tuple[x509.GeneralName, ...] = (), ca: bool = False
) -> str:
    """A request for a certificate that asks for more than is its maker's."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName([*alternatives]), critical=True)
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = [ExtendedKeyUsageOID.OCSP_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=True)
    digest = None if isinstance(signed_by, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signed_by, digest).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    "asked",
    [
        request(new_key(), subject="reservations-v1"),
        request(
            new_key(), subject="control-plane.plait", alternatives=(x509.DNSName("control-plane.plait"),)
        ),
        request(
            new_key(), alternatives=(x509.UniformResourceIdentifier(workload_uri("bistro", "reservations")),)
        ),
        request(
            new_key(),
            alternatives=(x509.UniformResourceIdentifier("spiffe://cluster.local/plait/control-plane"),),
        ),
        request(new_key(), ca=True),
    ],
    ids=["common name", "dns", "another workload", "control plane", "authority"],
)
async def test_what_a_request_asks_for_is_not_what_is_signed(
    control: Plane, local: Agent, asked: str
) -> None:
    answer = await local.link.sign(SignRequest(csr=asked, replica=key("payments")))
    made = x509.load_pem_x509_certificate(answer.chain.encode())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [workload_uri("bistro", "default")]
    assert [part.value for part in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["payments"]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    del control


def forged() -> str:
    """A request for the key of somebody else: the signature is that of another key."""
    lines = csr(new_key()).splitlines()
    der = bytearray(base64.b64decode("".join(lines[1:-1])))
    der[-1] ^= 1
    return "\n".join((lines[0], base64.encodebytes(der).decode().strip(), lines[-1], ""))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (lambda: request(rsa.generate_private_key(65537, 1024)), "ECDSA"),
        (lambda: request(rsa.generate_private_key(65537, 2048)), "ECDSA"),
        (lambda: request(ec.generate_private_key(ec.SECP192R1())), "ECDSA"),
        (lambda: request(ec.generate_private_key(ec.SECP256K1())), "ECDSA"),
        (lambda: request(ed25519.Ed25519PrivateKey.generate()), "ECDSA"),
        (forged, "own key"),
        (lambda: "", "can't be read"),
        (
            lambda: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            "can't be read",
        ),
        (lambda: csr(new_key()) + " " * 20_000, "too long"),
    ],
    ids=["rsa-1024", "rsa-2048", "p-192", "k-256", "ed25519", "forged", "empty", "nothing", "long"],
)
async def test_a_request_that_can_not_be_trusted_is_refused(
    control: Plane, local: Agent, asked: Callable[[], str], why: str
) -> None:
    for replica in (key("payments"), None):
        answer = await local.link.sign(SignRequest(csr=asked(), replica=replica))
        assert why in answer.error
        assert not answer.chain
    del control


# What an agent may say and ask for -----------------------------------------------------------------------

FOREIGN = {
    "a workload that is not written": (report("nobody"), "not assigned"),
    "a workload of another namespace": (report("payments", namespace="other"), "not assigned"),
    "another account": (report("payments", 1, account="reservations"), "another account"),
    "another's labels": (report("payments", 1, labels=(("app", "reservations"),)), "other labels"),
    "no labels": (report("payments", 1, labels=()), "other labels"),
    "a port that is not declared": (report("payments", 1, port=9999), "ports"),
    "another identity": (report("payments", 1, identity=FRONTEND), "not the identity"),
    "an address of the machine": (report("payments", 1, address="192.0.2.1"), "no replica can be"),
    "an address of the cloud": (report("payments", 1, address="169.254.169.254"), "no replica can be"),
    "an address of loopback": (report("payments", 1, address="127.0.0.1"), "no replica can be"),
    "an address of the mesh, untold": (
        report("payments", 1, address="198.18.0.1", transparent=False),
        "no replica can be",
    ),
    "a name for an address": (report("payments", 1, address="localhost"), "no replica can be"),
    "a port at another's address": (report("payments", 1, binding="198.18.1.2"), "no replica can be"),
    "no address": (report("payments", 1, address="", binding="198.18.1.2"), "no replica can be"),
    "serving while it drains": (report("payments", 1, state=State.DRAINING, serving=True), "said to serve"),
    "more replicas than are wanted": (report("reservations-v1", 7), ""),
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_an_agent_is_not_believed_what_was_not_assigned(
    control: Plane, local: Agent, name: str
) -> None:
    said, why = FOREIGN[name]
    before = await control.replicas()
    if name == "more replicas than are wanted":  # one more may be there while it is rolled over
        local.link.report(report("reservations-v1", 6, address="198.18.1.6"))
        await until(lambda: _knows(control, "bistro/reservations-v1/6"), "the one more")
        why = "more than the 1 wanted"
    local.link.report(said)

    async def refused() -> bool:  # a request to sign may overtake what was reported before it
        answer, _ = await local.certificate(said.replica.key)
        assert not answer.chain
        return why in answer.error

    await until(refused, f"{why!r} to be why")
    assert str(said.replica.key) not in await control.replicas()
    for number in (6, 7):
        local.link.gone(key("reservations-v1", number))
    local.link.gone(said.replica.key)

    async def as_before() -> bool:
        return await control.replicas() == before

    await until(as_before, "everything to be as before")


async def _knows(control: Plane, node: str) -> bool:
    return node in await control.replicas()


async def test_an_honest_replica_is_believed_and_gets_its_certificate(control: Plane, local: Agent) -> None:
    local.link.report(report("payments", 1, address="198.18.1.9"))

    async def signed() -> bool:
        answer, _ = await local.certificate(key("payments", 1))
        return not answer.error and bool(answer.chain)

    await until(signed, "it to get its certificate")
    assert await _knows(control, "bistro/payments/1")
    local.link.gone(key("payments", 1))

    async def gone() -> bool:
        return not await _knows(control, "bistro/payments/1")

    await until(gone, "it to be gone")


async def test_an_agent_that_was_assigned_nothing_gets_and_changes_nothing(
    control: Plane, local: Agent
) -> None:
    """It has joined by a token of its own, and wants to be where the workloads of another are."""
    before = await control.replicas()
    says = (report("payments"), report("payments", 1), report("reservations-v1"), report("mine"))
    async with control.agent("mallory", *says) as mallory:
        for wanted in (key("payments"), key("reservations-v1"), key("payments", 1), key("mine")):
            answer, _ = await mallory.certificate(wanted)
            assert "agent mallory" in answer.error, answer
            assert not answer.chain
        mallory.link.report(report("payments", address="198.18.6.6"))
        mallory.link.report(report("mine", namespace="mallory"))
        mallory.link.gone(key("payments"))
        mallory.link.gone(key("reservations-v1"))
        own = await mallory.link.sign(SignRequest(csr=csr(new_key())))
        assert not own.error, "for itself it gets one; and by now all that it said was heard"
        assert await control.replicas() == before
        async with control.api() as api, api.exec("bistro/payments/0", ("true",)) as command:
            assert [chunk async for chunk in command.output()] == []
        assert (local.sessions[-1:], mallory.sessions) == ([key("payments")], [])
    assert await control.replicas() == before
    assert (await local.certificate(key("payments")))[0].chain


async def test_an_agents_word_to_drop_anothers_replica_ends_no_stream(control: Plane, local: Agent) -> None:
    async with (
        control.channel(control.xds, await pair(local, "payments")) as over,
        Proxy("bistro/payments/0", over, (CLUSTER,)) as own,
        control.agent("mallory") as mallory,
    ):
        await until(lambda: own.has[CLUSTER], "its configuration")
        mallory.link.gone(key("payments"))
        await mallory.link.sign(SignRequest(csr=csr(new_key())))
        async with control.api() as api:
            (payments,) = [one for one in await api.proxies() if one.node == "bistro/payments/0"]
        assert payments.connected


async def told(over: grpc.aio.Channel, says: bytes) -> grpc.StatusCode:
    """What comes of speaking on the link.

    Of a call that is ended while it is still written to, the client's library itself says INTERNAL, at times.
    """
    for _ in range(10):
        call = over.stream_stream(f"/{LINK}/Attach")()
        with suppressed():
            await call.write(says)
            await call.read()
        code: grpc.StatusCode = await call.code()
        if code is not grpc.StatusCode.INTERNAL:
            break
    return code


async def test_nobody_speaks_on_the_link_as_somebody_else(control: Plane, local: Agent) -> None:
    target = unix_target(control.state.link_socket)
    mallory = await control.enrolled("mallory")
    workload, guest = await pair(local, "payments"), (mallory.chain, mallory.key)
    hello = FROM_AGENT.encode(Hello(agent="local", replicas=()))
    for shown, says, code in (
        (guest, hello, DENIED),
        (workload, hello, DENIED),
        (certificate(Authority(), "spiffe://cluster.local/plait/agent/local"), hello, UNAVAILABLE),
        (None, hello, UNAVAILABLE),
        (guest, b"{", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        async with control.channel(target, shown) as over:
            assert await told(over, says) is code, says
    for shown, method, metadata in (
        (workload, "Session", ((SESSION_ID, "0" * 32),)),
        (guest, "Session", ((SESSION_ID, "0" * 32),)),
    ):
        async with control.channel(target, shown) as over:
            call = over.stream_stream(f"/{LINK}/{method}")(metadata=metadata)
            assert await call.code() in {DENIED, grpc.StatusCode.NOT_FOUND}
    async with control.channel(target, workload) as over:
        with pytest.raises(grpc.aio.AioRpcError, match="PERMISSION_DENIED"):
            await over.unary_unary(f"/{LINK}/Sign")(SIGN_REQUEST.encode(SignRequest(csr=csr(new_key()))))
    await until(lambda: _has(control, 3), "the honest agent to be the one that is believed")


class suppressed:  # noqa: N801  # as contextlib's
    """What gRPC raises at a call that the other end has ended."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(
            kind, grpc.aio.AioRpcError | grpc.aio.UsageError | asyncio.InvalidStateError
        )
