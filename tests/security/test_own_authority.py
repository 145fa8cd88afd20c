"""`plait up --ca`: a mesh under an authority of the user's own, and how its files are looked at before anything starts."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.e2e.mesh import BISTRO, PLAIT, bistro, clean_environment, loading, until
from tests.identity import test_given
from tests.identity.test_given import Signer, written
from tests.security.test_rotation import RESERVATIONS, authority, begun, killed, names, until_phase


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_given, "NOW", datetime.now(UTC))


def chain(folder: Path, name: str) -> Path:
    """An RSA root, and an intermediate under it that signs."""
    root = Signer(f"root of {name}", rsa.generate_private_key(65537, 2048)).issued()
    signer = Signer(name, rsa.generate_private_key(65537, 2048), path_length=0).issued(root)
    return written(folder, signer, [root], [signer, root])


@pytest.mark.prove
@pytest.mark.timeout(240)
async def test_a_mesh_runs_under_ones_own_authority_and_takes_its_new_files(tmp_path: Path) -> None:
    own = chain(tmp_path / "own", "first")
    async with (
        bistro(tmp_path, "--ca", str(own)) as mesh,
        loading(await mesh.sidecar("frontend"), RESERVATIONS, rate=100) as load,
    ):
        before = await authority(mesh)
        assert (mesh.state / "ca" / "root.pem").read_bytes() == (own / "root-cert.pem").read_bytes()
        assert [(one.subject, one.given, one.holders) for one in before.issuers] == [("CN=first", True, 7)]
        assert list((mesh.state / "ca").glob("*.key")) == []
        chain(own, "second")
        await begun(mesh, "root")
        await until_phase(mesh, "steady")
        after = await authority(mesh)
        assert [(one.subject, one.holders) for one in after.issuers] == [("CN=second", 7)]
        assert names(before.roots) != names(after.roots)

        chain(own, "third")  # and by a control plane that has only the old one's word
        await killed(mesh, "control plane")
        await until_phase(mesh, "steady")

        async def taken() -> bool:
            found = await authority(mesh)
            return (found.phase, found.issuers[0].subject) == ("steady", "CN=third")

        await until(taken, "the third authority to sign")
        assert len((await authority(mesh)).roots) == 1
        seen = load.total
        await until(lambda: load.total > seen + 100, "more answers")
    assert not load.failures, load.statuses


def refused(*arguments: str) -> str:
    """What `plait up` says, which starts nothing."""
    done = subprocess.run(
        [*PLAIT, "up", str(BISTRO), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environment(),
    )
    assert done.returncode == 2, done
    return done.stderr


def test_what_cannot_be_is_said_before_anything_starts(tmp_path: Path) -> None:
    state = ("--state-dir", str(tmp_path / "state"), "--mode", "explicit")
    root = Signer("root").issued()
    late = Signer("late", end=timedelta(days=-0.5)).issued(root)
    own = written(tmp_path / "own", late, [root])
    assert "late has expired" in refused(*state, "--ca", str(own))
    assert "60s at least" in refused(*state, "--certificate-lifetime", "59s")
    assert "can't be a trust domain" in refused(*state, "--trust-domain-alias", "a b")
    assert not (tmp_path / "state").exists()
