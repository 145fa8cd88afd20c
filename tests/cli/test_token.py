"""`plait token`, as a program against a real API socket: the token goes to stdout, and nowhere else, once."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from tests.api.planes import FakePlane, served
from tests.cli.test_online import ROOT, Result


async def ran(plane: FakePlane, *arguments: str) -> Result:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.cli.online_app", "token", *arguments),
        cwd=ROOT,
        env=os.environ | {"PLAIT_STATE_DIR": str(plane.directory)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Result(process.returncode or 0, out.decode(), err.decode())


async def test_a_token_is_made_listed_and_revoked() -> None:
    async with served(FakePlane()) as plane:
        created = await ran(plane, "create", "guest", "--lifetime", "60")
        assert (created.code, created.out) == (0, "t0ken\n")
        assert "t0ken" not in created.err
        assert "token 1 for agent guest, until 60.0" in created.err
        listed = await ran(plane, "list", "--output", "json")
        assert json.loads(listed.out) == {"tokens": [{"id": "1", "agent": "guest", "expires": "60.0"}]}
        assert "guest" in (await ran(plane, "list")).out
        assert (await ran(plane, "revoke", "1")).code == 0
        again = await ran(plane, "revoke", "1")
        assert (again.code, again.err) == (1, "plait: there is no join token 1\n")
        assert (await ran(plane, "list")).out == "no tokens\n"
        assert (await ran(plane, "create", "BAD")).code == 2
