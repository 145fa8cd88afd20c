"""Virtual addresses: what the hosts of a mesh resolve to for workloads in transparent mode.

Nobody has these addresses.  They carry a host through the application's own connect() to its proxy, which has to
know the host of a protocol that does not name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from plait.compiler.hosts import is_wildcard
from plait.model.mesh import Mesh
from plait.model.names import VIRTUAL_NETWORK


def virtual_addresses(mesh: Mesh) -> Mapping[str, str]:
    """The address of every host that clients may call: each Service, and each other host that is routed."""
    routed = (host for host in mesh.routes if not is_wildcard(host))
    return _assigned({*mesh.services, *routed})


def _assigned(hosts: Iterable[str]) -> Mapping[str, str]:
    """A hash of the host, so that it stays after any restart; where two want the same, the next that is free.

    The first and the last address of the network are left out.
    """
    usable = VIRTUAL_NETWORK.num_addresses - 2
    taken: set[int] = set()
    found: dict[str, str] = {}
    for host in sorted(hosts):
        offset = int.from_bytes(blake2b(host.encode(), digest_size=8).digest(), "big") % usable
        while offset in taken:
            offset = (offset + 1) % usable
        taken.add(offset)
        found[host] = str(VIRTUAL_NETWORK[offset + 1])
    return found
