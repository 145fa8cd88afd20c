"""Principals of policies, in a mesh whose trust domain has aliases or another name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plait.compiler.merge import merge
from plait.compiler.trust_domains import principals
from plait.model.policy import Action, Attribute, Condition, Source
from plait.model.settings import MeshSettings
from tests.compiler.facts import allows, policy, workload

DOMAINS = ("new", "old")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("new/ns/a/sa/b", ("new/ns/a/sa/b", "old/ns/a/sa/b")),
        ("old/ns/a/sa/b", ("new/ns/a/sa/b", "old/ns/a/sa/b")),
        ("cluster.local/ns/a/sa/b", ("new/ns/a/sa/b", "old/ns/a/sa/b")),
        ("other/ns/a/sa/b", ("other/ns/a/sa/b",)),
        ("old/ns/a/*", ("new/ns/a/*", "old/ns/a/*")),
        ("*", ("*",)),
        ("*/ns/a/sa/b", ("*/ns/a/sa/b",)),
        ("*ld/ns/a/sa/b", ("*ld/ns/a/sa/b", "new/ns/a/sa/b")),
        ("*other/ns/a/sa/b", ("*other/ns/a/sa/b",)),
    ],
)
def test_a_principal_is_said_for_every_trust_domain_that_means_the_same(
    value: str, expected: tuple[str, ...]
) -> None:
    assert principals((value,), DOMAINS) == expected


def test_policies_are_about_the_mesh_and_its_aliases_however_they_name_them() -> None:
    source = Source(principals=("cluster.local/ns/bistro/sa/a",), not_principals=("old/ns/bistro/sa/a",))
    facts = (
        workload("a"),
        policy("one", Action.ALLOW, allows(source), app="a"),
        policy("two", Action.DENY, allows(Source(principals=("elsewhere/ns/bistro/sa/a",))), app="a"),
    )
    mesh, findings = merge(facts, MeshSettings(trust_domain="new", trust_domain_aliases=("old",)))
    (one,), (two,) = ([rule.sources[0] for rule in policy.rules] for policy in mesh.policies)
    both = ("new/ns/bistro/sa/a", "old/ns/bistro/sa/a")
    assert (one.principals, one.not_principals) == (both, both)
    assert two.principals == ("elsewhere/ns/bistro/sa/a",)
    assert [(one.code, "elsewhere" in one.message) for one in findings] == [
        ("policy.unknown-principal", True)
    ]


def test_conditions_are_about_all_of_them_too() -> None:
    asked = Condition(attribute=Attribute.PRINCIPAL, values=("old/ns/a/sa/b",), not_values=("new/ns/a/sa/c",))
    other = Condition(attribute=Attribute.HEADER, path=("x-from",), values=("old/ns/a/sa/b",))
    rule = replace(allows(), conditions=(asked, other))
    mesh, _ = merge(
        (workload("a"), policy("one", Action.DENY, rule, app="a")),
        MeshSettings(trust_domain="new", trust_domain_aliases=("old",)),
    )
    first, second = mesh.policies[0].rules[0].conditions
    assert first.values == ("new/ns/a/sa/b", "old/ns/a/sa/b")
    assert first.not_values == ("new/ns/a/sa/c", "old/ns/a/sa/c")
    assert second == other


def test_a_mesh_without_aliases_keeps_the_very_same_policies() -> None:
    one = policy("one", Action.ALLOW, allows(Source(principals=("cluster.local/ns/a/sa/b",))), app="a")
    mesh, _ = merge((workload("a"), one), MeshSettings())
    assert mesh.policies[0] is one
