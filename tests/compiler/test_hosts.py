"""hosts: the most specific that is said of a host is found."""

from hypothesis import given
from hypothesis import strategies as st

from plait.compiler.hosts import ByHost, covers, is_wildcard

names = st.text("ab.", max_size=5)


@given(st.sets(st.one_of(names, names.map("*{}".format))), names)
def test_a_host_is_found_before_the_longest_wildcard_that_covers_it(entries: set[str], host: str) -> None:
    wildcards = [one for one in entries if is_wildcard(one) and covers(one, host)]
    expected = host if host in entries else max(wildcards, key=len, default=None)
    assert ByHost.of({one: one for one in entries}).get(host) == expected
