"""The fields of a ReferenceGrant."""

from tests.fields.cases import proves
from tests.fields.mesh import Mesh

KIND = "ReferenceGrant"

GARDEN = """
apiVersion: v1
kind: Service
metadata: {name: tables, namespace: garden}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: tables, namespace: garden}
spec:
  parentRefs: [{group: "", kind: Service, name: tables}]
  rules:
  - matches: [{path: {value: /one}}]
    backendRefs: [{namespace: bistro, name: reservations-v1, port: 8080}]
  - matches: [{path: {value: /two}}]
    backendRefs: [{namespace: bistro, name: reservations-v2, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: tables, namespace: street}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: tables, namespace: street}
spec:
  parentRefs: [{group: "", kind: Service, name: tables}]
  rules:
  - backendRefs: [{namespace: bistro, name: reservations-v1, port: 8080}]
"""


@proves(
    KIND,
    """
from:
- {group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: garden}
to:
- {group: "", kind: Service, name: reservations-v1}
""",
    "from",
    "from[0].group",
    "from[0].kind",
    "from[0].namespace",
    "to",
    "to[0].group",
    "to[0].kind",
    "to[0].name",
    beside=GARDEN,
)
async def routes_send_to_services_of_other_namespaces_that_have_granted_it(mesh: Mesh) -> None:
    assert (await mesh.ask("/one", host="tables.garden")).by == "reservations-v1"
    assert (await mesh.ask("/two", host="tables.garden")).status == 500
    assert (await mesh.ask("/one", host="tables.street")).status == 500
