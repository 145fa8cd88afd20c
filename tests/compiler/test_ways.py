"""ways: what is said of how a service is called is what each client's proxy is told."""

import pytest

from plait.compiler.view import view
from plait.compiler.ways import Way, ways
from plait.model.mesh import ClusterKey, OutboundRoutes
from plait.model.names import WorkloadKey, service_host
from plait.model.settings import Mode
from plait.run.offline import replicas
from tests.run.written import Written, service, virtual_service, written

EVERYBODY = virtual_service(
    "menu", "[{match: [{uri: {prefix: /wine}}], route: [{destination: {host: wine.cellar.svc.cluster.local}}]},"
    " {route: [{destination: {host: menu}}]}]"
)  # fmt: skip
OF_CELLAR = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: menu, namespace: cellar}
spec:
  hosts: [menu.bistro.svc.cluster.local]
  exportTo: [.]
  http: [{timeout: 3s, route: [{destination: {host: menu.bistro.svc.cluster.local, subset: none}}]}]
"""
NARROW = """\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: attic}
spec: {egress: [{hosts: [./*]}]}
"""
LONELY = """\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: guest, namespace: bistro}
spec:
  workloadSelector: {labels: {app: guest}}
  egress: [{hosts: [./guest]}]
"""
OF_GUESTS = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: guest, namespace: bistro}
spec:
  host: menu
  workloadSelector: {matchLabels: {app: guest}}
  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}
"""
SERVICES = (
    service("menu"),
    service("guest"),
    service("other"),
    service("wine", namespace="cellar"),
    service("box", namespace="attic"),
    service("hall", namespace="house"),
)
MENU = service_host("bistro", "menu")


def mine(found: tuple[Way, ...], client: WorkloadKey) -> Way:
    """The way of a client: the first that names it, or the last."""
    named = (one for one in found if client.namespace in one.namespaces or client in one.workloads)
    return next(named, found[-1])


def told(mesh: Written, mode: Mode) -> dict[WorkloadKey, tuple[OutboundRoutes, ...]]:
    """The routes to the menu that each client's proxy is told."""
    return {
        one.key.workload: tuple(route for route in view(mesh.mesh, one).outbound.routes if route.host == MENU)
        for one in replicas(mesh.mesh, mode)
    }


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(
    ("documents", "number"),
    [
        ((), 1),
        ((EVERYBODY,), 1),
        ((EVERYBODY, NARROW), 2),
        ((EVERYBODY, OF_CELLAR, NARROW, LONELY), 3),
        ((OF_CELLAR, LONELY), 3),
        ((OF_GUESTS,), 2),
        ((EVERYBODY, OF_GUESTS, NARROW), 3),
    ],
)
def test_each_client_is_told_the_routes_of_its_way(
    documents: tuple[str, ...], number: int, mode: Mode
) -> None:
    mesh = written(*SERVICES, *documents, mode=mode)
    found = ways(mesh.mesh, mesh.mesh.services[MENU], transparent=mode is Mode.TRANSPARENT)
    assert len(found) == number
    for client, routes in told(mesh, mode).items():
        assert mine(found, client).routes == routes, client
        assert bool(mine(found, client).hidden) is (routes == ())


def test_what_a_way_names_and_nothing_defines_is_missing() -> None:
    mesh = written(*SERVICES, OF_CELLAR)
    first, last = ways(mesh.mesh, mesh.mesh.services[MENU], transparent=True)
    assert (first.namespaces, first.missing) == (("cellar",), frozenset({ClusterKey(MENU, 8080, "none")}))
    assert (last.namespaces, last.workloads, last.missing) == ((), (), frozenset())
    one = next(one for one in replicas(mesh.mesh) if one.key.workload.namespace == "cellar")
    assert frozenset(view(mesh.mesh, one).outbound.missing) == first.missing


def test_rules_for_some_clients_are_no_way_of_their_own_beside_a_sidecar() -> None:
    asked = virtual_service(
        "menu",
        "[{match: [{sourceLabels: {app: guest}}], route: [{destination: {host: other}}]}, {route: [{destination: {host: menu}}]}]",
    )
    mesh = written(*SERVICES, asked, NARROW)
    found = ways(mesh.mesh, mesh.mesh.services[MENU], transparent=True)
    assert [one.namespaces for one in found] == [("attic",), ()]
    assert [len(route.rules) for route in found[-1].routes] == [2]


def test_most_clients_go_the_way_that_names_nobody() -> None:
    shut = service("menu").replace(
        "namespace: bistro}",
        "namespace: bistro, annotations: {networking.istio.io/exportTo: 'attic,bistro'}}",
        1,
    )
    many = tuple(service(f"one-{number}", namespace="crowd") for number in range(5))
    mesh = written(shut, *SERVICES[3:], *many)
    found = ways(mesh.mesh, mesh.mesh.services[MENU], transparent=True)
    assert [(one.namespaces, bool(one.hidden)) for one in found] == [(("attic", "bistro"), False), ((), True)]


def test_without_workloads_the_way_is_that_of_everybody() -> None:
    only = "apiVersion: v1\nkind: Service\nmetadata: {name: menu, namespace: bistro}\nspec: {selector: {app: menu}, ports: [{name: http, port: 8080}]}\n"
    mesh = written(only)
    (way,) = ways(mesh.mesh, mesh.mesh.services[MENU], transparent=True)
    assert [one.port for one in way.routes] == [8080]
