"""No key, token or Authorization header lies about: looked for everywhere after a full run of the bistro.

In every log, every command line and environment while it runs, everything that commands print (errors too), every
file of the mesh, and every file that others could read.  Each secret is found where it belongs, so that a search
which finds nothing has looked right.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import grpc
import grpc.aio
import pytest

from plait.identity.keys import csr, new_key
from plait.link.codec import JOIN_REQUEST, SIGNED
from plait.link.messages import JoinRequest
from plait.link.transport import CHANNEL_OPTIONS, JOIN, unix_target
from tests.e2e.mesh import BISTRO, Mesh, clean_environment, processes_of, running
from tests.local.network.spaces import needs_root
from tests.transparent.town import host

pytestmark = pytest.mark.timeout(240)

_KEY = re.compile(r"-----BEGIN (?:EC |RSA )?PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_HOMES = (
    re.compile(r"ca/.*"),
    re.compile(r"agent/(identity\.json|token)"),
    re.compile(r"replicas/[0-9a-f]{8}/secrets/identity\.json"),
    re.compile(r"control-plane/api-token"),
)
"""Where secrets belong, below the state directory."""


@dataclass(slots=True)
class Search:
    """The secrets of a run, and everything in which they might be."""

    secrets: dict[str, str] = field(default_factory=dict)
    """Each by what it is."""
    seen: dict[str, str] = field(default_factory=dict)
    """Texts, by where they were seen."""

    def found(self) -> list[tuple[str, str]]:
        return [
            (secret, place)
            for place, text in self.seen.items()
            for secret, value in self.secrets.items()
            if value in text
        ]


@asynccontextmanager
async def bistro(tmp_path: Path, mode: str) -> AsyncIterator[Mesh]:
    folder = tmp_path / "bistro"
    shutil.copytree(BISTRO, folder, ignore=shutil.ignore_patterns("__pycache__"))
    async with AsyncExitStack() as stack:
        prefix: tuple[str, ...] = ()
        if mode == "transparent":
            prefix = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{stack.enter_context(host())}")
        arguments = ("--api", "127.0.0.1:0")
        yield await stack.enter_async_context(running(folder, *arguments, mode=mode, prefix=prefix))


@pytest.mark.parametrize(
    "mode", [pytest.param("explicit", marks=pytest.mark.prove), pytest.param("transparent", marks=needs_root)]
)
async def test_no_secret_lies_about_after_a_full_run(tmp_path: Path, mode: str) -> None:
    search = Search()
    async with bistro(tmp_path, mode) as mesh:
        await requests_are_made(mesh, search)
        await tokens_are_made(mesh, search)
        await everything_is_printed(mesh, search)
        for process in processes_of(mesh.state):
            search.seen |= said_by(process)
        keys = secrets_at_home(mesh.state, search)
        assert keys >= 9, "of the authority, the agent and each of seven replicas"
        for path in files_of(mesh.state):
            if not belongs(path.relative_to(mesh.state)):
                search.seen[str(path)] = path.read_text(errors="replace")
        for path in files_of(tmp_path):
            search.seen[str(path)] = path.read_text(errors="replace")
        assert not open_to_others(mesh.state)
        search.seen["plait up"] = mesh.told()
    assert len(search.seen) > 50
    assert any(place.endswith("envoy.log") for place in search.seen)
    assert "is not believed" not in search.seen[str(mesh.state / "control-plane" / "log")]
    assert search.found() == []


async def requests_are_made(mesh: Mesh, search: Search) -> None:
    """With what proves who a user is: allowed, denied, failing, leading nowhere, and no HTTP at all."""
    calls = (
        ("http://frontend:8080/menu", "200"),
        ("http://payments:8080/charge", "403"),
        ("http://nobody:8080/", "404|000"),
        ("http://frontend:8080/%00", "400"),
    )
    await asyncio.gather(*(request_is_made(mesh, search, url, status) for url, status in calls))


async def request_is_made(mesh: Mesh, search: Search, url: str, status: str) -> None:
    words = {name: secrets.token_urlsafe(24) for name in ("authorization", "cookie", "query")}
    search.secrets |= {f"{name} for {url}": word for name, word in words.items()}
    lines = [f"url = {url}?access_token={words['query']}"]
    lines += [f'header = "Authorization: Bearer {words["authorization"]}"']
    lines += [f'header = "Cookie: session={words["cookie"]}"', ""]
    out = await typed(mesh, "\n".join(lines))
    assert re.search(status, out), (url, out)


async def typed(mesh: Mesh, config: str) -> str:
    """The status of a request of the diner's, of which nothing stands on a command line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plait.cli.main", "exec", "--state-dir", str(mesh.state), "bistro/diner"),
        *("--", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-K", "-"),
        env=clean_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate(config.encode())
    return out.decode()


async def tokens_are_made(mesh: Mesh, search: Search) -> None:
    """One that is used, one that is refused, one that is revoked; and the one of the API."""
    create = ("token", "create", "guest", "--lifetime", "60")
    used, refused, revoked = map(str.strip, await asyncio.gather(*(mesh.plait(*create) for _ in range(3))))
    search.secrets |= {"used token": used, "refused token": refused, "revoked token": revoked}
    search.secrets["token of the API"] = (mesh.state / "control-plane" / "api-token").read_text()
    search.secrets["token of the agent"] = (mesh.state / "agent" / "token").read_text()
    search.seen["token list"] = listed = await mesh.plait("token", "list")
    (known,) = {line.split()[0] for line in listed.splitlines()[1:]} & {
        sha256(revoked.encode()).hexdigest()[:12]
    }
    await mesh.plait("token", "revoke", known)
    assert await joined(mesh, "guest", used, csr(new_key())) == ""
    for agent, token in (("guest", used), ("other", refused), ("../x", refused), ("guest", "wrong")):
        search.seen[f"join {agent} {len(search.seen)}"] = error = await joined(
            mesh, agent, token, csr(new_key())
        )
        assert error
    search.seen["join with no request"] = await joined(mesh, "guest", refused, "no request")
    place = (mesh.state / "control-plane" / "api-address").read_text()
    search.seen["API"] = await over_tcp(mesh, place, "GET", search.secrets["token of the API"])
    search.seen["API, refused"] = await over_tcp(mesh, place, "GET", search.secrets["token of the API"] + "x")
    search.seen["API, wrong"] = await over_tcp(mesh, place, "PUT", search.secrets["token of the API"])


async def joined(mesh: Mesh, agent: str, token: str, request: str) -> str:
    """Why somebody may not join; "" when he may."""
    roots = (mesh.state / "ca" / "root.pem").read_bytes()
    target = unix_target(mesh.state / "run" / "join.sock")
    asked = JOIN_REQUEST.encode(JoinRequest(agent=agent, token=token, csr=request))
    async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(roots), CHANNEL_OPTIONS) as over:
        return SIGNED.decode(await over.unary_unary(f"/{JOIN}/Join")(asked)).error


async def over_tcp(mesh: Mesh, place: str, method: str, token: str) -> str:
    """What the API answers over TCP, where `plait up` runs."""
    words = f"{method} /v1/status HTTP/1.1\r\nHost: {place}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    program = "import socket, sys; h, p = sys.argv[1].split(':'); s = socket.create_connection((h, int(p)));"
    program += "s.sendall(sys.stdin.buffer.read()); print(b''.join(iter(lambda: s.recv(9999), b'')).decode())"
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net=/proc/{mesh.process.pid}/ns/net") * (os.geteuid() == 0),
        *(sys.executable, "-I", "-c", program, place),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(words.encode())
    assert out.startswith(b"HTTP/1.1 "), out
    return out.decode()


async def everything_is_printed(mesh: Mesh, search: Search) -> None:
    words = (
        "status -o json",
        "proxies",
        "logs bistro/frontend",
        "logs bistro/payments --envoy",
        "logs bistro/nobody",
    )
    commands = [*map(str.split, words), ["check", str(mesh.folder)]]
    printed = await asyncio.gather(*(mesh.plait(*command, check=False) for command in commands))
    search.seen |= {" ".join(command): out for command, out in zip(commands, printed, strict=True)}


def said_by(process: int) -> dict[str, str]:
    """The command line and the environment of a process, and of each of its threads' names."""
    found = {}
    for name in ("cmdline", "environ"):
        try:
            found[f"{name} of {process}"] = Path(f"/proc/{process}/{name}").read_text(errors="replace")
        except OSError:
            continue
    return found


def secrets_at_home(state: Path, search: Search) -> int:
    """Takes in every private key, each line of it by itself; how many there are.  All lie where only we read."""
    number = 0
    for path in files_of(state):
        if not belongs(path.relative_to(state)):
            continue
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        for body in _KEY.findall(path.read_text(errors="replace").replace("\\n", "\n")):
            lines = [line for line in body.split() if len(line) >= 40]
            assert lines
            search.secrets |= {
                f"key in {path.name} {number} {index}": line for index, line in enumerate(lines)
            }
            number += 1
    return number


def belongs(path: Path) -> bool:
    return any(home.fullmatch(str(path)) for home in _HOMES)


def files_of(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def open_to_others(state: Path) -> list[Path]:
    """What somebody else could read in there, if he could enter: nobody can."""
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    return [
        path for path in files_of(state) if path.stat().st_mode & 0o004 and belongs(path.relative_to(state))
    ]
