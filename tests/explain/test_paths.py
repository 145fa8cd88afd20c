"""paths: what becomes of a path before policies look at it.  tests/security has Envoy do the same."""

import pytest

from plait.explain.paths import normalised, without_query
from plait.explain.request import UnknownError


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        ("//a///b", "/a/b"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../b", "/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/%61%2D%7e", "/a-~"),
        ("/%2e%2E/b", "/b"),
        ("/a%2fb%2Fc", "/a/b/c"),
        ("/a\\b%5Cc%5cd", "/a/b/c/d"),
        ("/a%20b%3B", "/a%20b%3B"),
        ("/a%2561", "/a%2561"),
        ("/a;x=1", "/a;x=1"),
        ("/a//../b", "/a/b"),
    ],
)
def test_a_path_is_normalised(sent: str, seen: str) -> None:
    assert normalised(sent) == seen


@pytest.mark.parametrize("sent", ["", "a", "*", "/a b", "/a%zz", "/{a}", "/ä", '/"', "/a?b"])
def test_what_is_not_known_is_not_guessed(sent: str) -> None:
    with pytest.raises(UnknownError):
        normalised(sent)


def test_a_query_and_a_fragment_are_no_part_of_it() -> None:
    assert [without_query(one) for one in ("/a?b/c", "/a#b", "/a", "/?x#y")] == ["/a", "/a", "/a", "/"]
