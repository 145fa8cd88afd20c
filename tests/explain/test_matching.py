"""matching: what policies are rendered as, and what nobody knows."""

from collections.abc import Callable
from typing import Any

import pytest

from plait.envoy import api
from plait.explain.matching import permission, principal, regex
from plait.explain.request import Request, UnknownError

ASKED = Request(
    caller="spiffe://td/ns/a/sa/b",
    address="10.0.0.1",
    destination="10.0.0.2",
    port=80,
    sni="a.example",
    host="A.example",
    path="/x/y?z",
    headers={"x-a": "one"},
    claims={"iss": "i", "list": ["a", "b"], "deep": {"er": "v"}},
)


def permits(**what: Any) -> bool:
    return permission(api.message("envoy.config.rbac.v3.Permission")(**what), ASKED)


def names(**what: Any) -> bool:
    return principal(api.message("envoy.config.rbac.v3.Principal")(**what), ASKED)


def claim(*path: str, invert: bool = False, **value: Any) -> bool:
    keys = [{"key": key} for key in ("payload", *path)]
    matcher = {"filter": "envoy.filters.http.jwt_authn", "path": keys, "value": value, "invert": invert}
    return names(sourced_metadata={"metadata_matcher": matcher})


def header(**what: Any) -> bool:
    return permits(header=what)


def test_headers() -> None:
    assert header(name="x-a", string_match={"exact": "one"})
    assert header(name="X-A", string_match={"exact": "ONE", "ignore_case": True})
    assert not header(name="x-a", string_match={"exact": "one"}, invert_match=True)
    assert header(name="x-a", string_match={"exact": "two"}, invert_match=True)
    assert not header(name="x-b", string_match={"exact": "two"}, invert_match=True), "it is not there"
    assert header(name="x-b", string_match={"exact": ""}, treat_missing_header_as_empty=True)
    assert header(name="x-a", present_match=True)
    assert header(name="x-b", present_match=False)
    assert header(name="x-b", present_match=True, invert_match=True)
    assert header(name=":path", string_match={"exact": "/x/y?z"})
    assert header(name=":authority", string_match={"suffix": ".EXAMPLE", "ignore_case": True})


def test_paths_hosts_ports_addresses_and_names() -> None:
    assert permits(url_path={"path": {"exact": "/x/y"}})
    assert permits(not_rule={"url_path": {"path": {"contains": "z"}}})
    assert permits(destination_ip={"address_prefix": "10.0.0.0", "prefix_len": {"value": 8}})
    assert permits(requested_server_name={"suffix": ".example"})
    assert names(direct_remote_ip={"address_prefix": "10.0.0.1", "prefix_len": {"value": 32}})
    assert not names(direct_remote_ip={"address_prefix": "fd00::", "prefix_len": {"value": 8}})


def test_claims() -> None:
    assert claim("iss", string_match={"exact": "i"})
    assert not claim("list", string_match={"exact": "a"})
    assert claim("list", list_match={"one_of": {"string_match": {"exact": "b"}}})
    assert claim("deep", "er", string_match={"prefix": "v"})
    assert claim("absent", string_match={"exact": "a"}, invert=True)
    assert not claim("iss", "deeper", string_match={"exact": "i"})
    either = [{"string_match": {"exact": "a"}}, {"list_match": {"one_of": {"string_match": {"exact": "a"}}}}]
    assert claim("list", or_match={"value_matchers": either})


def test_what_is_not_known_is_not_guessed() -> None:
    unknown: list[Callable[[], bool]] = [
        permits,
        lambda: permits(any=False),
        lambda: permits(matcher={"name": "other"}),
        lambda: permits(uri_template={"name": "other"}),
        lambda: names(filter_state={"key": "a", "string_match": {"exact": "b"}}),
        lambda: names(metadata={"filter": "envoy.filters.http.jwt_authn", "path": [{"key": "a"}]}),
        lambda: names(remote_ip={"address_prefix": "10.0.0.0", "prefix_len": {"value": 8}}),
        lambda: permits(destination_port=80),
        lambda: claim("iss", double_match={"exact": 1}),
        lambda: header(name="x-a", range_match={"start": 1, "end": 2}),
        lambda: header(name=":scheme", present_match=True),
        lambda: header(name="x-forwarded-for", present_match=True),
        lambda: regex(r"\pN", "1"),
        lambda: regex("(", "1"),
        lambda: principal(
            api.message("envoy.config.rbac.v3.Principal")(
                direct_remote_ip={"address_prefix": "10.0.0.0", "prefix_len": {"value": 8}}
            ),
            Request(port=80),
        ),
    ]
    for one in unknown:
        with pytest.raises(UnknownError):
            one()
