"""Network namespaces: made, kept by a descriptor, entered for a moment.

A namespace has no name and no mount: it lives as long as a process is in it or a descriptor refers to it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from plait.agent.shim import kernel

T = TypeVar("T")

_OWN = "/proc/thread-self/ns/net"
_LINK = "net:["


def make() -> int:
    """A descriptor of a new network namespace.  OSError when that may not be."""

    def unshared() -> int:
        kernel.unshare(kernel.CLONE_NEWNET)
        return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)

    return _in_a_thread(unshared)


def inside(namespace: int, act: Callable[[], T]) -> T:
    """What `act` returns when it is called inside a network namespace; what it starts is in there too.

    It runs in a thread of its own that ends with it: no other code ever finds itself elsewhere.
    """

    def entered() -> T:
        kernel.setns(namespace, kernel.CLONE_NEWNET)
        return act()

    return _in_a_thread(entered)


def identity(namespace: int) -> int:
    """A number that two descriptors of one namespace have in common, and those of two have not."""
    return os.fstat(namespace).st_ino


def held(pid: int) -> int | None:
    """A descriptor of the network namespace that a process of ours keeps open and is not in itself; None: it has none.

    A process of another user, such as an application, is not believed.
    """
    try:
        if Path(f"/proc/{pid}").stat().st_uid != os.geteuid():
            return None
        own = Path(f"/proc/{pid}/ns/net").readlink()
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if str(target := entry.readlink()).startswith(_LINK) and target != own:
                return os.open(entry, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it has ended meanwhile
        return None
    return None


def _in_a_thread(act: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(act())
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
