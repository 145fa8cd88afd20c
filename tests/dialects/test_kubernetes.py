"""Namespaces, service accounts and Services."""

import pytest

from plait.model.catalog import Protocol, Service, ServicePort
from plait.model.reading import Namespace, ServiceAccount
from tests.dialects.reading import codes, document, fact, reading


def service(spec: str) -> Service:
    return fact(reading(document("v1", "Service", spec)), Service)


def port(text: str) -> ServicePort:
    (found,) = service(f"{{selector: {{app: a}}, ports: [{text}]}}").ports
    return found


def test_namespaces_and_accounts() -> None:
    assert reading("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n").facts == (Namespace("shop"),)
    text = document("v1", "ServiceAccount", "{}").replace("spec: {}", "automountServiceAccountToken: false")
    assert fact(reading(text), ServiceAccount) == ServiceAccount("shop", "it")
    assert reading(text).findings == ()


def test_a_service_has_ports_selector_and_host() -> None:
    found = service("{selector: {b: c, a: b}, ports: [{name: http, port: 80, targetPort: web}]}")
    assert found.host == "it.shop.svc.cluster.local"
    assert found.selector == (("a", "b"), ("b", "c"))
    assert found.ports == (ServicePort(name="http", number=80, protocol=Protocol.HTTP, target="web"),)
    assert not found.headless


def test_a_target_is_a_number_a_name_or_the_port_itself() -> None:
    assert port("{name: http, port: 80}").target == 80
    assert port("{name: http, port: 80, targetPort: 8080}").target == 8080


def test_headless_services_may_have_no_ports() -> None:
    assert service("{selector: {app: a}, clusterIP: None}").headless


@pytest.mark.parametrize(
    ("text", "protocol"),
    [
        ("{name: http, port: 80}", Protocol.HTTP),
        ("{name: http-web, port: 80}", Protocol.HTTP),
        ("{name: http2-web, port: 80}", Protocol.HTTP2),
        ("{name: grpc, port: 80}", Protocol.GRPC),
        ("{name: grpc-web, port: 80}", Protocol.HTTP),
        ("{name: grpc-web-x, port: 80}", Protocol.HTTP),
        ("{name: grpc-x, port: 80}", Protocol.GRPC),
        ("{name: tcp-x, port: 80}", Protocol.TCP),
        ("{name: https, port: 443}", Protocol.TCP),
        ("{name: redis, port: 6379}", Protocol.TCP),
        ("{name: db, port: 3306}", Protocol.TCP),
        ("{name: tcp, port: 80, appProtocol: http}", Protocol.HTTP),
        ("{name: http, port: 80, appProtocol: GRPC}", Protocol.GRPC),
        ("{name: x, port: 80, appProtocol: kubernetes.io/h2c}", Protocol.HTTP2),
        ("{name: x, port: 80, appProtocol: kubernetes.io/ws}", Protocol.HTTP),
        ("{name: x, port: 80, appProtocol: kubernetes.io/wss}", Protocol.TCP),
    ],
)
def test_protocols_are_declared_by_app_protocol_and_then_by_name(text: str, protocol: Protocol) -> None:
    assert port(text).protocol is protocol
    assert reading(document("v1", "Service", f"{{selector: {{app: a}}, ports: [{text}]}}")).findings == ()


@pytest.mark.parametrize(
    "text",
    [
        "{port: 80}",
        "{name: web, port: 80}",
        "{name: httpx, port: 80}",
        "{name: http, port: 80, appProtocol: x}",
    ],
)
def test_an_undeclared_port_is_a_finding(text: str) -> None:
    read = reading(document("v1", "Service", f"{{selector: {{app: a}}, ports: [{text}]}}"))
    assert fact(read, Service).ports[0].protocol is Protocol.UNDECLARED
    assert codes(read) == [("spec.ports[0]", "port.protocol-undeclared")]


def test_udp_is_a_finding() -> None:
    read = reading(
        document("v1", "Service", "{selector: {app: a}, ports: [{name: dns, port: 53, protocol: UDP}]}")
    )
    assert fact(read, Service).ports[0].protocol is Protocol.UDP
    assert codes(read) == [("spec.ports[0].protocol", "port.udp")]


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ("[{name: http}]", [("spec.ports[0].port", "field.required")]),
        ("[{name: http, port: 70000}]", [("spec.ports[0].port", "field.range")]),
        ("[{name: http, port: '80'}]", [("spec.ports[0].port", "field.type")]),
        ("[{name: HTTP, port: 80}]", [("spec.ports[0].name", "name.invalid")]),
        ("[{name: http, port: 80, targetPort: '8080'}]", [("spec.ports[0].targetPort", "name.invalid")]),
        ("[{name: http, port: 80, targetPort: 0}]", [("spec.ports[0].targetPort", "field.range")]),
        ("[{name: http, port: 80, protocol: SCTP}]", [("spec.ports[0].protocol", "port.protocol")]),
        ("[{name: http, port: 80, protocol: http}]", [("spec.ports[0].protocol", "field.choice")]),
        ("[]", [("spec.ports", "field.required")]),
        ("80", [("spec.ports", "field.type")]),
    ],
)
def test_a_port_that_is_none_is_left_out_and_told(ports: str, expected: list[tuple[str, str]]) -> None:
    read = reading(document("v1", "Service", f"{{selector: {{app: a}}, ports: {ports}}}"))
    assert fact(read, Service).ports == ()
    assert codes(read) == expected


def test_of_ports_that_clash_the_first_is_kept() -> None:
    spec = "{selector: {app: a}, ports: [{name: http, port: 80}, {name: http, port: 81}, {name: http-b, port: 80}, {port: 9}]}"
    read = reading(document("v1", "Service", spec))
    assert [one.number for one in fact(read, Service).ports] == [80]
    assert ("spec.ports[1].name", "port.duplicate") in codes(read)
    assert ("spec.ports[2].port", "port.duplicate") in codes(read)
    assert ("spec.ports[3].name", "field.required") in codes(read)


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_nothing_is_opened_to_the_outside(kind: str) -> None:
    read = reading(
        document(
            "v1", "Service", f"{{type: {kind}, selector: {{app: a}}, ports: [{{name: http, port: 80}}]}}"
        )
    )
    assert codes(read) == [("spec.type", "service.type")]
    assert fact(read, Service).ports


def test_an_external_name_is_no_service_of_ours() -> None:
    read = reading(
        document(
            "v1", "Service", "{type: ExternalName, externalName: a.example, ports: [{name: http, port: 80}]}"
        )
    )
    assert read.facts == ()
    assert codes(read) == [("spec.type", "service.type"), ("spec.externalName", "field.unsupported")]


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("sessionAffinity: None, internalTrafficPolicy: Cluster", []),
        ("ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, clusterIP: 1.2.3.4", []),
        ("sessionAffinity: ClientIP", [("spec.sessionAffinity", "field.unsupported")]),
        ("internalTrafficPolicy: Local", [("spec.internalTrafficPolicy", "field.unsupported")]),
        ("publishNotReadyAddresses: true", [("spec.publishNotReadyAddresses", "field.unsupported")]),
        ("externalIPs: [1.2.3.4]", [("spec.externalIPs", "field.unsupported")]),
    ],
)
def test_fields_without_effect_are_told_when_they_ask_for_one(
    field: str, found: list[tuple[str, str]]
) -> None:
    spec = f"{{selector: {{app: a}}, ports: [{{name: http, port: 80}}], {field}}}"
    assert codes(reading(document("v1", "Service", spec))) == found


def test_a_service_without_a_selector_selects_nobody() -> None:
    assert service("{ports: [{name: http, port: 80}]}").selector == ()


def test_a_selector_that_cannot_be_read_selects_nobody_wrong() -> None:
    read = reading(
        document("v1", "Service", "{selector: {app: a, tier: 5}, ports: [{name: http, port: 80}]}")
    )
    assert read.facts == ()


def test_names_of_services_are_labels() -> None:
    read = reading(
        document("v1", "Service", "{selector: {app: a}, ports: [{name: http, port: 80}]}", name="a.b")
    )
    assert (read.facts, codes(read)) == ((), [("metadata.name", "name.invalid")])
