"""What somebody has planted where a key, a token or a record will be written, and who may open Envoy's admin.

All of these lie in directories that only the mesh's user can enter; this is for the day when one of them is not.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from plait.agent import secrets
from plait.agent.enrolment import Enrolment
from plait.agent.record import ReplicaFiles
from plait.agent.trusted import Trusted
from plait.api.listening import serving
from plait.identity.authority import Authority, AuthorityError
from plait.identity.files import Insecure, read_private, write_private
from plait.identity.keys import Keypair, csr, key_pem, new_key
from plait.identity.tokens import Tokens
from plait.link.messages import Signed, SignRequest
from plait.model.change import Located, Stated
from plait.model.document import Document
from plait.model.names import ObjectRef
from plait.run.held import Held
from plait.run.registry import Registry
from tests.api.planes import FakePlane
from tests.security.fortress import Fortress, fortress
from tests.security.plane import key, report

TRUST_DOMAIN = "cluster.local"
REFUSALS = (OSError, Insecure, AuthorityError)
SECRET = b"something that only its owner knows"


class Signer:
    """Signs whatever it is asked to, as the control plane would."""

    def __init__(self, folder: Path) -> None:
        self._authority = Authority.open(folder / "signer", trust_domain=TRUST_DOMAIN, now=time.time())

    async def sign(self, request: SignRequest) -> Signed:
        uri = f"spiffe://{TRUST_DOMAIN}/ns/bistro/sa/default"
        made = self._authority.sign(request.csr, uri=uri, now=time.time())
        return Signed(chain=made.chain, trust=self._authority.trust, expires=made.expires)


def writes_an_authority(folder: Path) -> None:
    Authority.open(folder, trust_domain=TRUST_DOMAIN, now=time.time())


def writes_tokens(folder: Path) -> None:
    Tokens(folder / "tokens.json").create("local", now=0)


def writes_replicas(folder: Path) -> None:
    registry = Registry.load(folder / "registry.jsonl")
    registry.hello("local", [report()])
    registry.report("local", report())


def writes_what_is_held(folder: Path) -> None:
    document = Document(ObjectRef("", "Service", "bistro", "payments"), "v1", "d", {"a": "b"})
    Held({"a": Stated("a", (Located(document, "a", 0, {}),))}, {}).save(folder / "held.json")


def writes_a_replicas_key(folder: Path) -> None:
    files = ReplicaFiles(folder, "00000000")
    files.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    asyncio.run(secrets.provision(files, key("payments"), Signer(folder.parent), None, Trusted()))


def writes_an_agents_key(folder: Path) -> None:
    enrolment, private = Enrolment("local", folder), new_key()
    request = csr(private)
    signed = asyncio.run(Signer(folder.parent).sign(SignRequest(csr=request)))
    enrolment._kept(Keypair(key=key_pem(private), chain=signed.chain, roots=signed.roots))


def writes_a_bootstrap(folder: Path) -> None:
    files = ReplicaFiles(folder, "00000000")
    files.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "run").mkdir(exist_ok=True, mode=0o700)
    files.write_bootstrap({"a": SECRET.decode()}, {}, None)


WRITERS: tuple[Callable[[Path], None], ...] = (
    writes_an_authority,
    writes_tokens,
    writes_replicas,
    writes_what_is_held,
    writes_a_replicas_key,
    writes_an_agents_key,
    writes_a_bootstrap,
)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def dangling_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("not-there"))


def hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def pipe(path: Path, _: Path) -> None:
    os.mkfifo(path, 0o666)


def directory(path: Path, _: Path) -> None:
    path.mkdir()


def open_file(path: Path, _: Path) -> None:
    path.touch()
    path.chmod(0o666)


def socket_file(path: Path, _: Path) -> None:
    folder = os.open(path.parent, os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as made:  # whose own path may be too long for one
            made.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


PLANTED = (link, dangling_link, hard_link, pipe, directory, open_file, socket_file)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda one: one.__name__)
@pytest.mark.parametrize("writer", WRITERS, ids=lambda one: one.__name__)
def test_nothing_is_written_through_what_was_planted(
    tmp_path: Path, writer: Callable[[Path], None], planted: Callable[[Path, Path], None]
) -> None:
    """It is replaced by a file of ours alone, or refused; what it led to stays as it was, and nothing hangs.

    Keys of the authority are called by what nobody knows before: only what is called the same again can be planted.
    """
    victim = tmp_path / "victim"
    twins = [made(tmp_path / name) for name in ("honest", "twin")]
    for twin in twins:
        writer(twin)
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files_of(twin))
    first, second = ({path.relative_to(twin) for path in files_of(twin)} for twin in twins)
    assert first & second, "the honest twin writes"
    for number, name in enumerate(sorted(first & second)):
        victim.write_bytes(SECRET)
        victim.chmod(0o604)
        folder = made(tmp_path / str(number))
        (folder / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        planted(folder / name, victim)
        refused = False
        try:
            writer(folder)
        except REFUSALS:
            refused = True
        assert victim.read_bytes() == SECRET
        assert stat.S_IMODE(victim.stat().st_mode) == 0o604
        assert not (tmp_path / "not-there").exists()
        assert refused or is_ours_alone(folder / name), name


def is_ours_alone(path: Path) -> bool:
    """Whether it is a plain file of 0600 under no other name; or is gone, where names are drawn by chance."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600 and found.st_nlink == 1


def made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


@pytest.mark.parametrize(
    "planted", [link, dangling_link, pipe, directory, open_file], ids=lambda one: one.__name__
)
def test_no_secret_is_read_from_what_was_planted(
    tmp_path: Path, planted: Callable[[Path, Path], None]
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "token"
    write_private(victim, SECRET)
    planted(path, victim)
    with pytest.raises((*REFUSALS, FileNotFoundError)):
        read_private(path)
    assert read_private(victim) == SECRET


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_no_secret_is_read_that_somebody_else_has_written(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_private(path, SECRET)
    assert read_private(path) == SECRET
    os.chown(path, 65_534, 65_534)
    with pytest.raises(Insecure, match="another user"):
        read_private(path)


@pytest.mark.parametrize(
    "planted", [link, dangling_link, open_file, directory, pipe], ids=lambda one: one.__name__
)
async def test_no_socket_is_bound_where_something_was_planted(
    tmp_path: Path, planted: Callable[[Path, Path], None]
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "api.sock"
    victim.write_bytes(SECRET)
    victim.chmod(0o604)
    planted(path, victim)
    with pytest.raises(OSError, match="Address already in use"):
        async with serving(FakePlane(), path):
            pass
    assert victim.read_bytes() == SECRET
    assert stat.S_IMODE(victim.stat().st_mode) == 0o604
    async with serving(FakePlane(), tmp_path / "other.sock"):
        assert stat.S_IMODE((tmp_path / "other.sock").stat().st_mode) == 0o600


# Envoy's admin -------------------------------------------------------------------------------------------

ASK = """
import os, socket, sys
if uid := int(sys.argv[1]):
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
with socket.socket(socket.AF_UNIX) as s:
    try:
        s.settimeout(5); s.connect(sys.argv[2])
        s.sendall(b"GET /certs HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n"); print(s.recv(15).decode())
    except OSError as error:
        print(type(error).__name__)
"""


@dataclass(frozen=True, slots=True)
class Asking:
    """Somebody who asks an admin socket."""

    path: Path

    def __call__(self, uid: int) -> str:
        command = (sys.executable, "-I", "-S", "-c", ASK, str(uid), str(self.path))
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
async def test_another_user_can_not_ask_an_envoys_admin() -> None:
    """Even where the directories above let everybody through: the sockets themselves are their user's."""
    async with fortress() as mesh:
        own = mesh.proxies["payments"].folder
        for folder in (mesh.folder, own):
            folder.chmod(0o755)
        for socket, answer in (("a", "HTTP/1.1 200 OK"), ("m", "HTTP/1.1 404 No")):
            ask = Asking(own / socket)
            assert await asyncio.to_thread(ask, 0) == answer  # of /certs, which only the admin has
            for uid in (65_534, 41_007):
                assert await asyncio.to_thread(ask, uid) == "PermissionError"
        assert admin_is_nowhere_else(mesh)


def admin_is_nowhere_else(mesh: Fortress) -> bool:
    """The bootstrap opens it at a socket of its own, and leads two pages of it to the two public ports."""
    said = json.loads((mesh.proxies["payments"].folder / "bootstrap.json").read_text())
    (paths,) = [[*routes(one)] for one in (said["static_resources"]["listeners"],)]
    return said["admin"]["address"]["pipe"]["mode"] == 0o600 and paths == [
        "/healthz/ready",
        "/stats/prometheus",
    ]


def routes(listeners: list[dict[str, object]]) -> Iterator[str]:
    for one in listeners:
        text = json.dumps(one)
        if '"cluster": "admin"' not in text:
            continue
        yield from (part.split('"')[1] for part in text.split('"match": {"path": ')[1:])
