"""`plait compile`: what a proxy would get, without a running mesh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from plait.compiler.endpoints import endpoints
from plait.compiler.view import view
from plait.envoy import api
from plait.envoy.render import Renderer
from plait.model.names import WorkloadKey
from plait.model.settings import MeshSettings, Mode
from plait.resource import TYPES, Resource
from plait.run import offline
from plait.run.offline import Offline


def compile_(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of YAML.", metavar="PATH...")],
    proxy: Annotated[str, typer.Option(help="Whose proxy: the first replica of NS/NAME.", metavar="NS/NAME")],
    mode: Annotated[Mode, typer.Option(help="How traffic comes to the proxies.")] = Mode.TRANSPARENT,
) -> None:
    """Print what Envoy would be told, as its own JSON, each resource with the objects that made it.

    Addresses are made up, counted from 198.18.0.1 (explicit: 127.77.0.1), and every replica is taken to serve.
    """
    try:
        read = offline.read(paths, MeshSettings())
    except OSError as error:
        typer.echo(f"plait compile: {error}", err=True)
        raise typer.Exit(2) from error
    namespace, _, name = proxy.partition("/")
    replicas = offline.replicas(read.mesh, mode)
    replica = next((one for one in replicas if one.key.workload == WorkloadKey(namespace, name)), None)
    if replica is None:
        known = ", ".join(str(key) for key in sorted(read.mesh.workloads)) or "none"
        typer.echo(f"plait compile: no workload {proxy} with a replica; there are: {known}", err=True)
        raise typer.Exit(1)
    snapshot = Renderer().render(view(read.mesh, replica), endpoints(read.mesh, replicas))
    resources = [
        _plain(resource, read) for type_url in TYPES for _, resource in sorted(snapshot[type_url].items())
    ]
    typer.echo(json.dumps({"node": str(replica.key), "resources": resources}, indent=2))


def _plain(resource: Resource, read: Offline) -> dict[str, Any]:
    return {
        "type": resource.type_url.rpartition(".")[2],
        "name": resource.name,
        "version": resource.version,
        "origins": [
            {
                "object": str(origin.ref),
                "field": origin.field,
                "file": place.file if place else "",
                "line": place.line if place else 0,
            }
            for origin in resource.origins
            for place in (read.store.place(origin.ref, origin.field),)
        ],
        "config": api.to_dict(api.parse(resource.type_url, resource.body)),
    }


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compile")(compile_)
