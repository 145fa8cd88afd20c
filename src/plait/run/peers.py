"""Who a peer that connects to xDS is, by its certificate: whose configuration it may have, and for whom it speaks."""

from __future__ import annotations

import time

from plait.identity.keys import validity
from plait.model.names import Identity, ReplicaKey
from plait.run.registry import Registry, common_name_of
from plait.xds.conversation import Peer
from plait.xds.status import Code, End


def authorize(registry: Registry, trust_domain: str, node: str, peer: Peer) -> str | None:
    """Why a peer may not have the configuration of a node; None when it is that node.

    The certificate has to be for the account of the very replica, and for its workload: two workloads of one
    account do not see each other's.
    """
    key = ReplicaKey.parse(node)
    if key is None:
        return f"{node!r} is not the name of a replica"
    found = registry.find(key)
    if found is None:
        return f"{node} is not known"
    replica = found[1].replica
    expected = Identity(trust_domain, key.workload.namespace, replica.service_account).uri
    if peer.uris != (expected,) or peer.common_name != common_name_of(key.workload):
        return f"the certificate is not that of {node}"
    return f"the certificate of {node} has expired" if _expired(peer) else None


def sender(registry: Registry, trust_domain: str, peer: Peer) -> str | End:
    """The workload that a peer's certificate is for, NAMESPACE/NAME, as long as it runs; or why it may not tell anything.

    Which of its replicas it is no certificate says: what is told of that is believed within the workload.
    """
    identity = Identity.parse(peer.uris[0]) if len(peer.uris) == 1 else None
    if identity is None or identity.trust_domain != trust_domain:
        return End(Code.UNAUTHENTICATED, "the certificate is not that of a workload")
    found = registry.holder(identity.namespace, identity.service_account, peer.common_name)
    if found is None:
        return End(Code.PERMISSION_DENIED, "the certificate is not that of a workload which runs")
    if _expired(peer):
        return End(Code.UNAUTHENTICATED, f"the certificate of {found} has expired")
    return str(found)


def _expired(peer: Peer) -> bool:
    """A handshake refuses this; but a connection may outlive its certificate, and open another stream."""
    return validity(peer.certificate.decode())[1] <= time.time()
