"""One exec or one reading of logs, as the control plane sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from plait.link.messages import Exited, InSession, Output
from plait.link.transport import Pipe

LOST = 255
"""The exit code of a session that ended without one."""

_ANSWER_WITHIN = 10.0


class Session:
    """Bytes to a command, bytes from it, and how it ended.  The reader's pace is the command's pace."""

    def __init__(self, *, ended: Callable[[], object]) -> None:
        self.code = LOST
        self.error = ""
        self.closed = asyncio.Event()
        self.abandoned = False
        self._ended = ended
        self._typed: Pipe[bytes] = Pipe()
        self._output: Pipe[tuple[int, bytes]] = Pipe()
        self._unanswered: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(
            _ANSWER_WITHIN, self.lost, "the agent did not open the session"
        )

    async def write(self, data: bytes) -> None:
        """Give the command something to read; nothing at all is the end of its input."""
        await self._typed.put(data)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What the command writes (1: stdout, 2: stderr) until it is over; `code` and `error` are set then."""
        while (item := await self._output.get()) is not None:
            yield item

    async def close(self) -> None:
        """Want no more of it: a command that still runs is ended by the agent."""
        self.abandoned = not self.closed.is_set()
        self._end()

    def begin(self) -> bool:
        """The agent has opened the session's stream; False when it is too late or not the first time."""
        if self._unanswered is None or self.closed.is_set():
            return False
        self._unanswered.cancel()
        self._unanswered = None
        return True

    async def received(self, message: InSession) -> bool:
        """Take in what the agent sent; True for the last message."""
        match message:
            case Output(stream=1 | 2 as stream, data=data):
                return not await self._output.put((stream, data))
            case Exited(code=code, error=error):
                self.code, self.error = code, error
                self._end()
                return True
            case _:
                return False

    async def typed(self) -> AsyncIterator[Output]:
        """What was written for the command."""
        while (data := await self._typed.get()) is not None:
            yield Output(stream=0, data=data)

    def lost(self, reason: str) -> None:
        """There will be no word of how the command ended; nothing changes when there was one."""
        if not self.closed.is_set():
            self.error = reason
            self._end()

    def _end(self) -> None:
        if self._unanswered is not None:
            self._unanswered.cancel()
        self.closed.set()
        self._typed.close()
        self._output.close()
        self._ended()
