"""Whatever is named and does not exist is a Finding on the very field; nothing is reported twice or wrongly."""

from dataclasses import replace

import pytest

from plait.compiler.merge import merge
from plait.model.catalog import Protocol
from plait.model.finding import Severity
from plait.model.policy import Action, Attribute, Condition, MtlsMode, Operation, PolicyRule, Source
from plait.model.reading import Fact, Namespace, ServiceAccount
from plait.model.routing import Backend, Session, SessionKind
from plait.model.traffic import ConnectionPool, OutlierDetection, TrafficPolicy
from tests.compiler.facts import (
    SETTINGS,
    allows,
    destination,
    listens,
    origin,
    peers,
    policy,
    port,
    principal,
    routes,
    rule,
    service,
    to,
    workload,
)

ONE = (workload("one"), service("one"))
TWO_PORTS = (
    workload("two", listens(8080), listens(9090)),
    service("two", port(8080), port(9090)),
)


def findings(*facts: Fact) -> list[tuple[str, str, str]]:
    return [(one.severity, one.code, one.field) for one in merge(facts, SETTINGS)[1]]


def messages(*facts: Fact) -> str:
    return "\n".join(one.message for one in merge(facts, SETTINGS)[1])


AT = "spec.http[0].route[0]"
SHORT = Backend(host="one.bistro", origin=origin("VirtualService", "routes", AT))


@pytest.mark.parametrize(
    ("backend", "code"),
    [
        (to("nobody"), "route.unknown-host"),
        (SHORT, "route.unknown-host"),
        (to("one", "v9"), "route.missing-subset"),
        (to("one", port=9), "route.unknown-port"),
        (to("two"), "route.ambiguous-port"),
        (to("database"), "route.port-not-http"),
    ],
)
def test_a_backend_that_does_not_exist_is_an_error(backend: Backend, code: str) -> None:
    database = (
        workload("database", listens(5432, Protocol.TCP)),
        service("database", port(5432, Protocol.TCP)),
    )
    caller = (workload("caller", listens(80)), service("caller", port(80)))
    facts = (*ONE, *TWO_PORTS, *database, *caller, routes("caller", rules=[rule(backend)]))
    assert [one for one in findings(*facts) if one[1] != "port.tcp-explicit"] == [("error", code, AT)]


@pytest.mark.parametrize("backend", [to("one"), to("one", port=8080), to("two"), to("two", port=9090)])
def test_a_backend_whose_port_is_clear_is_no_finding(backend: Backend) -> None:
    assert not findings(
        *ONE, *TWO_PORTS, routes("two" if "two" in backend.host else "one", rules=[rule(backend)])
    )


def test_a_short_host_is_told_its_full_name() -> None:
    assert "did you mean one.bistro.svc.cluster.local?" in messages(*ONE, routes("one", rules=[rule(SHORT)]))


def test_hosts_that_are_no_services_are_warned_of_only_when_they_look_like_one() -> None:
    owned = routes("shop.example", "missing", "one.bistro", rules=[rule(to("one"))])
    assert findings(*ONE, owned) == [("warning", "route.host-without-service", "spec")] * 2


def test_a_wildcard_that_means_no_service_is_a_warning() -> None:
    assert findings(*ONE, routes("*.nowhere.svc.cluster.local", rules=[rule(to("one"))])) == [
        ("warning", "route.wildcard-without-service", "spec")
    ]
    assert not findings(*ONE, routes("*.bistro.svc.cluster.local", rules=[rule(to("one"))]))


def test_services_lead_to_workloads_and_to_ports_that_they_declare() -> None:
    assert findings(service("one")) == [("warning", "service.no-workloads", "")]
    assert findings(service("one", selector=())) == [("warning", "service.no-workloads", "")]
    for target in (9, "web"):
        assert findings(workload("one"), service("one", port(80, target=target))) == [
            ("warning", "service.unknown-target-port", "")
        ]
    assert not findings(workload("one", listens(8080, name="web")), service("one", port(80, target="web")))


def test_ports_that_are_not_http_are_not_left_out_silently() -> None:
    facts = (workload("one", listens(5432, Protocol.TCP)), service("one", port(5432, Protocol.TCP)))
    assert findings(*facts) == [(Severity.INFO, "port.tcp-explicit", "")]


def test_what_only_a_dialect_can_place_is_left_to_it() -> None:
    """Of UDP, and of modes of ports without a selector, the reader of the document has told already."""
    udp = (workload("one", listens(53, Protocol.UDP)), service("one", port(53, Protocol.UDP)))
    assert not findings(*udp)
    assert not findings(*ONE, peers("a", MtlsMode.STRICT, (8080, MtlsMode.DISABLE)))


def test_a_service_and_its_workload_that_disagree_on_a_protocol_are_told() -> None:
    assert ("warning", "service.protocol-conflict", "") in findings(
        workload("one", listens(8080, Protocol.TCP)), service("one")
    )


def test_what_only_requests_have_is_told_where_there_are_none() -> None:
    database = (workload("one", listens(9000, Protocol.TCP)), service("one", port(9000, Protocol.TCP)))
    streams = TrafficPolicy(connections=ConnectionPool(max_concurrent_streams=1))
    limits = TrafficPolicy(connections=ConnectionPool(max_connections=1, max_connection_duration=1.0))
    told = ("warning", "destination.not-http", "spec")
    assert told in findings(*database, destination("one", policy=streams))
    assert told not in findings(*database, destination("one", policy=limits))
    assert told not in findings(*ONE, destination("one", policy=streams))
    http = (listens(8080), listens(9000, Protocol.TCP)), (port(8080), port(9000, Protocol.TCP))
    both = (workload("one", *http[0]), service("one", *http[1]))
    assert told not in findings(*both, destination("one", policy=streams))
    assert told in findings(*both, destination("one", ports={9000: streams}))


def test_weights_that_come_before_a_session_are_told() -> None:
    def told(kind: SessionKind, *backends: Backend) -> bool:
        session = Session(kind=kind, name="stay")
        found = findings(*ONE, *TWO_PORTS, routes("one", rules=[rule(*backends, session=session)]))
        return ("warning", "session.split", "spec.http[0]") in found

    both = (to("one"), to("two", port=8080))
    assert told(SessionKind.HEADER, *both)
    assert not told(SessionKind.HEADER, to("one"))
    assert not told(SessionKind.COOKIE, *both)


def test_of_few_replicas_it_is_told_that_nobody_is_left_alone() -> None:
    def told(replicas: int, most: int) -> bool:
        policy = TrafficPolicy(outliers=OutlierDetection(most_ejected=most))
        several = replace(workload("one"), replicas=replicas)
        found = findings(several, service("one"), destination("one", policy=policy))
        return ("warning", "destination.too-few-to-eject", "spec") in found

    assert [told(*one) for one in ((1, 10), (2, 49), (2, 50), (9, 10), (10, 10))] == [
        False, True, False, True, False,
    ]  # fmt: skip
    subset = destination("one", "v1", policy=TrafficPolicy(outliers=OutlierDetection(most_ejected=40)))
    two = tuple(
        replace(workload(f"one-{name}", app="one", version=name), replicas=2) for name in ("v1", "v2")
    )
    assert findings(*two, service("one"), subset) == [
        ("warning", "destination.too-few-to-eject", "spec.subsets[0]")
    ]


def test_destinations_name_services_and_their_subsets_have_workloads() -> None:
    assert findings(*ONE, destination("nobody", "v1")) == [("warning", "destination.unknown-host", "spec")]
    assert findings(*ONE, destination("one", "v1")) == [
        ("warning", "destination.empty-subset", "spec.subsets[0]")
    ]
    assert not findings(*ONE, destination("*.bistro.svc.cluster.local"))


def test_who_takes_mutual_tls_alone_is_not_called_in_the_clear() -> None:
    clear = destination("one", policy=TrafficPolicy(clear=True))
    refused = ("warning", "traffic.tls-refused", "spec")
    assert findings(*ONE, clear) == [refused]
    assert findings(*ONE, clear, peers("peers", MtlsMode.PERMISSIVE)) == []
    assert findings(*ONE, clear, peers("peers", MtlsMode.DISABLE, app="one")) == []
    assert findings(*ONE, clear, peers("peers", MtlsMode.PERMISSIVE, (8080, MtlsMode.STRICT), app="one")) == [
        refused
    ]
    assert findings(*ONE, destination("one", policy=TrafficPolicy(clear=False))) == []
    part = destination("one", "v1", policy=TrafficPolicy(clear=True))
    two = tuple(workload(f"one-{name}", app="one", version=name) for name in ("v1", "v2"))
    assert findings(*two, service("one"), part, peers("peers", MtlsMode.PERMISSIVE)) == []


def test_policies_select_workloads() -> None:
    assert findings(*ONE, policy("deny", app="nobody")) == [("warning", "policy.no-workloads", "spec")]
    assert findings(*ONE, peers("peers", MtlsMode.STRICT, app="nobody")) == [
        ("warning", "policy.no-workloads", "spec")
    ]
    everywhere = policy("deny", app="one", namespace=SETTINGS.root_namespace)
    assert not findings(*ONE, everywhere)


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ("cluster.local/ns/bistro/sa/one", True),
        ("cluster.local/ns/bistro/sa/default", True),
        ("cluster.local/ns/other/sa/guest", True),
        ("cluster.local/ns/bistro/sa/on*", True),
        ("cluster.local/ns/bistro/sa/two", False),
        ("cluster.local/ns/nowhere/sa/default", False),
        ("elsewhere/ns/bistro/sa/one", False),
        ("bistro/one", False),
    ],
)
def test_principals_are_accounts_of_this_mesh(value: str, known: bool) -> None:  # noqa: FBT001
    facts = (*ONE, ServiceAccount("other", "guest"))
    found = findings(*facts, policy("allow", Action.ALLOW, allows(Source(principals=(value,))), app="one"))
    assert found == ([] if known else [("warning", "policy.unknown-principal", "spec.rules[0]")])


def test_namespaces_and_ports_of_policies_exist() -> None:
    sources = Source(namespaces=("bistro", "empty", "nowhere"))
    ports = Operation(ports=(8080, 81))
    found = findings(*ONE, Namespace("empty"), policy("p", Action.ALLOW, allows(sources, operations=[ports])))
    assert sorted(found) == [
        ("warning", "policy.unknown-namespace", "spec.rules[0]"),
        ("warning", "policy.unknown-port", "spec.rules[0]"),
    ]
    assert not findings(*ONE, policy("p", Action.ALLOW, allows(principal("one"))))


def test_conditions_name_callers_and_ports_as_sources_and_operations_do() -> None:
    asked = (
        Condition(attribute=Attribute.PRINCIPAL, values=("cluster.local/ns/bistro/sa/two", "*/sa/x")),
        Condition(attribute=Attribute.NAMESPACE, not_values=("nowhere",)),
        Condition(attribute=Attribute.DESTINATION_PORT, values=("81", "8080")),
    )
    found = findings(*ONE, policy("p", Action.ALLOW, replace(allows(), conditions=asked)))
    assert [code for _, code, _ in found] == [
        "policy.unknown-namespace",
        "policy.unknown-port",
        "policy.unknown-principal",
    ]


def test_targets_are_services_that_are_there() -> None:
    both = replace(policy("p", Action.ALLOW, allows()), targets=("one", "two"))
    assert findings(*ONE, both) == [("warning", "policy.unknown-target", "spec")]
    assert not findings(*ONE, replace(both, targets=("one",)))
    assert findings(
        *ONE, replace(both, targets=("one",), rules=(allows(operations=[Operation(ports=(81,))]),))
    ) == [("warning", "policy.unknown-port", "spec.rules[0]")]


def test_a_denial_by_path_is_told_that_allowing_is_safer() -> None:
    by_path = allows(operations=[Operation(paths=("/admin",))])
    but_path = allows(operations=[Operation(not_paths=("/open",))])
    assert findings(*ONE, policy("p", Action.DENY, by_path)) == [
        ("info", "policy.deny-by-path", "spec.rules[0]")
    ]
    assert not findings(*ONE, policy("p", Action.DENY, but_path))
    assert not findings(*ONE, policy("p", Action.ALLOW, by_path))


DATABASE = (
    workload("database", listens(5432, Protocol.TCP), listens(8080)),
    service("database", port(5432, Protocol.TCP), port(8080)),
)


@pytest.mark.parametrize(
    ("action", "rule", "told"),
    [
        (Action.ALLOW, allows(operations=[Operation(methods=("GET",))]), "policy.tcp-field"),
        (Action.DENY, allows(operations=[Operation(not_hosts=("a",))]), "policy.tcp-field"),
        (Action.ALLOW, allows(Source(request_principals=("*",))), "policy.tcp-field"),
        (
            Action.DENY,
            replace(allows(), conditions=(Condition(attribute=Attribute.CLAIM, path=("a",), values=("b",)),)),
            "policy.tcp-field",
        ),
        (Action.ALLOW, allows(operations=[Operation(methods=("GET",), ports=(8080,))]), None),
        (Action.ALLOW, allows(operations=[Operation(methods=("GET",), not_ports=(5432,))]), None),
        (
            Action.ALLOW,
            allows(operations=[Operation(methods=("GET",), ports=(8080,)), Operation(ports=(5432,))]),
            None,
        ),
        (
            Action.DENY,
            replace(
                allows(operations=[Operation(methods=("GET",))]),
                conditions=(Condition(attribute=Attribute.DESTINATION_PORT, values=("8080",)),),
            ),
            None,
        ),
        (Action.ALLOW, allows(principal("database")), None),
        (Action.CUSTOM, allows(principal("database")), "policy.tcp-custom"),
        (Action.CUSTOM, allows(operations=[Operation(ports=(8080,))]), None),
        (Action.AUDIT, allows(principal("database")), "policy.tcp-untold"),
    ],
)
def test_what_only_requests_have_is_told_where_a_policy_is_over_a_port_of_tcp(
    action: Action, rule: PolicyRule, told: str | None
) -> None:
    beside = ("port.tcp-explicit", "policy.unknown-provider")
    found = [one for one in findings(*DATABASE, policy("p", action, rule)) if one[1] not in beside]
    field = "spec" if told == "policy.tcp-untold" else "spec.rules[0]"
    assert found == ([("warning", told, field)] if told else [])
    assert not [one for one in findings(*ONE, policy("p", action, rule)) if one[1].startswith("policy.tcp")]


def test_a_dry_run_is_not_told_at_a_port_of_tcp() -> None:
    dry = replace(policy("p", Action.DENY, allows()), dry_run=True)
    assert ("warning", "policy.tcp-untold", "spec") in findings(*DATABASE, dry)


def test_fields_and_ports_are_named() -> None:
    asks = allows(Source(request_principals=("*",)), operations=[Operation(not_methods=("GET",))])
    said = messages(*DATABASE, policy("p", Action.DENY, asks))
    assert "requestPrincipals, notMethods can't be seen at port 5432 of bistro/database, which is TCP" in said


def test_a_mode_for_chosen_workloads_is_said_where_they_are() -> None:
    """As with Istio: a selector in the root namespace chooses nobody, so that it opens nobody's ports either."""
    away = peers("a", MtlsMode.DISABLE, app="one", namespace="istio-system")
    assert findings(*ONE, away) == [("error", "mtls.selector-in-root", "spec")]


def test_modes_of_mutual_tls_are_said_once_and_for_ports_that_exist() -> None:
    twice = (peers("a", MtlsMode.STRICT), peers("b", MtlsMode.PERMISSIVE))
    assert findings(*ONE, *twice) == [("error", "mtls.said-twice", "spec")]
    overlap = (peers("a", MtlsMode.STRICT, app="one"), peers("b", None, (8080, MtlsMode.DISABLE), app="one"))
    assert findings(*ONE, *overlap) == [("error", "mtls.said-twice", "spec")]
    assert findings(*ONE, peers("a", None, (81, MtlsMode.DISABLE), app="one")) == [
        ("warning", "policy.unknown-port", "spec")
    ]
    narrower = (peers("a", MtlsMode.STRICT), peers("b", MtlsMode.PERMISSIVE, app="one"))
    assert not findings(*ONE, *narrower)
