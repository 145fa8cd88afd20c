"""What Canaries name and is not there, and what they own together with others, is a Finding on the very field."""

from dataclasses import replace

import pytest

from plait.compiler.attachment import attached
from plait.compiler.merge import merge
from plait.compiler.references.rollouts import check
from plait.compiler.sights import Stated
from plait.model.catalog import Protocol, Workload
from plait.model.names import ObjectRef, Origin, WorkloadKey
from plait.model.reading import Fact
from plait.model.rollout import (
    Alert,
    AlertProvider,
    Analysis,
    Canary,
    Metric,
    MetricTemplate,
    Plans,
)
from plait.model.routing import AttachedRoutes, AttachedRule, HostRoutes, Parent, RouteRule
from plait.model.traffic import DestinationSettings, OutlierDetection, PortPolicies, TrafficPolicy
from tests.compiler.facts import (
    NS,
    SETTINGS,
    destination,
    host,
    origin,
    port,
    routes,
    rule,
    service,
    to,
    workload,
)

WEB = workload("web")
SERVICE = service("web")


def at(name: str, field: str = "", kind: str = "Canary") -> Origin:
    return Origin(ObjectRef("flagger.app", kind, NS, name), field)


def canary(  # noqa: PLR0913  # what is said in one
    name: str = "web",
    *,
    target: str = "web",
    called: str = "web",
    port: int = 8080,
    metrics: tuple[Metric, ...] = (),
    alerts: tuple[Alert, ...] = (),
    routed: bool = False,
    policies: PortPolicies | None = None,
) -> Canary:
    return Canary(
        namespace=NS,
        name=name,
        target=WorkloadKey(NS, target),
        service=called,
        port=port,
        rule=RouteRule(origin=at(name, "spec.service")) if routed else None,
        policies=policies,
        analysis=Analysis(steps=(100,), metrics=metrics, alerts=alerts),
        origin=at(name),
    )


def found(*facts: Fact) -> list[tuple[str, str, str]]:
    """Canary, field and code of what is said, when each target is as it is written, and the first Canary has it."""
    return [(name, field, code) for name, field, code, _ in said(*facts)]


def said(*facts: Fact) -> list[tuple[str, str, str, str]]:
    canaries = tuple(one for one in facts if isinstance(one, Canary))
    workloads = {one.key: one for one in facts if isinstance(one, Workload)}
    firsts = {one.target: one.key for one in sorted(canaries, key=lambda one: one.key, reverse=True)}
    plans = Plans(
        canaries=canaries,
        templates=tuple(one for one in facts if isinstance(one, MetricTemplate)),
        providers=tuple(one for one in facts if isinstance(one, AlertProvider)),
        targets={key: workloads[target] for target, key in firsts.items() if target in workloads},
    )
    mesh, _ = merge([one for one in facts if not isinstance(one, Canary)], SETTINGS)
    stated = Stated(
        services=mesh.services,
        owned=tuple(one for one in facts if isinstance(one, HostRoutes)),
        attached=(),
        destinations=tuple(one for one in facts if isinstance(one, DestinationSettings) and not one.clients),
        root_namespace="istio-system",
    )
    findings = check(replace(mesh, plans=plans), stated)
    return sorted((one.ref.name, one.field, one.code, one.message) for one in findings if one.ref is not None)


def test_a_canary_with_its_workload_and_its_service_needs_no_word() -> None:
    assert found(WEB, SERVICE, canary()) == []
    assert found(WEB, SERVICE, canary(port=0, routed=True, policies=PortPolicies())) == []


def test_a_target_that_is_not_there() -> None:
    assert found(SERVICE, canary()) == [("web", "spec.targetRef", "canary.unknown-target")]


def test_without_a_port_a_service_can_not_be_made() -> None:
    assert found(WEB, canary(port=0)) == [("web", "spec.service", "canary.unknown-service")]
    assert found(WEB, canary(port=8080)) == []


def test_a_service_has_to_have_the_port_and_to_speak_http_there() -> None:
    assert found(WEB, SERVICE, canary(port=9)) == [("web", "spec.service", "canary.unknown-port")]
    tcp = service("web", port(8080), port(5432, Protocol.TCP))
    assert found(WEB, tcp, canary(port=5432)) == [("web", "spec.service", "canary.not-http")]
    assert found(WEB, tcp, canary(port=0)) == []


def test_a_service_has_to_lead_to_the_target() -> None:
    other = service("web", app="other")
    assert found(WEB, other, canary()) == [("web", "spec.service", "canary.not-behind")]
    nobody = service("web", selector=())
    assert found(WEB, nobody, canary()) == [("web", "spec.service", "canary.not-behind")]


def test_of_two_canaries_for_one_thing_the_first_holds() -> None:
    other = (workload("web2", app="web2"), service("web2"))
    (second,) = said(
        WEB, SERVICE, *other, canary("b"), canary("a"), canary("c", target="web2", called="web2")
    )
    assert second[:3] == ("b", "spec.targetRef", "canary.target-twice")
    assert second[3] == f"Canary {NS}/a has the target {NS}/web already, and stays in force"
    assert ("b", "spec.service", "canary.service-twice") in found(
        WEB, SERVICE, *other, canary("a"), canary("b", target="web2")
    )


def test_templates_and_their_variables() -> None:
    ref = ObjectRef("flagger.app", "MetricTemplate", NS, "errors")
    metric = Metric(
        name="errors", template=ref, variables=(("kind", "x"),), origin=at("web", "spec.analysis.metrics[0]")
    )
    template = MetricTemplate(
        namespace=NS,
        name="errors",
        provider="prometheus",
        address="http://prometheus",
        query="{{ target }} {{ variables.kind }} {{variables.of}}",
        origin=at("errors", kind="MetricTemplate"),
    )
    one = canary(metrics=(metric,))
    assert found(WEB, SERVICE, one) == [
        ("web", "spec.analysis.metrics[0].templateRef", "metric.unknown-template")
    ]
    elsewhere = replace(template, namespace="market")
    assert found(WEB, SERVICE, one, elsewhere)[0][2] == "metric.unknown-template"
    ((_, field, code, message),) = said(WEB, SERVICE, one, template)
    assert (field, code) == ("spec.analysis.metrics[0]", "metric.variables")
    assert message.endswith("asks for of: write them into templateVariables")
    given = replace(metric, variables=(("kind", "x"), ("of", "y")))
    assert found(WEB, SERVICE, canary(metrics=(given,)), template) == []


def test_alert_providers() -> None:
    ref = ObjectRef("flagger.app", "AlertProvider", NS, "on-call")
    alert = Alert(name="all", provider=ref, origin=at("web", "spec.analysis.alerts[0]"))
    provider = AlertProvider(
        namespace=NS, name="on-call", type="slack", address="https://hooks", origin=at("on-call")
    )
    assert found(WEB, SERVICE, canary(alerts=(alert,))) == [
        ("web", "spec.analysis.alerts[0].providerRef", "alert.unknown-provider")
    ]
    assert found(WEB, SERVICE, canary(alerts=(alert,)), provider) == []


@pytest.mark.parametrize("hosts", [("web",), ("*.bistro.svc.cluster.local",)])
def test_routes_of_the_user_s_own_hold_before_what_a_canary_says_of_routing(hosts: tuple[str, ...]) -> None:
    own = routes(*hosts, rules=(rule(to("web")),))
    ((_, field, code, message),) = said(WEB, SERVICE, own, canary(routed=True))
    assert (field, code) == ("spec.service", "canary.two-owners")
    assert message.startswith(f"VirtualService {NS}/routes routes {host('web')} as well, and stays in force")
    assert found(WEB, SERVICE, own, canary()) == []
    assert found(WEB, SERVICE, routes("other", rules=(rule(to("web")),)), canary(routed=True)) == []


@pytest.mark.parametrize(("at_port", "holds"), [(0, True), (8080, True), (9090, False)])
def test_so_do_those_that_are_attached_to_its_port(at_port: int, *, holds: bool) -> None:
    own = AttachedRoutes(
        parents=(
            Parent(
                host=host("web"), port=at_port, origin=origin("HTTPRoute", "attached", "spec.parentRefs[0]")
            ),
        ),
        rules=(AttachedRule(rule=rule(to("web")), specificity=()),),
        origin=origin("HTTPRoute", "attached", "spec"),
    )
    facts: tuple[Fact, ...] = (WEB, service("web", port(8080), port(9090)), own)
    one = canary(routed=True)
    mesh, _ = merge(facts, SETTINGS)
    joined, _ = attached((own,), mesh.services, ())
    plans = Plans(canaries=(one,), targets={one.key: WEB})
    stated = Stated(
        services=mesh.services, owned=(), attached=joined, destinations=(), root_namespace="istio-system"
    )
    found_here = [*check(replace(mesh, plans=plans), stated)]
    if not holds:
        assert found_here == []
        return
    (finding,) = found_here
    assert finding.code == "canary.two-owners"
    assert finding.message.startswith(f"HTTPRoute {NS}/attached routes {host('web')}")


def test_a_destination_rule_holds_before_a_traffic_policy() -> None:
    told = TrafficPolicy(outliers=OutlierDetection())
    asked = canary(policies=PortPolicies())
    at_field = ("web", "spec.service.trafficPolicy", "canary.two-owners")
    assert found(WEB, SERVICE, destination("web", policy=told), asked) == [at_field]
    assert found(WEB, SERVICE, destination("web", policy=told), canary()) == []
    assert found(WEB, SERVICE, destination("web", "v1"), asked) == []  # it says nothing of how it is called
    for_some = replace(destination("web", policy=told), clients=(("app", "one"),))
    assert found(WEB, SERVICE, for_some, asked) == [at_field]
