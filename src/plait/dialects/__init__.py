"""What each API means: Documents become Readings.  Pure; one folder an API, one file a kind.

A reader takes what it understands through a Cursor and leaves the rest; what is left becomes Findings by one
mechanism (`fields`).  A kind is added by its file and its place in DIALECTS.  Nothing of Envoy belongs here,
nor any look at a second object: what objects mean together is the compiler's.
"""

from __future__ import annotations

from plait.dialects import fields, strangers
from plait.dialects.checks import labels, moment
from plait.dialects.flagger.alert_provider import ALERT_PROVIDER
from plait.dialects.flagger.canary import CANARY
from plait.dialects.flagger.metric_template import METRIC_TEMPLATE
from plait.dialects.gateway_api.grpc_route import GRPC_ROUTE
from plait.dialects.gateway_api.http_route import HTTP_ROUTE
from plait.dialects.gateway_api.reference_grant import REFERENCE_GRANT
from plait.dialects.istio.authorization_policy import AUTHORIZATION_POLICY
from plait.dialects.istio.destination_rule import DESTINATION_RULE
from plait.dialects.istio.mesh_config import ISTIO_OPERATOR
from plait.dialects.istio.peer_authentication import PEER_AUTHENTICATION
from plait.dialects.istio.request_authentication import REQUEST_AUTHENTICATION
from plait.dialects.istio.sidecar import SIDECAR
from plait.dialects.istio.telemetry import TELEMETRY
from plait.dialects.istio.virtual_service import VIRTUAL_SERVICE
from plait.dialects.kind import Subject
from plait.dialects.kubernetes.namespace import NAMESPACE
from plait.dialects.kubernetes.service import SERVICE
from plait.dialects.kubernetes.service_account import SERVICE_ACCOUNT
from plait.dialects.plait.rate_limit import RATE_LIMIT
from plait.dialects.plait.workload import WORKLOAD
from plait.model.document import Cursor, Document
from plait.model.finding import Finding, Severity
from plait.model.names import ObjectRef
from plait.model.reading import Reading

_KINDS = (
    NAMESPACE,
    SERVICE_ACCOUNT,
    SERVICE,
    WORKLOAD,
    VIRTUAL_SERVICE,
    DESTINATION_RULE,
    SIDECAR,
    PEER_AUTHENTICATION,
    AUTHORIZATION_POLICY,
    REQUEST_AUTHENTICATION,
    ISTIO_OPERATOR,
    TELEMETRY,
    RATE_LIMIT,
    HTTP_ROUTE,
    GRPC_ROUTE,
    REFERENCE_GRANT,
    CANARY,
    METRIC_TEMPLATE,
    ALERT_PROVIDER,
)
DIALECTS = {(kind.group, kind.name): kind for kind in _KINDS}

MOST_FINDINGS = 100
"""Of one object: more than these are counted, not told."""

_MACHINE_WRITTEN = (
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Fields of metadata that mean nothing to a mesh."""


def read(document: Document) -> Reading:
    """What a document states, as far as it can be read; never raises for anything that a document may hold."""
    ref = document.ref
    kind = DIALECTS.get((ref.group, ref.kind))
    if kind is None:
        return Reading((), (strangers.finding(ref, _KINDS),))
    if document.api_version.rpartition("/")[2] not in kind.versions:
        wrong = strangers.version(ref, document.api_version, kind)
        return Reading(kind.closed(Subject(ref=ref)), (wrong,))
    root = Cursor.of(document)
    subject = _subject(root, ref)
    facts = kind.read(root, subject)
    unread = tuple(fields.unread(root, kind, ref))
    return Reading(facts, _bounded(root.findings + unread, ref))


def _subject(root: Cursor, ref: ObjectRef) -> Subject:
    """What every kind has: it is read here, and only here."""
    for field in ("apiVersion", "kind", "status"):
        root.at(field).ignore()
    metadata = root.at("metadata")
    metadata.at("name").ignore()
    if ref.namespace:
        metadata.at("namespace").ignore()
    for field in _MACHINE_WRITTEN:
        metadata.at(field).ignore()
    return Subject(
        ref=ref,
        labels=labels(metadata.at("labels")),
        annotations=metadata.at("annotations").string_map(),
        created=moment(metadata.at("creationTimestamp")),
    )


def _bounded(findings: tuple[Finding, ...], ref: ObjectRef) -> tuple[Finding, ...]:
    if len(findings) <= MOST_FINDINGS:
        return findings
    worst = (
        Severity.ERROR
        if any(finding.severity is Severity.ERROR for finding in findings)
        else Severity.WARNING
    )
    more = Finding(
        worst, "field.more", f"and {len(findings) - MOST_FINDINGS} findings more in this object", ref
    )
    return (*findings[:MOST_FINDINGS], more)
