"""What a proxy counted by, unpacked outside of Envoy; that Envoy's own Lua says the same is found in test_metrics."""

from __future__ import annotations

import pytest

from plait.envoy import labels

OWN = {"workload": "payments", "namespace": "bistro", "app": "pay", "version": ""}
CLUSTER = "outbound|8080|v2|menu.bistro.svc.cluster.local"
URI = "spiffe://cluster.local/ns/shop/sa/web"


def test_at_the_source_the_caller_is_the_proxys_own_workload() -> None:
    there = labels.workload(name="menu-v2", namespace="bistro", app="menu", version="v2", principal=URI)
    groups = {"reporter": "source", "source_principal": "-", "destination": there, "other_end": CLUSTER}
    more = {"response_code": "200", "response_flags": "-", "grpc_response_status": "0"}
    text = labels.packed("http", groups | more)
    assert labels.unpacked(text, OWN) == {
        "reporter": "source",
        "source_workload": "payments",
        "source_workload_namespace": "bistro",
        "source_principal": "unknown",
        "source_app": "pay",
        "source_version": "unknown",
        "source_cluster": "unknown",
        "source_canonical_service": "pay",
        "source_canonical_revision": "latest",
        "destination_workload": "menu-v2",
        "destination_workload_namespace": "bistro",
        "destination_principal": URI,
        "destination_app": "menu",
        "destination_version": "v2",
        "destination_service": "menu.bistro.svc.cluster.local",
        "destination_service_name": "menu",
        "destination_service_namespace": "bistro",
        "destination_cluster": "unknown",
        "destination_canonical_service": "menu",
        "destination_canonical_revision": "v2",
        "request_protocol": "grpc",
        "response_code": "200",
        "grpc_response_status": "0",
        "response_flags": "-",
        "connection_security_policy": "unknown",
    }


@pytest.mark.parametrize(
    ("subject", "workload", "app", "version"),
    [
        ("CN=web-v1,OU=web,O=v1", "web-v1", "web", "v1"),
        ("CN=web", "web", "web", "unknown"),
        (r"CN=a\,b,OU=x\,O=y|z,O=v|1", "a,b", "x,O=y|z", "v|1"),
        ("", "unknown", "unknown", "unknown"),
    ],
)
def test_at_the_destination_the_certificate_says_who_called(
    subject: str, workload: str, app: str, version: str
) -> None:
    groups = {"reporter": "destination", "source_principal": URI, "other_end": subject}
    found = labels.unpacked(labels.packed("tcp", groups), OWN)
    assert (found["source_workload"], found["source_app"], found["source_version"]) == (
        workload,
        app,
        version,
    )
    assert (found["source_workload_namespace"], found["destination_workload"]) == ("shop", "payments")
    assert found["request_protocol"] == "tcp"


@pytest.mark.parametrize(
    ("cluster", "named"),
    [
        ("outbound|8080||a.b.svc.cluster.local", ("a.b.svc.cluster.local", "a", "b")),
        ("outbound|443||api.example.com", ("api.example.com", "api.example.com", "unknown")),
        ("PassthroughCluster", ("unknown", "PassthroughCluster", "unknown")),
        ("-", ("unknown", "unknown", "unknown")),
    ],
)
def test_at_the_source_the_cluster_says_what_was_called(cluster: str, named: tuple[str, str, str]) -> None:
    groups = {"reporter": "source", "destination": "198.18.0.1:80", "other_end": cluster}
    found = labels.unpacked(labels.packed("tcp", groups), OWN)
    parts = ("destination_service", "destination_service_name", "destination_service_namespace")
    assert tuple(found[part] for part in parts) == named
    assert found["destination_workload"] == "unknown"


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ("rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]", "ns[a]-policy[b]-rule[0]"),
        ("rbac_access_denied_matched_policy[none]", "no ALLOW rule holds"),
        ("jwt_authn_access_denied{Jwt_is_expired}", "jwt_authn_access_denied{Jwt_is_expired}"),
        ("ns[a]-policy[b]-rule[1]", "ns[a]-policy[b]-rule[1]"),
        ("", "unknown"),
    ],
)
def test_a_denial_says_by_what(details: str, reason: str) -> None:
    assert labels.unpacked(labels.packed("denied", {"reason": details}), OWN)["reason"] == reason


def test_a_text_of_no_family_is_refused() -> None:
    for text in ("", "udp|source", "http"):
        if text == "http":
            assert labels.unpacked(text, OWN)["response_code"] == "unknown"
        else:
            with pytest.raises(ValueError, match="no such family"):
                labels.unpacked(text, OWN)
