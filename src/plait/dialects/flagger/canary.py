"""Canary: how new versions of a workload take over.

A Canary with an error anywhere is left out as a whole: what can't be read never shifts anything.

Source: https://docs.flagger.app/usage/how-it-works and its other pages; what differs is told in
docs/guide/progressive-delivery.md.
"""

from __future__ import annotations

from plait.dialects import fields
from plait.dialects.checks import dns_label
from plait.dialects.flagger.analysis import analysis
from plait.dialects.flagger.service import UNSUPPORTED as OF_SERVICES
from plait.dialects.flagger.service import service
from plait.dialects.flagger.shared import GROUP, VERSIONS
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.names import WorkloadKey, is_dns_label
from plait.model.reading import Fact
from plait.model.rollout import Analysis, Canary, canary_key

LONGEST_DEADLINE = 365 * 24 * 3600
_PROVIDERS = ("istio", "plait", "gatewayapi:v1", "gatewayapi:v1beta1")
"""Those that say no more than that the mesh shifts the traffic."""
_SHOWN = 80


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    _provider(spec.at("provider"))
    target = _target(spec.at("targetRef"), subject)
    said = service(spec.at("service"), target.name, subject)
    deadline = float(spec.at("progressDeadlineSeconds").integer(600, least=1, most=LONGEST_DEADLINE))
    skipped = spec.at("skipAnalysis").boolean()
    found = Canary(
        namespace=subject.namespace,
        name=subject.name,
        target=target,
        service=said.name,
        port=said.port,
        port_name=said.port_name,
        target_port=said.target_port,
        rule=said.rule,
        policies=said.policies,
        analysis=_analysis(spec, subject, deadline, skipped=skipped),
        progress_deadline=deadline,
        skip_analysis=skipped,
        suspend=spec.at("suspend").boolean(),
        revert_on_deletion=spec.at("revertOnDeletion").boolean(),
        origin=subject.origin(root),
    )
    if spec.error_count() or fields.has_unknown(spec, CANARY):
        spec.error("canary.left-out", "it can't be read whole, so it shifts nothing")
        return ()
    return (found,)


def _provider(cursor: Cursor) -> None:
    text = cursor.text()
    if text and text not in _PROVIDERS:
        cursor.warn("canary.provider", f"{text[:_SHOWN]!r} is not asked: the mesh itself shifts the traffic")


def _target(cursor: Cursor, subject: Subject) -> WorkloadKey:
    """The Workload; errors when something else is named, or nothing."""
    version, kind = cursor.at("apiVersion"), cursor.at("kind")
    group, of = version.text("plait.dev/v1alpha1").partition("/")[0], kind.text("Workload")
    if cursor.error_count() == 0 and (group, of) != ("plait.dev", "Workload"):
        message = (
            f"a target is a Workload of Plait for now, and no {of[:_SHOWN]} of {group[:_SHOWN]}: "
            "write apiVersion: plait.dev/v1alpha1 and kind: Workload"
        )
        kind.error("canary.target", message)
    name = dns_label(cursor.at("name"), "name of a Workload")
    key = WorkloadKey(subject.namespace, name)
    if name and not is_dns_label(canary_key(key).name):
        message = f"{canary_key(key).name!r}, as the new version is called, has more than 63 characters"
        cursor.at("name").error("name.invalid", message)
    return key


def _analysis(spec: Cursor, subject: Subject, deadline: float, *, skipped: bool) -> Analysis:
    cursor = spec.at("analysis")
    if cursor.present:
        return analysis(cursor, subject, deadline)
    if not skipped and not cursor.error_count():
        cursor.error("field.required", "an analysis is missing; skipAnalysis: true does without one")
    return Analysis(traffic_deadline=deadline)


CANARY = Kind(
    group=GROUP,
    name="Canary",
    versions=VERSIONS,
    read=read,
    unsupported=(
        "spec.autoscalerRef",
        "spec.ingressRef",
        "spec.metricsServer",
        "spec.routeRef",
        "spec.upstreamRef",
        *OF_SERVICES,
        *(
            f"spec.analysis.sessionAffinity.{field}"
            for field in ("domain", "httpOnly", "partitioned", "path", "sameSite", "secure")
        ),
        "spec.analysis.webhooks[].disableTLS",
    ),
)
