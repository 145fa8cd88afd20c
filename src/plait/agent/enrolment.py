"""The agent's own identity: joined once with a token, kept in one file, renewed at half its life."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from plait.agent.secrets import LONGEST_WAIT, Signer, UnsignedError, signed
from plait.agent.trusted import Trusted
from plait.codec import Codec, CodecError
from plait.identity.files import Insecure, private_directory, read_private, write_private
from plait.identity.keys import Keypair, csr, key_pem, load_key, matches, new_key, validity
from plait.identity.renewal import due_in, retry_delay
from plait.identity.trust import Held
from plait.link.client import LinkError, join
from plait.link.messages import JoinRequest, SignRequest

_log = logging.getLogger(__name__)

_KEYPAIR = Codec[Keypair](Keypair)
_RETRY = (0.2, 5.0)


class RefusedError(Exception):
    """The control plane does not let this agent join; the message says why."""


@dataclass(slots=True)
class Enrolment:
    """The identity of one agent, in a directory of its own (0700): `identity.json`, and the `token` it joins with."""

    name: str
    directory: Path
    trusted: Trusted = field(default_factory=Trusted)
    """What the control plane has said last about whom to trust."""
    _keypair: Keypair | None = None

    def keypair(self) -> Keypair:
        """What to prove oneself with; only after `enrol`."""
        assert self._keypair is not None
        return self._keypair

    def held(self) -> Held:
        """The same, as others are told of it."""
        keypair = self.keypair()
        return Held.of(keypair.chain, keypair.roots)

    async def enrol(self, target: str, roots: Path) -> None:
        """Takes up the identity on disk, or joins; waits for a control plane that is away.

        `roots`: the certificates (PEM) to trust when joining.  RefusedError.
        """
        private_directory(self.directory)
        self._keypair = self._stored() or await self._join(target, roots)

    async def keep_renewed(
        self, signer: Signer, renewed: Callable[[], None], trusting: Callable[[Held], None]
    ) -> None:
        """Renews the certificate when that is due, and keeps the roots that are to be trusted, until cancelled.

        `renewed` is called after each time that there is a new key; `trusting` is told when only the roots are new.
        RefusedError once the certificate has ended, which nobody takes any more: with it there is no way back.
        """
        failures, jitter = 0, _chance()
        while True:
            trust, held = self.trusted.known, self.held()
            try:
                if trust is not None and self.keypair().roots != trust.roots:
                    self._keypair = self._kept(replace(self.keypair(), roots=trust.roots))
                    trusting(self.held())
                    continue
                wait = due_in(held, trust, now=time.time(), jitter=jitter)
                if await self.trusted.news(trust, min(wait, LONGEST_WAIT)) or wait > LONGEST_WAIT:
                    continue
                key = new_key()
                chain, told = await signed(signer, SignRequest(csr=csr(key)), self.trusted)
                self._keypair = self._kept(Keypair(key=key_pem(key), chain=chain, roots=told.roots))
            except (UnsignedError, OSError, ValueError) as error:
                if held.expires <= time.time():
                    raise RefusedError("its certificate has ended before it could be renewed") from error
                failures += 1
                _log.warning("the agent's own certificate could not be renewed: %s", error)
                wait = retry_delay(failures, expires=held.expires, now=time.time(), jitter=jitter)
                await self.trusted.news(trust, wait)
            else:
                failures, jitter = 0, _chance()
                renewed()

    async def _join(self, target: str, roots: Path) -> Keypair:
        key, (pause, longest) = new_key(), _RETRY
        while True:
            try:
                trusted, token = _proof(roots, self.directory / "token")
                answer = await join(
                    target, JoinRequest(agent=self.name, token=token, csr=csr(key)), roots=trusted
                )
            except (LinkError, FileNotFoundError) as error:
                _log.info("not joined yet: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
                continue
            if answer.error:
                raise RefusedError(answer.error)
            self.trusted.take(answer.trust)
            return self._kept(Keypair(key=key_pem(key), chain=answer.chain, roots=answer.roots))

    def _kept(self, keypair: Keypair) -> Keypair:
        if not matches(load_key(keypair.key), keypair.chain):
            raise ValueError("the control plane answered with a certificate for another key")
        write_private(self.directory / "identity.json", _KEYPAIR.encode(keypair))
        return keypair

    def _stored(self) -> Keypair | None:
        """The identity on disk, unless it has expired."""
        try:
            keypair = _KEYPAIR.decode(read_private(self.directory / "identity.json"))
            _, expires = validity(keypair.chain)
        except (FileNotFoundError, Insecure, CodecError, ValueError):
            return None
        return keypair if expires > time.time() else None


def _proof(roots: Path, token: Path) -> tuple[str, str]:
    """Whom to trust, and what to prove oneself with."""
    return roots.read_text(), read_private(token).decode().strip()


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads renewals, guards nothing
