"""Who was kept out is told with how often, why, and the file and line that say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.model.settings import MeshSettings
from plait.run import offline
from plait.run.refusals import refusals
from plait.sources.store import Store
from plait.telemetry.queries import Group, Measured, Signals

BANK = "bank.money.svc.cluster.local"
RULE = "ns[money]-policy[{}]-rule[{}]"
WRITTEN = """\
apiVersion: v1
kind: Service
metadata: {name: bank, namespace: money}
spec: {selector: {app: bank}, ports: [{port: 80, name: http}]}
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {name: bank, namespace: money, labels: {app: bank, version: v1}}
spec: {command: [bank], ports: [{name: http, port: 80}], readiness: {http: {path: /, port: 80}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: money}
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: clerks, namespace: money}
spec:
  selector: {matchLabels: {app: bank}}
  rules:
    - from: [{source: {principals: [cluster.local/ns/money/sa/clerk]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: shut, namespace: money}
spec:
  action: DENY
  rules:
    - to: [{operation: {methods: [DELETE]}}]
    - to: [{operation: {paths: [/vault]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: money}
spec:
  action: CUSTOM
  provider: {name: guard}
  rules:
    - to: [{operation: {paths: [/ask]}}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: badges, namespace: money}
spec:
  jwtRules:
    - issuer: town
      jwksUri: http://keys.money:80/
"""


def group(reason: str, source: str = "guest", destination: str = "bank", version: str = "v1") -> Group:
    return Group(
        service=BANK,
        source_namespace="shop" if source else "",
        source_workload=source,
        destination_namespace="money",
        destination_workload=destination,
        destination_version=version,
        reason=reason,
    )


def told(
    folder: Path, *groups: tuple[Group, int], text: str = WRITTEN
) -> list[tuple[str, int, str, str, int]]:
    """Source, requests, reason, what says it and its line."""
    (folder / "money.yaml").write_text(text)
    read = offline.read([folder], MeshSettings())
    found = Measured(
        start=0, end=60, heard=50, groups={one: Signals(refused=number / 50) for one, number in groups}
    )
    return [
        (
            one.source,
            one.requests,
            one.reason,
            f"{one.written.object} {one.written.field}" if one.written else "",
            one.written.line if one.written else 0,
        )
        for one in refusals(found, read.mesh, offline.replicas(read.mesh), read.store)
    ]


def line(text: str, nth: int = 1) -> int:
    """Of the nth line that has this in it."""
    return [number for number, one in enumerate(WRITTEN.splitlines(), 1) if text in one][nth - 1]


def test_each_is_told_with_its_rule_and_the_most_first(tmp_path: Path) -> None:
    assert told(
        tmp_path,
        (group(RULE.format("shut", 1)), 3),
        (group("no ALLOW rule holds", source=""), 40),
        (group(RULE.format("shut", 0)), 7),
        (group("upgrade_failed"), 0),
    ) == [
        (
            "",
            40,
            "no rule of AuthorizationPolicy money/clerks or money/nothing allows it",
            "AuthorizationPolicy money/clerks spec.rules",
            line("  rules:"),
        ),
        (
            "guest",
            7,
            "rules[0] of AuthorizationPolicy money/shut denies it",
            "AuthorizationPolicy money/shut spec.rules[0]",
            line("DELETE"),
        ),
        (
            "guest",
            3,
            "rules[1] of AuthorizationPolicy money/shut denies it",
            "AuthorizationPolicy money/shut spec.rules[1]",
            line("/vault"),
        ),
    ]


@pytest.mark.parametrize(
    ("reason", "words", "written", "at"),
    [
        (
            RULE.format("ask", 0),
            "rules[0] of AuthorizationPolicy money/ask names it, and nobody can be asked about it here",
            "AuthorizationPolicy money/ask spec.rules[0]",
            line("/ask"),
        ),
        (
            "ext_authz_denied",
            "the authorizer says no",
            "AuthorizationPolicy money/ask spec.rules",
            line("/ask") - 1,
        ),
        (
            "jwt_authn_access_denied{Jwt_is_expired}",
            "its token has expired",
            "RequestAuthentication money/badges spec.jwtRules[0]",
            line("issuer"),
        ),
        (
            RULE.format("gone", 2),
            "rules[2] of AuthorizationPolicy money/gone denied it, and is over it no more",
            "AuthorizationPolicy money/gone spec.rules[2]",
            0,
        ),
        ("", "its proxy does not say why", "", 0),
    ],
)
def test_of_what_can_have_said_it_the_only_one_is_named(
    tmp_path: Path, reason: str, words: str, written: str, at: int
) -> None:
    assert told(tmp_path, (group(reason), 1)) == [("guest", 1, words, written, at)]


def test_of_several_that_can_have_said_it_none_is_named(tmp_path: Path) -> None:
    twice = WRITTEN.replace(
        "    - issuer: town\n",
        "    - issuer: country\n      jwksUri: http://keys.money:80/\n    - issuer: town\n",
    )
    expired = "jwt_authn_access_denied{Jwt_is_expired}"
    (one,) = told(tmp_path, (group(expired), 1), text=twice)
    assert one[3] == "RequestAuthentication money/badges spec.jwtRules"
    other = "\n---\n" + WRITTEN.rpartition("---\n")[2].replace("badges", "passes")
    (one,) = told(tmp_path, (group(expired), 1), text=WRITTEN + other)
    assert one[3:] == ("", 0)


def test_who_was_kept_out_of_what_is_no_more_is_told_all_the_same(tmp_path: Path) -> None:
    known, unknown = group("no ALLOW rule holds"), group("no ALLOW rule holds", version="v0")
    assert [reason for _, _, reason, _, _ in told(tmp_path, (known, 2), (unknown, 1))][
        1
    ] == "no ALLOW rule let it in"
    (one,) = refusals(
        Measured(start=0, end=60, heard=60, groups={known: Signals(refused=1)}), None, (), Store()
    )
    assert (one.requests, one.destination, one.written) == (60, "bank", None)


def test_where_no_rule_holds_some_policies_are_named_and_the_narrowest_alone_is_where_one_is_written(
    tmp_path: Path,
) -> None:
    nothing = "\n---\n" + WRITTEN.split("---\n")[2]
    wide = WRITTEN + nothing.replace("nothing", "never") + nothing.replace("nothing", "none")
    (one,) = told(tmp_path, (group("no ALLOW rule holds"), 1), text=wide)
    assert one[2:4] == (
        "no rule of AuthorizationPolicy money/clerks, money/never, money/none or 1 more allows it",
        "AuthorizationPolicy money/clerks spec.rules",
    )
    (one,) = told(
        tmp_path,
        (group("no ALLOW rule holds"), 1),
        text=wide.replace("{app: bank}}\n  rules", "{app: safe}}\n  rules"),
    )
    assert one[2:] == (
        "no rule of AuthorizationPolicy money/never, money/none or money/nothing allows it",
        "",
        0,
    )
