"""The fields of a Sidecar."""

from tests.fields.cases import proves
from tests.fields.mesh import Mesh

KIND = "Sidecar"


@proves(
    KIND,
    """
egress:
- hosts: [./frontend, "./*.example", ~/*]
""",
    "egress",
    "egress[0]",
)
async def what_is_not_named_is_not_called(mesh: Mesh) -> None:
    assert (await mesh.ask()).status == 404
    assert (await mesh.ask(host="frontend:8080")).status == 200


@proves(
    KIND,
    """
workloadSelector: {labels: {app: kitchen}}
egress:
- hosts: [./*.example]
""",
    "workloadSelector",
    "workloadSelector.labels",
)
async def it_is_for_the_workloads_that_it_selects(mesh: Mesh) -> None:
    assert (await mesh.ask()).status == 200
