"""The key and the certificate of a replica: made beside it, signed over the link, handed to its Envoy.

The key exists in this process and in one file of 0600 in a directory of 0700; it is written nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from plait.agent.record import ReplicaFiles
from plait.agent.shim.spec import Account
from plait.agent.trusted import Trusted
from plait.envoy.secrets import identity_secret, roots_secret
from plait.identity.files import Insecure, private_directory, read_private, write_private
from plait.identity.keys import csr, key_pem, matches, new_key
from plait.identity.renewal import due_in, retry_delay
from plait.identity.trust import Held, Trust, fingerprint
from plait.link.client import LinkError
from plait.link.messages import Signed, SignRequest
from plait.model.names import ReplicaKey

_log = logging.getLogger(__name__)

IDENTITY, ROOTS = "identity.json", "roots.json"

LOADED = 2.0
"""Seconds after which an Envoy is taken to go by a file that was replaced: it watches the directory, and a start reads
what lies there."""
LONGEST_WAIT = 30.0
"""Seconds after which the clock is looked at again: timers stand still while a machine sleeps, and certificates don't."""


class UnsignedError(Exception):
    """No certificate could be had; the message says why."""


class Signer(Protocol):
    """Who has requests signed: the link's client."""

    async def sign(self, request: SignRequest) -> Signed:
        """LinkError when the control plane can't be reached; `error` in the answer when it refuses."""


async def signed(signer: Signer, request: SignRequest, trusted: Trusted) -> tuple[str, Trust]:
    """A certificate chain for a request, and the latest word on whom to trust; UnsignedError when there is none."""
    try:
        answer = await signer.sign(request)
    except LinkError as error:
        raise UnsignedError(str(error)) from error
    if answer.error:
        raise UnsignedError(f"the control plane refuses: {answer.error}")
    trusted.take(answer.trust)
    if trusted.known is None:
        raise UnsignedError("the control plane does not say whom to trust")
    return answer.chain, trusted.known


async def provision(
    files: ReplicaFiles, key: ReplicaKey, signer: Signer, envoy: Account | None, trusted: Trusted
) -> Held:
    """Gives a replica a new key and a certificate for it.

    Key and chain reach Envoy, which runs as `envoy` (None: as us), in one file by one rename.  UnsignedError;
    OSError or Insecure when the directory is not what it should be.
    """
    private_directory(files.secrets, group=envoy.gid if envoy else None)
    private = new_key()
    chain, trust = await signed(signer, SignRequest(csr=csr(private), replica=key), trusted)
    if not matches(private, chain):
        raise UnsignedError("the control plane answered with a certificate for another key")
    _write_roots(files, trust, envoy)
    identity = identity_secret(chain, key_pem(private))
    write_private(files.secrets / IDENTITY, identity.encode(), owner=envoy.uid if envoy else None)
    return Held.of(chain, trust.roots)


def current(files: ReplicaFiles, envoy: Account | None) -> Held | None:
    """What a replica has; None when it has no certificate."""
    owner = envoy.uid if envoy else None
    try:
        found = [
            json.loads(read_private(files.secrets / name, owner=owner))["resources"][0]
            for name in (IDENTITY, ROOTS)
        ]
        return Held.of(
            found[0]["tls_certificate"]["certificate_chain"]["inline_string"],
            found[1]["validation_context"]["trusted_ca"]["inline_string"],
        )
    except (FileNotFoundError, ValueError, KeyError, IndexError):
        return None


async def keep_current(  # noqa: PLR0913, PLR0917 - whose secrets, and who has to do with them
    files: ReplicaFiles,
    key: ReplicaKey,
    signer: Signer,
    envoy: Account | None,
    trusted: Trusted,
    told: Callable[[Held], None],
) -> None:
    """Renews a replica's certificate when that is due, and hands its Envoy the roots to trust, until cancelled.

    `told` hears what the replica has, once its Envoy goes by it.
    """
    failures, jitter, held = 0, _chance(), current(files, envoy)
    while True:
        trust = trusted.known
        try:
            if held is not None and trust is not None and held.roots != fingerprint(trust.roots):
                _write_roots(files, trust, envoy)
                held = replace(held, roots=fingerprint(trust.roots))
            else:
                wait = due_in(held, trust, now=time.time(), jitter=jitter)
                if await trusted.news(trust, min(wait, LONGEST_WAIT)) or wait > LONGEST_WAIT:
                    continue
                held = await provision(files, key, signer, envoy, trusted)
        except (UnsignedError, OSError, Insecure) as error:
            failures += 1
            _log.warning("the certificate of %s could not be renewed: %s", key, error)
            now = time.time()
            expires = held.expires if held is not None else now
            await trusted.news(trust, retry_delay(failures, expires=expires, now=now, jitter=jitter))
        else:
            failures, jitter = 0, _chance()
            await asyncio.sleep(LOADED)
            told(held)


def discard(files: ReplicaFiles) -> None:
    """Removes the key of a replica that needs none any more."""
    for name in (IDENTITY, ROOTS):
        (files.secrets / name).unlink(missing_ok=True)


def _write_roots(files: ReplicaFiles, trust: Trust, envoy: Account | None) -> None:
    text = roots_secret(trust.roots)
    write_private(files.secrets / ROOTS, text.encode(), owner=envoy.uid if envoy else None)


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads renewals, guards nothing
