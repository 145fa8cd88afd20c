"""What Plait is compared with counts under all of Istio's standard labels, whatever Plait itself does."""

from bench.data_plane import istio_metrics
from bench.data_plane.envoys import Message
from plait.envoy import api

BOTH = {
    "reporter",
    "request_protocol",
    "connection_security_policy",
    "response_flags",
    "source_principal",
} | {
    f"destination_{what}"
    for what in (
        *("workload", "workload_namespace", "principal", "app", "version", "cluster"),
        *("service", "service_name", "service_namespace", "canonical_service", "canonical_revision"),
    )
}
OF_REQUESTS = {"response_code", "grpc_response_status"}
CALLER = {
    f"source_{what}"
    for what in (
        "workload",
        "workload_namespace",
        "app",
        "version",
        "canonical_service",
        "canonical_revision",
    )
}


def labels(log: Message) -> set[str]:
    """Of every stat that a log counts; they have the same."""
    config = api.message("envoy.extensions.access_loggers.stats.v3.Config").FromString(
        log["typed_config"].value
    )
    found = [frozenset(tag.name for tag in one.stat.tags) for one in (*config.counters, *config.histograms)]
    assert len(set(found)) == 1
    return set(found[0])


def test_requests_are_counted_with_all_labels_at_both_ends() -> None:
    expected = BOTH | OF_REQUESTS | {"source_cluster"}
    assert labels(istio_metrics.requests_at_source()) == expected | CALLER
    assert labels(istio_metrics.requests_at_destination()) == expected | {"source_subject"}


def test_so_are_connections() -> None:
    for log in istio_metrics.connections_at_source():
        assert labels(log) == BOTH | CALLER | {"source_cluster"}
    for log in istio_metrics.connections_at_destination():
        assert labels(log) == BOTH | {"source_cluster", "source_subject"}
