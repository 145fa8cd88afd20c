"""admission: policies over connections as one expression.  tests/envoy/test_transparent.py has Envoy evaluate them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest

from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy.filters.admission import expression, extension
from plait.envoy.filters.networks import pattern
from plait.envoy.filters.rules import at_tcp
from plait.model.catalog import Protocol
from plait.model.mesh import InboundPort
from plait.model.policy import (
    Action,
    Attribute,
    AuthorizationPolicy,
    Condition,
    Operation,
    PolicyRule,
    Source,
)
from tests.compiler.facts import SETTINGS, allows, listens, policy, principal, replica, workload

DATABASE = workload("database", listens(5432, Protocol.TCP))
PEER = "(connection.mtls ? connection.uri_san_peer_certificate : '')"
FRONTEND = f"({PEER} in ['spiffe://cluster.local/ns/bistro/sa/frontend'])"
ALLOW, DENY = Action.ALLOW, Action.DENY


def guarded(*policies: AuthorizationPolicy) -> InboundPort:
    return view(merge((DATABASE, *policies), SETTINGS)[0], replica(DATABASE)).inbound[0]


def said(*rules: PolicyRule, action: Action = ALLOW) -> str:
    return expression(guarded(policy("policy", action, *rules)))


def test_without_policies_everybody_is_let_in_and_an_empty_one_shuts_all_out() -> None:
    assert expression(guarded()) == "true"
    assert said() == "false"
    assert said(action=DENY) == "true"
    assert said(allows()) == "true"
    assert said(allows(), action=DENY) == "false"


def test_denying_comes_before_allowing() -> None:
    both = guarded(
        policy("allow", ALLOW, allows(principal("frontend"))),
        policy("deny", DENY, allows(principal("frontend"))),
    )
    assert expression(both) == f"(!{FRONTEND} && {FRONTEND})"
    assert said(allows(principal("frontend")), action=DENY) == f"!{FRONTEND}"


def test_any_rule_and_any_source_will_do_and_all_parts_of_a_source_must_hold() -> None:
    narrow = Source(principals=("*",), not_namespaces=("market",))
    assert said(allows(principal("frontend"), narrow), allows(principal("frontend"), index=1)) == (
        f"(({FRONTEND} || (({PEER} != '') && !{PEER}.contains('/ns/market/sa/'))) || {FRONTEND})"
    )


@pytest.mark.parametrize(
    ("operation", "allowed", "denied"),
    [
        (Operation(ports=(5432,)), "true", "false"),
        (Operation(ports=(80,)), "false", "true"),
        (Operation(not_ports=(5432,)), "false", "true"),
        (Operation(methods=("GET",)), "false", "false"),
        (Operation(not_paths=("/x",), ports=(5432,)), "false", "false"),
        (Operation(not_paths=("/x",), ports=(80,)), "false", "true"),
    ],
)
def test_what_a_rule_says_of_http_allows_nothing_and_denies_without_being_looked_at(
    operation: Operation, allowed: str, denied: str
) -> None:
    assert said(allows(operations=[operation])) == allowed
    assert said(allows(operations=[operation]), action=DENY) == denied


def test_nothing_that_a_user_writes_can_end_a_text_or_the_format_around_it() -> None:
    text = said(allows(Source(principals=("a' || true)% %CEL(\\",))))
    assert text.count("'") == 4
    assert "%" not in text
    assert "\\U00000027" in text


def test_more_than_envoy_can_parse_lets_nobody_in() -> None:
    many = Source(principals=tuple(f"cluster.local/ns/{number}/sa/{'x' * 60}" for number in range(1200)))
    assert len(said(allows(many))) > 90_000
    body = extension(guarded(policy("policy", ALLOW, allows(many)))).typed_config.value
    assert b"%CEL(false ? 'inbound|5432||' : '')%" in body


def test_what_is_asked_of_addresses_and_names_is_asked_of_texts() -> None:
    assert said(allows(Source(ip_blocks=("10.0.0.0/8",), not_remote_ip_blocks=("10.1.2.3/32",)))) == (
        "(source.address.matches('\\U0000005e10\\U0000005c.')"
        " && !source.address.matches('\\U0000005e10\\U0000005c.1\\U0000005c.2\\U0000005c.3:'))"
    )
    named = Condition(attribute=Attribute.SERVER_NAME, values=("*.b", "a"), not_values=("*",))
    assert said(replace(allows(), conditions=(named,))) == (
        "(((connection.requested_server_name in ['a']) || connection.requested_server_name.endsWith('.b'))"
        " && !(connection.requested_server_name != ''))"
    )


@pytest.mark.parametrize(
    "network",
    [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.16.0.0/12",
        "10.0.0.128/25",
        "1.2.3.4/32",
        "128.0.0.0/1",
        "1.2.3.4/30",
        "1.2.0.0/15",
    ],
)
def test_a_pattern_is_for_the_addresses_of_its_network(network: str) -> None:
    found = pattern(network)
    assert found is not None
    inside = ip_network(network)
    edges = (inside[0], inside[-1], *(edge for edge in _around(inside)))
    for address in (*edges, ip_address("10.17.2.3"), ip_address("100.1.2.3"), ip_address("1.2.3.40")):
        assert bool(re.search(found, f"{address}:{4711}")) is (address in inside), address


def _around(network: IPv4Network | IPv6Network) -> Iterator[IPv4Address | IPv6Address]:
    """The addresses right before and after it."""
    for number in (int(network[0]) - 1, int(network[-1]) + 1):
        if 0 <= number < 2**32:
            yield ip_address(number)


def test_no_caller_is_of_a_network_of_ipv6() -> None:
    assert pattern("::/0") is None
    assert said(allows(Source(ip_blocks=("::/0",)))) == "false"
    assert said(allows(Source(not_ip_blocks=("::/0",)))) == "true"


def test_what_decides_nothing_is_not_asked_and_custom_denies() -> None:
    dry = replace(policy("dry", DENY, allows()), dry_run=True)
    assert expression(guarded(dry, policy("audit", Action.AUDIT, allows()))) == "true"
    assert expression(guarded(replace(policy("dry"), dry_run=True))) == "true"
    assert said(allows(), action=Action.CUSTOM) == "false"
    assert said(allows(operations=[Operation(ports=(80,))]), action=Action.CUSTOM) == "true"


def test_a_rule_at_a_port_of_tcp_is_what_connections_have() -> None:
    both = Source(namespaces=("bistro",), request_principals=("*",))
    claims = Condition(attribute=Attribute.CLAIM, path=("a",), values=("b",))
    caller = Condition(attribute=Attribute.SOURCE_IP, values=("10.0.0.0/8",))
    here, http = Operation(ports=(5432,)), Operation(methods=("GET",))
    rule = replace(allows(both, principal("web"), operations=[here, http]), conditions=(caller,))
    assert at_tcp(rule, ALLOW, 5432) == replace(rule, sources=(principal("web"),), operations=())
    assert at_tcp(rule, DENY, 5432) == replace(
        rule, sources=(Source(namespaces=("bistro",)), principal("web")), operations=()
    )
    assert at_tcp(rule, ALLOW, 80) is None
    asking = replace(rule, conditions=(caller, claims))
    assert at_tcp(asking, ALLOW, 5432) is None
    denied = at_tcp(asking, DENY, 5432)
    assert denied is not None
    assert denied.conditions == (caller,)
