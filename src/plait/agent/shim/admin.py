"""What the shim asks Envoy's admin interface, and what the answers mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from plait.agent.acts import EnvoyChecked, Event, IdleChecked
from plait.agent.shim.exchange import Answer, Exchange, Exchanges, request
from plait.agent.shim.spec import EnvoySpec, Place

_HOST = "envoy"
_TIMEOUT = 1.0
_READY = request("GET", "/ready", _HOST)
_LISTENERS = request("GET", "/listeners?format=json", _HOST)
_DRAIN = request("POST", "/drain_listeners?graceful&skip_exit", _HOST)
"""Clients are told to come back on another connection (GOAWAY, Connection: close); the listeners stay open."""
_ACTIVE = request("GET", "/stats?filter=inbound.*rq_active%24", _HOST)
"""The gauges of requests under way: of the inbound listener's HTTP and of the clusters `inbound|PORT||`."""


class Admin:
    """Envoy's admin interface; `tell` hears the verdicts."""

    def __init__(self, envoy: EnvoySpec, exchanges: Exchanges, tell: Callable[[Event], None]) -> None:
        self._envoy = envoy
        self._exchanges = exchanges
        self._tell = tell
        self._exchange: Exchange | None = None

    def check(self) -> None:
        """Asks whether Envoy has its configuration and listens wherever it should: told as EnvoyChecked."""
        self._ask(_READY, self._heard_ready)

    def drain(self) -> None:
        """Has clients go elsewhere; nothing is told."""
        self._exchanges.ask(self._envoy.admin, _DRAIN, lambda _: None, timeout=_TIMEOUT)

    def idle(self) -> None:
        """Asks how many requests are under way: told as IdleChecked; as one when it can't be known."""
        self._ask(_ACTIVE, lambda answer: self._tell(IdleChecked(1 if answer.error else active(answer.body))))

    def cancel(self) -> None:
        """No answer is wanted any more."""
        if self._exchange is not None:
            self._exchange.cancel()

    def _ask(self, question: bytes, heard: Callable[[Answer], None]) -> None:
        self.cancel()
        self._exchange = self._exchanges.ask(self._envoy.admin, question, heard, timeout=_TIMEOUT, whole=True)

    def _heard_ready(self, answer: Answer) -> None:
        if answer.error:
            self._tell(EnvoyChecked(ready=False, detail=f"its admin interface: {answer.error}"))
        elif answer.status != 200:
            state = answer.body.decode(errors="replace").strip()
            self._tell(EnvoyChecked(ready=False, detail=f"it waits for its configuration ({state})"))
        else:
            self._ask(_LISTENERS, self._heard_listeners)

    def _heard_listeners(self, answer: Answer) -> None:
        missing = missing_listeners(answer.body, self._envoy.listeners)
        detail = f"it does not listen on {missing[0][0]}:{missing[0][1]} yet" if missing else ""
        self._tell(EnvoyChecked(ready=not missing, detail=detail))


def missing_listeners(body: bytes, wanted: Sequence[Place]) -> list[Place]:
    """The places of `wanted` at which Envoy, by its answer to LISTENERS, does not listen."""
    try:
        statuses = json.loads(body).get("listener_statuses", [])
    except ValueError:
        return list(wanted)
    found = {_place(address) for status in statuses for address in _addresses(status)}
    return [place for place in wanted if place not in found]


def active(body: bytes) -> int:
    """How many requests are under way, by Envoy's answer to ACTIVE; one may be counted at both its gauges."""
    counts = (line.rpartition(b":")[2].strip() for line in body.splitlines())
    return sum(int(count) for count in counts if count.isdigit())


def _addresses(status: Any) -> list[Any]:
    return [status.get("local_address", {}), *status.get("additional_local_addresses", [])]


def _place(address: Any) -> Place | None:
    where = address.get("socket_address", {})
    return (where["address"], where["port_value"]) if "port_value" in where else None
