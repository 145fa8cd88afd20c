"""Attacks on the API: over TCP without its token or under another name, and over its socket as another user."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from plait.api.listening import loopback
from tests.security.plane import Plane, plane

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def control() -> AsyncIterator[Plane]:
    async with plane("--api", "127.0.0.1:0") as made:
        yield made


def bearer(control: Plane) -> str:
    return control.state.api_token.read_text()


def place(control: Plane) -> str:
    return control.state.api_address.read_text()


async def asked(
    control: Plane, *lines: str, method: str = "GET", path: str = "/v1/status", host: str | None = None
) -> tuple[int, str]:
    """The status and all that comes back of a request with these header lines, as they are."""
    host_line = [f"Host: {place(control) if host is None else host}"] if host != "" else []
    words = "\r\n".join([f"{method} {path} HTTP/1.1", *host_line, "Connection: close", *lines, "", ""])
    name, _, port = place(control).rpartition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    writer.write(words.encode())
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    return int(answer.split(" ")[1]), answer


PATHS = ("/v1/status", "/v1/tokens", "/v1/exec", "/v1/nothing", "/", "/v1/events")


async def test_the_api_over_tcp_answers_nobody_without_its_token(control: Plane) -> None:
    token = bearer(control)
    right = f"Authorization: Bearer {token}"
    for lines in (
        (),
        ("Authorization: Bearer ",),
        ("Authorization: Bearer wrong",),
        (f"Authorization: Bearer {token[:-1]}",),
        (f"Authorization: Bearer {token}x",),
        (f"Authorization: Basic {base64.b64encode(f'x:{token}'.encode()).decode()}",),
        (f"Authorization: {token}",),
        (f"Proxy-Authorization: Bearer {token}",),
        (f"Cookie: token={token}",),
        (f"X-Api-Token: {token}",),
        (right, "Authorization: Bearer wrong"),
    ):
        for path in (*PATHS, f"/v1/status?token={token}"):
            status, answer = await asked(control, *lines, path=path)
            assert status in {401, 400}, (lines, path, answer)
            assert "bistro" not in answer
            assert token not in answer
            assert "there is no" not in answer, "not even what is here"
    assert (await asked(control, right))[0] == 200
    assert (await asked(control, right, path="/v1/nothing"))[0] == 404
    upgrade = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    assert (await asked(control, *upgrade, path="/v1/exec"))[0] == 401


async def test_the_api_over_tcp_is_no_other_host_and_nothing_for_browsers(control: Plane) -> None:
    """A page that leads its own name here (DNS rebinding) names itself, and no page is allowed anything."""
    right = f"Authorization: Bearer {bearer(control)}"
    port = place(control).rpartition(":")[2]
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.2:{port}",
        f"localhost.evil:{port}",
        f"{place(control)}.",
        "",
    ):
        status, answer = await asked(control, right, host=host)
        assert status in {400, 403}, (host, answer)
        assert "bistro" not in answer
    assert (await asked(control, right, f"Host: evil.example:{port}"))[0] in {400, 403}, "two of them"
    assert (await asked(control, right, host=f"LOCALHOST:{port}"))[0] == 200
    for lines in (("Origin: http://evil.example",), ("Origin: null", "Access-Control-Request-Method: POST")):
        for method in ("OPTIONS", "GET"):
            status, answer = await asked(control, *lines, method=method)
            assert status == 401
            assert "access-control" not in answer.lower()
        assert "access-control" not in (await asked(control, *lines, right))[1].lower()
    assert "set-cookie" not in (await asked(control, right))[1].lower()


async def test_the_token_is_another_at_each_start_and_lies_where_nobody_else_reads(control: Plane) -> None:
    path = control.state.api_token
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(bearer(control)) >= 43
    command = (Path(f"/proc/{control.process.pid}") / "cmdline").read_bytes()
    environment = (Path(f"/proc/{control.process.pid}") / "environ").read_bytes()
    assert bearer(control).encode() not in command + environment
    assert bearer(control) not in control.log
    async with plane("--api", "127.0.0.1:0") as another:
        assert bearer(another) != bearer(control)


async def test_the_api_is_not_served_to_other_machines(tmp_path: Path) -> None:
    for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0", ":0", "127.0.0.1", "127.0.0.1:x"):
        with pytest.raises(ValueError, match=r"HOST:PORT|no TLS"):
            loopback(address)
    assert [loopback(one)[1] for one in ("127.0.0.1:0", "[::1]:7", "localhost:8")] == [0, 7, 8]
    address = "0.0.0.0:0"
    command = (
        sys.executable,
        "-m",
        "plait.cli.main",
        "up",
        str(tmp_path),
        "--state-dir",
        str(tmp_path / "s"),
        "--api",
        address,
    )
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "plait up: " in done.stderr
    assert not (tmp_path / "s").exists()


TRY = """
import os, socket, sys
if uid := int(sys.argv[1]):
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
for path in sys.argv[2:]:
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(2); s.connect(path); s.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"); print("in", s.recv(9))
    except OSError as error:
        try:
            print("read", len(open(path).read()))
        except OSError as second:
            print(type(error).__name__, type(second).__name__)
"""


@as_root
async def test_another_user_reaches_no_socket_and_no_file_of_the_control_plane(control: Plane) -> None:
    state = control.state
    state.root.parent.chmod(0o711)  # as /home/USER may be: the state directory itself is what shuts
    paths = [state.api_socket, state.link_socket, state.join_socket, state.xds_socket, state.api_token]
    async with control.api() as api:
        await api.create_token("guest")
    paths += [state.control_plane / "tokens.json", *state.authority.iterdir()]

    def tried(uid: int) -> list[str]:
        command = (sys.executable, "-I", "-S", "-c", TRY, str(uid), *map(str, paths))
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert await asyncio.to_thread(tried, NOBODY) == ["PermissionError PermissionError"] * len(paths)
    assert "Permission" not in "".join(await asyncio.to_thread(tried, 0)), "while its own user does"
