"""Meshes written as YAML, compiled and, if need be, running: for tests of what is said of them."""

from __future__ import annotations

from dataclasses import dataclass

from plait.api.services import RuleView, ServiceView
from plait.compiler.merge import NO_SHIFTS
from plait.link.messages import ReplicaReport, State
from plait.model.change import Stated
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.rollout import Shifts
from plait.model.settings import MeshSettings, Mode
from plait.run import services
from plait.run.compilation import Compilation
from plait.run.offline import replicas
from plait.sources.files.parse import parse
from plait.sources.store import Store

FILE = "mesh.yaml"


@dataclass(frozen=True, slots=True)
class Written:
    """A mesh, where it is written, and the reports of its replicas."""

    mesh: Mesh
    store: Store
    reports: tuple[ReplicaReport, ...]
    findings: tuple[Finding, ...]

    def service(self, name: str, namespace: str = "bistro") -> ServiceView:
        """What is said of a service."""
        return services.service(self.mesh, self.reports, {}, self.store, namespace, name)

    def rules(self, name: str, port: int = 8080, namespace: str = "bistro") -> tuple[RuleView, ...]:
        """The rules at a port of a service."""
        return next(one.rules for one in self.service(name, namespace).routes if port in one.ports)


def written(*documents: str, shifts: Shifts = NO_SHIFTS, mode: Mode = Mode.TRANSPARENT) -> Written:
    """A mesh of these documents, a replica of each of its workloads ready."""
    change = parse(FILE, "---\n".join(documents).encode())
    assert isinstance(change, Stated), change
    store = Store()
    store.apply(change)
    compiled = Compilation(MeshSettings()).compile(store.documents(), shifts=shifts)
    reports = tuple(
        ReplicaReport(replica=one, revision="r", state=State.READY, identity="")
        for one in replicas(compiled.mesh, mode)
    )
    return Written(compiled.mesh, store, reports, compiled.findings)


def service(name: str, *ports: str, namespace: str = "bistro") -> str:
    """A Service and a Workload in version v1 behind it; ports as YAML, or HTTP at 8080 alone."""
    said = ", ".join(ports or ("{name: http, port: 8080}",))
    return f"""\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{app: {name}}}
  ports: [{said}]
---
{workload(name, namespace=namespace)}"""


def workload(name: str, version: str = "v1", *, namespace: str = "bistro", app: str = "") -> str:
    """A Workload that listens at 8080."""
    return f"""\
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app: {app or name}, version: {version}}}
spec:
  command: [serve]
  serviceAccount: {app or name}
  ports: [{{name: http, port: 8080}}]
"""


def virtual_service(name: str, http: str, *, more: str = "", namespace: str = "bistro") -> str:
    """A VirtualService for a host of its own name; `more` stands before `http`, which is YAML in one line."""
    return f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: [{name}]
{more}  http: {http}
"""


def short(rule: RuleView) -> str:
    """A rule in one line: what it matches, and where that goes."""
    led = ", ".join(
        f"{one.share:g} {one.host.split('.')[0]}{f'/{one.subset}' if one.subset else ''}"
        f"{f':{one.port}' if one.port else ''}{' copied' if one.mirrored else ''}"
        for one in rule.destinations
    )
    return f"{' & '.join(rule.matches) or 'all'} -> {rule.answer or led}"
