"""Where the two processes of a shut-in replica live: a room for Envoy and one for the application."""

from __future__ import annotations

import os

from plait.agent.shim import needs, room, sight
from plait.agent.shim.room import RoomError
from plait.agent.shim.spawn import Shut
from plait.agent.shim.spec import ShimSpec


class Quarters:
    """Makes both rooms.  RoomError."""

    def __init__(self, spec: ShimSpec) -> None:
        assert spec.confinement is not None
        self._spec = spec
        self._confinement = spec.confinement
        if spec.confinement.envoy.uid == spec.confinement.app.uid:  # whom the network lets through
            raise RoomError("an application cannot run as its Envoy's user: name another")
        self._envoy = room.make(self._envoys_view, self._confinement.files)
        self._app = room.make(self._apps_view, self._confinement.files)

    @property
    def envoy(self) -> Shut:
        return Shut(account=self._confinement.envoy, room=self._envoy)

    def app(self, *, words: bool) -> Shut:
        """The application's place, for its own command (`words`) or another."""
        return Shut(account=self._confinement.app, room=self._app, words=words)

    def renew(self) -> None:
        """Makes the application's room again, by how the machine is now.  RoomError."""
        made = room.make(self._apps_view, self._confinement.files)
        os.dup2(made, self._app, inheritable=False)
        os.close(made)

    def _envoys_view(self) -> sight.Plan:
        needed = needs.of_envoy(self._spec.envoy, self._confinement)
        return sight.plan(needed, self._confinement.envoy)

    def _apps_view(self) -> sight.Plan:
        needed = needs.of_application(self._spec.app, self._confinement)
        return sight.plan(needed, self._confinement.app)
