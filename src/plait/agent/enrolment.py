"""The agent's own identity: joined once with a token, kept in one file, renewed at half its life."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plait.agent.secrets import Signer, UnsignedError, signed
from plait.codec import Codec, CodecError
from plait.identity.files import Insecure, private_directory, read_private, write_private
from plait.identity.keys import Keypair, csr, key_pem, load_key, matches, new_key, validity
from plait.identity.renewal import renewal_delay, retry_delay
from plait.link.client import LinkError, join
from plait.link.messages import JoinRequest, Signed, SignRequest

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
    _keypair: Keypair | None = None

    def keypair(self) -> Keypair:
        """What to prove oneself with; only after `enrol`."""
        assert self._keypair is not None
        return self._keypair

    async def enrol(self, target: str, roots: Path) -> None:
        """Takes up the identity on disk, or joins; waits for a control plane that is away.

        `roots`: the certificates (PEM) to trust when joining.  RefusedError.
        """
        private_directory(self.directory)
        self._keypair = self._stored() or await self._join(target, roots)

    async def keep_renewed(self, signer: Signer, renewed: Callable[[], None]) -> None:
        """Renews the certificate at half its life, again and again; `renewed` is called after each time."""
        failures = 0
        while True:
            issued, expires = validity(self.keypair().chain)
            now, jitter = time.time(), random.random()  # noqa: S311 - spreads renewals, guards nothing
            if failures:
                await asyncio.sleep(retry_delay(failures, expires=expires, now=now, jitter=jitter))
            else:
                await asyncio.sleep(renewal_delay(issued=issued, expires=expires, now=now, jitter=jitter))
            key = new_key()
            try:
                answer = await signed(signer, SignRequest(csr=csr(key)))
                self._keypair = self._store(key_pem(key), answer)
            except (UnsignedError, OSError, ValueError) as error:
                failures += 1
                _log.warning("the agent's own certificate could not be renewed: %s", error)
            else:
                failures = 0
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
            return self._store(key_pem(key), answer)

    def _store(self, key: str, answer: Signed) -> Keypair:
        keypair = Keypair(key=key, chain=answer.chain, roots=answer.roots)
        if not matches(load_key(key), keypair.chain):
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
