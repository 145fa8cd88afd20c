"""A real control plane, without an agent, says over its API what is written of a service, and where."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from plait.api.client import ApiError, Client, NoMesh
from plait.run.state_directory import StateDirectory
from tests.run.written import service, virtual_service

SPLIT = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: menu, namespace: bistro}
spec:
  host: menu
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
"""
HTTP = "[{route: [{destination: {host: menu, subset: v1}, weight: %d}, {destination: {host: menu, subset: v2}, weight: %d}]}]"


async def answers(client: Client) -> bool:
    try:
        await client.status()
    except NoMesh:
        return False
    return True


@asynccontextmanager
async def control_plane(folder: Path) -> AsyncIterator[Client]:
    """One over a folder; a client of it, once it answers."""
    with tempfile.TemporaryDirectory(prefix="p-") as short:
        state = StateDirectory(Path(short) / "s")
        command = ["--state-dir", str(state.root), "--trust-domain", "cluster.local", str(folder)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "plait.run.control_plane", *command, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with Client(state.api_socket) as client:
                while not await answers(client):
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
                yield client
        finally:
            process.terminate()
            await process.wait()


async def test_a_service_and_its_objects_are_told_and_follow_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "menu.yaml").write_text(service("menu"))
    routes = tmp_path / "routes.yaml"
    routes.write_text(f"{SPLIT}# nine of ten\n{virtual_service('menu', HTTP % (90, 10))}")
    async with control_plane(tmp_path) as client:
        view = await client.service("bistro", "menu")
        ((rule,),) = (one.rules for one in view.routes)
        assert [(one.subset, one.share) for one in rule.destinations] == [("v1", 90.0), ("v2", 10.0)]
        assert rule.written is not None
        found = await client.object(rule.written.kind, rule.written.namespace, rule.written.name)
        assert found.text == routes.read_text().removeprefix(SPLIT)
        assert found.written.file == rule.written.file == str(routes)
        assert found.text.splitlines()[rule.written.line - found.written.line].startswith("  http:")
        routes.write_text(f"{SPLIT}{virtual_service('menu', HTTP % (0, 100))}")
        while view.routes[0].rules[0].destinations[0].share:
            await asyncio.sleep(0.02)
            view = await client.service("bistro", "menu")
        assert [one.share for one in view.routes[0].rules[0].destinations] == [0.0, 100.0]
        with pytest.raises(ApiError, match="there is no service bistro/nemu; in bistro there are menu"):
            await client.service("bistro", "nemu")
        with pytest.raises(ApiError, match="there is no VirtualService bistro/nemu"):
            await client.object("VirtualService", "bistro", "nemu")
        with pytest.raises(ApiError, match="not shown"):
            await client.object("Secret", "bistro", "menu")
