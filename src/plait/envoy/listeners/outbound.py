"""What the application sends.

In explicit mode all of it comes to one forward proxy of HTTP.  In transparent mode the kernel brings every
connection to the same place, from where Envoy hands it to the listener of its original destination: a port of a
service that is not HTTP has one, at the virtual address of the service, that is bound to nothing.  What has none
is HTTP when it goes to a virtual address, and does not belong to the mesh otherwise.  Of HTTP too the address says
who is called, whatever host the request names.  What goes to the address of a replica goes to that replica as it
is, past the routes of any service.
"""

from __future__ import annotations

from typing import Any

from plait.envoy import access_log, api, build, names, tracing
from plait.envoy.filters import ORDER, stats, tap
from plait.envoy.listeners import parts
from plait.model.catalog import SidecarAddresses
from plait.model.mesh import TcpPort
from plait.model.names import REPLICA_NETWORK, VIRTUAL_NETWORK
from plait.model.settings import MeshSettings, OutboundTrafficPolicy
from plait.model.telemetry import NOTHING_SAID, Observed, Side

_APPLICATION_IDLE_SECONDS = 3600.0
"""For connections of our own application: it closes them itself, long before."""
_ATTEMPTS = 3
"""To connect, before any byte has been sent: as often as a request is tried that was never sent."""
_LOOPBACK, _LOOPBACK_6 = "127.0.0.1", "::1"


_CALLED = build.extension(
    "called",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
    mutations=[
        {
            "append": {
                "header": {"key": names.CALLED_HEADER, "value": "%DOWNSTREAM_LOCAL_ADDRESS%"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        }
    ],
)
"""Says of each request to which address it was sent."""


def main(sidecar: SidecarAddresses, settings: MeshSettings, observed: Observed = NOTHING_SAID) -> Any:
    """The one place that everything comes to; `observed`: what is told of requests."""
    if sidecar.transparent:
        return _transparent(sidecar, settings, observed)
    return api.message(parts.LISTENER)(
        name=names.OUTBOUND_LISTENER,
        address=parts.address(sidecar.address, sidecar.outbound),
        traffic_direction="OUTBOUND",
        enable_reuse_port={"value": False},
        filter_chains=[{"filters": [_manager(observed, transparent=False)]}],
    )


def tcp(port: TcpPort, observed: Observed = NOTHING_SAID) -> Any:
    """One port of a service that is not, or not surely, HTTP."""
    to_service = {"filters": [_tcp_proxy(names.cluster(port.cluster), observed, **_limits(port))]}
    looked_at: dict[str, Any] = {"filter_chains": [to_service]}
    if port.protocol.may_be_http:
        as_http = {
            "filter_chain_match": {"application_protocols": parts.HTTP_SEEN},
            "filters": [_manager(observed, transparent=True)],
        }
        looked_at = {
            "listener_filters": [parts.http_inspector()],
            **parts.detection(),
            "filter_chains": [as_http],
            "default_filter_chain": to_service,
        }
    return api.message(parts.LISTENER)(
        name=names.tcp_listener(port.host, port.port),
        address=parts.address(port.address, port.port),
        bind_to_port={"value": False},
        traffic_direction="OUTBOUND",
        **looked_at,
    )


def _transparent(sidecar: SidecarAddresses, settings: MeshSettings, observed: Observed) -> Any:
    """Whoever calls this place itself, by no redirection, has no way from here."""
    anywhere = settings.outbound_traffic_policy is OutboundTrafficPolicy.ALLOW_ANY
    elsewhere = names.PASSTHROUGH_CLUSTER if anywhere else names.BLACK_HOLE_CLUSTER
    network = VIRTUAL_NETWORK
    return api.message(parts.LISTENER)(
        name=names.OUTBOUND_LISTENER,
        address=parts.address(_LOOPBACK, sidecar.outbound),
        additional_addresses=[
            {"address": parts.address(one, sidecar.outbound)} for one in (_LOOPBACK_6,) if sidecar.ipv6
        ],
        use_original_dst={"value": True},
        traffic_direction="OUTBOUND",
        enable_reuse_port={"value": False},
        filter_chains=[
            {
                "name": "mesh",
                "filter_chain_match": _to(str(network.network_address), network.prefixlen),
                "filters": [_manager(observed, transparent=True)],
            },
            {
                "name": "replicas",
                "filter_chain_match": _to(str(REPLICA_NETWORK.network_address), REPLICA_NETWORK.prefixlen),
                "filters": [_tcp_proxy(names.REPLICAS_CLUSTER, observed)],
            },
            {
                "name": "itself",
                "filter_chain_match": _to("127.0.0.0", 8, _LOOPBACK_6),
                "filters": [_tcp_proxy(names.BLACK_HOLE_CLUSTER, observed)],
            },
        ],
        default_filter_chain={"name": "elsewhere", "filters": [_tcp_proxy(elsewhere, observed)]},
    )


def _to(prefix: str, length: int, *also: str) -> dict[str, Any]:
    """To a network, and to single addresses of IPv6."""
    ranges = [(prefix, length), *((one, 128) for one in also)]
    return {"prefix_ranges": [{"address_prefix": one, "prefix_len": {"value": bits}} for one, bits in ranges]}


def _manager(observed: Observed, *, transparent: bool) -> dict[str, Any]:
    """Whom the application calls chooses the routes: the address that it has connected to, or the whole authority."""
    fields: dict[str, Any] = {
        "common_http_protocol_options": {"idle_timeout": build.seconds(_APPLICATION_IDLE_SECONDS)}
    }
    chosen_by, early = ":authority", tracing.early(observed.tracing)
    if transparent:  # nobody has been told that there is a proxy
        fields |= parts.HTTP_1_0
        early = [_CALLED, *early]
        chosen_by = names.CALLED_HEADER
    return parts.manager(
        "outbound",
        filters=[parts.installed(one) for one in ORDER if one.outbound],
        access_log=[
            *([stats.at_source()] if observed.metrics else []),
            tap.at_client(),
            *access_log.of_requests(observed.logs, Side.CLIENT),
        ],
        early_header_mutation_extensions=early,
        **tracing.of_manager(observed.tracing, outbound=True),
        strip_trailing_host_dot=True,  # the same name, said to be whole
        scoped_routes={
            "name": names.OUTBOUND_LISTENER,
            "scope_key_builder": {"fragments": [{"header_value_extractor": {"name": chosen_by, "index": 0}}]},
            "rds_config_source": build.ADS,
            "scoped_rds": {"scoped_rds_config_source": build.ADS},
        },
        **fields,
    )


def _limits(port: TcpPort) -> dict[str, Any]:
    """How long connections may last."""
    found = {}
    if port.idle_timeout is not None:
        found["idle_timeout"] = build.seconds(port.idle_timeout)
    if port.longest is not None:
        found["max_downstream_connection_duration"] = build.seconds(port.longest)
    return found


def _tcp_proxy(cluster: str, observed: Observed, **limits: Any) -> dict[str, Any]:
    log = [*(stats.tcp_at_source() if observed.metrics else []), tap.tcp_at_client()]
    log += access_log.of_connections(observed.logs, Side.CLIENT)
    return parts.tcp_proxy("outbound", cluster, log, max_connect_attempts={"value": _ATTEMPTS}, **limits)
