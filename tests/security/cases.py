"""The table: who asks for what under which policies, and what comes of it, written by hand from Istio's reference.

A file of cases/ is a theme, a list of groups.  A group is some policies (each with `name`, perhaps `in`, its namespace,
and `annotations`; the rest is its spec; `kind` and `object` make it something else than an AuthorizationPolicy) and what
is asked under them.  Each request is a case:

    as       who asks (CALLERS); web when nothing is said
    ask      METHOD /path; GET / when nothing is said
    port     8080 when nothing is said; 8090 takes plain text as well; `tcp: true` is port 9000 or 9001, and no HTTP
    host, headers, sni, from (an address of 127.0.0.0/8)
    claims   of a token that is really signed (`forged: true`: by somebody else); in these files anybody's tokens are
             verified, unless a RequestAuthentication is among the policies, which then does it or, where it does not,
             leaves a token `unseen: true`
    then     allowed; NAME[RULE] of the policy that denies (NAMESPACE/NAME[RULE] elsewhere than in shop); none: no
             ALLOW rule holds; closed: nobody gets as far as policy; token: a token does not hold
    seen     by the policies that only watch: what they would have done, in the same words
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plait import dialects
from plait.model.catalog import Protocol
from plait.model.change import Stated
from plait.model.reading import Fact
from plait.sources.files.parse import parse
from tests.compiler.facts import listens, port, service, workload
from tests.security.issuer import ISSUER

NAMESPACE = "shop"
CALLERS = {
    "web": "cluster.local/ns/shop/sa/web",
    "api": "cluster.local/ns/shop/sa/api",
    "bot": "cluster.local/ns/ops/sa/bot",
    "dev": "cluster.local/ns/dev-eu/sa/dev",
    "other-web": "cluster.local/ns/ops/sa/web",
    "nobody": "",
}
HTTP_PORTS = (8080, 8081, 8090)
CLEAR_PORT = 8090
TCP_PORTS = (9000, 9001)
PAYMENTS = workload(
    "payments",
    *(listens(one) for one in HTTP_PORTS),
    *(listens(one, Protocol.TCP) for one in TCP_PORTS),
    namespace=NAMESPACE,
)
_BASE: tuple[Fact, ...] = (
    PAYMENTS,
    workload("orders", listens(8080), namespace=NAMESPACE),
    *(workload(name, namespace=NAMESPACE) for name in ("web", "api")),
    *(workload(name, namespace="ops") for name in ("bot", "web")),
    workload("dev", namespace="dev-eu"),
    service("payments", port(80, target=8080), namespace=NAMESPACE),
    service("ledger", port(81, target=8081), app="payments", namespace=NAMESPACE),
    service("orders", namespace=NAMESPACE),
)
_CLEAR = {
    "kind": "PeerAuthentication",
    "name": "clear",
    "selector": {"matchLabels": {"app": "payments"}},
    "portLevelMtls": {str(CLEAR_PORT): {"mode": "PERMISSIVE"}},
}
_VERSION = "security.istio.io/v1"
_RULE = re.compile(r"(?:(?P<namespace>[^/]+)/)?(?P<name>[^/\[]+)\[(?P<rule>\d+)\]\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request; `then` and `seen` as in the file."""

    who: str
    method: str
    path: str
    host: str
    headers: Mapping[str, str]
    port: int
    tcp: bool
    sni: str
    address: str
    claims: Mapping[str, Any] | None
    forged: bool
    unseen: bool
    then: str
    seen: str

    @property
    def caller(self) -> str:
        return f"spiffe://{CALLERS[self.who]}" if CALLERS[self.who] else ""

    @property
    def denied_by(self) -> str:
        """The name of the rule that denies, as Envoy knows it; empty when none does."""
        return rule(self.then)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Policies, and what is asked under them."""

    theme: str
    title: str
    policies: tuple[Mapping[str, Any], ...]
    cases: tuple[Case, ...]

    @property
    def verifies(self) -> bool:
        """Whether a RequestAuthentication says whose tokens hold."""
        return any(one.get("kind") == "RequestAuthentication" for one in self.policies)

    def facts(self) -> tuple[Fact, ...]:
        """The mesh that the policies are over."""
        return (*_BASE, *(fact for one in (_CLEAR, *self.policies) for fact in _facts(one)))


def rule(text: str) -> str:
    """`NAME[RULE]` as Envoy knows it; empty for any other word."""
    found = _RULE.match(text)
    return (
        f"ns[{found['namespace'] or NAMESPACE}]-policy[{found['name']}]-rule[{found['rule']}]"
        if found
        else ""
    )


def groups() -> tuple[Group, ...]:
    """All of them, in the order of the files."""
    return tuple(
        Group(
            theme=file.stem,
            title=one["title"],
            policies=tuple(one["policies"]),
            cases=tuple(_case(dict(request)) for request in one["requests"]),
        )
        for file in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
        for one in yaml.safe_load(file.read_text())
    )


def _case(said: dict[str, Any]) -> Case:
    tcp = said.pop("tcp", False)
    method, _, path = said.pop("ask", "GET /").partition(" ")
    case = Case(
        who=said.pop("as", "web"),
        method=method,
        path=path,
        host=said.pop("host", "payments"),
        headers=said.pop("headers", {}),
        port=said.pop("port", (TCP_PORTS if tcp else HTTP_PORTS)[0]),
        tcp=tcp,
        sni=said.pop("sni", ""),
        address=said.pop("from", "127.0.0.1"),
        claims=said.pop("claims", None),
        forged=said.pop("forged", False),
        unseen=said.pop("unseen", False),
        then=said.pop("then"),
        seen=said.pop("seen", ""),
    )
    assert not said, said
    assert case.then in {"allowed", "none", "closed", "token"} or case.denied_by, case.then
    return case


def _facts(policy: Mapping[str, Any]) -> tuple[Fact, ...]:
    said = dict(policy)
    kind = said.pop("kind", "AuthorizationPolicy")
    document = {
        "apiVersion": _VERSION,
        "kind": kind,
        "metadata": {
            "name": said.pop("name"),
            "namespace": said.pop("in", NAMESPACE),
            "annotations": said.pop("annotations", {}),
        },
        "spec": said,
    }
    text = json.dumps(document).replace('"JWKS"', json.dumps(ISSUER.jwks()))
    change = parse("in.yaml", text.encode())
    assert isinstance(change, Stated), change
    (located,) = change.documents
    return dialects.read(located.document).facts
