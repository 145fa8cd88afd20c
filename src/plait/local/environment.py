"""The environment of a replica's processes.

An application inherits only what says how this machine works for this user (the names in INHERITED), not the rest
of the shell that `plait up` was typed into: what a workload needs beyond that stands in its `env`, so that it runs
the same for everybody, after every restart, and no token of the shell reaches a service.
"""

from __future__ import annotations

import pwd
from collections.abc import Mapping

from plait.agent.record import MESH, REPLICA
from plait.envoy.bootstrap import RESOURCE, resource
from plait.local.addresses import LOOPBACK, Places
from plait.local.users import APP_HOME, APP_NAME
from plait.model.catalog import Labels, Process
from plait.model.names import ReplicaKey

INHERITED = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
)
_PATH = "/usr/local/bin:/usr/bin:/bin"

Environment = tuple[tuple[str, str], ...]


def marks(mesh: str, replica: str = "") -> dict[str, str]:
    """By what the processes of a mesh (the path of its state directory), and of a replica, are found again."""
    return {MESH: mesh, **({REPLICA: replica} if replica else {})}


def bare(around: Mapping[str, str], own: Mapping[str, str]) -> Environment:
    """The environment of Envoy and of the shim: what any program needs, and `own`."""
    return tuple({"PATH": around.get("PATH", _PATH), **own}.items())


SIDECAR = "PLAIT_SIDECAR"
"""Environment variable of an application: the address of its sidecar, for its metrics (15090) and health (15021)."""


_OWN_COLLECTOR = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Who sets one of these tells its spans elsewhere."""


def of_application(  # noqa: PLR0913, PLR0917 - all that it follows from
    key: ReplicaKey,
    labels: Labels,
    process: Process,
    places: Places,
    around: Mapping[str, str],
    own: Mapping[str, str],
) -> Environment:
    """The environment of an application; `around` is the one to inherit from, `own` the marks.

    What the workload's `env` says wins over what is inherited, and over where spans are told.  Where to listen and, in explicit mode, where the
    proxy is wins over everything: a workload that says otherwise would be outside the mesh.
    """
    values = {name: around[name] for name in INHERITED if name in around}
    values.setdefault("PATH", _PATH)
    if process.user:
        values |= _account(process.user)
    elif places.sidecar.transparent:
        values |= {"HOME": APP_HOME, "USER": APP_NAME, "LOGNAME": APP_NAME}
    if places.sidecar.transparent:
        values.pop("TMPDIR", None)  # it has a /tmp of its own, and sees no other
    values |= dict(process.env)
    values["HOST"] = places.host
    if places.bindings:
        values["PORT"] = str(places.bindings[0].app_port)
    values[SIDECAR] = places.sidecar.address
    if places.sidecar.otlp_http and not any(name in values for name in _OWN_COLLECTOR):
        values = _traced(places, key, labels) | values
    if not places.sidecar.transparent:
        values |= _proxied(places)
    return tuple({**values, **own}.items())


def _proxied(places: Places) -> dict[str, str]:
    proxy = f"http://{places.sidecar.address}:{places.sidecar.outbound}"
    direct = ",".join(dict.fromkeys(("localhost", "127.0.0.1", places.host, places.sidecar.address)))
    lower = {"http_proxy": proxy, "no_proxy": direct}
    return lower | {name.upper(): value for name, value in lower.items()}


def _traced(places: Places, key: ReplicaKey, labels: Labels) -> dict[str, str]:
    """How a program that is instrumented by OpenTelemetry tells its spans to the mesh, beside those of its sidecar."""
    host = LOOPBACK if places.sidecar.transparent else places.sidecar.address
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}:{places.sidecar.otlp_http}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": dict(labels).get("app", key.workload.name),
        RESOURCE: resource(key, labels),
    }


def _account(user: str) -> dict[str, str]:
    """What a login would set for another user; nothing for one that does not exist, which the shim reports."""
    try:
        account = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        return {}
    return {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
