"""Flagger's kinds: what they say when they can be read, and that what can't be read shifts nothing."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.dialects import DIALECTS
from plait.model.document import child
from plait.model.names import ObjectRef, Origin, WorkloadKey
from plait.model.reading import Reading
from plait.model.rollout import (
    Affinity,
    Alert,
    AlertProvider,
    AlertSeverity,
    Analysis,
    Baseline,
    Bounds,
    Builtin,
    Canary,
    HookType,
    Metric,
    MetricTemplate,
    Strategy,
    Webhook,
)
from plait.model.routing import MatchKind, PathPart, Retries, StringMatch
from plait.model.traffic import Balance
from tests.dialects.reading import codes, document, fact, reading
from tests.dialects.whole import WHOLE

TARGET = "targetRef: {apiVersion: plait.dev/v1alpha1, kind: Workload, name: web}"
STEPS = "stepWeight: 10"


def canary(spec: str) -> Reading:
    return reading(document("flagger.app/v1beta1", "Canary", spec))


def analysed(analysis: str) -> Reading:
    return canary(f"{{{TARGET}, service: {{port: 80}}, analysis: {{{analysis}}}}}")


def analysis(text: str) -> Analysis:
    read = analysed(text)
    assert read.findings == ()
    return fact(read, Canary).analysis


def origin(field: str = "", kind: str = "Canary") -> Origin:
    return Origin(ObjectRef("flagger.app", kind, "shop", "it"), field)


def test_the_least_that_a_canary_can_say() -> None:
    read = analysed(STEPS)
    assert read.findings == ()
    assert fact(read, Canary) == Canary(
        namespace="shop",
        name="it",
        target=WorkloadKey("shop", "web"),
        service="web",
        port=80,
        port_name="http",
        analysis=Analysis(
            interval=60.0,
            threshold=1,
            steps=(10, 20, 30, 40, 50, 60, 70, 80, 90, 100),
            traffic_deadline=600.0,
        ),
        progress_deadline=600.0,
        origin=origin(),
    )


def test_what_a_canary_says_of_routing_is_read_as_a_virtual_service_says_it() -> None:
    read = canary(f"""
{TARGET}
service:
  name: shop
  port: 80
  portName: grpc-web
  targetPort: 8080
  match: [{{uri: {{prefix: /api}}}}]
  rewrite: {{uri: /}}
  retries: {{attempts: 3, perTryTimeout: 1s, retryOn: "5xx"}}
  timeout: 5s
  headers: {{request: {{set: {{x-a: "1"}}}}}}
  corsPolicy: {{allowOrigins: [{{exact: "https://shop.example"}}]}}
  trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}}}
analysis: {{{STEPS}}}
progressDeadlineSeconds: 120
suspend: true
revertOnDeletion: true
""")
    assert read.findings == ()
    found = fact(read, Canary)
    assert (found.host, found.port, found.port_name, found.target_port) == (
        "shop.shop.svc.cluster.local",
        80,
        "grpc-web",
        8080,
    )
    assert (found.progress_deadline, found.analysis.traffic_deadline) == (120.0, 120.0)
    assert (found.suspend, found.revert_on_deletion, found.skip_analysis) == (True, True, False)
    rule = found.rule
    assert rule is not None
    assert rule.match is not None
    assert rule.path is not None
    assert rule.cors is not None
    assert rule.match.path == StringMatch(MatchKind.PREFIX, "/api")
    assert (rule.path.part, rule.path.text, rule.timeout) == (PathPart.PREFIX, "/", 5.0)
    assert rule.retries == Retries(attempts=3, per_try_timeout=1.0, on=("5xx",))
    assert rule.changes.request.set == (("x-a", "1"),)
    assert rule.cors.origins == (StringMatch(MatchKind.EXACT, "https://shop.example"),)
    assert (rule.backends, rule.origin) == ((), origin("spec.service"))
    assert found.policies is not None
    balancing = found.policies.everywhere.load_balancing
    assert balancing is not None
    assert balancing.balance is Balance.ROUND_ROBIN


@pytest.mark.parametrize(
    "field", ["timeout: 5s", "retries: {attempts: 1}", "headers: {}", "rewrite: {uri: /}"]
)
def test_any_word_on_routing_makes_a_rule(field: str) -> None:
    read = canary(f"{{{TARGET}, service: {{port: 80, {field}}}, analysis: {{{STEPS}}}}}")
    assert fact(read, Canary).rule is not None


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("stepWeight: 10, maxWeight: 50", (10, 20, 30, 40, 50)),
        ("stepWeight: 20, maxWeight: 50", (20, 40, 50)),
        ("stepWeight: 50, maxWeight: 50", (50,)),
        ("stepWeight: 100", (100,)),
        ("stepWeight: 60", (60, 100)),
        ("stepWeights: [1, 2, 10, 80]", (1, 2, 10, 80)),
        ("stepWeights: [100]", (100,)),
        ("stepWeights: [5, 50], maxWeight: 50", (5, 50)),
        ("stepWeights: [5, 50], maxWeight: 60", (5, 50)),
    ],
)
def test_weights_become_steps(text: str, steps: tuple[int, ...]) -> None:
    found = analysis(text)
    assert found.steps == steps
    assert found.strategy is Strategy.CANARY


def test_iterations_with_matches_are_a_b_and_without_them_blue_green() -> None:
    by_match = analysis(
        """
interval: 1m, threshold: 2, iterations: 10, match: [
  {headers: {x-canary: {regex: ".*insider.*"}}},
  {headers: {cookie: {regex: "^(.*?;)?(canary=always)(;.*)?$"}}},
  {queryParams: {beta: {exact: "1"}}},
  {sourceLabels: {app: scheduler}}]
""".replace("\n", " ")
    )
    assert by_match.strategy is Strategy.AB
    assert (by_match.iterations, by_match.threshold, by_match.steps) == (10, 2, ())
    assert [one.headers for one in by_match.matches[:2]] == [
        (("x-canary", StringMatch(MatchKind.REGEX, ".*insider.*")),),
        (("cookie", StringMatch(MatchKind.REGEX, "^(.*?;)?(canary=always)(;.*)?$")),),
    ]
    assert by_match.matches[2].query == (("beta", StringMatch(MatchKind.EXACT, "1")),)
    clients = by_match.matches[3].clients
    assert clients is not None
    assert clients.labels == (("app", "scheduler"),)
    blue_green = analysis("iterations: 3, mirror: true, mirrorWeight: 20")
    assert blue_green.strategy is Strategy.BLUE_GREEN
    assert (blue_green.iterations, blue_green.mirror, blue_green.mirror_weight) == (3, True, 20)


def test_requests_are_mirrored_before_the_first_step_too() -> None:
    found = analysis(f"{STEPS}, mirror: true, iterations: 0")
    assert (found.mirror, found.mirror_weight, found.strategy) == (True, 100, Strategy.CANARY)


def test_the_rest_of_an_analysis() -> None:
    found = analysis(
        f"interval: 30s, threshold: 5, {STEPS}, stepWeightPromotion: 25, primaryReadyThreshold: 80, "
        "canaryReadyThreshold: 0, sessionAffinity: {cookieName: stay, maxAge: 60, primaryCookieName: old}, "
        "trafficDeadlineSeconds: 30"
    )
    assert (found.interval, found.threshold, found.promotion_step) == (30.0, 5, 25)
    assert (found.primary_ready, found.canary_ready, found.traffic_deadline) == (80, 0, 30.0)
    assert found.affinity == Affinity(cookie="stay", lifetime=60, primary_cookie="old")
    assert analysis(f"{STEPS}, sessionAffinity: {{cookieName: stay}}").affinity == Affinity(cookie="stay")
    assert analysis(f"{STEPS}, threshold: 0").threshold == 1  # as with Flagger


def metrics(text: str) -> tuple[Metric, ...]:
    return analysis(f"{STEPS}, metrics: [{text}]").metrics


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("name: request-success-rate, thresholdRange: {min: 99}", Bounds(least=99.0)),
        ("name: request-success-rate, thresholdRange: {min: 99.5, max: 100}", Bounds(least=99.5, most=100.0)),
        ("name: request-success-rate, threshold: 99", Bounds(least=99.0)),
        ("name: request-duration, thresholdRange: {max: 500}", Bounds(most=500.0)),
        ("name: request-duration, threshold: 500", Bounds(most=500.0)),
        ("name: mine, templateRef: {name: mine}, threshold: 5", Bounds(most=5.0)),
        (
            "name: mine, templateRef: {name: mine}, thresholdRange: {min: -5, max: 0}",
            Bounds(least=-5.0, most=0.0),
        ),
    ],
)
def test_a_value_passes_between_bounds(text: str, bounds: Bounds) -> None:
    (found,) = metrics(f"{{{text}}}")
    assert found.bounds == bounds


def test_a_share_in_the_place_of_percent_is_told() -> None:
    read = analysed(f"{STEPS}, metrics: [{{name: request-success-rate, thresholdRange: {{min: 0.99}}}}]")
    assert codes(read) == [("spec.analysis.metrics[0].thresholdRange", "metric.percent")]
    assert fact(read, Canary).analysis.metrics[0].bounds == Bounds(least=0.99)
    for harmless in (
        "{name: request-success-rate, threshold: 0}",
        "{name: request-duration, threshold: 0.5}",
    ):
        assert analysed(f"{STEPS}, metrics: [{harmless}]").findings == ()


def test_metrics_are_read_whole() -> None:
    assert metrics(
        "{name: request-success-rate, thresholdRange: {min: 99}, interval: 30s, minRequests: 100}, "
        "{name: request-duration, comparison: baseline}, "
        "{name: not found, templateRef: {name: a, namespace: b}, templateVariables: {c: '1', b: '2'}, threshold: 1}"
    ) == (
        Metric(
            name="request-success-rate",
            window=30.0,
            bounds=Bounds(least=99.0),
            builtin=Builtin.SUCCESS_RATE,
            at_least=100,
            origin=origin("spec.analysis.metrics[0]"),
        ),
        Metric(
            name="request-duration",
            builtin=Builtin.DURATION,
            baseline=Baseline(),
            origin=origin("spec.analysis.metrics[1]"),
        ),
        Metric(
            name="not found",
            bounds=Bounds(most=1.0),
            template=ObjectRef("flagger.app", "MetricTemplate", "b", "a"),
            variables=(("b", "2"), ("c", "1")),
            origin=origin("spec.analysis.metrics[2]"),
        ),
    )
    (compared,) = metrics(
        "{name: request-duration, comparison: baseline, baseline: {alpha: 0.01, horizon: 7}}"
    )
    assert compared.baseline == Baseline(alpha=0.01, horizon=7)


def test_webhooks_and_alerts() -> None:
    found = analysis(
        f"{STEPS}, webhooks: [{{name: load, url: 'http://load.shop/'}}, {{name: gate, type: confirm-promotion}}, "
        "{name: told, type: event, url: 'https://a.example/?b=c', timeout: 3m, retries: 3, metadata: {b: '2', a: '1'}, "
        "muteAlert: true}, {name: none, type: '', url: 'http://none'}], "
        "alerts: [{name: a, providerRef: {name: x}}, "
        "{name: b, severity: error, providerRef: {name: told, namespace: other}}, {name: c, severity: '', providerRef: {name: x}}]"
    )
    assert [(one.name, one.type, one.url) for one in found.webhooks] == [
        ("load", HookType.ROLLOUT, "http://load.shop/"),
        ("gate", HookType.CONFIRM_PROMOTION, ""),
        ("told", HookType.EVENT, "https://a.example/?b=c"),
        ("none", HookType.ROLLOUT, "http://none"),
    ]
    assert found.webhooks[2] == Webhook(
        name="told",
        type=HookType.EVENT,
        url="https://a.example/?b=c",
        timeout=180.0,
        retries=3,
        metadata=(("a", "1"), ("b", "2")),
        mute_alert=True,
        origin=origin("spec.analysis.webhooks[2]"),
    )
    assert found.webhooks[0].timeout == 10.0
    assert [(one.severity, one.provider.namespace, one.provider.name) for one in found.alerts] == [
        (AlertSeverity.INFO, "shop", "x"),
        (AlertSeverity.ERROR, "other", "told"),
        (AlertSeverity.INFO, "shop", "x"),
    ]
    assert found.alerts[0] == Alert(
        name="a",
        provider=ObjectRef("flagger.app", "AlertProvider", "shop", "x"),
        origin=origin("spec.analysis.alerts[0]"),
    )


@pytest.mark.parametrize(
    ("text", "field", "code"),
    [
        ("", "", "canary.strategy"),
        ("maxWeight: 50", ".maxWeight", "canary.weights"),
        ("stepWeight: 0", ".stepWeight", "field.range"),
        ("stepWeight: 101", ".stepWeight", "field.range"),
        ("stepWeight: 60, maxWeight: 50", ".stepWeight", "canary.weights"),
        ("stepWeight: 5, stepWeights: [5, 10]", ".stepWeights", "canary.strategy"),
        ("stepWeights: []", ".stepWeights", "field.required"),
        ("stepWeights: [5, 5]", ".stepWeights", "canary.weights"),
        ("stepWeights: [10, 5]", ".stepWeights", "canary.weights"),
        ("stepWeights: [0, 5]", ".stepWeights[0]", "field.range"),
        ("stepWeights: [5, 101]", ".stepWeights[1]", "field.range"),
        ("stepWeights: [5, 60], maxWeight: 50", ".maxWeight", "canary.weights"),
        ("iterations: 5, stepWeight: 5", ".stepWeight", "canary.strategy"),
        ("iterations: 5, stepWeights: [5]", ".stepWeights", "canary.strategy"),
        ("iterations: 5, stepWeightPromotion: 5", ".stepWeightPromotion", "canary.strategy"),
        ("iterations: 5, sessionAffinity: {cookieName: a}", ".sessionAffinity", "canary.strategy"),
        ("iterations: -1", ".iterations", "field.range"),
        (f"{STEPS}, match: [{{headers: {{x-a: {{exact: b}}}}}}]", ".match", "canary.strategy"),
        ("iterations: 5, match: []", ".match", "match.left-out"),
        ("iterations: 5, match: [{headers: {x-a: {suffix: b}}}]", ".match[0]", "match.left-out"),
        ("iterations: 5, match: [{}]", ".match", "match.empty"),
        ("iterations: 5, match: [{name: all, ignoreUriCase: true}]", ".match", "match.empty"),
        ("iterations: 5, match: [{gateways: [outside]}]", ".match", "match.left-out"),
        (
            "iterations: 5, mirror: true, match: [{headers: {x-a: {exact: b}}}]",
            ".mirror",
            "canary.strategy",
        ),
        (f"{STEPS}, mirrorWeight: 5", ".mirrorWeight", "canary.strategy"),
        (f"{STEPS}, mirror: true, mirrorWeight: 0", ".mirrorWeight", "field.range"),
        (f"{STEPS}, interval: 5", ".interval", "field.type"),
        (f"{STEPS}, interval: 5x", ".interval", "field.duration"),
        (f"{STEPS}, interval: 0s", ".interval", "field.range"),
        (f"{STEPS}, threshold: -1", ".threshold", "field.range"),
        (f"{STEPS}, thresold: 5", ".thresold", "field.unknown"),
        (f"{STEPS}, primaryReadyThreshold: 101", ".primaryReadyThreshold", "field.range"),
        (f"{STEPS}, sessionAffinity: {{}}", ".sessionAffinity.cookieName", "field.required"),
        (f"{STEPS}, sessionAffinity: {{cookieName: 'a b'}}", ".sessionAffinity.cookieName", "header.name"),
        (
            f"{STEPS}, sessionAffinity: {{cookieName: a, primaryCookieName: a}}",
            ".sessionAffinity.primaryCookieName",
            "canary.affinity",
        ),
        (f"{STEPS}, sessionAffinity: {{cookieName: a, maxAge: 0}}", ".sessionAffinity.maxAge", "field.range"),
        (f"{STEPS}, trafficDeadlineSeconds: 0", ".trafficDeadlineSeconds", "field.range"),
        (f"{STEPS}, webhooks: [5]", ".webhooks[0]", "field.type"),
        (f"{STEPS}, webhooks: [{{url: 'http://a'}}]", ".webhooks[0].name", "field.required"),
        (f"{STEPS}, webhooks: [{{name: a}}]", ".webhooks[0].url", "field.required"),
        (f"{STEPS}, webhooks: [{{name: a, type: pre-rollout}}]", ".webhooks[0].url", "field.required"),
        (f"{STEPS}, webhooks: [{{name: a, type: confirm-rollout, url: 5}}]", ".webhooks[0].url", "field.type"),
        (f"{STEPS}, webhooks: [{{name: a, type: prerollout, url: 'http://a'}}]", ".webhooks[0].type", "field.choice"),
        (f"{STEPS}, webhooks: [{{name: a, url: 'ftp://a'}}]", ".webhooks[0].url", "address.invalid"),
        (f"{STEPS}, webhooks: [{{name: a, url: 'http://'}}]", ".webhooks[0].url", "address.invalid"),
        (f"{STEPS}, webhooks: [{{name: a, url: 'http://a:b'}}]", ".webhooks[0].url", "address.invalid"),
        (f"{STEPS}, webhooks: [{{name: a, url: 'http://a b'}}]", ".webhooks[0].url", "address.invalid"),
        (f"{STEPS}, webhooks: [{{name: a, url: 'http://a', timeout: 0s}}]", ".webhooks[0].timeout", "field.range"),
        (f"{STEPS}, webhooks: [{{name: a, url: 'http://a', metadata: {{b: 5}}}}]", ".webhooks[0].metadata.b", "field.type"),
        (
            f"{STEPS}, webhooks: [{{name: a, url: 'http://a'}}, {{name: a, url: 'http://b'}}]",
            ".webhooks[1].name",
            "canary.name-twice",
        ),
        (f"{STEPS}, alerts: [{{providerRef: {{name: a}}}}]", ".alerts[0].name", "field.required"),
        (f"{STEPS}, alerts: [{{name: a}}]", ".alerts[0].providerRef.name", "field.required"),
        (
            f"{STEPS}, alerts: [{{name: a, severity: fatal, providerRef: {{name: a}}}}]",
            ".alerts[0].severity",
            "field.choice",
        ),
    ],
)  # fmt: skip
def test_an_analysis_with_an_error_shifts_nothing(text: str, field: str, code: str) -> None:
    read = analysed(text)
    assert read.facts == ()
    assert (f"spec.analysis{field}", code) in codes(read)
    assert ("spec", "canary.left-out") in codes(read)


@pytest.mark.parametrize(
    ("text", "field", "code"),
    [
        ("{name: request-sucess-rate, thresholdRange: {min: 99}}", ".name", "metric.unknown"),
        ("{thresholdRange: {min: 99}, templateRef: {name: a}}", ".name", "field.required"),
        ("{name: request-success-rate}", ".thresholdRange", "field.required"),
        ("{name: request-success-rate, thresholdRange: {}}", ".thresholdRange", "field.required"),
        ("{name: request-success-rate, thresholdRange: {min: 100.1}}", ".thresholdRange", "field.range"),
        ("{name: request-success-rate, threshold: -1}", ".threshold", "field.range"),
        ("{name: request-duration, thresholdRange: {min: 5, max: 4}}", ".thresholdRange", "metric.bounds"),
        ("{name: request-duration, thresholdRange: {max: 5}, threshold: 4}", ".threshold", "metric.bounds"),
        ("{name: request-duration, thresholdRange: {max: '5'}}", ".thresholdRange.max", "field.type"),
        ("{name: request-duration, thresholdRange: {max: 1e99}}", ".thresholdRange.max", "field.range"),
        ("{name: request-duration, thresholdRange: {max: 5}, interval: 1ms}", ".interval", "field.range"),
        ("{name: request-duration, thresholdRange: {max: 5}, minRequests: 0}", ".minRequests", "field.range"),
        ("{name: a, templateRef: {name: a}, threshold: 5, minRequests: 5}", ".minRequests", "metric.min-requests"),
        ("{name: a, templateRef: {}, threshold: 5}", ".templateRef.name", "field.required"),
        ("{name: a, templateRef: {name: A}, threshold: 5}", ".templateRef.name", "name.invalid"),
        ("{name: a, templateRef: {name: a, namespace: B}, threshold: 5}", ".templateRef.namespace", "name.invalid"),
        ("{name: a, query: up, threshold: 5}", ".query", "metric.query"),
        ("{name: request-duration, templateRef: {name: a}, threshold: 5}", ".templateRef", "metric.template"),
        ("{name: request-duration, threshold: 5, templateVariables: {a: b}}", ".templateVariables", "metric.template"),
        ("{name: request-duration, comparison: primary}", ".comparison", "field.choice"),
        ("{name: request-duration, comparison: baseline, threshold: 5}", ".threshold", "metric.bounds"),
        ("{name: request-duration, comparison: baseline, thresholdRange: {max: 5}}", ".thresholdRange", "metric.bounds"),
        ("{name: request-duration, threshold: 5, baseline: {alpha: 0.1}}", ".baseline", "metric.baseline"),
        ("{name: a, templateRef: {name: a}, comparison: baseline}", ".comparison", "metric.baseline"),
        ("{name: request-duration, comparison: baseline, baseline: {alpha: 0}}", ".baseline.alpha", "field.range"),
        ("{name: request-duration, comparison: baseline, baseline: {alpha: 1}}", ".baseline.alpha", "field.range"),
        ("{name: request-duration, comparison: baseline, baseline: {horizon: 0}}", ".baseline.horizon", "field.range"),
        ("{name: request-duration, comparison: baseline, baseline: {beta: 1}}", ".baseline.beta", "field.unknown"),
        ("request-duration", "", "field.type"),
    ],
)  # fmt: skip
def test_a_metric_with_an_error_lets_nothing_pass(text: str, field: str, code: str) -> None:
    read = analysed(f"{STEPS}, metrics: [{text}]")
    assert read.facts == ()
    assert (f"spec.analysis.metrics[0]{field}", code) in codes(read)


def test_the_builtins_are_told_where_a_metric_is_unknown() -> None:
    (finding, _) = analysed(f"{STEPS}, metrics: [{{name: errors, threshold: 5}}]").findings
    assert "'errors'" in finding.message
    assert "request-success-rate and request-duration" in finding.message


def test_two_metrics_of_one_name_could_not_be_told_apart() -> None:
    same = "{name: request-duration, threshold: 5}"
    assert ("spec.analysis.metrics[1].name", "canary.name-twice") in codes(
        analysed(f"{STEPS}, metrics: [{same}, {same}]")
    )


@pytest.mark.parametrize(
    ("spec", "field", "code"),
    [
        ("service: {port: 80}", "spec.targetRef.name", "field.required"),
        ("targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}", "spec.targetRef.kind", "canary.target"),
        ("targetRef: {apiVersion: apps/v1, kind: DaemonSet, name: web}", "spec.targetRef.kind", "canary.target"),
        ("targetRef: {apiVersion: apps/v1, kind: Workload, name: web}", "spec.targetRef.kind", "canary.target"),
        ("targetRef: {kind: Workload, name: Web}", "spec.targetRef.name", "name.invalid"),
        (f"targetRef: {{kind: Workload, name: {'w' * 57}}}", "spec.targetRef.name", "name.invalid"),
        ("targetRef: {kind: Workload, name: web, namespace: other}", "spec.targetRef.namespace", "field.unknown"),
        (f"{TARGET}, service: {{port: 0}}", "spec.service.port", "field.range"),
        (f"{TARGET}, service: {{name: Web}}", "spec.service.name", "name.invalid"),
        (f"{TARGET}, service: {{targetPort: 0}}", "spec.service.targetPort", "field.range"),
        (f"{TARGET}, service: {{targetPort: A}}", "spec.service.targetPort", "name.invalid"),
        (f"{TARGET}, service: {{timeout: 5}}", "spec.service.timeout", "field.type"),
        (f"{TARGET}, service: {{retries: {{attempts: 1, retryOn: rain}}}}", "spec.service.retries.retryOn", "retries.condition"),
        (f"{TARGET}, service: {{match: [{{uri: {{suffix: /a}}}}]}}", "spec.service.match[0]", "match.left-out"),
        (f"{TARGET}, service: {{match: [{{gateways: [a]}}]}}", "spec.service.match", "match.left-out"),
        (f"{TARGET}, service: {{match: [{{uri: {{exact: /a}}}}, {{uri: {{exact: /b}}}}]}}", "spec.service.match", "canary.matches"),
        (f"{TARGET}, service: {{corsPolicy: {{allowOrigins: [{{}}]}}}}", "spec.service.corsPolicy", "cors.left-out"),
        (f"{TARGET}, service: {{trafficPolicy: {{tls: {{mode: OFF}}}}}}", "spec.service.trafficPolicy.tls.mode", "field.type"),
        (f"{TARGET}, progressDeadlineSeconds: 0", "spec.progressDeadlineSeconds", "field.range"),
        (f"{TARGET}, suspended: true", "spec.suspended", "field.unknown"),
        (f"{TARGET}, skipAnalysis: 'true'", "spec.skipAnalysis", "field.type"),
    ],
)  # fmt: skip
def test_a_canary_with_an_error_is_left_out(spec: str, field: str, code: str) -> None:
    read = canary(f"{{{spec}, analysis: {{{STEPS}}}}}")
    assert read.facts == ()
    assert (field, code) in codes(read)


def test_a_deployment_is_told_what_to_write_instead() -> None:
    read = canary(
        f"{{targetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}, analysis: {{{STEPS}}}}}"
    )
    assert "no Deployment of apps: write apiVersion: plait.dev/v1alpha1 and kind: Workload" in (
        read.findings[0].message
    )


def test_without_an_analysis_it_has_to_be_skipped() -> None:
    assert codes(canary(f"{{{TARGET}}}"))[0] == ("spec.analysis", "field.required")
    read = canary(f"{{{TARGET}, skipAnalysis: true}}")
    assert read.findings == ()
    assert fact(read, Canary).skip_analysis


@pytest.mark.parametrize(
    ("spec", "field", "code"),
    [
        ("provider: nginx", "spec.provider", "canary.provider"),
        ("service: {gateways: [istio-system/public]}", "spec.service.gateways", "gateway.unsupported"),
        ("service: {hosts: [app.example.com]}", "spec.service.hosts[0]", "canary.host"),
        ("service: {hosts: ['*']}", "spec.service.hosts[0]", "canary.host"),
        ("service: {portDiscovery: true}", "spec.service.portDiscovery", "field.unsupported"),
        ("service: {delegation: true}", "spec.service.delegation", "field.unsupported"),
        (
            "autoscalerRef: {kind: HorizontalPodAutoscaler, name: web}",
            "spec.autoscalerRef",
            "field.unsupported",
        ),
        ("ingressRef: {kind: Ingress, name: web}", "spec.ingressRef", "field.unsupported"),
        ("metricsServer: 'http://prometheus'", "spec.metricsServer", "field.unsupported"),
    ],
)
def test_what_is_not_honoured_is_a_warning_and_the_rest_holds(spec: str, field: str, code: str) -> None:
    read = canary(f"{{{TARGET}, {spec}, analysis: {{{STEPS}}}}}")
    assert codes(read) == [(field, code)]
    assert fact(read, Canary).analysis.steps


def test_it_is_warned_of_what_stands_deep_in_an_analysis_too() -> None:
    read = analysed(f"{STEPS}, sessionAffinity: {{cookieName: a, secure: true}}")
    assert codes(read) == [("spec.analysis.sessionAffinity.secure", "field.unsupported")]
    assert fact(read, Canary).analysis.affinity == Affinity(cookie="a")


def template(spec: str) -> Reading:
    return reading(document("flagger.app/v1beta1", "MetricTemplate", spec))


PROMETHEUS = "provider: {type: prometheus, address: 'http://prometheus:9090'}"


def test_a_template_is_read_whole() -> None:
    read = template(f"{{{PROMETHEUS}, query: 'up{{a=\"{{{{ target }}}}\"}}[{{{{interval}}}}]'}}")
    assert read.findings == ()
    assert fact(read, MetricTemplate) == MetricTemplate(
        namespace="shop",
        name="it",
        provider="prometheus",
        address="http://prometheus:9090",
        query='up{a="{{ target }}"}[{{interval}}]',
        origin=origin(kind="MetricTemplate"),
    )
    own = fact(template("{provider: {type: plait}, query: error_share}"), MetricTemplate)
    assert (own.provider, own.address) == ("plait", "")


@pytest.mark.parametrize(
    ("spec", "field", "code"),
    [
        ("query: up", "spec.provider.type", "field.required"),
        ("provider: {type: prometheus}, query: up", "spec.provider.address", "field.required"),
        (
            "provider: {type: prometheus, address: here}, query: up",
            "spec.provider.address",
            "address.invalid",
        ),
        (
            "provider: {type: plait, address: 'http://a'}, query: up",
            "spec.provider.address",
            "template.address",
        ),
        (
            "provider: {type: datadog, address: 'http://a'}, query: up",
            "spec.provider.type",
            "template.provider",
        ),
        (
            "provider: {type: prometheus, address: 'http://a', secretRef: {name: b}}, query: up",
            "spec.provider.secretRef",
            "secret.unknown",
        ),
        (PROMETHEUS, "spec.query", "field.required"),
        (f"{PROMETHEUS}, query: ' '", "spec.query", "field.required"),
        (f"{PROMETHEUS}, query: '{{{{ workload }}}}'", "spec.query", "template.word"),
        (f"{PROMETHEUS}, query: '{{{{ variables }}}}'", "spec.query", "template.word"),
        (f"{PROMETHEUS}, querry: up", "spec.querry", "field.unknown"),
    ],
)
def test_a_template_with_an_error_answers_nothing(spec: str, field: str, code: str) -> None:
    read = template(f"{{{spec}}}")
    assert read.facts == ()
    assert (field, code) in codes(read)
    assert ("spec", "template.left-out") in codes(read)


def provider(spec: str) -> Reading:
    return reading(document("flagger.app/v1beta1", "AlertProvider", spec))


@pytest.mark.parametrize("kind", ["slack", "msteams", "discord", "generic"])
def test_a_provider_is_told_in_its_way(kind: str) -> None:
    read = provider(f"{{type: {kind}, address: 'https://hooks.example/a', channel: b, username: c}}")
    assert read.findings == ()
    assert fact(read, AlertProvider) == AlertProvider(
        namespace="shop",
        name="it",
        type=kind,
        address="https://hooks.example/a",
        channel="b",
        username="c",
        origin=origin(kind="AlertProvider"),
    )


@pytest.mark.parametrize(
    ("spec", "field", "code"),
    [
        ("address: 'https://a'", "spec.type", "field.required"),
        ("type: rocket, address: 'https://a'", "spec.type", "alert.type"),
        ("type: slack", "spec.address", "field.required"),
        ("type: slack, secretRef: {name: a}", "spec.secretRef", "secret.unknown"),
        ("type: slack, address: 'https://a', chanel: b", "spec.chanel", "field.unknown"),
    ],
)
def test_a_provider_with_an_error_is_told_nothing(spec: str, field: str, code: str) -> None:
    read = provider(f"{{{spec}}}")
    assert read.facts == ()
    assert (field, code) in codes(read)
    assert ("spec", "alert.left-out") in codes(read)


@pytest.mark.parametrize(
    "text", ["hooks.example/services/T0/SECRET", "https://u:SECRET@a b/", "https://a:SECRET/"]
)
def test_an_address_is_never_repeated(text: str) -> None:
    for read in (
        provider(f"{{type: slack, address: '{text}'}}"),
        template(f"{{provider: {{type: prometheus, address: '{text}'}}, query: up}}"),
        analysed(f"{STEPS}, webhooks: [{{name: a, url: '{text}'}}]"),
    ):
        assert any(code == "address.invalid" for _, code in codes(read))
        assert "SECRET" not in "".join(one.message for one in read.findings)


PAGE = Path(__file__).parents[2] / "docs" / "guide" / "progressive-delivery.md"
OF_OTHERS = re.compile(r"spec\.service\.(match|rewrite|retries|headers|corsPolicy|trafficPolicy)\b.")
"""Fields that the pages of Istio's kinds tell."""


def fields(value: Any, path: str) -> Iterator[str]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        below = child(path, key)
        yield below
        if isinstance(inner, (dict, list)) and not below.endswith(("templateVariables", "metadata")):
            yield from fields(inner, below)


@pytest.mark.parametrize("kind", ["Canary", "MetricTemplate", "AlertProvider"])
def test_the_page_tells_every_field_honoured_or_not(kind: str) -> None:
    page = PAGE.read_text()
    told = {name for text in re.findall(r"`([^`\n]+)`", page) for name in re.split(r"[^\w]+", text)}
    honoured = {one for one in fields(WHOLE[kind]["spec"], "spec") if not one.endswith("]")}
    known = honoured | set(DIALECTS["flagger.app", kind].unsupported)
    asked = {one for one in known if not OF_OTHERS.match(one) or one == "spec.service.rewrite.type"}
    assert {one for one in asked if one.rpartition(".")[2] not in told} == set()
