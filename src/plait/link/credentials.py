"""TLS for gRPC: what each end shows, and who the other end proved to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from plait.identity.keys import Keypair, validity
from plait.identity.names import agent_of


def mtls_server_credentials(current: Callable[[], Keypair]) -> Any:
    """Server credentials, for one port, that ask for a client certificate under our roots.

    gRPC asks for each port on its own what is new, and one that shares its credentials with another hears nothing.
    `current` is asked at each handshake, from a thread of gRPC's: when the certificate is renewed it need
    only return the new one.
    """
    return _server_credentials(current, client_certificates=True)


def join_server_credentials(current: Callable[[], Keypair]) -> Any:
    """Server credentials, for one port, for those that have no certificate yet: TLS that proves the server alone."""
    return _server_credentials(current, client_certificates=False)


def channel_credentials(roots: str, keypair: Keypair | None = None) -> Any:
    """Client credentials: trust `roots` (PEM), and prove to be the holder of `keypair` when there is one."""
    if keypair is None:
        return grpc.ssl_channel_credentials(root_certificates=roots.encode())
    return grpc.ssl_channel_credentials(
        root_certificates=roots.encode(),
        private_key=keypair.key.encode(),
        certificate_chain=keypair.chain.encode(),
    )


def spiffe_id_of_peer(context: Any) -> str | None:
    """The one SPIFFE ID in the certificate of a call's peer; None when it showed none, or one with several."""
    names = context.auth_context().get("x509_subject_alternative_name", ())
    uris = [name.decode(errors="replace") for name in names if name.startswith(b"spiffe://")]
    return uris[0] if len(uris) == 1 else None


def agent_of_peer(context: Any, trust_domain: str) -> str | None:
    """The name of the agent whose certificate a call's peer holds; None for anybody else."""
    uri = spiffe_id_of_peer(context)
    return agent_of(uri, trust_domain) if uri else None


def peer_expires(context: Any) -> float:
    """When the certificate of a call's peer ends, in seconds since the epoch; 0.0 when it showed none."""
    certificates = context.auth_context().get("x509_pem_cert", ())
    return validity(certificates[0].decode("ascii"))[1] if certificates else 0.0


def _server_credentials(current: Callable[[], Keypair], *, client_certificates: bool) -> Any:
    shown = current()

    def renewed() -> Any:
        nonlocal shown
        keypair = current()
        if keypair is shown:
            return None
        shown = keypair
        return _configuration(keypair)

    return grpc.dynamic_ssl_server_credentials(_configuration(shown), renewed, client_certificates)


def _configuration(keypair: Keypair) -> Any:
    pair = (keypair.key.encode(), keypair.chain.encode())
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=keypair.roots.encode())
