"""Virtual addresses: what the hosts of a mesh resolve to for workloads in transparent mode.

Nobody has these addresses.  They carry a host through the application's own connect() to its proxy, which has to
know the host of a protocol that does not name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import blake2b

from plait.compiler.hosts import is_wildcard
from plait.compiler.sharing import Made, PerMesh
from plait.model.mesh import Mesh
from plait.model.names import VIRTUAL_NETWORK

_USABLE = VIRTUAL_NETWORK.num_addresses - 2
"""All but the first and the last address of the network."""


def _of(mesh: Mesh, made: Made) -> Mapping[str, str]:
    routed = (host for sight in mesh.every_sight for host in sight.routes if not is_wildcard(host))
    hosts = frozenset((*mesh.services, *routed))
    return made.whole("", (hosts,), partial(_assigned, hosts))


virtual_addresses = PerMesh(_of)
"""The address of every host that clients may call: each Service, and each other host that is routed."""


def _assigned(hosts: Iterable[str], made: Made) -> Mapping[str, str]:
    """A hash of the host, so that it stays after any restart; where two want the same, the next that is free."""
    taken: set[int] = set()
    found: dict[str, str] = {}
    for host in sorted(hosts):
        offset = made.of(host, (host,), _wanted)
        while offset in taken:
            offset = (offset + 1) % _USABLE
        taken.add(offset)
        found[host] = made.of(offset, (offset,), _address)
    return found


def _wanted(host: str) -> int:
    return int.from_bytes(blake2b(host.encode(), digest_size=8).digest(), "big") % _USABLE


def _address(offset: int) -> str:
    return str(VIRTUAL_NETWORK[offset + 1])
