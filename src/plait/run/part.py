"""A part of the mesh that is a process of its own: started, watched, started again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plait.local.journal import Journal

_PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each further start of a part that ends quickly; the last one holds from then on."""
_STEADY = 20.0
"""Seconds after which a part that ran is started again at once."""


@dataclass(slots=True)
class Part:
    """One child process.  It has a session of its own, so that Ctrl-C in a terminal reaches only its starter.

    `handed` are descriptors that it finds open under their numbers.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    say: Callable[[str], None]
    journal: Journal
    handed: Sequence[int] = ()
    process: asyncio.subprocess.Process | None = None
    _stopping: bool = field(default=False)

    async def start(self) -> None:
        """Start the process, its output appended to the log."""
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=dict(self.environment),
                start_new_session=True,
                pass_fds=self.handed,
            )
        finally:
            os.close(descriptor)
        self.journal.process(self.process.pid, self.name)

    @property
    def ended(self) -> bool:
        """Whether it ran and does not any more."""
        return self.process is not None and self.process.returncode is not None

    async def keep(self, prepare: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start it again whenever it ends, with growing pauses when it ends quickly; until `stop`.

        `prepare` is awaited before each such start.
        """
        failures = 0
        while not self._stopping and self.process is not None:
            began = time.monotonic()
            code = await self.process.wait()
            if self._stopping:
                return
            failures = 0 if time.monotonic() - began > _STEADY else min(failures + 1, len(_PAUSES) - 1)
            self.say(f"the {self.name} has ended ({_ending(code)}) and is started again; its log: {self.log}")
            await asyncio.sleep(_PAUSES[failures])
            if prepare is not None:
                await prepare()
            await self._start_again()

    async def _start_again(self) -> None:
        """Start it, however long that can't be done: with the disk full, or too many processes."""
        said = ""
        while not self._stopping:
            try:
                await self.start()
            except OSError as error:
                if said != str(error):
                    said = str(error)
                    self.say(f"the {self.name} can't be started: {said}")
                await asyncio.sleep(_PAUSES[-1])
            else:
                return

    async def stop(self, patience: float) -> None:
        """End it: TERM, and KILL after `patience` seconds."""
        self._stopping = True
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), patience)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def last_words(self, lines: int = 5) -> str:
        """The end of its log; of a traceback only what it is about."""
        try:
            log = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        said = [line for line in log if line.strip() and not line.startswith((" ", "Traceback"))]
        return "\n".join(said[-lines:])


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
