"""plait can: who may, why, and where that is written."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from plait.cli import can

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: shop}
spec:
  selector: {app: payments}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-db, port: 9000}]
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {name: payments-v1, namespace: shop, labels: {app: payments}}
spec: {command: [x], serviceAccount: payments, ports: [{name: http, port: 8080}, {name: tcp-db, port: 9000}]}
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {command: [x], serviceAccount: web-account}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web-account]}}]
  - to: [{operation: {paths: [/team]}}]
    when: [{key: "request.headers[x-team]", values: [red]}]
  - when: [{key: "request.auth.claims[group]", values: [cooks]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: shut, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [/admin*], ports: ["8080"]}}]
  - from: [{source: {ipBlocks: [10.0.0.0/8]}}]
    to: [{operation: {methods: [PUT], ports: ["8080"]}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(WORLD)
    return tmp_path


def asked(folder: Path, *words: str) -> Result:
    app = typer.Typer()
    can.register(app)
    return CliRunner().invoke(app, ["-f", str(folder), *words])


def test_whom_a_rule_allows(folder: Path) -> None:
    result = asked(folder, "shop/web", "shop/payments:80", "POST", "/charge")
    line = WORLD[: WORLD.index("- from: [{source: {principals")].count("\n") + 1
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ALLOWED: shop/web -> shop/payments-v1:8080, POST /charge",
        f"  by AuthorizationPolicy shop/web spec.rules[0] ({folder}/shop.yaml:{line})",
    ]


def test_whom_a_rule_denies(folder: Path) -> None:
    result = asked(folder, "shop/web", "shop/payments:80", "GET", "/x/../admin?y")
    assert result.exit_code == 1
    assert "DENIED: shop/web" in result.stdout
    assert "by AuthorizationPolicy shop/shut spec.rules[0] (" in result.stdout


def test_whom_no_rule_allows(folder: Path) -> None:
    result = asked(folder, "cluster.local/ns/other/sa/bot", "shop/payments-v1:8080")
    line = WORLD[: WORLD.index("apiVersion: security")].count("\n") + 1
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == [
        "  no ALLOW rule holds, of those in",
        f"    AuthorizationPolicy shop/web ({folder}/shop.yaml:{line})",
    ]


def test_headers_and_claims_count(folder: Path) -> None:
    bot = ("cluster.local/ns/other/sa/bot", "shop/payments:80")
    assert asked(folder, *bot, "GET", "/team").exit_code == 1
    assert asked(folder, *bot, "GET", "/team", "--header", "X-Team: red").exit_code == 0
    assert asked(folder, *bot, "--token-claims", '{"group": ["cooks"]}').exit_code == 0


def test_a_port_of_tcp_is_asked_for_a_connection(folder: Path) -> None:
    result = asked(folder, "shop/web", "shop/payments:9000")
    assert (result.exit_code, "a connection" in result.stdout) == (0, True)
    assert asked(folder, "cluster.local/ns/other/sa/bot", "shop/payments:9000").exit_code == 1


def test_who_shows_no_certificate_gets_nowhere(folder: Path) -> None:
    result = asked(folder, "nobody", "shop/payments:80")
    assert (result.exit_code, "no certificate is shown" in result.stdout) == (1, True)


def test_an_address_that_is_not_known_is_not_guessed(folder: Path) -> None:
    put = ("shop/web", "shop/payments:80", "PUT", "/")
    result = asked(folder, *put)
    assert (result.exit_code, "address" in result.stderr) == (2, True)
    assert asked(folder, *put, "--address", "10.1.2.3").exit_code == 1
    assert asked(folder, *put, "--address", "192.0.2.1").exit_code == 0


def test_a_server_name_is_not_guessed(folder: Path) -> None:
    (folder / "sni.yaml").write_text("""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: names, namespace: shop}
spec: {action: DENY, rules: [{when: [{key: connection.sni, values: [a.example]}]}]}
""")
    for port in ("80", "9000"):
        result = asked(folder, "shop/web", f"shop/payments:{port}")
        assert result.exit_code == 2
        assert "server" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("shop/nobody", "shop/payments:80"), "no workload shop/nobody"),
        (("shop/web", "shop/payments"), "name a port of shop/payments: it has 80, 9000"),
        (("shop/web", "shop/payments:81"), "no service and no workload shop/payments has port 81"),
        (("shop/web", "shop/payments:http"), "is no port"),
        (("shop/web", "shop/payments:80", "--header", "x"), "is no header"),
        (("shop/web", "shop/payments:80", "--token-claims", "x"), "no JSON"),
        (("shop/web", "shop/payments:80", "--token-claims", "[]"), "are an object"),
        (("shop/web", "shop/payments:80", "GET", "/{x}"), "not known how Envoy normalises"),
    ],
)
def test_what_can_not_be_asked(folder: Path, words: tuple[str, ...], said: str) -> None:
    result = asked(folder, *words)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_a_program_reads_the_same(folder: Path) -> None:
    result = asked(folder, "shop/web", "shop/payments:80", "GET", "/admin", "-o", "json")
    (verdict,) = json.loads(result.stdout)["verdicts"]
    rule: dict[str, Any] = verdict.pop("rule")
    assert verdict == {
        "asked": "shop/web -> shop/payments-v1:8080, GET /admin",
        "workload": "shop/payments-v1",
        "port": 8080,
        "verdict": "DENIED",
        "why": "a rule",
        "watched": [],
    }
    assert rule["name"] == "ns[shop]-policy[shut]-rule[0]"
    assert (rule["object"], rule["field"]) == ("AuthorizationPolicy shop/shut", "spec.rules[0]")
    assert rule["file"].endswith("shop.yaml")
    assert WORLD.splitlines()[rule["line"] - 1].startswith("  - to: [{operation: {paths: [/admin*]")
