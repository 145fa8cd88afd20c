"""How an agent comes by its own identity, against the real link."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plait.agent.enrolment import Enrolment, RefusedError
from plait.identity.authority import What
from plait.identity.files import write_private
from plait.identity.keys import Keypair, load_key, matches, validity
from plait.identity.trust import Held, fingerprint
from plait.link.client import LinkError
from plait.link.messages import Signed, SignRequest
from tests.link.meshes import Plane, plane, running


@pytest.fixture
async def mesh() -> AsyncIterator[Plane]:
    async with plane() as made:
        yield made


def with_token(mesh: Plane, name: str = "local") -> Enrolment:
    directory = mesh.directory / "agent"
    directory.mkdir(mode=0o700)
    token = mesh.hub.tokens.create(name, now=time.time()).token
    write_private(directory / "token", token.encode())
    return Enrolment("local", directory)


def roots(mesh: Plane) -> Path:
    return mesh.directory / "ca" / "root.pem"


async def test_an_agent_joins_once_and_keeps_its_identity(mesh: Plane) -> None:
    first = with_token(mesh)
    await first.enrol(mesh.join_target, roots(mesh))
    keypair = first.keypair()
    assert matches(load_key(keypair.key), keypair.chain)
    assert keypair.key not in repr(first)
    assert (first.directory / "identity.json").stat().st_mode & 0o777 == 0o600
    async with running(mesh.client(keypair=first.keypair)):
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)
    await mesh.stop()
    second = Enrolment("local", first.directory)
    await second.enrol(mesh.join_target, roots(mesh))
    assert second.keypair() == keypair


async def test_an_agent_waits_for_a_control_plane_that_is_away(mesh: Plane) -> None:
    enrolment = with_token(mesh)
    await mesh.stop()
    joining = asyncio.create_task(enrolment.enrol(mesh.join_target, roots(mesh)))
    await asyncio.wait({joining}, timeout=0.3)
    assert not joining.done()
    await mesh.start()
    await asyncio.wait_for(joining, 20)


async def test_a_token_for_another_agent_is_refused(mesh: Plane) -> None:
    with pytest.raises(RefusedError):
        await with_token(mesh, name="other").enrol(mesh.join_target, roots(mesh))


async def test_a_planted_link_for_the_token_is_not_followed(mesh: Plane) -> None:
    enrolment = with_token(mesh)
    (enrolment.directory / "token").rename(mesh.directory / "elsewhere")
    (enrolment.directory / "token").symlink_to(mesh.directory / "elsewhere")
    with pytest.raises(Exception, match="symbolic link"):
        await enrolment.enrol(mesh.join_target, roots(mesh))


async def test_the_agents_own_certificate_is_renewed_at_half_its_life(mesh: Plane) -> None:
    enrolment = with_token(mesh)
    await enrolment.enrol(mesh.join_target, roots(mesh))
    old = mesh.agent_keypair(lifetime=2.0)
    enrolment._keypair = old
    renewals = asyncio.Queue[Keypair]()

    class Shaky:
        """Does not answer the first time."""

        asked = 0

        async def sign(self, request: SignRequest) -> Signed:
            self.asked += 1
            if self.asked == 1:
                return Signed(error="not now")
            return await mesh.hub.sign("local", request)

    keeping = asyncio.create_task(
        enrolment.keep_renewed(Shaky(), lambda: renewals.put_nowait(enrolment.keypair()), print)
    )
    new = await asyncio.wait_for(renewals.get(), 20)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert new.key != old.key
    assert validity(new.chain)[1] > validity(old.chain)[1]
    assert Enrolment("local", enrolment.directory)._stored() == new


async def test_an_agent_whose_certificate_has_ended_says_so_and_leaves(mesh: Plane) -> None:
    """It is started again with another token: what it has proves nothing any more."""
    enrolment = with_token(mesh)
    await enrolment.enrol(mesh.join_target, roots(mesh))
    enrolment._keypair = mesh.agent_keypair(lifetime=1.0)

    class Away:
        async def sign(self, _: SignRequest) -> Signed:
            raise LinkError("nobody is there")

    with pytest.raises(RefusedError, match="has ended"):
        await asyncio.wait_for(enrolment.keep_renewed(Away(), lambda: None, print), 20)


async def test_new_roots_are_kept_and_told_while_the_certificate_stays(mesh: Plane) -> None:
    enrolment = with_token(mesh)
    await enrolment.enrol(mesh.join_target, roots(mesh))
    before = enrolment.keypair()
    mesh.authority.rotate(What.ROOT, time.time())
    told = asyncio.Queue[Held]()

    class Nobody:
        async def sign(self, _: SignRequest) -> Signed:
            raise AssertionError("nothing is to be signed")

    keeping = asyncio.create_task(enrolment.keep_renewed(Nobody(), lambda: None, told.put_nowait))
    enrolment.trusted.take(mesh.authority.trust)
    assert (await asyncio.wait_for(told.get(), 20)).roots == fingerprint(mesh.authority.roots)
    after = enrolment.keypair()
    assert (after.key, after.chain) == (before.key, before.chain)
    assert Enrolment("local", enrolment.directory)._stored() == after
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
