"""Where the system's programs are that the network is made with."""

from __future__ import annotations

import os
import shutil

_ALSO = "/usr/sbin:/sbin"
"""Where administrators' programs lie, which not everybody's PATH names."""


def find(name: str) -> str | None:
    """The path of a program; None: it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_ALSO}")
