"""Names are found through files that change under their readers: no name that stays is ever missing."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from plait.link.messages import HostAddress
from plait.local.network.names import Names, base, lines, merged, resolv_conf
from plait.model.settings import OutboundTrafficPolicy as Policy

RESERVATIONS = HostAddress(host="reservations.bistro.svc.cluster.local", address="240.1.2.3")
ORACLE = HostAddress(host="api.example.com", address="240.9.9.9")


def test_a_service_is_found_by_its_short_name_in_its_own_namespace_alone() -> None:
    full = "reservations.bistro reservations.bistro.svc reservations.bistro.svc.cluster.local"
    assert list(lines((RESERVATIONS,), "bistro")) == [f"240.1.2.3 reservations {full}"]
    assert list(lines((RESERVATIONS, ORACLE), "shop")) == [f"240.1.2.3 {full}", "240.9.9.9 api.example.com"]


ENTRIES = st.lists(st.from_regex(r"240\.0\.0\.[0-9] [a-z]{1,12}", fullmatch=True), unique=True, max_size=8)


@given(st.lists(ENTRIES, min_size=2, max_size=6))
def test_whoever_reads_between_two_writes_finds_every_line_that_is_in_both(versions: list[list[str]]) -> None:
    text = merged(base(Policy.REGISTRY_ONLY), versions[0])
    for before, after in itertools.pairwise(versions):
        new = merged(text, after)
        assert len(new) >= len(text), "a file that shrinks could be read past its end"
        for line in set(before) & set(after):
            start = text.index(line + "\n") if line + "\n" in text else text.index(line + " ")
            assert new[start : start + len(line)] == line
        found = {line.strip() for line in new.splitlines()}
        assert set(after) <= found
        assert not (set(before) - set(after)) & found
        text = new


def test_what_is_written_in_place_is_the_same_file(tmp_path: Path) -> None:
    names = Names(tmp_path, Policy.REGISTRY_ONLY)
    names.prepare("bistro")
    inode = names.hosts("bistro").stat().st_ino
    names.tell((RESERVATIONS, ORACLE))
    assert "240.1.2.3 reservations " in names.hosts("bistro").read_text()
    names.tell((ORACLE,))
    assert "reservations" not in names.hosts("bistro").read_text()
    assert "api.example.com" in names.hosts("bistro").read_text()
    assert names.hosts("bistro").stat().st_ino == inode


def test_the_next_agent_tells_those_that_the_last_one_started(tmp_path: Path) -> None:
    Names(tmp_path, Policy.REGISTRY_ONLY).prepare("bistro")
    next_agent = Names(tmp_path, Policy.REGISTRY_ONLY)
    next_agent.tell((RESERVATIONS,))
    assert "240.1.2.3 reservations " in next_agent.hosts("bistro").read_text()


def test_another_policy_has_files_of_its_own(tmp_path: Path) -> None:
    shut, wide = (Names(tmp_path, policy) for policy in Policy)
    assert {shut.resolv_conf, shut.hosts("bistro")}.isdisjoint({wide.resolv_conf, wide.hosts("bistro")})
    for names in (shut, wide):
        names.prepare("bistro")
    assert "nameserver" not in shut.resolv_conf.read_text()
    assert "nameserver" in wide.resolv_conf.read_text()


def test_other_names_are_asked_for_only_where_the_mesh_is_open() -> None:
    assert "nameserver" not in resolv_conf(Policy.REGISTRY_ONLY)
    assert "nameserver 198.19.0.3\n" in resolv_conf(Policy.ALLOW_ANY)
