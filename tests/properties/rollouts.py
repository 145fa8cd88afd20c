"""Canaries, MetricTemplates and AlertProviders that say everything which is honoured."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.properties.destination_rules import policies
from tests.properties.values import (
    NAMESPACE_NAMES,
    PORT_NUMBERS,
    TEXTS,
    TIMES,
    TOKENS,
    WHOLE_TIMES,
    WRITTEN,
    Strategy,
    document,
    one_of,
    optional,
    some,
)
from tests.properties.virtual_services import CHANGES, CORS, MATCHES, RETRIES, REWRITE

_API = "flagger.app/v1beta1"
_TEMPLATES = ("errors", "a.b")
_PROVIDERS = ("on-call", "a.b")
_ADDRESSES = one_of(
    (
        "http://checks.bistro:8080/",
        "https://hooks.example/a?b=c#d",
        "http://[::1]:80",
        "https://user:word@hooks.example",
        "http://é.example/🙂",
    )
)
_PERCENT = one_of((1, 7, 100))
_READY = one_of((0, 1, 100))
_SECONDS = one_of((1, 600, 365 * 24 * 3600))
_HOOKS = ("pre-rollout", "rollout", "post-rollout", "rollback", "event")
_UNSELECTIVE = ("name", "gateways", "ignoreUriCase")
_GATES = ("confirm-rollout", "confirm-traffic-increase", "confirm-promotion")


def _reference(names: tuple[str, ...]) -> Strategy:
    return optional({"name": one_of(names)}, namespace=NAMESPACE_NAMES)


_NUMBERS = one_of((0, 1, 99.5, 100, 5e-324))
_SPANS = st.one_of(
    optional({"min": _NUMBERS}, max=st.just(100)),
    st.fixed_dictionaries({"max": _NUMBERS}),
)
_BUILTINS = st.one_of(
    *(
        optional(
            {"name": st.just(name), **said}, interval=WHOLE_TIMES, minRequests=one_of((1, 1_000_000_000))
        )
        for name in ("request-success-rate", "request-duration")
        for said in (
            {"thresholdRange": _SPANS},
            {"threshold": _NUMBERS},
            {
                "comparison": st.just("baseline"),
                "baseline": optional(alpha=one_of((0.05, 1e-9, 0.999)), horizon=one_of((1, 1_000_000_000))),
            },
        )
    )
)
_OTHERS = optional(
    {
        "name": WRITTEN.filter(lambda name: not name.startswith("request-")),
        "templateRef": _reference(_TEMPLATES),
        "thresholdRange": _SPANS | st.fixed_dictionaries({"min": one_of((-1e15, 1e15))}),
    },
    interval=WHOLE_TIMES,
    templateVariables=st.dictionaries(one_of(("kind", "é")), TEXTS, max_size=2),
)
_WEBHOOK: dict[str, Strategy] = {
    "timeout": TIMES,
    "retries": one_of((0, 1, 100)),
    "metadata": st.dictionaries(TEXTS, TEXTS, max_size=2),
    "muteAlert": st.booleans(),
}
_WEBHOOKS = optional(
    {"name": WRITTEN, "url": _ADDRESSES}, type=one_of((*_HOOKS, *_GATES)), **_WEBHOOK
) | optional({"name": WRITTEN, "type": one_of(_GATES)}, **_WEBHOOK)
_ALERTS = optional(
    {"name": WRITTEN, "providerRef": _reference(_PROVIDERS)}, severity=one_of(("info", "warn", "error"))
)


def _named(strategy: Strategy) -> Strategy:
    """A few, each of another name."""
    return st.lists(strategy, max_size=3, unique_by=lambda one: one["name"])


_ANALYSIS: dict[str, Strategy] = {
    "interval": WHOLE_TIMES,
    "threshold": one_of((0, 1, 100_000)),
    "primaryReadyThreshold": _READY,
    "canaryReadyThreshold": _READY,
    "trafficDeadlineSeconds": _SECONDS,
    "metrics": _named(_BUILTINS | _OTHERS),
    "webhooks": _named(_WEBHOOKS),
    "alerts": some(_ALERTS, least=0),
}
_MIRRORED = optional({"mirror": st.just(True)}, mirrorWeight=_PERCENT)
_AFFINITY = optional(
    {"cookieName": TOKENS.map(lambda name: f"a{name}")},
    maxAge=_SECONDS,
    primaryCookieName=TOKENS.map(lambda name: f"b{name}"),
)
_WEIGHTED: dict[str, Strategy] = {"stepWeightPromotion": _READY, "sessionAffinity": _AFFINITY}
_STEPS = one_of(([1], [100], [1, 2, 10, 80], list(range(1, 101))))


_SELECTIVE = MATCHES.filter(lambda one: any(one[part] for part in one if part not in _UNSELECTIVE))
"""Those that some requests don't meet."""


@st.composite
def _analysis(draw: st.DrawFn) -> dict[str, Any]:
    strategy = draw(
        st.one_of(
            optional({"stepWeight": _PERCENT}, maxWeight=st.just(100), **_WEIGHTED),
            optional({"stepWeights": _STEPS}, maxWeight=st.just(100), **_WEIGHTED),
            optional({"iterations": one_of((1, 100_000))}),
            st.fixed_dictionaries({"iterations": st.just(3), "match": some(_SELECTIVE)}),
        )
    )
    mirrored: dict[str, Any] = {} if "match" in strategy else draw(_MIRRORED | st.just({}))
    return {**strategy, **mirrored, **draw(optional(**_ANALYSIS))}


def canary(name: str, namespace: str) -> Strategy:
    target = optional(
        {"name": one_of(("web-1", "gone"))},
        apiVersion=st.just("plait.dev/v1alpha1"),
        kind=st.just("Workload"),
    )
    service = optional(
        name=one_of(("web", "db", "new")),
        port=PORT_NUMBERS,
        portName=one_of(("http", "grpc-a", "tcp")),
        targetPort=one_of((1, 65535, "http")),
        match=MATCHES.map(lambda one: [one]),
        rewrite=REWRITE,
        retries=RETRIES,
        timeout=TIMES,
        headers=CHANGES,
        corsPolicy=CORS,
        trafficPolicy=policies(),
        gateways=st.just(["mesh"]),
    )
    spec = optional(
        {"targetRef": target, "service": service, "analysis": _analysis()},
        provider=one_of(("istio", "plait")),
        progressDeadlineSeconds=_SECONDS,
        skipAnalysis=st.booleans(),
        suspend=st.booleans(),
        revertOnDeletion=st.booleans(),
    )
    return document(_API, "Canary", name, namespace, spec)


def metric_template(namespace: str) -> Strategy:
    queries = one_of(
        ("up", 'a{b="{{ target }}"}[{{interval}}]', "{{ variables.kind }}\n{{- service -}}", "🙂")
    )
    prometheus = optional(
        {"type": st.just("prometheus"), "address": _ADDRESSES}, insecureSkipVerify=st.booleans()
    )
    provider = prometheus | st.just({"type": "plait"})
    spec = st.fixed_dictionaries({"provider": provider, "query": queries})
    return document(_API, "MetricTemplate", "errors", namespace, spec)


def alert_provider(namespace: str) -> Strategy:
    spec = optional(
        {"type": one_of(("slack", "msteams", "discord", "generic")), "address": _ADDRESSES},
        channel=TEXTS,
        username=TEXTS,
    )
    return document(_API, "AlertProvider", "on-call", namespace, spec)
