"""endpoints: who serves each cluster right now."""

from dataclasses import replace

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.model.catalog import Protocol
from plait.model.mesh import Behind
from plait.model.names import WorkloadKey
from plait.model.policy import MtlsMode
from tests.compiler.facts import (
    SETTINGS,
    destination,
    host,
    listens,
    peers,
    port,
    replica,
    service,
    workload,
)

V1 = workload("reservations-v1", listens(8080, name="web"), app="reservations", version="v1")
V2 = workload("reservations-v2", listens(9090, name="web"), app="reservations", version="v2")
FACTS = (
    V1,
    V2,
    service("reservations", port(80, target="web")),
    destination("reservations", "v1", "v2", "v3"),
)
ONE = replica(V1, address="127.77.0.2")
TWO = replica(V2, address="127.77.0.1")


def test_a_cluster_has_the_serving_replicas_that_service_and_subset_select() -> None:
    mesh, _ = merge(FACTS, SETTINGS)
    found = endpoints(mesh, [ONE, TWO, replica(V1, 1, address="127.77.0.3", serving=False)])
    places = {key.labels: [(one.address, one.port) for one in who] for key, who in found.items()}
    assert places == {
        (): [("127.77.0.1", 9090), ("127.77.0.2", 8080)],
        (("version", "v1"),): [("127.77.0.2", 8080)],
        (("version", "v2"),): [("127.77.0.1", 9090)],
        (("version", "v3"),): [],
    }
    (first,) = found[Behind(host("reservations"), 80, (("version", "v1"),))]
    assert (first.workload, first.app, first.version) == (
        WorkloadKey("bistro", "reservations-v1"), "reservations", "v1",
    )  # fmt: skip
    assert first.identity == "spiffe://cluster.local/ns/bistro/sa/reservations"


def test_the_order_of_replicas_changes_nothing() -> None:
    mesh, _ = merge(FACTS, SETTINGS)
    assert endpoints(mesh, [ONE, TWO]) == endpoints(mesh, [TWO, ONE])


def test_what_a_replica_was_started_with_counts_not_what_its_document_says_now() -> None:
    mesh, _ = merge(FACTS, SETTINGS)
    old = replace(TWO, labels=(("app", "reservations"), ("version", "v1")), service_account="former")
    (found,) = endpoints(mesh, [old])[Behind(host("reservations"), 80, (("version", "v1"),))]
    assert found.identity.endswith("/sa/former")


def test_a_replica_that_lacks_the_target_port_is_no_endpoint() -> None:
    mesh, _ = merge((V1, service("reservations", port(80, target=81))), SETTINGS)
    assert endpoints(mesh, [ONE]) == {Behind(host("reservations"), 80): ()}


def test_only_where_mutual_tls_is_disabled_is_it_left_out() -> None:
    for mode in MtlsMode:
        mesh, _ = merge((*FACTS, peers("peers", mode)), SETTINGS)
        (found,) = endpoints(mesh, [ONE])[Behind(host("reservations"), 80)]
        assert found.mtls is (mode is not MtlsMode.DISABLE)


def test_ports_that_may_be_no_http_have_endpoints_and_only_undeclared_ones_of_subsets() -> None:
    database = workload(
        "database", listens(5432, Protocol.TCP), listens(9000, Protocol.UNDECLARED), version="v1"
    )
    facts = (
        database,
        service(
            "database", port(5432, Protocol.TCP), port(9000, Protocol.UNDECLARED), port(53, Protocol.UDP)
        ),
        destination("database", "v1"),
        peers("off", MtlsMode.DISABLE),
    )
    found = endpoints(merge(facts, SETTINGS)[0], [replica(database)])
    assert {(key.port, key.labels): [one.mtls for one in who] for key, who in found.items()} == {
        (5432, ()): [False],
        (9000, ()): [False],
        (9000, (("version", "v1"),)): [False],
    }
