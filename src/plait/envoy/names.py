"""Every name that Envoy sees: clusters, routes, listeners, filters, metadata, and the files of secrets."""

from __future__ import annotations

import re

from plait.model.limits import Limit
from plait.model.mesh import ClusterKey
from plait.model.names import ObjectRef, Origin, ReplicaKey
from plait.model.policy import AuthorizationPolicy, PolicyRule
from plait.model.telemetry import Side

OUTBOUND_LISTENER = "outbound"
INBOUND_LISTENER = "inbound"
HEALTH_LISTENER = "health"
METRICS_LISTENER = "metrics"
OTLP_GRPC_LISTENER = "otlp-grpc"
OTLP_HTTP_LISTENER = "otlp-http"

BLACK_HOLE_CLUSTER = "BlackHoleCluster"
"""Without endpoints: what is sent there ends."""
REPLICAS_CLUSTER = "ReplicasCluster"
"""A replica that is called by its own address, by no name of a service."""
PASSTHROUGH_CLUSTER = "PassthroughCluster"
"""Wherever the application itself wanted to go.  This name and that of the first are Istio's."""

RUNTIME_LAYER = "plait"
"""What an Envoy's runtime is told by the control plane, as a layer and as a resource: see `runtime`."""

XDS_CLUSTER = "xds"
ADMIN_CLUSTER = "admin"

CONTROL_PLANE_NAME = "control-plane.plait"
"""The server name that the control plane's certificate carries beside its SPIFFE ID."""

METADATA = "plait"
"""The namespace of our metadata."""
ORIGIN = "origin"
"""The key there of the object and field that made a route, as an access log tells it."""
ADMITTING = "admitting"
"""The key there of what marks whom a filter chain admits."""
TRANSPORT_MATCH = "envoy.transport_socket_match"
"""The metadata of an endpoint that Envoy chooses the transport by."""

CHOSEN_CLUSTER = "envoy.tcp_proxy.cluster"
"""The state of a connection by which Envoy's TCP proxy is told where to go."""
DENIED_BY = "plait.denied_by"
"""The state of a connection that says why it is not let in: the name of a rule, or NO_ALLOW."""
IDENTITIES = "plait.identities"
"""The state of a connection that has every identity of the caller's certificate."""
SEVERAL_IDENTITIES = "certificate-of-several-identities"
"""What a denial is told by where a certificate has more than one: whose rights would count?"""
NO_ALLOW = "no ALLOW rule holds"
TOO_LONG = "the policies are too long"
"""What a denial is told by at a port of TCP whose policies no expression can hold."""

LOG_BOUND = "denials"
LOG_BOUND_FILE = "log-bound.json"
"""How many denials are logged, and the file that says it, relative to the folder that Envoy is started in."""

RBAC_CUSTOM = "rbac-custom"
RBAC_DENY = "rbac-deny"
RBAC_ALLOW = "rbac-allow"
RBAC_AUDIT = "rbac-audit"

RBAC_METADATA = "envoy.filters.http.rbac"
"""Where Envoy tells in a request's metadata what came of policies that decide nothing.  Its keys begin as follows,
and end in `shadow_effective_policy_id` (the policy_rule that held, if one did) and `shadow_engine_result` (allowed,
denied).  Its counters are called `http.inbound.rbac.`, then this, `.shadow_allowed` or `.shadow_denied`.
"""
DRY_RUN_DENY = "istio_dry_run_deny_"
DRY_RUN_ALLOW = "istio_dry_run_allow_"
"""Istio's words."""
AUDIT = "istio_audit_"
"""Denied is what an AUDIT rule holds for."""

TOKEN_METADATA = "envoy.filters.http.jwt_authn"  # noqa: S105  # a name
TOKEN_PAYLOAD = "payload"  # noqa: S105  # a name
"""Where, and under which key, the payload of a verified token lies in a request's metadata."""

IDENTITY_SECRET = "identity"  # noqa: S105  # the name of a secret, not a secret
ROOTS_SECRET = "roots"  # noqa: S105  # the name of a secret, not a secret
SECRETS_FOLDER = "secrets"
"""Relative to the folder that Envoy is started in, so that resources are the same for every proxy."""

NOT_SENT_HEADER = "x-plait-not-sent"
"""On a sidecar's own answer when it could not reach its application: the request was never sent, so that
another replica may be asked whatever the method was."""

CALLED_HEADER = "x-plait-called"
"""In transparent mode: the address that the application called, which chooses the routes.  No application sees it."""

NOBODY_HEADER = "x-plait-nobody"
"""Where a token is looked for that nobody can have."""

FORCED_HEADER = "x-client-trace-id"
"""By which Envoy decides to trace a request, whatever it says; it never leaves a proxy."""
B3_TAGS = {"plait.b3": "b3", "plait.b3.traceid": "x-b3-traceid"}
"""Tags on the spans of calls whose requests have these headers of B3, which Envoy's tracer does not take up."""

SPANS_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
"""Where proxies tell their spans, and where applications think that they do."""
APPLICATION_SPANS_METHOD = "/plait.applications.v1.TraceService/Export"
APPLICATION_SPANS_PATH = "/v1/traces"
"""Where applications' own spans come in by way of their proxies, over gRPC and over HTTP."""
LOGS_PATH = "/v1/logs"
"""Where proxies tell of requests while somebody looks."""

METRICS_PREFIX = "istio"
OWN_METRICS_PREFIX = "plait"

OWN_WORKLOAD = "PLAIT_WORKLOAD"
OWN_NAMESPACE = "PLAIT_WORKLOAD_NAMESPACE"
OWN_APP = "PLAIT_APP"
OWN_VERSION = "PLAIT_VERSION"
"""Variables that an Envoy is started with: what its metrics say of its own workload."""

_RULE = re.compile(r"ns\[([^]]+)\]-policy\[([^]]+)\]-rule\[(\d+)\]")
_POLICY = ("security.istio.io", "AuthorizationPolicy")
_CONTROL_PLANE_PATH = "plait/control-plane"
_NOBODY_PATH = "plait/nobody"


def cluster(key: ClusterKey) -> str:
    """`outbound|8080|v1|reservations.bistro.svc.cluster.local`."""
    return f"outbound|{key.port}|{key.subset}|{key.host}"


def cluster_sni(key: ClusterKey) -> str:
    """The cluster's name in letters that a server name may have."""
    return f"outbound_.{key.port}_.{key.subset}_.{key.host}"


def cluster_key(name: str) -> ClusterKey | None:
    """The key of an outbound cluster by its name; None for any other cluster."""
    match name.split("|"):
        case ["outbound", port, subset, host] if port.isdecimal():
            return ClusterKey(host, int(port), subset)
        case _:
            return None


def routes(host: str, port: int) -> str:
    """`outbound|8080|reservations.bistro.svc.cluster.local`."""
    return f"outbound|{port}|{host}"


def tcp_listener(host: str, port: int) -> str:
    """`outbound|5432|db.bistro.svc.cluster.local`."""
    return f"outbound|{port}|{host}"


def inbound(number: int) -> str:
    """The cluster, the routes and the admission of a port of the workload itself: `inbound|8080||`."""
    return f"inbound|{number}||"


def inbound_http(number: int) -> str:
    """The cluster for the HTTP of a port that may speak something else as well: `inbound|8080|http|`."""
    return f"inbound|{number}|http|"


def of_port(filter_name: str, number: int) -> str:
    """A filter whose configuration is a resource for each port of the workload: `inbound|8080|jwt|`."""
    return f"inbound|{number}|{filter_name}|"


def secret_file(secret: str) -> str:
    return f"{SECRETS_FOLDER}/{secret}.json"


def policy_rule(policy: AuthorizationPolicy, rule: PolicyRule) -> str:
    """What a denial is told by: `ns[bistro]-policy[allow-frontend]-rule[0]`."""
    return f"ns[{policy.namespace}]-policy[{policy.name}]-rule[{rule.index}]"


def rule_origin(name: str) -> Origin | None:
    """Where the rule of a policy is written, by the name that a denial is told by; None of what is no such name."""
    found = _RULE.fullmatch(name)
    if found is None:
        return None
    namespace, policy, index = found.groups()
    return Origin(ObjectRef(_POLICY[0], _POLICY[1], namespace, policy), f"spec.rules[{index}]")


def limit(one: Limit) -> str:
    """Whose bucket a request takes from: `ns[bistro]-rate-limit[reservations]-limit[0]`."""
    ref = one.origin.ref
    return f"ns[{ref.namespace}]-rate-limit[{ref.name}]-limit[{one.index}]"


def tap(side: Side) -> str:
    """The key in an Envoy's runtime that says of how many requests at one end whoever looks is told."""
    return f"plait.tap.{side}"


def node_cluster(node: ReplicaKey) -> str:
    return f"{node.workload.name}.{node.workload.namespace}"


def control_plane_uri(trust_domain: str) -> str:
    return f"spiffe://{trust_domain}/{_CONTROL_PLANE_PATH}"


def nobody_uri(trust_domain: str) -> str:
    """An identity that nobody is ever given."""
    return f"spiffe://{trust_domain}/{_NOBODY_PATH}"


def workload_uri_prefix(trust_domain: str) -> str:
    """How the identity of every workload begins, and that of no agent or control plane."""
    return f"spiffe://{trust_domain}/ns/"
