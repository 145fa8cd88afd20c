"""The log files of a replica: written by its children alone, bounded by the shim."""

# pathlib would cost the shim memory.
# ruff: noqa: PTH105, PTH116, PTH123

from __future__ import annotations

import os

LOG_BYTES = 10 * 1024 * 1024
"""The end of a log longer than this is copied to NAME.1 and the log begun again, so that it takes twice this.

One that is written to quickly is longer for the moment until somebody looks.
"""
_TAIL_BYTES = 4096
_LINE_CHARACTERS = 200


def open_log(path: str) -> int:
    """A file to append to; whoever holds it goes on at the start when it is emptied."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def bound(path: str, limit: int = LOG_BYTES) -> bool:
    """Copies the end of a log that has grown too long aside and empties it; what is written meanwhile may be lost.

    Whether it had grown so long.
    """
    try:
        size = os.stat(path).st_size
        if size <= limit:
            return False
        with (
            open(path, "rb+") as log,
            open(path + ".new", "wb") as copy,
        ):
            log.seek(size - limit)
            left = limit  # and no more: it may grow as fast as it is read
            while left and (chunk := log.read(min(left, 1 << 16))):
                left -= copy.write(chunk)
            log.truncate(0)
        os.replace(path + ".new", path + ".1")
    except OSError:  # a full disk must not end the application
        return False
    return True


def tail(path: str, since: int) -> str:
    """The end of a log, but nothing from before the offset `since`."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= size else 0, size - _TAIL_BYTES))
            return file.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""


def last_line(text: str) -> str:
    """The last line that says something, made fit to be shown."""
    for line in reversed(text.splitlines()):
        shown = "".join(character if character.isprintable() else " " for character in line).strip()
        if shown:
            return shown[:_LINE_CHARACTERS]
    return ""
