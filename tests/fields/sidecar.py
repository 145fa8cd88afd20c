"""The fields of a Sidecar."""

from tests.fields.cases import proves
from tests.fields.mesh import Mesh

KIND = "Sidecar"


@proves(
    KIND,
    """
egress:
- hosts: [./frontend, ./reservations-v1, "./*.example", ~/*]
""",
    "egress",
    "egress[0]",
    "egress[0].hosts[1]",
)
async def what_is_not_named_is_not_called(mesh: Mesh) -> None:
    assert (await mesh.ask()).status == 404
    for host in ("frontend", "reservations-v1"):
        assert (await mesh.ask(host=f"{host}:8080")).status == 200


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
