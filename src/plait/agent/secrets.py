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
from typing import Protocol

from plait.agent.record import ReplicaFiles
from plait.agent.shim.spec import Account
from plait.envoy.secrets import identity_secret, roots_secret
from plait.identity.files import Insecure, private_directory, read_private, write_private
from plait.identity.keys import csr, key_pem, matches, new_key, validity
from plait.identity.renewal import renewal_delay, retry_delay
from plait.link.client import LinkError
from plait.link.messages import Signed, SignRequest
from plait.model.names import ReplicaKey

_log = logging.getLogger(__name__)

IDENTITY, ROOTS = "identity.json", "roots.json"


class UnsignedError(Exception):
    """No certificate could be had; the message says why."""


class Signer(Protocol):
    """Who has requests signed: the link's client."""

    async def sign(self, request: SignRequest) -> Signed:
        """LinkError when the control plane can't be reached; `error` in the answer when it refuses."""


async def signed(signer: Signer, request: SignRequest) -> Signed:
    """A certificate for a request; UnsignedError when there is none."""
    try:
        answer = await signer.sign(request)
    except LinkError as error:
        raise UnsignedError(str(error)) from error
    if answer.error:
        raise UnsignedError(f"the control plane refuses: {answer.error}")
    return answer


async def provision(
    files: ReplicaFiles, key: ReplicaKey, signer: Signer, envoy: Account | None
) -> tuple[float, float]:
    """Gives a replica a new key and a certificate for it: (issued, expires) in seconds since the epoch.

    Key and chain reach Envoy, which runs as `envoy` (None: as us), in one file by one rename.  UnsignedError;
    OSError or Insecure when the directory is not what it should be.
    """
    private_directory(files.secrets, group=envoy.gid if envoy else None)
    owner = envoy.uid if envoy else None
    private = new_key()
    answer = await signed(signer, SignRequest(csr=csr(private), replica=key))
    if not matches(private, answer.chain):
        raise UnsignedError("the control plane answered with a certificate for another key")
    write_private(files.secrets / ROOTS, roots_secret(answer.roots).encode(), owner=owner)
    identity = identity_secret(answer.chain, key_pem(private))
    write_private(files.secrets / IDENTITY, identity.encode(), owner=owner)
    return validity(answer.chain)


def current(files: ReplicaFiles, envoy: Account | None) -> tuple[float, float] | None:
    """From when to when the certificate of a replica holds; None when it has none."""
    try:
        owner = envoy.uid if envoy else None
        secret = json.loads(read_private(files.secrets / IDENTITY, owner=owner))["resources"][0]
        return validity(secret["tls_certificate"]["certificate_chain"]["inline_string"])
    except (FileNotFoundError, ValueError, KeyError, IndexError):
        return None


async def keep_renewed(
    files: ReplicaFiles,
    key: ReplicaKey,
    signer: Signer,
    envoy: Account | None,
    told: Callable[[float], None],
) -> None:
    """Renews a replica's certificate at half its life, again and again; `told` hears when the new one expires."""
    failures = 0
    while True:
        now = time.time()
        issued, expires = current(files, envoy) or (now, now)
        jitter = random.random()  # noqa: S311 - spreads renewals, guards nothing
        if failures:
            await asyncio.sleep(retry_delay(failures, expires=expires, now=now, jitter=jitter))
        else:
            await asyncio.sleep(renewal_delay(issued=issued, expires=expires, now=now, jitter=jitter))
        try:
            _, expires = await provision(files, key, signer, envoy)
        except (UnsignedError, OSError, Insecure) as error:
            failures += 1
            _log.warning("the certificate of %s could not be renewed: %s", key, error)
        else:
            failures = 0
            told(expires)


def discard(files: ReplicaFiles) -> None:
    """Removes the key of a replica that needs none any more."""
    for name in (IDENTITY, ROOTS):
        (files.secrets / name).unlink(missing_ok=True)
