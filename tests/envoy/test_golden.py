"""What is rendered is what stands in tests/golden/envoy, and the real Envoy accepts it.

`PLAIT_GOLDEN=write` writes the files anew.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plait.envoy import api, names
from plait.envoy.bootstrap import bootstrap, log_bound, own_labels
from plait.envoy.check import check
from plait.model.catalog import SidecarAddresses
from plait.model.names import ReplicaKey, WorkloadKey
from plait.resource import CLUSTER, EXTENSION, LISTENER, ROUTES, SCOPED_ROUTES, Snapshot
from tests.envoy.cases import CASES, Case
from tests.envoy.support import ENVOY, Authority, short_folder, write_secrets

GOLDEN = Path(__file__).parent.parent / "golden" / "envoy"


def golden(name: str, found: Any) -> None:
    file = GOLDEN / name / "envoy.yaml"
    text = yaml.safe_dump(found, sort_keys=False, width=110)
    if os.environ.get("PLAIT_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert file.read_text() == text


def shown(case: Case) -> Iterator[dict[str, Any]]:
    snapshot = case.snapshot()
    for type_url in case.types:
        for name, resource in sorted(snapshot[type_url].items()):
            if name.startswith(case.names):
                yield {
                    "type": type_url.rpartition(".")[2],
                    "name": name,
                    "origins": [f"{origin.ref} {origin.field}".rstrip() for origin in resource.origins],
                    "resource": api.to_dict(api.parse(type_url, resource.body)),
                }


@pytest.mark.parametrize("name", CASES)
def test_a_proxy_is_told_what_the_golden_file_says(name: str) -> None:
    golden(name, list(shown(CASES[name])))


@pytest.mark.parametrize("control_plane", ["/run/xds.sock", "control.example:15012", "127.0.0.1:15012"])
def test_an_envoy_starts_with_what_the_golden_file_says(control_plane: str) -> None:
    name = "bootstrap-" + control_plane.strip("/").replace("/", "-").replace(":", "-")
    golden(name, start(control_plane))


def start(control_plane: str) -> dict[str, Any]:
    return bootstrap(
        node=ReplicaKey(WorkloadKey("bistro", "frontend"), 0),
        trust_domain="cluster.local",
        sidecar=SidecarAddresses(address="127.77.0.1"),
        admin_socket="/run/frontend.admin",
        stats_socket="/run/frontend.stats",
        control_plane=control_plane,
    )


@pytest.mark.parametrize("name", CASES)
def test_a_snapshot_has_everything_that_it_names(name: str) -> None:
    case = CASES[name]
    assert check(case.snapshot(), case.view().outbound.missing) == ()


@pytest.mark.parametrize("name", CASES)
def test_envoy_accepts_what_is_rendered(name: str) -> None:
    case = CASES[name]
    config = start("/run/xds.sock")
    static = config["static_resources"]
    static["clusters"] += bodies(case.snapshot(), CLUSTER).values()
    static["listeners"] += inlined(case.snapshot())
    accepted(config)


@pytest.mark.parametrize("control_plane", ["control.example:15012", "127.0.0.1:15012", "[::1]:15012"])
def test_envoy_accepts_the_bootstrap(control_plane: str) -> None:
    accepted(start(control_plane))


def accepted(config: dict[str, Any]) -> None:
    authority = Authority()
    with short_folder() as folder:
        write_secrets(
            folder / "secrets", *authority.issue("spiffe://cluster.local/ns/a/sa/b"), authority.root
        )
        (folder / "bootstrap.json").write_text(json.dumps(config))
        (folder / names.LOG_BOUND_FILE).write_text(json.dumps(log_bound()))
        command = [ENVOY, "--mode", "validate", "-c", "bootstrap.json", "-l", "warning"]
        run = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | own_labels(ReplicaKey(WorkloadKey("bistro", "frontend"), 0), ()),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    # Keys are fetched at once, and nobody is there.
    assert [line for line in run.stderr.splitlines() if "/jwks_" not in line] == []


def bodies(snapshot: Snapshot, type_url: str) -> dict[str, dict[str, Any]]:
    return {name: api.to_dict(api.parse(type_url, one.body)) for name, one in snapshot[type_url].items()}


def inlined(snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    """The listeners with their scopes, routes and extensions inside, so that validation sees all of it.

    As with RDS, a route may name a cluster that does not exist.
    """
    routes = {name: one | {"validate_clusters": False} for name, one in bodies(snapshot, ROUTES).items()}
    extensions = bodies(snapshot, EXTENSION)
    for listener in bodies(snapshot, LISTENER).values():
        chains = [
            *listener["filter_chains"],
            *([listener["default_filter_chain"]] if "default_filter_chain" in listener else []),
        ]
        for one in (one for chain in chains for one in chain["filters"]):
            if one.pop("config_discovery", None):
                one["typed_config"] = extensions[one["name"]]["typed_config"]
            config = one["typed_config"]
            for log in config.get("access_log", ()):
                # Envoy 1.40 crashes at the end of a validation, and at no other end, when listeners share a scope.
                log["typed_config"].get("stats_scope", {}).pop("sharing_name", None)
            for http_filter in config.get("http_filters", ()):
                if "config_discovery" in http_filter and http_filter["name"] in extensions:
                    del http_filter["config_discovery"]
                    http_filter["typed_config"] = extensions[http_filter["name"]]["typed_config"]
            if "rds" in config:
                config["route_config"] = routes[config.pop("rds")["route_config_name"]]
            if "scoped_routes" in config:
                scoped = config["scoped_routes"]
                del scoped["scoped_rds"], scoped["rds_config_source"]
                scoped["scoped_route_configurations_list"] = {
                    "scoped_route_configurations": [
                        {
                            "name": one["name"],
                            "key": one["key"],
                            "route_configuration": routes[one["route_configuration_name"]],
                        }
                        for one in bodies(snapshot, SCOPED_ROUTES).values()
                    ]
                }
        yield listener
