"""Asking an application whether it is ready, one question at a time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from plait.agent.acts import Probed
from plait.agent.shim import listening, processes
from plait.agent.shim.exchange import Answer, Exchange, Exchanges, request
from plait.agent.shim.spawn import Program, SpawnError, spawn
from plait.agent.shim.spec import AppSpec, ProbeKind, ProbeSpec


class Probing:
    """The probe of one application; `tell` hears each verdict."""

    def __init__(
        self,
        app: AppSpec,
        probe: ProbeSpec,
        exchanges: Exchanges,
        tell: Callable[[Probed], None],
        *,
        command: Program,
    ) -> None:
        self._app = app
        self._probe = probe
        self._exchanges = exchanges
        self._tell = tell
        self._program = command
        self._exchange: Exchange | None = None
        self._until = 0.0
        self._pid = 0
        self._inspect = False
        self.command: int | None = None
        """The process of a probe by command, while it runs."""

    @property
    def next_at(self) -> float | None:
        """When `expire` is due."""
        return None if self.command is None else self._until

    def begin(self, pid: int, *, inspect: bool) -> None:
        """Asks the application that runs as `pid`; `inspect`: look where it listens, too."""
        self.cancel()
        self._pid, self._inspect = pid, inspect
        self._until = time.monotonic() + self._probe.timeout
        match self._probe.kind:
            case ProbeKind.COMMAND:
                self._run()
            case ProbeKind.HTTP:
                self._get()
            case ProbeKind.TCP:
                self._connect(0)

    def cancel(self) -> None:
        """No verdict is wanted any more."""
        if self._exchange is not None:
            self._exchange.cancel()
        if self.command is not None:
            os.killpg(self.command, signal.SIGKILL)
            self.command = None

    def expire(self, now: float) -> None:
        if self.command is not None and self._until <= now:
            self.cancel()
            self._verdict(f"its probe took longer than {self._probe.timeout:g} s")

    def reaped(self, pid: int, code: int) -> bool:
        """Whether `pid`, which has exited, was the probe's command."""
        if pid != self.command:
            return False
        self.command = None
        self._verdict(f"its probe exited with code {code}" if code else "")
        return True

    def _get(self) -> None:
        path, (address, port) = self._probe.path, self._probe.places[0]

        def heard(answer: Answer) -> None:
            good = 200 <= answer.status < 400
            self._verdict("" if good else answer.error or f"{path} answers {answer.status}")

        question = request("GET", path, f"{address}:{port}")
        timeout = self._probe.timeout
        self._exchange = self._exchanges.ask((address, port), question, heard, timeout=timeout)

    def _connect(self, index: int) -> None:
        def heard(answer: Answer) -> None:
            if not answer.error and index + 1 < len(self._probe.places):
                self._connect(index + 1)
            else:
                self._verdict(answer.error)

        left = self._until - time.monotonic()
        self._exchange = self._exchanges.ask(self._probe.places[index], b"", heard, timeout=left)

    def _run(self) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.command = spawn(self._program, (nowhere, nowhere, nowhere))
        except SpawnError as error:
            self._verdict(f"its probe: {error}")
        finally:
            os.close(nowhere)

    def _verdict(self, wrong: str) -> None:
        """Tells what came out; `wrong` is empty when the application is ready."""
        elsewhere = ""
        ports, exactly = self._app.ports, self._app.exactly
        if ports and (self._inspect or wrong):
            found = listening.listening(processes.tree(self._pid))
            elsewhere = listening.misplaced(ports, found, answering=not wrong, exactly=exactly)
        self._tell(Probed(not wrong, wrong, elsewhere))
