"""Whom proxies call themselves: that those are there, are seen, and are one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.model.authentication import KeysAt
from plait.model.authorizer import Authorizer, MeshConfig
from plait.model.catalog import Protocol
from plait.model.mesh import InboundPort
from plait.model.policy import Action, AuthorizationPolicy, Source
from plait.model.reading import Fact
from tests.compiler.facts import (
    NS,
    SETTINGS,
    allows,
    listens,
    origin,
    policy,
    port,
    replica,
    service,
    workload,
)
from tests.dialects.reading import reading

WEB = workload("web", listens(8080), listens(9090))
KEYS = workload("keys", listens(80), listens(90, Protocol.GRPC), listens(5432, Protocol.TCP))
MESH: tuple[Fact, ...] = (
    WEB,
    KEYS,
    service("web"),
    service("other", port(9090), app="web"),
    service("keys", port(80), port(90, Protocol.GRPC), port(5432, Protocol.TCP)),
)
OKP = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'


def users(*rules: dict[str, Any], name: str = "users", namespace: str = NS, **spec: Any) -> tuple[Fact, ...]:
    document = {
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"jwtRules": list(rules), **spec},
    }
    return reading(json.dumps(document)).facts


def compiled(*more: Fact) -> tuple[tuple[InboundPort, ...], list[tuple[str, str]]]:
    """The ports of web, and what is found: (object, code)."""
    mesh, findings = merge((*MESH, *more), SETTINGS)
    found = [
        (one.ref.name, one.code)
        for one in findings
        if one.ref and one.ref.kind != "Service" and not one.code.startswith("policy.tcp-")
    ]
    return view(mesh, replica(WEB)).inbound, found


def issuers(port: InboundPort) -> list[tuple[str, bool]]:
    """Whose tokens are taken, and whether there are keys for them."""
    return [(rule.issuer, rule.keys is not None) for rule in port.tokens]


def sidecar(*hosts: str) -> tuple[Fact, ...]:
    document = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": "it", "namespace": NS},
        "spec": {"egress": [{"hosts": list(hosts)}]},
    }
    return reading(json.dumps(document)).facts


FETCHED = {"issuer": "a", "jwksUri": "http://keys/keys"}
GIVEN = {"issuer": "b", "jwks": OKP}


def test_all_rules_over_a_workload_hold_together() -> None:
    (first, second), found = compiled(
        *users(FETCHED),
        *users(GIVEN, name="some", selector={"matchLabels": {"app": "web"}}),
        *users({"issuer": "c", "jwks": OKP}, name="others", selector={"matchLabels": {"app": "other"}}),
        *users({"issuer": "d", "jwks": OKP}, name="all", namespace="istio-system"),
        *users({"issuer": "e", "jwks": OKP}, name="elsewhere", namespace="market"),
    )
    assert issuers(first) == issuers(second) == [("b", True), ("a", True), ("d", True)]
    assert found == [("others", "policy.no-workloads")]


def test_a_rule_for_a_service_holds_where_that_leads() -> None:
    (first, second), found = compiled(
        *users(GIVEN, targetRefs=[{"kind": "Service", "name": "other"}]),
        *users(FETCHED, name="nobodys", targetRefs=[{"kind": "Service", "name": "nobody"}]),
    )
    assert (issuers(first), issuers(second)) == ([], [("b", True)])
    assert found == [("nobodys", "policy.unknown-target")]


@pytest.mark.parametrize(
    "uri", ["http://nobody/keys", "http://keys:81/keys", "http://keys:5432/keys", "http://keys.market/keys"]
)
def test_keys_that_nobody_has_are_told_and_there_are_none(uri: str) -> None:
    (first, _), found = compiled(*users({"issuer": "a", "jwksUri": uri}))
    assert (issuers(first), found) == ([("a", False)], [("users", "token.keys-unreachable")])


@pytest.mark.parametrize("name", ["keys", "keys.bistro", "keys.bistro.svc", "KEYS.bistro.svc.cluster.local."])
def test_a_service_has_its_keys_under_each_of_its_names(name: str) -> None:
    (first, _), found = compiled(*users({"issuer": "a", "jwksUri": f"http://{name}:80/k?a=b"}))
    keys = first.tokens[0].keys
    assert (keys, found) == (KeysAt(host="keys.bistro.svc.cluster.local", port=80, path="/k?a=b"), [])


def test_keys_that_a_workload_doesn_t_see_are_told_and_there_are_none_for_it() -> None:
    (first, _), found = compiled(*users(FETCHED), *sidecar("./web"))
    assert (issuers(first), found) == ([("a", False)], [("users", "token.keys-hidden")])
    (first, _), found = compiled(*users(FETCHED), *sidecar("./keys"))
    assert (issuers(first), found) == ([("a", True)], [])


def authorizer(name: str = "checks", **changes: Any) -> Authorizer:
    one = Authorizer(
        name=name,
        grpc=False,
        host="keys.bistro.svc.cluster.local",
        port=80,
        origin=origin("IstioOperator", "it"),
    )
    return replace(one, **changes)


def config(*authorizers: Authorizer, name: str = "it", **fields: Any) -> MeshConfig:
    return MeshConfig(
        namespace=NS, name=name, authorizers=authorizers, origin=origin("IstioOperator", name), **fields
    )


def custom(provider: str = "checks", name: str = "custom", app: str = "web") -> AuthorizationPolicy:
    return replace(policy(name, Action.CUSTOM, allows(), app=app), provider=provider)


def test_a_provider_that_is_known_and_seen_is_asked() -> None:
    (first, _), found = compiled(config(authorizer()), custom(), custom(name="too"))
    assert (first.authorizer, found) == (authorizer(), [])
    assert [one.action for one in first.policies] == [Action.CUSTOM] * 2
    same = (config(authorizer()), config(authorizer(origin=origin("IstioOperator", "too")), name="too"))
    (first, _), found = compiled(*same, custom())
    assert (first.authorizer, found) == (authorizer(), [])


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ((custom(),), ("custom", "policy.unknown-provider")),
        ((config(authorizer("other")), custom()), ("custom", "policy.unknown-provider")),
        ((config(unread=("checks",)), custom()), ("custom", "policy.unknown-provider")),
        ((config(authorizer(port=81)), custom()), ("it", "provider.unreachable")),
        ((config(authorizer(port=5432)), custom()), ("it", "provider.unreachable")),
        ((config(authorizer(grpc=True)), custom()), ("it", "provider.unreachable")),
        ((config(authorizer(host="x.bistro.svc.cluster.local")), custom()), ("it", "provider.unreachable")),
        ((config(authorizer()), custom(), *sidecar("./web")), ("custom", "policy.hidden-provider")),
        (
            (config(authorizer()), config(authorizer(fail_open=True), name="too"), custom()),
            ("it", "provider.twice"),
        ),
        (
            (config(authorizer(host="web.bistro.svc.cluster.local", port=8080)), custom()),
            ("custom", "policy.asks-itself"),
        ),
        (
            (config(authorizer(), authorizer("second")), custom(), custom("second", "too")),
            ("too", "policy.providers"),
        ),
    ],
)
def test_where_nobody_can_be_asked_it_is_told_and_denied(
    facts: tuple[Fact, ...], told: tuple[str, str]
) -> None:
    (first, _), found = compiled(*facts)
    assert told in found
    assert first.authorizer is None
    assert {one.action for one in first.policies} == {Action.DENY}


def test_what_is_asked_over_one_workload_is_nothing_to_another() -> None:
    (first, _), found = compiled(
        config(authorizer(), authorizer("second", host="web.bistro.svc.cluster.local", port=8080)),
        custom(),
        custom("second", "too", app="keys"),
    )
    assert (first.authorizer, found) == (authorizer(), [])


def test_another_trust_domain_is_told() -> None:
    assert compiled(config(trust_domain="cluster.local"))[1] == []
    assert compiled(config(trust_domain="other.example"))[1] == [("it", "meshconfig.trust-domain")]


def test_aliases_of_a_mesh_config_are_those_of_the_mesh() -> None:
    given = replace(SETTINGS, trust_domain_aliases=("older",))
    facts = (*MESH, policy("allow", Action.ALLOW, allows(Source(principals=("old/ns/x/sa/y",))), app="web"))
    mesh, _ = merge((*facts, config(trust_domain_aliases=("old",))), given)
    assert view(mesh, replica(WEB)).settings.trust_domains == (SETTINGS.trust_domain, "older", "old")
    assert len(mesh.policies[0].rules[0].sources[0].principals) == 3
    silent, naming = config(name="a"), config(name="b", trust_domain_aliases=("old",))
    mesh, found = merge((*MESH, silent, naming), SETTINGS)
    assert mesh.settings.trust_domain_aliases == ("old",)
    assert not [one for one in found if one.code == "meshconfig.said-twice"]


def test_aliases_that_differ_are_told() -> None:
    assert compiled(config(trust_domain_aliases=("old",)))[1] == []
    two = (config(trust_domain_aliases=("old",)), config(name="too", trust_domain_aliases=("older",)))
    assert ("too", "meshconfig.said-twice") in compiled(*two)[1]
