"""How what the control plane knows looks from outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from plait.api.views import (
    AttributeView,
    AuthorityStatus,
    ConditionView,
    FindingView,
    Nack,
    ProxyStatus,
    ProxyTypeStatus,
    ReplicaState,
    RouteParentStatus,
    RouteStatus,
    SignerView,
    SpanView,
    TraceSummary,
    TraceView,
    WorkloadStatus,
)
from plait.compiler.conditions import ParentStatus
from plait.explain import flags
from plait.identity.authority import Authority
from plait.identity.certificates import certificates as read_certificates
from plait.identity.rotation import Holder
from plait.link.messages import ReplicaReport
from plait.model.catalog import Service, selects
from plait.model.finding import Finding, Severity
from plait.model.mesh import Mesh
from plait.model.names import ObjectRef, ReplicaKey, WorkloadKey
from plait.model.remedies import REMEDIES
from plait.run.own_metrics import type_name
from plait.run.registry import Registry
from plait.telemetry.graph import Standing
from plait.telemetry.spans import Kind, Span, Trace
from plait.xds.messages import TypeStatus
from plait.xds.server import ProxyRejection
from plait.xds.server import ProxyStatus as XdsStatus

REJECTED = "envoy.rejected"


def iso(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def workload(report: ReplicaReport) -> WorkloadStatus:
    """One replica, as its agent reported it."""
    key = report.replica.key
    return WorkloadStatus(
        namespace=key.workload.namespace,
        name=key.workload.name,
        replica=key.number,
        state=ReplicaState(report.state),
        restarts=report.restarts,
        address=report.replica.sidecar.address,
        identity=report.identity,
        certificate_expires=iso(report.certificate_expires) if report.certificate_expires else None,
        exit_code=report.exit_code,
        message=report.message,
    )


def finding(found: Finding) -> FindingView:
    """One finding, with the place that it was given, and what is to be done about it."""
    return FindingView(
        severity=found.severity,
        code=found.code,
        message=found.message,
        object=str(found.ref) if found.ref else "",
        field=found.field,
        file=found.place.file if found.place else "",
        line=found.place.line if found.place else 0,
        remedy=REMEDIES.get(found.code, ""),
    )


def proxy(status: XdsStatus) -> ProxyStatus:
    """One proxy and how its configuration stands."""
    key = ReplicaKey.parse(status.node)
    assert key is not None  # only replicas' nodes are published
    return ProxyStatus(
        namespace=key.workload.namespace,
        name=key.workload.name,
        replica=key.number,
        connected=None if status.connected is None else iso(status.connected),
        synced=status.synced,
        types=tuple(_type(one) for one in status.types),
    )


def _type(status: TypeStatus) -> ProxyTypeStatus:
    refused = status.rejections
    return ProxyTypeStatus(
        type=type_name(status.type_url),
        wanted=status.wanted,
        acknowledged=status.acknowledged,
        sent=status.sent,
        latency_ms=milliseconds(status.latency),
        nack=Nack(reason=refused[0].reason, resources=tuple(one.resource.name for one in refused))
        if refused
        else None,
    )


def milliseconds(seconds: float | None) -> float | None:
    """A latency, to the microsecond."""
    return None if seconds is None else round(seconds * 1000, 3)


def routes(found: Iterable[ParentStatus]) -> tuple[RouteStatus, ...]:
    """Each route with the status of all its parents."""
    by_route: dict[ObjectRef, list[ParentStatus]] = {}
    for one in found:
        by_route.setdefault(one.route, []).append(one)
    return tuple(
        RouteStatus(
            kind=ref.kind, namespace=ref.namespace, name=ref.name, parents=tuple(_parent(one) for one in some)
        )
        for ref, some in by_route.items()
    )


def _parent(status: ParentStatus) -> RouteParentStatus:
    parent = status.parent
    return RouteParentStatus(
        parent=parent.host,
        port=parent.port,
        section=parent.section,
        conditions=tuple(
            ConditionView(type=str(one.type), status=str(one.holds), reason=one.reason, message=one.message)
            for one in status.conditions
        ),
    )


def own_labels(registry: Registry, node: ReplicaKey) -> Mapping[str, str]:
    """What metrics say of a replica's own workload: as it was started, so that a version keeps its name."""
    found = registry.replicas().get(str(node))
    labels = dict(found.labels) if found else {}
    key = node.workload
    return {
        "workload": key.name,
        "namespace": key.namespace,
        "app": labels.get("app", key.name),
        "version": labels.get("version", ""),
    }


def standing(
    mesh: Mesh | None, reports: Iterable[ReplicaReport]
) -> tuple[tuple[Service, ...], tuple[Standing, ...]]:
    """The services of the mesh, and its workloads: those that run, by version, and those that are only written."""
    if mesh is None:
        return (), ()
    numbers = Counter((report.replica.key.workload, report.replica.labels) for report in reports)
    written = {(one.key, one.labels): 0 for one in mesh.workloads.values()}
    by_namespace: dict[str, list[Service]] = {}
    for service in mesh.services.values():
        by_namespace.setdefault(service.namespace, []).append(service)
    merged: dict[tuple[WorkloadKey, str], tuple[int, set[str]]] = {}
    for (key, labels), replicas in (written | numbers).items():
        hosts = {one.host for one in by_namespace.get(key.namespace, ()) if selects(one.selector, labels)}
        before, known = merged.get((key, dict(labels).get("version", "")), (0, set()))
        merged[key, dict(labels).get("version", "")] = (before + replicas, known | hosts)
    return tuple(mesh.services.values()), tuple(
        Standing(key=key, version=version, replicas=replicas, services=tuple(sorted(hosts)))
        for (key, version), (replicas, hosts) in merged.items()
    )


def rejections(found: Iterable[ProxyRejection]) -> tuple[Finding, ...]:
    """A finding on each object behind a resource that some proxy refuses; one a resource and reason."""
    by_resource: dict[tuple[str, str], tuple[ProxyRejection, list[str]]] = {}
    for one in found:
        key = (one.rejection.resource.name, one.rejection.reason)
        by_resource.setdefault(key, (one, []))[1].append(one.node)
    return tuple(
        Finding(
            Severity.ERROR,
            REJECTED,
            f"Envoy refuses {name} ({', '.join(nodes[:3])}{' and others' if len(nodes) > 3 else ''}): {reason}",
            origin.ref if origin else None,
            origin.field if origin else "",
        )
        for (name, reason), (one, nodes) in by_resource.items()
        for origin in (one.rejection.resource.origins or (None,))[:1]
    )


def authority(found: Authority, holders: Iterable[Holder], now: float) -> AuthorityStatus:
    """The authority, and who has what of it; `now` in seconds since the epoch."""
    state, holders = found.state, tuple(holders)
    signing = [(state.issuer, "signs"), *([(state.following, "follows")] if state.following else [])]
    leaving = set(state.roots) - set(state.keeping or state.roots)
    numbers = Counter(one.held.issuer for one in holders if one.held.expires > now)
    return AuthorityStatus(
        trust_domain=found.trust_domain,
        certificate_lifetime=found.lifetime,
        phase=state.phase,
        since=iso(state.since),
        waits_for=found.awaited(holders, now),
        roots=tuple(
            _signer(read_certificates(root)[0], "leaving" if root in leaving else "trusted", holders=0)
            for root in state.roots
        ),
        issuers=tuple(
            _signer(
                read_certificates(one.chain + one.root)[0],
                role,
                given=one.given,
                holders=numbers.pop(one.name, 0),
            )
            for one, role in signing
        ),
        others=sum(numbers.values()),
    )


def _signer(certificate: x509.Certificate, role: str, *, holders: int, given: bool = False) -> SignerView:
    return SignerView(
        role=role,
        subject=certificate.subject.rfc4514_string(),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=certificate.not_valid_before_utc.isoformat(timespec="seconds"),
        not_after=certificate.not_valid_after_utc.isoformat(timespec="seconds"),
        given=given,
        holders=holders,
    )


_PER_MS = 1_000_000


def trace_summary(found: Trace) -> TraceSummary:
    """A trace in a list."""
    return TraceSummary(
        trace=found.trace,
        started=_moment(found.start),
        duration_ms=found.duration / _PER_MS,
        spans=found.spans,
        failed=found.failed,
        service=found.root.service,
        name=_what(found.root),
        services=found.services,
    )


def trace(spans: Sequence[Span]) -> TraceView:
    """A whole trace, of spans in the order in which they began."""
    start = spans[0].start
    return TraceView(
        trace=spans[0].trace,
        started=_moment(start),
        duration_ms=(max(one.end for one in spans) - start) / _PER_MS,
        spans=tuple(_span(one, start) for one in spans),
    )


def _span(one: Span, start: int) -> SpanView:
    return SpanView(
        id=one.id,
        parent=one.parent,
        name=_what(one),
        kind=one.kind,
        start_ms=(one.start - start) / _PER_MS,
        duration_ms=(one.end - one.start) / _PER_MS,
        service=one.service,
        workload=str(one.workload),
        replica=one.replica,
        by=one.teller,
        failed=one.failed,
        message=one.message,
        attributes=tuple(AttributeView(name=name, value=value) for name, value in one.attributes.items()),
        flags=tuple(flag.words for flag in flags.words(one.attributes.get("response_flags", ""))),
    )


def _what(span: Span) -> str:
    """What was asked for, where a span says it, and its own name otherwise."""
    method, url = span.attributes.get("http.method"), span.attributes.get("http.url")
    if span.kind not in (Kind.CLIENT, Kind.SERVER) or not method or not url:
        return span.name
    return f"{method} {urlsplit(url).path or '/'}"


def _moment(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")
