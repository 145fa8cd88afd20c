"""What holds for every kind: versions, strangers, metadata, and that nothing is ignored silently."""

import pytest

from plait.dialects import DIALECTS, MOST_FINDINGS
from plait.dialects.fields import MOST_UNREAD
from plait.dialects.kind import Kind
from plait.model.finding import Severity
from plait.model.policy import Action, AuthorizationPolicy, MtlsMode, PeerAuthentication
from tests.dialects.reading import codes, document, fact, reading

SERVICE = "{selector: {app: a}, ports: [{name: http, port: 80}]}"


@pytest.mark.parametrize("kind", DIALECTS.values(), ids=lambda kind: kind.name)
def test_a_version_that_nobody_serves_is_an_error_that_names_those_that_are(kind: Kind) -> None:
    read = reading(document(f"{kind.group}/v9".lstrip("/"), kind.name, "{}"))
    (finding,) = read.findings
    assert (finding.severity, finding.code, finding.field) == (Severity.ERROR, "kind.version", "apiVersion")
    assert all(served in finding.message for served in kind.versions)


def test_security_of_an_unreadable_version_is_shut() -> None:
    policy = fact(
        reading(document("security.istio.io/v9", "AuthorizationPolicy", "{rules: [{}]}")), AuthorizationPolicy
    )
    assert (policy.action, policy.selector, policy.rules) == (Action.ALLOW, (), ())
    peers = fact(reading(document("security.istio.io/v9", "PeerAuthentication", "{}")), PeerAuthentication)
    assert (peers.mode, peers.selector) == (MtlsMode.STRICT, ())


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_all_versions_of_istios_routing_are_the_same(version: str) -> None:
    text = document(f"networking.istio.io/{version}", "DestinationRule", "{host: a}")
    assert reading(text).findings == ()


@pytest.mark.parametrize(
    ("api_version", "kind", "severity", "code", "word"),
    [
        ("networking.istio.io/v1alpha3", "EnvoyFilter", Severity.ERROR, "kind.refused", "VirtualService"),
        ("extensions.istio.io/v1alpha1", "WasmPlugin", Severity.ERROR, "kind.refused", "service"),
        ("networking.istio.io/v1beta1", "ProxyConfig", Severity.ERROR, "kind.refused", "proxies"),
        ("apps/v1", "Deployment", Severity.WARNING, "kind.unsupported", "Workload"),
        ("batch/v1", "Job", Severity.WARNING, "kind.unsupported", "Workload"),
        ("v1", "Pod", Severity.WARNING, "kind.unsupported", "Workload"),
        ("v1", "ConfigMap", Severity.WARNING, "kind.unsupported", "core API"),
        ("networking.istio.io/v1", "ServiceEntry", Severity.WARNING, "kind.unsupported", "no effect"),
        ("serving.knative.dev/v1", "Service", Severity.WARNING, "kind.unsupported", "no effect"),
        ("v1", "VirtualService", Severity.ERROR, "kind.group", "networking.istio.io/v1"),
        ("security.istio.oi/v1", "AuthorizationPolicy", Severity.ERROR, "kind.group", "security.istio.io/v1"),
    ],
)
def test_a_kind_that_is_not_read_is_told(
    api_version: str, kind: str, severity: Severity, code: str, word: str
) -> None:
    read = reading(document(api_version, kind, "{a: 1}"))
    (finding,) = read.findings
    assert (finding.severity, finding.code, read.facts) == (severity, code, ())
    assert word in finding.message


def test_what_an_api_server_writes_means_nothing() -> None:
    text = """
apiVersion: v1
kind: Service
metadata:
  name: it
  namespace: shop
  labels: {a: b, x.y/z: c}
  annotations: {any/thing: "here: 1"}
  uid: 5
  managedFields: [{a: 1}]
  ownerReferences: [{a: 1}]
  creationTimestamp: null
spec: {selector: {app: a}, ports: [{name: http, port: 80}], clusterIPs: [1.2.3.4]}
status: {loadBalancer: {}}
"""
    assert reading(text).findings == ()


def test_unknown_fields_are_errors_everywhere_and_what_was_meant_is_guessed() -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: it, lables: {a: b}}
spce: {}
spec: {selector: {app: a}, ports: [{name: http, port: 80, appProtcol: http, zzz: 1}]}
"""
    found = {finding.field: finding for finding in reading(text).findings}
    assert {finding.code for finding in found.values()} == {"field.unknown"}
    assert "did you mean 'labels'?" in found["metadata.lables"].message
    assert "did you mean 'spec'?" in found["spce"].message
    assert "did you mean 'appProtocol'?" in found["spec.ports[0].appProtcol"].message
    assert "did you mean" not in found["spec.ports[0].zzz"].message


def test_fields_of_the_api_that_are_not_honoured_are_warnings_once_each() -> None:
    spec = "{hosts: [a], tcp: [], tls: [], http: [{match: [], route: [{destination: {host: a}}], retries: {attempts: 1, retryRemoteLocalities: true}}]}"
    read = reading(document("networking.istio.io/v1", "VirtualService", spec))
    assert {finding.severity for finding in read.findings} == {Severity.WARNING}
    assert codes(read) == [
        ("spec.tcp", "field.unsupported"),
        ("spec.tls", "field.unsupported"),
        ("spec.http[0].retries.retryRemoteLocalities", "field.unsupported"),
    ]


def test_labels_that_are_none_are_errors() -> None:
    text = (
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: it\n  labels: {a b: c, d: 'x y', e: 5, f: ok}\n"
    )
    assert codes(reading(text)) == [
        ('metadata.labels["a b"]', "label.invalid"),
        ("metadata.labels.d", "label.invalid"),
        ("metadata.labels.e", "field.type"),
    ]


def test_findings_are_bounded_and_what_is_left_out_is_counted() -> None:
    unknown = "{" + ", ".join(f"a{number}: 1" for number in range(1000)) + "}"
    read = reading(document("plait.dev/v1alpha1", "Workload", f"{{command: [x], readiness: {unknown}}}"))
    assert len(read.findings) == MOST_FINDINGS + 1
    read = reading(document("v1", "Namespace", "{}") + "".join(f"a{number}: 1\n" for number in range(1000)))
    assert len(read.findings) <= MOST_UNREAD + 2
    assert read.findings[-1].code == "field.more"


def test_errors_of_one_value_are_told_once() -> None:
    read = reading(document("security.istio.io/v1", "PeerAuthentication", "{mtls: {mode: 5}}"))
    assert codes(read) == [("spec.mtls.mode", "field.type"), ("spec", "policy.closed")]


def test_a_service_is_read_whole() -> None:
    assert reading(document("v1", "Service", SERVICE)).findings == ()
