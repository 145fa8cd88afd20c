"""The link between control plane and agent, over real gRPC with real certificates."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import grpc
import pytest
from grpc.experimental.session_cache import ssl_session_cache_lru

from plait.identity.authority import What
from plait.identity.keys import Keypair, csr, key_pem, matches, new_key, validity
from plait.identity.names import control_plane_uri
from plait.identity.trust import Held
from plait.link.client import Client, LinkError, join
from plait.link.codec import FROM_AGENT, OBSERVED, SIGN_REQUEST
from plait.link.credentials import channel_credentials, join_server_credentials
from plait.link.messages import Assignments, Hello, JoinRequest, LogsRequest, SignRequest, State, Withdrawn
from plait.link.server import AgentAway
from plait.link.transport import CHANNEL_OPTIONS, LINK, listen
from plait.model.names import Identity
from plait.telemetry.reports import ProxyReport, Traffic
from tests.api.planes import until
from tests.link.meshes import TRUST_DOMAIN, Inbox, Plane, plane, replica_key, report, running

ASSIGNED = Assignments(trust_domain=TRUST_DOMAIN, workloads=())


@pytest.fixture
async def mesh() -> AsyncIterator[Plane]:
    async with plane() as made:
        yield made


async def refusal(mesh: Plane, keypair: Keypair | None, *, agent: str = "local") -> grpc.StatusCode:
    """How an Attach that says Hello as `agent` ends."""
    credentials = channel_credentials(mesh.authority.roots, keypair)
    async with grpc.aio.secure_channel(mesh.target, credentials, options=CHANNEL_OPTIONS) as channel:
        for _ in range(10):
            call = channel.stream_stream(f"/{LINK}/Attach")()
            with suppress(grpc.aio.AioRpcError):
                await call.write(FROM_AGENT.encode(Hello(agent=agent, replicas=())))
            code: grpc.StatusCode = await call.code()
            if code is not grpc.StatusCode.INTERNAL:  # gRPC's own, for a write that came after the refusal
                break
        return code


async def test_an_agent_joins_once_with_its_token_and_is_known_by_its_certificate(mesh: Plane) -> None:
    token = mesh.hub.tokens.create("local", now=time.time()).token
    key = new_key()
    request = JoinRequest(agent="local", token=token, csr=csr(key))
    signed = await join(mesh.join_target, request, roots=mesh.authority.roots)
    assert signed.error == ""
    assert matches(key, signed.chain)
    keypair = Keypair(key=key_pem(key), chain=signed.chain, roots=signed.roots)
    async with running(mesh.client(keypair=lambda: keypair)):
        await mesh.hub.until(lambda: ("hello", "local", ()) in mesh.hub.heard)

    again = await join(mesh.join_target, request, roots=mesh.authority.roots)
    assert again.chain == ""
    assert "used" in again.error


async def test_an_expired_token_lets_nobody_in(mesh: Plane) -> None:
    token = mesh.hub.tokens.create("local", now=time.time() - 100, lifetime=50).token
    request = JoinRequest(agent="local", token=token, csr=csr(new_key()))
    signed = await join(mesh.join_target, request, roots=mesh.authority.roots)
    assert (signed.chain, "expired" in signed.error) == ("", True)


async def test_a_joining_agent_speaks_only_to_a_control_plane_under_its_roots(mesh: Plane) -> None:
    async with plane() as other:
        request = JoinRequest(agent="local", token="secret", csr=csr(new_key()))
        with pytest.raises(LinkError):
            await join(mesh.join_target, request, roots=other.authority.roots)


async def test_no_workload_and_no_agent_can_pose_as_the_control_plane(mesh: Plane) -> None:
    for impostor in (
        mesh.keypair_for(Identity(TRUST_DOMAIN, "bistro", "x").uri),
        mesh.agent_keypair("other"),
    ):
        mesh.keypair = impostor
        request = JoinRequest(agent="local", token="secret", csr=csr(new_key()))
        with pytest.raises(LinkError):
            await join(mesh.join_target, request, roots=mesh.authority.roots)
        client = mesh.client()
        async with running(client):
            signing = asyncio.create_task(client.sign(SignRequest(csr=csr(new_key()))))
            await asyncio.wait([signing], timeout=0.3)
            assert not client.connected
            signing.cancel()
    assert mesh.hub.heard == []


async def test_a_workloads_certificate_is_refused_everywhere_on_the_link(mesh: Plane) -> None:
    keypair = mesh.keypair_for(Identity(TRUST_DOMAIN, "bistro", "frontend").uri)
    assert await refusal(mesh, keypair) is grpc.StatusCode.PERMISSION_DENIED
    credentials = channel_credentials(mesh.authority.roots, keypair)
    async with grpc.aio.secure_channel(mesh.target, credentials, options=CHANNEL_OPTIONS) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(f"/{LINK}/Sign")(SIGN_REQUEST.encode(SignRequest(csr=csr(new_key()))))
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        call = channel.stream_stream(f"/{LINK}/Session")(metadata=(("session-id", "x"),))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert mesh.hub.heard == []


async def test_an_agent_cannot_speak_for_another(mesh: Plane) -> None:
    assert await refusal(mesh, mesh.agent_keypair("other")) is grpc.StatusCode.PERMISSION_DENIED
    assert (
        await refusal(mesh, mesh.keypair_for(control_plane_uri(TRUST_DOMAIN)))
        is grpc.StatusCode.PERMISSION_DENIED
    )
    assert mesh.hub.heard == []


async def test_without_a_certificate_or_with_a_foreign_one_there_is_no_connection(mesh: Plane) -> None:
    assert await refusal(mesh, None) is grpc.StatusCode.UNAVAILABLE
    async with plane() as other:
        assert await refusal(mesh, other.agent_keypair()) is grpc.StatusCode.UNAVAILABLE


async def test_a_message_that_cannot_be_read_ends_the_call_and_nothing_else(mesh: Plane) -> None:
    credentials = channel_credentials(mesh.authority.roots, mesh.agent_keypair())
    async with grpc.aio.secure_channel(mesh.target, credentials, options=CHANNEL_OPTIONS) as channel:
        for junk in (b"", b"\xff", b"[]", b'{"type":"Hello"}'):
            call = channel.stream_stream(f"/{LINK}/Attach")()
            await call.write(junk)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.read()
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    async with running(mesh.client()):
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)


async def test_certificates_are_signed_for_replicas_and_for_the_agent_itself(mesh: Plane) -> None:
    async with running(mesh.client()) as client:
        key = new_key()
        signed = await client.sign(SignRequest(csr=csr(key), replica=replica_key()))
        assert matches(key, signed.chain)
        assert signed.expires == validity(signed.chain)[1]
        refused = await client.sign(SignRequest(csr="nonsense"))
        assert refused.chain == ""
        assert refused.error != ""


async def test_a_request_whose_connection_goes_away_is_told_so_and_cancels_nobody(
    mesh: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(mesh.hub, "sign", never)
    async with running(mesh.client()) as client:
        signing = asyncio.create_task(client.sign(SignRequest(csr=csr(new_key()))))
        await asyncio.wait_for(asked.wait(), 10)
        client.renewed()
        with pytest.raises(LinkError, match="was lost"):
            await asyncio.wait_for(signing, 10)


async def test_reports_arrive_in_order_and_only_after_hello(mesh: Plane) -> None:
    async with running(mesh.client(hello=lambda: (report(0, State.STARTING),))) as client:
        client.report(report(0, State.STARTING, restarts=99))  # not connected: Hello tells the truth
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)
        client.report(report(0, State.READY))
        await mesh.hub.until(lambda: mesh.hub.count("report") == 1)
        client.report(report(0, State.DRAINING))
        client.report(report(1, State.READY))
        client.gone(replica_key(0))
        await mesh.hub.until(lambda: mesh.hub.count("gone") == 1)
    await mesh.hub.until(lambda: mesh.hub.count("lost") == 1)
    assert mesh.hub.heard == [
        ("hello", "local", (report(0, State.STARTING),)),
        ("report", "local", report(0, State.READY)),
        ("report", "local", report(1, State.READY)),
        ("gone", "local", replica_key(0)),
        ("lost", "local"),
    ]


async def test_what_happens_while_nothing_can_be_sent_does_not_pile_up(mesh: Plane) -> None:
    client = mesh.client()
    for restarts in range(1000):
        client.report(report(0, restarts=restarts))
    assert client._pending == {}
    async with running(client):
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)
        for restarts in range(1000):
            client.report(report(0, restarts=restarts))
        assert len(client._pending) <= 1
        await mesh.hub.until(lambda: ("report", "local", report(0, restarts=999)) in mesh.hub.heard)


async def test_assignments_are_the_latest_only_and_come_again_with_each_connection(mesh: Plane) -> None:
    inbox = Inbox()
    latest = replace(ASSIGNED, trust_domain="second")
    mesh.link.assign("local", ASSIGNED)
    mesh.link.assign("local", latest)
    async with running(mesh.client(deliver=inbox)):
        assert await inbox.next() == latest
        mesh.link.assign("local", latest)  # says nothing new
        mesh.link.withdrawn("local", replica_key(3))
        assert await inbox.next() == Withdrawn(key=replica_key(3))
    await mesh.hub.until(lambda: mesh.link.connected() == ())
    async with running(mesh.client(deliver=inbox)):
        assert await inbox.next() == latest


async def test_whom_to_trust_is_pushed_at_once_and_told_first_on_each_connection(mesh: Plane) -> None:
    inbox = Inbox()
    mesh.link.assign("local", ASSIGNED)
    mesh.link.trust(mesh.authority.trust)
    held = Held.of(mesh.agent_keypair().chain, mesh.authority.roots)
    async with running(mesh.client(deliver=inbox)) as client:
        assert await inbox.next() == mesh.authority.trust
        assert await inbox.next() == ASSIGNED
        mesh.authority.rotate(What.ROOT, time.time())
        mesh.link.trust(mesh.authority.trust)
        assert await inbox.next() == mesh.authority.trust
        client.holds(held)
        await mesh.hub.until(lambda: ("holds", "local", held) in mesh.hub.heard)
    await mesh.hub.until(lambda: mesh.link.connected() == ())
    async with running(mesh.client(deliver=inbox)):
        assert await inbox.next() == mesh.authority.trust


async def test_a_restarted_control_plane_hears_the_whole_truth_again(mesh: Plane) -> None:
    truth = [report(0)]
    inbox = Inbox()
    async with running(mesh.client(hello=lambda: tuple(truth), deliver=inbox)) as client:
        for number in range(1, 4):
            await mesh.hub.until(lambda: mesh.hub.count("hello") == len(truth))
            assert mesh.hub.heard[-1] == ("hello", "local", tuple(truth))
            await mesh.stop()
            truth.append(report(number))
            client.report(truth[-1])
            await mesh.start()
            mesh.link.assign("local", ASSIGNED)
            assert await inbox.next() == ASSIGNED
        assert client.connected


async def test_a_newer_connection_of_an_agent_takes_the_place_of_the_older(mesh: Plane) -> None:
    keypair = mesh.agent_keypair()
    credentials = channel_credentials(mesh.authority.roots, keypair)
    async with grpc.aio.secure_channel(mesh.target, credentials, options=CHANNEL_OPTIONS) as channel:
        first = channel.stream_stream(f"/{LINK}/Attach")()
        await first.write(FROM_AGENT.encode(Hello(agent="local", replicas=())))
        await first.initial_metadata()
        second = channel.stream_stream(f"/{LINK}/Attach")()
        await second.write(FROM_AGENT.encode(Hello(agent="local", replicas=(report(),))))
        await second.initial_metadata()
        assert await first.code() is grpc.StatusCode.ABORTED
        assert mesh.link.connected() == ("local",)
        assert mesh.hub.count("lost") == 0
    await mesh.hub.until(lambda: mesh.hub.count("lost") == 1)


async def test_a_renewed_agent_connects_anew_with_its_new_certificate(mesh: Plane) -> None:
    shown = [mesh.agent_keypair()]
    asked: list[Keypair] = []

    def keypair() -> Keypair:
        asked.append(shown[-1])
        return shown[-1]

    async with running(mesh.client(keypair=keypair)) as client:
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)
        shown.append(mesh.agent_keypair())
        client.renewed()
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 2)
        assert asked == shown


async def test_a_connection_ends_with_the_certificate_that_opened_it(mesh: Plane) -> None:
    keypairs = [mesh.agent_keypair(lifetime=2.0)]
    keypairs_left = iter([*keypairs, mesh.agent_keypair()])
    async with running(mesh.client(keypair=lambda: next(keypairs_left))):
        await mesh.hub.until(lambda: mesh.hub.count("lost") == 1)
        assert time.time() >= validity(keypairs[0].chain)[1]
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 2)


async def test_a_resumed_tls_session_does_not_outlive_its_certificate(mesh: Plane) -> None:
    keypair = mesh.agent_keypair(lifetime=2.0)
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_session_cache", ssl_session_cache_lru(8))]
    codes = []
    for _ in range(2):
        credentials = channel_credentials(mesh.authority.roots, keypair)
        async with grpc.aio.secure_channel(mesh.target, credentials, options=options) as channel:
            call = channel.unary_unary(f"/{LINK}/Sign")(SIGN_REQUEST.encode(SignRequest(csr="nonsense")))
            codes.append(await call.code())
        while time.time() < validity(keypair.chain)[1]:  # noqa: ASYNC110 - the clock has no event; at most 2 s
            await asyncio.sleep(0.02)
    # UNAVAILABLE would mean that there was a full handshake, and this test would show nothing.
    assert codes == [grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED]


async def test_a_renewed_certificate_of_the_control_plane_is_shown_at_the_next_handshake(mesh: Plane) -> None:
    async with plane() as other:
        mesh.keypair = replace(other.keypair, roots=mesh.authority.roots)
        mine = mesh.agent_keypair()
        keypair = replace(mine, roots=other.authority.roots)
        async with running(mesh.client(keypair=lambda: keypair)):
            await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)


async def test_nothing_can_be_asked_of_an_agent_that_is_away(mesh: Plane) -> None:
    mesh.link.withdrawn("local", replica_key())
    with pytest.raises(AgentAway):
        mesh.link.open_session("local", LogsRequest(replica=replica_key()))


async def test_the_sockets_are_for_their_user_alone(mesh: Plane) -> None:
    for name in ("link.sock", "join.sock"):
        assert (mesh.directory / name).stat().st_mode & 0o777 == 0o600


async def test_a_socket_left_over_is_replaced_and_a_bad_place_is_an_error(mesh: Plane) -> None:
    server = grpc.aio.server()
    credentials = join_server_credentials(lambda: mesh.keypair)
    with pytest.raises(OSError, match="can't listen"):
        listen(server, mesh.directory / "missing" / "a.sock", credentials)
    await server.stop(0)


async def test_a_client_that_is_stopped_leaves_no_task_and_no_channel(mesh: Plane) -> None:
    client: Client = mesh.client()
    async with running(client):
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)
    await mesh.hub.until(lambda: mesh.hub.count("lost") == 1)
    assert client._sessions | client._leaving == set()
    async with asyncio.timeout(10):
        while extra := {task for task in asyncio.all_tasks() if "plait" in repr(task)} - {
            asyncio.current_task()
        }:
            await asyncio.wait(extra, timeout=0.05)
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, grpc.aio.Channel)]


def observed(number: int = 0, count: int = 1) -> ProxyReport:
    traffic = Traffic(packed="http|source|x", count=count, durations=((271, count),))
    return ProxyReport(node=replica_key(number), at=time.time(), seconds=5.0, traffic=(traffic,))


async def test_what_proxies_do_arrives_in_order_and_none_of_it_twice(mesh: Plane) -> None:
    said = [observed(number, count) for count in (1, 2, 3) for number in (0, 1)]
    async with running(mesh.client()) as client:
        await until(lambda: client.connected)
        for one, two in zip(said[::2], said[1::2], strict=True):
            client.observed(one)
            client.observed(two)
            await mesh.hub.until(lambda: ("observed", "local", two) in mesh.hub.heard)  # noqa: B023
    assert [one for one in mesh.hub.heard if one[0] == "observed"] == [
        ("observed", "local", one) for one in said
    ]


def test_what_an_agent_tells_that_knows_of_less_is_understood() -> None:
    told = json.loads(OBSERVED.encode(observed()))
    for unknown in ("ejected", "sidecar", "pools"):
        del told[unknown]
    found = OBSERVED.decode(json.dumps(told).encode())
    assert (found.ejected, found.traffic) == (None, observed().traffic)


async def test_what_proxies_do_while_nobody_listens_is_lost_and_kept_nowhere(mesh: Plane) -> None:
    client = mesh.client()
    client.observed(observed(0))
    async with running(client):
        await until(lambda: client.connected)
        client.observed(first := observed(1))
        await mesh.hub.until(lambda: mesh.hub.count("observed") == 1)
        await mesh.stop()
        await until(lambda: not client.connected)
        for number in range(100):
            client.observed(observed(number))
        assert not client._observed
        await mesh.start()
        await until(lambda: client.connected)
        client.observed(last := observed(2))
        await mesh.hub.until(lambda: mesh.hub.count("observed") == 2)
    assert [one[2] for one in mesh.hub.heard if one[0] == "observed"] == [first, last]


async def test_a_reader_that_is_slow_makes_nothing_grow_and_nothing_else_wait(
    mesh: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest of each proxy waits, however much was said before."""
    taking = mesh.hub.on_observed

    def slowly(agent: str, one: ProxyReport) -> None:
        time.sleep(0.001)
        taking(agent, one)

    monkeypatch.setattr(mesh.hub, "on_observed", slowly)
    large = tuple(Traffic(packed=f"http|{'x' * 1000}|{number}", count=1) for number in range(300))
    async with running(mesh.client()) as client:
        await until(lambda: client.connected)
        for _ in range(200):
            client.observed(replace(observed(0), traffic=large))
        assert len(client._observed) == 1
        client.report(report(restarts=7))
        await mesh.hub.until(lambda: mesh.hub.count("report") == 1)
        await mesh.hub.until(lambda: mesh.hub.count("observed") >= 1)


async def test_an_agent_without_a_certificate_of_one_tells_nothing_of_proxies(mesh: Plane) -> None:
    keypair = mesh.keypair_for(Identity(TRUST_DOMAIN, "bistro", "frontend").uri)
    credentials = channel_credentials(mesh.authority.roots, keypair)
    async with grpc.aio.secure_channel(mesh.target, credentials, options=CHANNEL_OPTIONS) as channel:
        call = channel.stream_stream(f"/{LINK}/Observe")()
        with suppress(grpc.aio.AioRpcError):
            await call.write(OBSERVED.encode(observed()))
        assert await call.code() is not grpc.StatusCode.OK
    assert mesh.hub.count("observed") == 0
