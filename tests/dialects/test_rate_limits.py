"""RateLimit: what it says when it can be read, and that what can't be read limits nobody."""

import pytest

from plait.model.limits import Limit, LimitScope, LimitTarget, RateLimit, TargetKind
from plait.model.names import ObjectRef, Origin
from plait.model.reading import Reading
from plait.model.routing import MatchKind, RequestMatch, StringMatch
from tests.dialects.reading import codes, document, fact, reading


def rate_limit(spec: str) -> Reading:
    return reading(document("plait.dev/v1alpha1", "RateLimit", spec))


def requests(spec: str) -> list[int]:
    """How many requests each of the limits that were read lets pass."""
    return [limit.requests for limit in fact(rate_limit(spec), RateLimit).limits]


def origin(field: str = "") -> Origin:
    return Origin(ObjectRef("plait.dev", "RateLimit", "shop", "it"), field)


def test_limits_are_read_whole() -> None:
    read = rate_limit("""
selector: {matchLabels: {app: web}}
limits:
- requests: 5
- name: each
  requests: 60
  per: 1m
  burst: 10
  scope: EachIdentity
  matches:
  - path: {prefix: /a}
    method: {exact: GET}
    headers: {X-User: {exact: tester}, x-any: {}}
""")
    assert read.findings == ()
    match = RequestMatch(
        path=StringMatch(MatchKind.PREFIX, "/a"),
        method=StringMatch(MatchKind.EXACT, "GET"),
        headers=(
            ("x-user", StringMatch(MatchKind.EXACT, "tester")),
            ("x-any", StringMatch(MatchKind.PRESENT)),
        ),
        origin=origin("spec.limits[1].matches[0]"),
    )
    assert fact(read, RateLimit) == RateLimit(
        namespace="shop",
        name="it",
        selector=(("app", "web"),),
        limits=(
            Limit(index=0, requests=5, per=1.0, burst=5, origin=origin("spec.limits[0]")),
            Limit(
                index=1,
                requests=60,
                per=60.0,
                burst=10,
                scope=LimitScope.EACH_IDENTITY,
                matches=(match,),
                origin=origin("spec.limits[1]"),
            ),
        ),
        origin=origin(),
    )


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("{kind: Service, name: web}", LimitTarget(TargetKind.SERVICE, "web")),
        ('{group: "", kind: Service, name: web}', LimitTarget(TargetKind.SERVICE, "web")),
        ("{kind: Workload, name: web}", LimitTarget(TargetKind.WORKLOAD, "web")),
        ("{group: plait.dev, kind: Workload, name: web}", LimitTarget(TargetKind.WORKLOAD, "web")),
        ("null", None),
    ],
)
def test_a_target_is_one_object(target: str, meant: LimitTarget | None) -> None:
    read = rate_limit(f"{{targetRef: {target}, limits: [{{requests: 1}}]}}")
    assert read.findings == ()
    assert fact(read, RateLimit).target == meant


@pytest.mark.parametrize(
    "whom",
    [
        "targetRef: {kind: Pod, name: web}",
        "targetRef: {name: web}",
        "targetRef: {kind: Service}",
        "targetRef: {kind: Service, name: Web}",
        "targetRef: {group: apps, kind: Service, name: web}",
        "targetRef: {kind: Service, name: web, namespace: other}",
        "targetRef: web",
        "selector: {matchLabels: {app: 5}}",
        "selector: {labels: {app: web}}",
        "selector: web",
        "selectors: {matchLabels: {app: web}}",
        "selector: {matchLabels: {app: web}}, targetRef: {kind: Service, name: web}",
    ],
)
def test_limits_of_whom_it_can_not_be_read_limit_nobody(whom: str) -> None:
    read = rate_limit(f"{{{whom}, limits: [{{requests: 1}}]}}")
    assert read.facts == ()
    assert ("spec", "limit.left-out") in codes(read)


@pytest.mark.parametrize(
    "limit",
    [
        "{}",
        "5",
        "null",
        "{requests: 0}",
        "{requests: -1}",
        "{requests: 1000000001}",
        "{requests: 1.5}",
        '{requests: "1"}',
        "{requests: true}",
        "{requests: 1, per: 0s}",
        "{requests: 1, per: 49ms}",
        "{requests: 1, per: 1}",
        "{requests: 1, per: 9000h}",
        "{requests: 1, burst: 0}",
        "{requests: 1, scope: everybody}",
        "{requests: 1, every: 1s}",
        "{requests: 1, matches: []}",
        "{requests: 1, matches: [{}]}",
        "{requests: 1, matches: [{path: {exact: /a}}, {}]}",
        "{requests: 1, matches: [{path: /a}]}",
        "{requests: 1, matches: [{path: {exact: ''}}]}",
        "{requests: 1, matches: [{path: {exact: /a, prefix: /b}}]}",
        "{requests: 1, matches: [{path: {exact: '/a?b'}}]}",
        "{requests: 1, matches: [{path: {prefix: '/a?'}}]}",
        "{requests: 1, matches: [{path: {regex: '/a('}}]}",
        "{requests: 1, matches: [{path: {suffix: /a}}]}",
        "{requests: 1, matches: [{method: {}}]}",
        "{requests: 1, matches: [{uri: {exact: /a}}]}",
        "{requests: 1, matches: [{headers: {':path': {exact: /a}}}]}",
        f"{{requests: 1, matches: [{', '.join(['{path: {exact: /a}}'] * 11)}]}}",
    ],
)
def test_a_limit_that_can_not_be_read_is_left_out_and_the_others_hold(limit: str) -> None:
    spec = f"{{limits: [{{requests: 7}}, {limit}, {{requests: 9}}]}}"
    assert requests(spec) == [7, 9]
    assert ("spec.limits[1]", "limit.left-out") in codes(rate_limit(spec))


def test_a_limit_keeps_its_number_when_one_before_it_is_left_out() -> None:
    limits = fact(rate_limit("{limits: [{requests: 0}, {requests: 9}]}"), RateLimit).limits
    assert [(one.index, one.origin.field) for one in limits] == [(1, "spec.limits[1]")]


@pytest.mark.parametrize("spec", ["{}", "{limits: []}", "{limits: null}"])
def test_without_limits_there_is_an_error(spec: str) -> None:
    read = rate_limit(spec)
    assert read.facts == ()
    assert codes(read) == [("spec.limits", "field.required")]
