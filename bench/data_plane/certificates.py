"""Certificates like those that Plait's own authority gives, for the pairs that are not Plait's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from plait.identity.authority import Authority, Subject
from plait.identity.keys import csr, key_pem, new_key

DOMAIN = "cluster.local"
SERVER_NAME = "server.bench"


@dataclass(frozen=True, slots=True)
class Files:
    """A certificate with its key in one file, in PEM, and the roots in another."""

    own: Path
    roots: Path


def uri(name: str) -> str:
    """The identity of the client or of the server."""
    return f"spiffe://{DOMAIN}/ns/bench/sa/{name}"


def issued(folder: Path) -> dict[str, Files]:
    """Files for `client` and `server`, signed by a root that is made in the folder."""
    now = time.time()
    authority = Authority.open(folder / "ca", trust_domain=DOMAIN, now=now)
    roots = folder / "roots.pem"
    roots.write_text(authority.roots)
    found = {}
    for name in ("client", "server"):
        key = new_key()
        subject = Subject(workload=name, app=name, version="v1")
        signed = authority.sign(csr(key), uri=uri(name), dns=(SERVER_NAME,), subject=subject, now=now)
        own = folder / f"{name}.pem"
        own.write_text(signed.chain + key_pem(key))
        own.chmod(0o600)
        found[name] = Files(own, roots)
    return found
