"""The control plane starts whatever became of the files it can do without."""

import time
from pathlib import Path

import pytest

from plait.identity.tokens import TokenRefused
from plait.run.control_plane import join_tokens


@pytest.mark.parametrize("damaged", [b'{"x', b"\xff\xfe", b"[]"])
def test_damaged_join_tokens_are_forgotten_and_new_ones_can_be_made(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "tokens.json"
    path.touch(0o600)
    path.write_bytes(damaged)
    tokens = join_tokens(path)
    with pytest.raises(TokenRefused):
        tokens.redeem("any", agent="local", now=time.time())
    created = tokens.create("local", now=time.time())
    join_tokens(path).redeem(created.token, agent="local", now=time.time())
