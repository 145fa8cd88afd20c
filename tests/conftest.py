"""In which order the files of the tests are handed to several processes: those that take longest come first.

A file is one process's.  What comes late and takes long keeps everybody waiting for one.
"""

from __future__ import annotations

import pytest

_LONGEST = ("e2e", "transparent", "docs", "fields", "security", "bench", "local", "agent", "traffic", "envoy")
"""Folders, real meshes first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {folder: number for number, folder in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("/")[1], len(place)))
