"""Policies: what they say when they can be read, and that they close when they can't."""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Any

import pytest
import yaml

from plait.model.catalog import Labels, selects
from plait.model.names import ObjectRef, Origin
from plait.model.policy import (
    Action,
    Attribute,
    AuthorizationPolicy,
    Condition,
    MtlsMode,
    Operation,
    PeerAuthentication,
    PolicyRule,
    Source,
)
from plait.model.reading import Reading
from tests.dialects.reading import codes, document, fact, reading


def authorization(spec: str) -> Reading:
    return reading(document("security.istio.io/v1", "AuthorizationPolicy", spec))


def policy(spec: str) -> AuthorizationPolicy:
    return fact(authorization(spec), AuthorizationPolicy)


def peers(spec: str) -> Reading:
    return reading(document("security.istio.io/v1", "PeerAuthentication", spec))


def origin(field: str = "") -> Origin:
    return Origin(ObjectRef("security.istio.io", "AuthorizationPolicy", "shop", "it"), field)


def test_a_policy_is_read_whole() -> None:
    read = authorization("""
selector: {matchLabels: {app: payments}}
action: DENY
rules:
- from:
  - source: {principals: [td/ns/a/sa/b, "*"], notNamespaces: [ops]}
  - source: {namespaces: ["dev-*"]}
  to:
  - operation: {methods: [GET], notPaths: [/admin*], ports: ["8080"]}
- {}
""")
    assert read.findings == ()
    assert fact(read, AuthorizationPolicy) == AuthorizationPolicy(
        namespace="shop",
        name="it",
        action=Action.DENY,
        selector=(("app", "payments"),),
        rules=(
            PolicyRule(
                index=0,
                sources=(
                    Source(principals=("td/ns/a/sa/b", "*"), not_namespaces=("ops",)),
                    Source(namespaces=("dev-*",)),
                ),
                operations=(Operation(methods=("GET",), not_paths=("/admin*",), ports=(8080,)),),
                origin=origin("spec.rules[0]"),
            ),
            PolicyRule(index=1, origin=origin("spec.rules[1]")),
        ),
        origin=origin(),
    )


@pytest.mark.parametrize(
    "spec", ["{}", "{action: ALLOW}", "{rules: []}", "{rules: null}", "{selector: null}"]
)
def test_an_empty_policy_allows_nothing(spec: str) -> None:
    read = authorization(spec)
    assert (fact(read, AuthorizationPolicy).action, fact(read, AuthorizationPolicy).rules) == (
        Action.ALLOW,
        (),
    )
    assert read.findings == ()


def test_an_empty_rule_is_everything() -> None:
    assert policy("{rules: [{}]}").rules == (PolicyRule(index=0, origin=origin("spec.rules[0]")),)


def test_service_accounts_are_principals_of_any_trust_domain() -> None:
    (rule,) = policy("{rules: [{from: [{source: {serviceAccounts: [web, ops/bot]}}]}]}").rules
    assert rule.sources == (Source(principals=("*/ns/shop/sa/web", "*/ns/ops/sa/bot")),)
    (rule,) = policy("{rules: [{from: [{source: {notServiceAccounts: [web]}}]}]}").rules
    assert rule.sources == (Source(not_principals=("*/ns/shop/sa/web",)),)


UNREADABLE = [
    ("{from: [{source: {principals: [a], requestPrincipals: [b]}}]}", "policy.request-principal"),
    ("{from: [{source: {requestPrincipals: ['*/*']}}]}", "policy.wildcard"),
    ("{from: [{source: {ipBlocks: [1.2.3.400]}}]}", "policy.address"),
    ("{from: [{source: {ipBlocks: ['*']}}]}", "policy.address"),
    ("{from: [{source: {notIpBlocks: [10.0.0.0/33]}}]}", "policy.address"),
    ("{from: [{source: {remoteIpBlocks: ['::ffff:10.0.0.1']}}]}", "policy.address"),
    ("{from: [{source: {notRemoteIpBlocks: [5]}}]}", "field.type"),
    ("{from: [{source: {principal: [a]}}]}", "field.unknown"),
    ("{from: [{source: {}}]}", "policy.empty"),
    ("{from: [{}]}", "field.type"),
    ("{from: [null]}", "field.type"),
    ("{from: []}", "policy.empty"),
    ("{from: 5}", "field.type"),
    ("{from: {source: {principals: [a]}}}", "field.type"),
    ("{form: [{source: {principals: [a]}}]}", "field.unknown"),
    ("{from: [{source: {principals: []}}]}", "policy.empty"),
    ("{from: [{source: {principals: ['']}}]}", "policy.empty"),
    ("{from: [{source: {principals: a}}]}", "field.type"),
    ("{from: [{source: {principals: [5]}}]}", "field.type"),
    ("{from: [{source: {principals: [spiffe://td/ns/a/sa/b]}}]}", "policy.principal"),
    ("{from: [{source: {principals: [td/*/sa/b]}}]}", "policy.wildcard"),
    ("{from: [{source: {namespaces: ['*a*']}}]}", "policy.wildcard"),
    ("{from: [{source: {serviceAccounts: [A_b]}}]}", "policy.account"),
    ("{from: [{source: {serviceAccounts: [web], namespaces: [a]}}]}", "policy.mixed"),
    ("{to: [{operation: {hosts: [a/b]}}]}", "policy.host"),
    ("{to: [{operation: {hosts: ['*.']}}]}", "policy.host"),
    ("{to: [{operation: {hosts: ['.']}}]}", "policy.host"),
    ("{to: [{operation: {notHosts: ['a.*.b']}}]}", "policy.wildcard"),
    ("{to: [{operation: {method: [GET]}}]}", "field.unknown"),
    ("{to: [{operation: {ports: [8080]}}]}", "field.type"),
    ("{to: [{operation: {ports: ['0']}}]}", "field.range"),
    ("{to: [{operation: {paths: ['/a/{*}*']}}]}", "policy.path-template"),
    ("{to: [{operation: {paths: ['/a/{b}/{*}']}}]}", "policy.path-template"),
    ("{to: [{operation: {paths: ['/{**}/{*}']}}]}", "policy.path-template"),
    ("{to: [{operation: {paths: ['/{**}/{**}']}}]}", "policy.path-template"),
    ("{to: [{operation: {paths: ['{*}']}}]}", "policy.path"),
    ("{to: [{operation: {paths: [/a*b]}}]}", "policy.wildcard"),
    ("{to: [{operation: {}}]}", "policy.empty"),
    ("{when: [{key: source.ip, values: [1.2.3]}]}", "policy.address"),
    ("{when: [{key: source.ip}]}", "policy.empty"),
    ("{when: [{key: source.ip, values: []}]}", "policy.empty"),
    ("{when: []}", "policy.empty"),
    ("{when: {}}", "field.type"),
    ("{when: [5]}", "field.type"),
    ("{when: [{values: [a]}]}", "policy.condition"),
    ("{when: [{key: 5, values: [a]}]}", "field.type"),
    ("{when: [{key: source.name, values: [a]}]}", "policy.condition"),
    ("{when: [{key: 'source.ip[a]', values: [1.2.3.4]}]}", "policy.condition"),
    ("{when: [{key: request.headers, values: [a]}]}", "policy.condition"),
    ("{when: [{key: 'request.headers[]', values: [a]}]}", "policy.condition"),
    ("{when: [{key: 'request.headers[a b]', values: [a]}]}", "policy.condition"),
    ("{when: [{key: 'request.headers[a][b]', values: [a]}]}", "policy.condition"),
    ("{when: [{key: 'request.auth.claims', values: [a]}]}", "policy.condition"),
    ("{when: [{key: 'destination.labels[a]', values: [b]}]}", "policy.condition"),
    ("{when: [{key: 'experimental.envoy.filters.a', values: [b]}]}", "policy.condition"),
    ("{when: [{key: 'experimental.envoy.filters.a[b]', values: ['[*a*]']}]}", "policy.wildcard"),
    ("{when: [{key: destination.port, values: [http]}]}", "field.range"),
    ("{when: [{key: source.serviceAccount, values: [A_b]}]}", "policy.account"),
    ("{when: [{key: source.ip, value: [1.2.3.4]}]}", "field.unknown"),
    (f"{{to: [{{operation: {{paths: [/{'a' * 2048}]}}}}]}}", "policy.length"),
    (f"{{from: [{{source: {{namespaces: [{'a' * 64}*]}}}}]}}", "policy.length"),
    (f"{{when: [{{key: source.namespace, notValues: [{'é' * 32}]}}]}}", "policy.length"),
    ("null", "field.type"),
    ("5", "field.type"),
]


@pytest.mark.parametrize(("rule", "code"), UNREADABLE)
def test_an_allow_rule_that_can_not_be_read_whole_allows_nothing(rule: str, code: str) -> None:
    read = authorization(f"{{rules: [{rule}, {{from: [{{source: {{namespaces: [a]}}}}]}}]}}")
    assert [kept.index for kept in fact(read, AuthorizationPolicy).rules] == [1]
    assert code in [found for _, found in codes(read)]
    assert ("spec.rules[0]", "policy.rule-closed") in codes(read)


@pytest.mark.parametrize(("rule", "code"), UNREADABLE)
def test_a_deny_rule_that_can_not_be_read_whole_denies_more(rule: str, code: str) -> None:
    read = authorization(f"{{action: DENY, rules: [{rule}]}}")
    (kept,) = fact(read, AuthorizationPolicy).rules
    assert all(source != Source() for source in kept.sources)
    assert all(operation != Operation() for operation in kept.operations)
    assert code in [found for _, found in codes(read)]
    assert ("spec.rules[0]", "policy.rule-closed") in codes(read)


def test_of_a_deny_rule_what_can_be_read_still_narrows_it() -> None:
    (rule,) = policy(
        "{action: DENY, rules: [{from: [{source: {namespaces: [a], ipBlocks: [x]}}],"
        " to: [{operation: {paths: [/a], ports: [8080]}}],"
        " when: [{key: x}, {key: source.ip, values: [x]}, {key: 'request.headers[A]', values: [5], notValues: [b]}]}]}"
    ).rules
    assert rule.sources == (Source(namespaces=("a",)),)
    assert rule.operations == (Operation(paths=("/a",)),)
    assert rule.conditions == (Condition(attribute=Attribute.HEADER, path=("a",), not_values=("b",)),)


def test_one_alternative_of_deny_that_can_not_be_read_is_anybody() -> None:
    (rule,) = policy(
        "{action: DENY, rules: [{from: [{source: {namespaces: [a]}}, {source: {ipBlocks: [x]}}]}]}"
    ).rules
    assert rule.sources == ()


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ("{action: ALOW, rules: [{}]}", "field.choice"),
        ("{action: 5, rules: [{}]}", "field.type"),
        ("{acton: DENY, rules: [{}]}", "field.unknown"),
        ("{selecter: {matchLabels: {app: a}}, rules: [{}]}", "field.unknown"),
        ("{selector: {matchLabel: {app: a}}, rules: [{}]}", "field.unknown"),
        ("{selector: {matchLabels: {app: a, b: 5}}, rules: [{}]}", "field.type"),
        ("{selector: {matchLabels: {app: 'a*'}}, rules: [{}]}", "label.invalid"),
        ("{selector: app, rules: [{}]}", "field.type"),
        ("{targetRefs: [{kind: Service, name: a}, {kind: Gateway, name: a}], rules: [{}]}", "policy.target"),
        ("{targetRef: {kind: Gateway, name: a}, rules: [{}]}", "policy.target"),
        ("{targetRefs: [{group: apps, kind: Service, name: a}], rules: [{}]}", "policy.target"),
        ("{targetRefs: [{kind: Service, name: a, namespace: b}], rules: [{}]}", "policy.target"),
        ("{targetRefs: [{kind: Service}], rules: [{}]}", "field.required"),
        ("{targetRefs: [{kind: Service, name: a, port: 80}], rules: [{}]}", "field.unknown"),
        (
            "{targetRefs: [{kind: Service, name: a}], selector: {matchLabels: {app: a}}, rules: [{}]}",
            "policy.target",
        ),
        (
            "{targetRef: {kind: Service, name: a}, targetRefs: [{kind: Service, name: a}], rules: [{}]}",
            "policy.target",
        ),
        ("{targetRefs: [], rules: [{}]}", "policy.empty"),
        ("{targetRefs: [a], rules: [{}]}", "field.type"),
        ("{rules: {}}", "field.type"),
        ("5", "field.type"),
    ],
)
def test_an_allow_policy_that_can_not_be_read_whole_allows_nothing_in_its_namespace(
    spec: str, code: str
) -> None:
    read = authorization(spec)
    found = fact(read, AuthorizationPolicy)
    assert (found.action, found.selector, found.rules) == (Action.ALLOW, (), ())
    assert code in [one for _, one in codes(read)]


def test_a_deny_policy_whose_selector_can_not_be_read_is_for_its_namespace() -> None:
    found = policy("{action: DENY, selector: {matchLabels: {app: 5}}, rules: [{}]}")
    assert (found.action, found.selector, len(found.rules)) == (Action.DENY, (), 1)


@pytest.mark.parametrize(
    "spec", ["{action: DENY, rule: [{}]}", "{action: DENY, rules: x}", "{action: DENY, rules: {a: b}}"]
)
def test_a_deny_policy_whose_rules_can_not_be_found_denies_everything(spec: str) -> None:
    (rule,) = policy(spec).rules
    assert (rule.sources, rule.operations) == ((), ())


def test_a_deny_policy_without_rules_is_an_error() -> None:
    read = authorization("{action: DENY}")
    assert (fact(read, AuthorizationPolicy).rules, codes(read)) == ((), [("spec.rules", "policy.no-rules")])


def test_targets_are_services_of_the_namespace() -> None:
    for spec in (
        "{targetRefs: [{kind: Service, name: b}, {group: '', kind: Service, name: a}], rules: [{}]}",
        "{targetRefs: [{group: core, kind: Service, name: b, namespace: shop}, {kind: Service, name: a}], rules: [{}]}",
    ):
        read = authorization(spec)
        assert (fact(read, AuthorizationPolicy).targets, read.findings) == (("b", "a"), ())
    assert policy("{targetRef: {kind: Service, name: a}, rules: [{}]}").targets == ("a",)


def test_conditions_are_read_by_the_names_of_their_attributes() -> None:
    (rule,) = policy("""
rules:
- when:
  - {key: "request.headers[X-User]", values: [a, "*"], notValues: ["b*"]}
  - {key: "request.auth.claims[a.b][c]", values: [d]}
  - {key: source.ip, values: [10.1.2.3, 10.9.9.9/8]}
  - {key: source.serviceAccount, notValues: [web, ops/bot]}
  - {key: destination.port, values: ["080"]}
  - {key: connection.sni, values: ["*.Example"]}
  - {key: "experimental.envoy.filters.http.x[y.z]", values: ["[w]"]}
""").rules
    assert rule.conditions == (
        Condition(attribute=Attribute.HEADER, path=("x-user",), values=("a", "*"), not_values=("b*",)),
        Condition(attribute=Attribute.CLAIM, path=("a.b", "c"), values=("d",)),
        Condition(attribute=Attribute.SOURCE_IP, values=("10.1.2.3/32", "10.0.0.0/8")),
        Condition(attribute=Attribute.PRINCIPAL, not_values=("*/ns/shop/sa/web", "*/ns/ops/sa/bot")),
        Condition(attribute=Attribute.DESTINATION_PORT, values=("80",)),
        Condition(attribute=Attribute.SERVER_NAME, values=("*.example",)),
        Condition(attribute=Attribute.METADATA, path=("envoy.filters.http.x", "y.z"), values=("[w]",)),
    )


def test_hosts_are_read_in_lower_case_without_the_dot_at_the_end() -> None:
    written = "A.b., 'c.:80', '*.d.', e.*, '[::1]:80', f:*"
    (rule,) = policy(f"{{rules: [{{to: [{{operation: {{hosts: [{written}]}}}}]}}]}}").rules
    assert rule.operations[0].hosts == ("a.b", "c:80", "*.d", "e.*", "[::1]:80", "f:*")


def test_custom_asks_a_provider_and_denies_what_it_names_without_one() -> None:
    rules = "rules: [{to: [{operation: {paths: [/admin*]}}]}]"
    read = authorization(f"{{action: CUSTOM, provider: {{name: x}}, {rules}}}")
    found = fact(read, AuthorizationPolicy)
    assert (found.action, found.provider, codes(read)) == (Action.CUSTOM, "x", [])
    assert found.rules[0].operations == (Operation(paths=("/admin*",)),)
    for provider in ("", "provider: {}, ", "provider: {name: ''}, ", "provider: {name: 7}, "):
        read = authorization(f"{{action: CUSTOM, {provider}{rules}}}")
        found = fact(read, AuthorizationPolicy)
        assert (found.action, found.provider) == (Action.DENY, "")
        assert found.rules[0].operations == (Operation(paths=("/admin*",)),)
        assert len(codes(read)) == 1


def test_audit_and_dry_runs_decide_nothing() -> None:
    read = authorization("{action: AUDIT, rules: [{}]}")
    assert (fact(read, AuthorizationPolicy).decides, read.findings) == (False, ())
    text = document("security.istio.io/v1", "AuthorizationPolicy", "{action: DENY, rules: [{}]}")
    for said, decides, told in (
        ("true", False, []),
        ("1", False, []),
        ("false", True, []),
        ("F", True, []),
        ("yes", True, ["policy.dry-run"]),
        ("tRUE", True, ["policy.dry-run"]),
    ):
        read = reading(
            text.replace("namespace: shop", f"namespace: shop, annotations: {{istio.io/dry-run: '{said}'}}")
        )
        assert (fact(read, AuthorizationPolicy).decides, [code for _, code in codes(read)]) == (decides, told)


def test_a_provider_without_custom_is_an_error() -> None:
    assert codes(authorization("{provider: {name: x}}")) == [("spec.provider", "policy.provider")]


def test_a_selector_without_labels_is_the_namespace_and_a_warning() -> None:
    read = authorization("{selector: {matchLabels: {}}, rules: [{}]}")
    assert fact(read, AuthorizationPolicy).selector == ()
    assert codes(read) == [("spec.selector", "selector.empty")]


def test_methods_and_paths_that_match_nothing_are_told() -> None:
    read = authorization("{rules: [{to: [{operation: {methods: [get], paths: [admin]}}]}]}")
    assert fact(read, AuthorizationPolicy).rules == ()
    assert [code for _, code in codes(read)] == ["policy.method", "policy.path", "policy.rule-closed"]


@pytest.mark.parametrize(
    ("spec", "selector", "mode", "ports"),
    [
        ("{}", (), None, ()),
        ("{mtls: {}}", (), None, ()),
        ("{mtls: {mode: UNSET}}", (), None, ()),
        ("{mtls: {mode: PERMISSIVE}}", (), MtlsMode.PERMISSIVE, ()),
        (
            "{selector: {matchLabels: {app: a}}, portLevelMtls: {9090: {mode: DISABLE}, '80': {mode: UNSET}}}",
            (("app", "a"),),
            None,
            ((9090, MtlsMode.DISABLE),),
        ),
    ],
)
def test_modes_of_mutual_tls(spec: str, selector: Labels, mode: MtlsMode | None, ports: Any) -> None:
    read = peers(spec)
    found = fact(read, PeerAuthentication)
    assert (found.selector, found.mode, found.ports, read.findings) == (selector, mode, ports, ())


@pytest.mark.parametrize(
    ("spec", "selector", "code"),
    [
        ("{mtls: {mode: PERMISIVE}}", (), "field.choice"),
        ("{mtls: {mod: PERMISSIVE}}", (), "field.unknown"),
        ("{mtls: PERMISSIVE}", (), "field.type"),
        ("{mtlss: {}, mtls: {mode: DISABLE}}", (), "field.unknown"),
        ("{selecter: {}, mtls: {mode: DISABLE}}", (), "field.unknown"),
        ("{selector: {matchLabels: {app: 5}}, mtls: {mode: DISABLE}}", (), "field.type"),
        ("{mtls: {mode: DISABLE}, portLevelMtls: {80: {mode: DISABLE}}}", (), "mtls.port-without-selector"),
        (
            "{selector: {matchLabels: {app: a}}, mtls: {mode: DISABLE}, portLevelMtls: {web: {mode: DISABLE}}}",
            (("app", "a"),),
            "field.range",
        ),
        (
            "{selector: {matchLabels: {app: a}}, mtls: {mode: DISABLE}, portLevelMtls: {80: {mode: NONE}}}",
            (("app", "a"),),
            "field.choice",
        ),
        ("x", (), "field.type"),
    ],
)
def test_a_peer_authentication_that_can_not_be_read_whole_is_strict(
    spec: str, selector: Labels, code: str
) -> None:
    read = peers(spec)
    found = fact(read, PeerAuthentication)
    assert (found.selector, found.mode, found.ports) == (selector, MtlsMode.STRICT, ())
    assert {code, "policy.closed"} <= {one for _, one in codes(read)}


# One broken field never opens anything: every field of these specs is broken in turn, in every way below, and
# whatever is then said is compared with what was said before, request by request.

SPECS = {
    "allow": """
selector: {matchLabels: {app: web}}
action: ALLOW
rules:
- from: [{source: {principals: [td/ns/a/sa/x], notNamespaces: [b]}}, {source: {namespaces: [c]}}]
  to: [{operation: {methods: [GET], notPaths: [/admin*], ports: ["80"]}}]
- to: [{operation: {paths: [/open]}}]
""",
    "deny": """
selector: {matchLabels: {app: web}}
action: DENY
rules:
- from: [{source: {principals: [td/ns/a/sa/x], notNamespaces: [b]}}, {source: {namespaces: [c]}}]
  to: [{operation: {methods: [GET], notPaths: [/admin*], ports: ["80"]}}]
- to: [{operation: {paths: [/shut], notMethods: [POST]}}]
""",
    "custom": """
action: CUSTOM
provider: {name: x}
rules: [{from: [{source: {serviceAccounts: [a/x]}}], to: [{operation: {notPorts: ["81"]}}]}]
""",
    "allow by more": """
targetRefs: [{kind: Service, name: web}]
rules:
- from: [{source: {ipBlocks: [10.0.0.0/8], notRequestPrincipals: [i/s]}}, {source: {requestPrincipals: [i/*]}}]
  to: [{operation: {hosts: [h], notHosts: [g]}}]
  when:
  - {key: "request.headers[x]", values: [a], notValues: [b]}
  - {key: source.namespace, notValues: [b]}
""",
    "deny by more": """
targetRefs: [{kind: Service, name: web}]
action: DENY
rules:
- from: [{source: {notIpBlocks: [10.0.0.0/8], requestPrincipals: [i/s]}}, {source: {remoteIpBlocks: [10.0.0.1]}}]
  to: [{operation: {notHosts: [g]}}, {operation: {paths: ["/{*}/1"]}}]
  when: [{key: "request.headers[x]", notValues: [b]}, {key: destination.port, values: ["80"]}]
""",
}
WORKLOADS: tuple[Labels, ...] = ((("app", "web"),), (("app", "db"),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    principal: str
    method: str
    path: str
    port: int
    host: str = "h"
    ip: str = "10.0.0.1"
    token: str = ""
    header: str = ""


REQUESTS = tuple(
    Request(principal=principal, method=method, path=path, port=port)
    for principal, method, path, port in product(
        ("td/ns/a/sa/x", "td/ns/b/sa/x", "td/ns/c/sa/y", ""),
        ("GET", "POST"),
        ("/admin/1", "/open", "/shut"),
        (80, 81),
    )
) + tuple(
    Request(
        principal=principal,
        method="GET",
        path="/admin/1",
        port=80,
        host=host,
        ip=ip,
        token=token,
        header=header,
    )
    for principal, host, ip, token, header in product(
        ("td/ns/a/sa/x", "td/ns/b/sa/x"), ("h", "g"), ("10.0.0.1", "11.0.0.1"), ("i/s", "i/t", ""), ("a", "b")
    )
)


def like(pattern: str, value: str) -> bool:
    if pattern == "/{*}/1":
        return value == "/admin/1"
    if "/" in pattern and pattern[:1].isdigit():
        return ip_address(value) in ip_network(pattern)
    if pattern.startswith("*"):
        return bool(value) and value.endswith(pattern[1:])
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def part(values: tuple[str, ...], not_values: tuple[str, ...], value: str) -> bool:
    return (not values or any(like(one, value) for one in values)) and not any(
        like(one, value) for one in not_values
    )


def holds(rule: PolicyRule, request: Request) -> bool:
    namespace = request.principal.split("/")[2] if request.principal else ""

    def source(one: Source) -> bool:
        return (
            part(one.principals, one.not_principals, request.principal)
            and part(one.namespaces, one.not_namespaces, namespace)
            and part(one.request_principals, one.not_request_principals, request.token)
            and part(one.ip_blocks, one.not_ip_blocks, request.ip)
            and part(one.remote_ip_blocks, one.not_remote_ip_blocks, request.ip)
        )

    def operation(one: Operation) -> bool:
        ports = (not one.ports or request.port in one.ports) and request.port not in one.not_ports
        return (
            ports
            and part(one.hosts, one.not_hosts, request.host)
            and part(one.methods, one.not_methods, request.method)
            and part(one.paths, one.not_paths, request.path)
        )

    def condition(one: Condition) -> bool:
        value = {
            Attribute.HEADER: request.header,
            Attribute.NAMESPACE: namespace,
            Attribute.DESTINATION_PORT: str(request.port),
        }[one.attribute]
        return part(one.values, one.not_values, value)

    return (
        (not rule.sources or any(map(source, rule.sources)))
        and (not rule.operations or any(map(operation, rule.operations)))
        and all(map(condition, rule.conditions))
    )


def over(one: AuthorizationPolicy, labels: Labels) -> bool:
    """Whether a policy is over a workload; the service web is before those of its name."""
    if one.targets:
        return any(selects((("app", name),), labels) for name in one.targets)
    return not one.selector or selects(one.selector, labels)


def passes(read: Reading, labels: Labels, request: Request, *, deny_all: bool) -> bool:
    """The verdict beside an empty policy of the namespace (deny_all), or beside none."""
    found = [one for one in read.facts if isinstance(one, AuthorizationPolicy) and over(one, labels)]
    if any(holds(rule, request) for one in found if one.action in DENIES for rule in one.rules):
        return False
    allows = [one for one in found if one.action is Action.ALLOW]
    allowed = any(holds(rule, request) for one in allows for rule in one.rules)
    return allowed or not (allows or deny_all)


DENIES = (Action.DENY, Action.CUSTOM)


JUNK: tuple[Any, ...] = (5, 1.5, True, "junk", [], {}, ["", 5], {"junk": 1}, [[]], [None])


def broken(spec: Any) -> Iterator[Any]:
    """Copies of a spec, each with one key mistyped or added, or one value replaced by another type."""
    for *before, key in paths(spec):
        for junk in JUNK:
            other, around = copied(spec, before)
            around[key] = junk
            yield other
        if isinstance(key, str):
            other, around = copied(spec, before)
            around[f"{key}x"] = around.pop(key)
            yield other
            other, around = copied(spec, before)
            around["unheard"] = 1
            yield other


def copied(spec: Any, path: list[Any]) -> tuple[Any, Any]:
    """A copy of a spec, and what lies at the path in it."""
    other = copy.deepcopy(spec)
    around = other
    for key in path:
        around = around[key]
    return other, around


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


SAYS_SOMETHING_ELSE = {"selector.empty", "policy.no-rules"}
"""Of an empty selector and of an empty list of rules the API says what they mean."""


@pytest.mark.parametrize("name", SPECS)
def test_one_broken_field_never_lets_anybody_in(name: str) -> None:
    spec = yaml.safe_load(SPECS[name])
    before = authorization(json.dumps(spec))
    shut = [
        (labels, request, deny_all)
        for labels, request, deny_all in product(WORKLOADS, REQUESTS, (True, False))
        if not passes(before, labels, request, deny_all=deny_all)
    ]
    checked = 0
    for other in broken(spec):
        read = authorization(json.dumps(other))
        if {code for _, code in codes(read)} <= {code for _, code in codes(before)} | SAYS_SOMETHING_ELSE:
            continue  # one valid value for another: no mistake that anybody could see
        checked += 1
        for labels, request, deny_all in shut:
            assert not passes(read, labels, request, deny_all=deny_all), (other, labels, request)
    assert checked > 100


def test_one_broken_field_never_lowers_mutual_tls() -> None:
    for mode in MtlsMode:
        spec = yaml.safe_load(
            f"{{selector: {{matchLabels: {{app: web}}}}, mtls: {{mode: {mode}}}, portLevelMtls: {{'80': {{mode: {mode}}}}}}}"
        )
        for other in broken(spec):
            read = peers(json.dumps(other))
            found = fact(read, PeerAuthentication)
            if {code for _, code in codes(read)} <= SAYS_SOMETHING_ELSE:
                continue
            assert (found.mode, found.ports) == (MtlsMode.STRICT, ()), other
            assert found.selector in ((), (("app", "web"),))
