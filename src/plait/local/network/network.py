"""The network of one mesh on this machine: the fabric, the way out of it, and the names of what is in it."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from plait.agent.record import Record, ReplicaFiles
from plait.local.network import egress, namespace
from plait.local.network.fabric import Fabric
from plait.local.network.names import Names
from plait.model.catalog import Protocol
from plait.model.settings import Mode, OutboundTrafficPolicy

_log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0


class Network:
    """`take_up` first, then `join` for each replica, while `keep_open` runs."""

    def __init__(self, state: Path, policy: OutboundTrafficPolicy, env: Mapping[str, str]) -> None:
        """`env`: the environment of what it starts."""
        self.names = Names(state / "names", policy)
        self._state = state
        self._policy = policy
        self._env = dict(env)
        self._fabric: Fabric | None = None
        self._way_out: subprocess.Popen[bytes] | None = None

    @property
    def terms(self) -> str:
        """What a replica depends on that no document says: one made by other terms is made anew."""
        return f"{Mode.TRANSPARENT} {self._policy}"

    @property
    def ipv6(self) -> bool:
        """Whether replicas are joined to it over IPv6 too."""
        return self._fabric is not None and self._fabric.ipv6

    @property
    def descriptor(self) -> int:
        """Of the fabric's namespace, for every shim to hold."""
        assert self._fabric is not None
        return self._fabric.descriptor

    def take_up(self, processes: Iterable[int]) -> None:
        """Finds the fabric that the mesh's processes hold, or makes one; and opens the way out, if there is to be one.

        OSError.
        """
        found = [descriptor for pid in processes if (descriptor := namespace.held(pid)) is not None]
        if found:
            most, _ = Counter(map(namespace.identity, found)).most_common(1)[0]
            kept = next(descriptor for descriptor in found if namespace.identity(descriptor) == most)
            self._fabric = Fabric.found(kept, self._policy)
            for descriptor in found:
                if descriptor != kept:
                    os.close(descriptor)
        else:
            egress.close_way(self._state)
            anywhere = self._policy is OutboundTrafficPolicy.ALLOW_ANY
            ipv6 = anywhere and egress.leads_out_of_the_host_by_ipv6()
            self._fabric = Fabric.make(self._policy, ipv6=ipv6)
        if self._policy is OutboundTrafficPolicy.REGISTRY_ONLY:
            egress.close_way(self._state)
        elif not egress.is_open(self._state):
            self._way_out = egress.open_way(self._fabric, self._state, self._env)

    def holds(self, shim: int) -> bool:
        """Whether a shim's replica is joined to this fabric."""
        descriptor = namespace.held(shim)
        if descriptor is None:
            return False
        try:
            return namespace.identity(descriptor) == namespace.identity(self.descriptor)
        finally:
            os.close(descriptor)

    def join(self, record: Record, files: ReplicaFiles) -> int:
        """A descriptor of a namespace for a replica, ready for its shim; the caller closes it.  OSError."""
        assert self._fabric is not None
        assert record.envoy is not None
        replica = record.replica
        return self._fabric.join(
            f"r{files.id}",
            replica.sidecar,
            envoy_uid=record.envoy.uid,
            udp_ports=(one.number for one in replica.bindings if one.protocol is Protocol.UDP),
        )

    async def keep_open(self) -> None:
        """Opens the way out again whenever it closes; until cancelled."""
        if self._policy is OutboundTrafficPolicy.REGISTRY_ONLY:
            return
        assert self._fabric is not None
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            ours = self._way_out
            if ours.poll() is None if ours else await asyncio.to_thread(egress.is_open, self._state):
                continue
            _log.warning("the way out of the mesh has closed, and is opened again")
            try:
                self._way_out = await asyncio.to_thread(egress.open_way, self._fabric, self._state, self._env)
            except OSError as error:
                _log.error("no way out of the mesh: %s", error)
