"""Meshes to measure with: a folder of YAML, the same for the same numbers, one file a service.

`python -m bench.meshes FOLDER SERVICES` writes one.

Each service has three replicas of one workload; a third of them have a VirtualService, half of them an
AuthorizationPolicy.  Any control plane that reads these kinds can be given the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

NAMESPACES = 10

_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 8080}}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: {namespace}}}
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app: {name}, version: v1}}
spec:
  command: [serve, {name}]
  serviceAccount: {name}
  replicas: 3
  ports: [{{name: http, port: 8080}}]
"""
_ROUTES = """\
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: [{name}]
  http:
  - match: [{{headers: {{x-user: {{exact: tester}}}}}}, {{uri: {{prefix: /beta}}}}]
    route: [{{destination: {{host: {name}}}}}]
  - timeout: 5s
    route: [{{destination: {{host: {name}}}}}]
"""
_POLICY = """\
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  rules:
  - from: [{{source: {{principals: [cluster.local/ns/{namespace}/sa/{caller}]}}}}]
    to: [{{operation: {{methods: [GET, POST]}}}}]
"""


def files(services: int, namespaces: int = NAMESPACES) -> Iterator[tuple[str, str]]:
    """Name and content of each file of a mesh."""
    for number in range(services):
        values = {
            "name": f"service-{number:04}",
            "namespace": f"team-{number % namespaces}",
            "caller": f"service-{(number + namespaces) % services:04}",
        }
        text = _SERVICE.format(**values)
        if number % 3 == 0:
            text += _ROUTES.format(**values)
        if number % 2 == 0:
            text += _POLICY.format(**values)
        yield f"{values['name']}.yaml", text


def write(folder: Path, services: int) -> None:
    """All files of a mesh, into a folder that is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files(services):
        (folder / name).write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.meshes", description="Write a mesh to measure with."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("services", type=int)
    chosen = parser.parse_args()
    write(chosen.folder, chosen.services)
    print(f"{chosen.services} services, a file each, in {chosen.folder}")


if __name__ == "__main__":
    main()
