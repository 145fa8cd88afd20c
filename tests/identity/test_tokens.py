"""Join tokens: once, in time, for one agent; and kept only as hashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.identity.files import Insecure
from plait.identity.names import agent_of, agent_uri, control_plane_uri, valid_agent_name
from plait.identity.tokens import Ledger, TokenRefused, Tokens


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_a_token_works_once(path: Path) -> None:
    tokens = Tokens(path)
    token = tokens.create("local", now=0).token
    tokens.redeem(token, agent="local", now=1)
    with pytest.raises(TokenRefused, match="not known"):
        tokens.redeem(token, agent="local", now=1)
    with pytest.raises(TokenRefused, match="not known"):
        Tokens(path).redeem(token, agent="local", now=1)


def test_a_token_works_in_its_time_only(path: Path) -> None:
    tokens = Tokens(path)
    created = tokens.create("local", now=100, lifetime=60)
    assert created.expires == 160
    with pytest.raises(TokenRefused, match="expired"):
        tokens.redeem(created.token, agent="local", now=160)
    tokens.redeem(created.token, agent="local", now=159.9)


def test_a_token_is_for_one_agent(path: Path) -> None:
    tokens = Tokens(path)
    token = tokens.create("local", now=0).token
    with pytest.raises(TokenRefused, match="another agent"):
        tokens.redeem(token, agent="other", now=1)
    tokens.redeem(token, agent="local", now=1)


def test_a_revoked_token_is_worthless(path: Path) -> None:
    tokens = Tokens(path)
    created, other = tokens.create("local", now=0), tokens.create("local", now=0)
    assert tokens.revoke(created.id)
    assert not tokens.revoke(created.id)
    with pytest.raises(TokenRefused):
        tokens.redeem(created.token, agent="local", now=1)
    Tokens(path).redeem(other.token, agent="local", now=1)


def test_tokens_survive_a_restart_and_are_stored_as_hashes(path: Path) -> None:
    created = Tokens(path).create("local", now=0)
    assert path.stat().st_mode & 0o777 == 0o600
    assert created.token not in path.read_text()
    assert created.token not in repr(created)
    again = Tokens(path)
    assert [entry.id for entry in again.live(1)] == [created.id]
    again.redeem(created.token, agent="local", now=1)


def test_what_has_expired_is_forgotten(path: Path) -> None:
    tokens = Tokens(path)
    for now in range(100):
        tokens.create("local", now=float(now * 1000))
    assert len(tokens.live(99_000)) == 1
    assert path.stat().st_size < 500


def test_junk_is_refused_like_any_other_wrong_token() -> None:
    for token in ("", "\ud800", "x" * 10_000):
        with pytest.raises(TokenRefused):
            Ledger().redeemed(token, agent="local", now=0)


def test_tokens_are_made_for_agents_that_can_be_and_for_a_bounded_time(path: Path) -> None:
    tokens = Tokens(path)
    for agent, lifetime in (
        ("", 60.0),
        ("a/b", 60.0),
        ("local", 0.0),
        ("local", 1e9),
        ("local", float("nan")),
    ):
        with pytest.raises(ValueError, match=r"agent's name|a token lives"):
            tokens.create(agent, now=0, lifetime=lifetime)
    assert not path.exists()


def test_a_file_that_others_could_write_is_not_believed(path: Path) -> None:
    Tokens(path).create("local", now=0)
    path.chmod(0o666)
    with pytest.raises(Insecure):
        Tokens(path)


def test_an_agents_name_is_read_from_its_identity_and_from_no_other() -> None:
    assert agent_of(agent_uri("cluster.local", "local"), "cluster.local") == "local"
    for uri in (
        agent_uri("other.local", "local"),
        control_plane_uri("cluster.local"),
        agent_uri("cluster.local", ""),
        agent_uri("cluster.local", "a/b"),
        agent_uri("cluster.local", "UPPER"),
        "spiffe://cluster.local/ns/plait/sa/agent",
        "",
    ):
        assert agent_of(uri, "cluster.local") is None
    assert valid_agent_name("a" * 63)
    assert not valid_agent_name("a" * 64)
    assert not valid_agent_name("local\n")
