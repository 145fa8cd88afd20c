"""services: what is said of a service is what its callers' and its own proxies are told."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench import meshes
from plait.api.services import InstanceView, PortView, ServiceView
from plait.api.targets import NotFound
from plait.api.views import Written
from plait.codec import Codec
from plait.identity.trust import Held
from plait.link.messages import ReplicaReport, State
from plait.model.rollout import Shift
from plait.model.settings import MeshSettings, Mode
from plait.run import offline, services
from tests.run.written import FILE, service, short, virtual_service, workload, written

SUBSETS = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reservations, namespace: bistro}
spec:
  host: reservations
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
"""
SPLIT = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reservations, namespace: bistro}
spec:
  hosts: [reservations]
  http:
    - name: testers
      match: [{headers: {x-user: {exact: tester}}, uri: {prefix: /menu}}, {queryParams: {beta: {exact: "1"}}}]
      route: [{destination: {host: reservations, subset: v2}}]
      timeout: 2s
      retries: {attempts: 2, retryOn: 5xx}
    - route:
        - {destination: {host: reservations, subset: v1}, weight: 90}
        - {destination: {host: reservations, subset: v2}, weight: 10}
"""
POLICY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: %s, namespace: bistro}
spec: %s
"""


def test_a_split_is_told_in_the_order_in_which_it_is_asked_with_the_place_of_each_rule() -> None:
    found = written(service("reservations"), SUBSETS, SPLIT)
    view = found.service("reservations")
    assert [one.ports for one in view.routes] == [(8080,)]
    rules = found.rules("reservations")
    assert [short(one) for one in rules] == [
        "path begins with /menu & header x-user is tester -> 100 reservations/v2",
        "query beta is 1 -> 100 reservations/v2",
        "all -> 90 reservations/v1, 10 reservations/v2",
    ]
    assert [(one.name, one.more) for one in rules] == [
        ("testers", ("timeout 2s", "2 retries on 5xx")),
        ("testers", ("timeout 2s", "2 retries on 5xx")),
        ("", ()),
    ]
    text = ("---\n".join((service("reservations"), SUBSETS, SPLIT))).split("\n")
    for rule in rules:
        place = rule.written
        assert place is not None
        assert (place.kind, place.namespace, place.name, place.file) == (
            "VirtualService",
            "bistro",
            "reservations",
            FILE,
        )
        assert ("testers" in text[place.line - 1]) is (rule.name == "testers")
    assert [one.written.field for one in rules if one.written] == [
        "spec.http[0]",
        "spec.http[0]",
        "spec.http[1]",
    ]


def test_without_a_route_everything_goes_to_the_service_and_nobody_has_written_it() -> None:
    view = written(service("menu")).service("menu")
    assert view.host == "menu.bistro.svc.cluster.local"
    assert view.ports == (PortView(name="http", number=8080, protocol="http"),)
    ((rule,),) = (one.rules for one in view.routes)
    assert (short(rule), rule.more, rule.written) == ("all -> 100 menu", (), None)
    assert view.written == Written(kind="Service", namespace="bistro", name="menu", file=FILE, line=1)


def test_answers_stand_in_place_of_destinations_and_what_none_matches_is_404() -> None:
    http = (
        "[{match: [{uri: {exact: /old}}], redirect: {uri: /new, authority: menu.example.com, redirectCode: 302}},"
        " {match: [{uri: {prefix: /tea}}], directResponse: {status: 418, body: {string: short and stout}}},"
        " {match: [{uri: {prefix: /}, method: {exact: GET}}], route: [{destination: {host: menu}}], mirror: {host: menu}, mirrorPercentage: {value: 12.5}}]"
    )
    rules = written(service("menu"), virtual_service("menu", http)).rules("menu")
    assert [short(one) for one in rules] == [
        "path is /old -> 302, elsewhere: host menu.example.com, path becomes /new",
        "path begins with /tea -> 418 at once: short and stout",
        "method is GET -> 100 menu, 12.5 menu copied",
        "all -> 404: no rule matches",
    ]
    assert [one.written is None for one in rules] == [False] * 3 + [True]


def test_what_is_never_asked_and_who_is_not_there_are_told() -> None:
    http = (
        "[{route: [{destination: {host: menu, port: {number: 9999}}, weight: 25},"
        " {destination: {host: menu}, weight: 75, headers: {request: {set: {x-part: most}}}}]},"
        " {match: [{uri: {prefix: /late}}], route: [{destination: {host: menu}}]}]"
    )
    rules = written(service("menu"), virtual_service("menu", http)).rules("menu")
    assert [short(one) for one in rules] == [
        "all -> 25 menu:9999, 75 menu",
        "path begins with /late -> 100 menu",
    ]
    assert rules[0].more == (
        "to menu:8080: request header x-part set to most",
        "menu:9999 is not there: answered 503",
    )
    assert rules[1].more == ("never asked: a rule before it takes every request",)


def test_ports_with_the_same_rules_are_told_together_and_others_apart() -> None:
    ports = [
        "{name: http, port: 8080}",
        "{name: http-admin, port: 9090, targetPort: 8080}",
        "{name: tcp, port: 6379}",
    ]
    http = "[{match: [{port: 9090}], route: [{destination: {host: other}}]}, {route: [{destination: {host: menu}}]}]"
    documents = (service("menu", *ports), service("other"), virtual_service("menu", http))
    for mode, expected in (
        (
            Mode.TRANSPARENT,
            [
                ((8080,), ["all -> 100 menu"]),
                ((9090,), ["all -> 100 other:8080", "all -> 100 menu"]),
                ((6379,), ["all -> 100 menu"]),
            ],
        ),
        (
            Mode.EXPLICIT,
            [((8080,), ["all -> 100 menu"]), ((9090,), ["all -> 100 other:8080", "all -> 100 menu"])],
        ),
    ):
        view = written(*documents, mode=mode).service("menu")
        assert [(one.ports, [short(rule) for rule in one.rules]) for one in view.routes] == expected
    both = written(service("menu", *ports[:2])).service("menu")
    assert [one.ports for one in both.routes] == [(8080, 9090)]


def test_rules_of_the_gateway_api_and_of_delegates_are_told_by_the_object_that_says_them() -> None:
    http_route = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: menu, namespace: bistro}
spec:
  parentRefs: [{group: "", kind: Service, name: menu, port: 8080}]
  rules:
    - matches: [{path: {type: PathPrefix, value: /drinks}}]
      backendRefs: [{name: menu, port: 8080, weight: 1}, {name: other, port: 8080, weight: 3}]
    - matches: [{path: {type: Exact, value: /gone}}]
      backendRefs: [{name: menu, port: 8080, weight: 0}]
    - backendRefs: [{name: nowhere, port: 8080}]
"""
    grpc_route = """\
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: other, namespace: bistro}
spec:
  parentRefs: [{group: "", kind: Service, name: other}]
  rules:
    - matches: [{method: {service: bistro.Menu, method: List}}]
      backendRefs: [{name: other, port: 8080}]
"""
    root = virtual_service(
        "rooms",
        "[{match: [{uri: {prefix: /rooms}}], delegate: {name: part}}, {route: [{destination: {host: rooms}}]}]",
    )
    part = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part, namespace: bistro}
spec:
  http: [{match: [{uri: {prefix: /rooms/blue}}], route: [{destination: {host: other}}]}]
"""
    found = written(service("menu"), service("other"), service("rooms"), http_route, grpc_route, root, part)
    assert [short(one) for one in found.rules("menu")] == [
        "path is /gone -> 500: there is nobody to send to",
        "path is /drinks or below -> 25 menu, 75 other",
        "all -> 100 nowhere",
    ]
    assert found.rules("menu")[-1].more == ("nowhere:8080 is not there: answered 500",)
    (first, last) = found.rules("other")
    assert (short(first), short(last)) == (
        "path is /bistro.Menu/List -> 100 other",
        "all -> 404: no rule matches",
    )
    assert first.written is not None
    assert first.written.kind == "GRPCRoute"
    told = [(short(one), one.written and one.written.name) for one in found.rules("rooms")]
    assert told == [("path begins with /rooms/blue -> 100 other", "part"), ("all -> 100 rooms", "rooms")]


def test_the_weights_of_a_canary_are_those_of_the_moment() -> None:
    canary = """\
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: menu, namespace: bistro}
spec:
  targetRef: {apiVersion: plait.dev/v1alpha1, kind: Workload, name: menu}
  service: {port: 8080}
  analysis: {interval: 1m, threshold: 5, stepWeight: 10, maxWeight: 50}
"""
    http = "[{match: [{uri: {prefix: /beta}}], route: [{destination: {host: other}}]}, {route: [{destination: {host: menu}}]}]"
    documents = (service("menu"), service("other"), canary, virtual_service("menu", http))
    before = written(*documents)
    assert [short(one) for one in before.rules("menu")] == [
        "path begins with /beta -> 100 other",
        "all -> 100 menu",
    ]
    (target,) = (one for one in before.mesh.workloads.values() if one.name == "menu")
    trying = replace(target, process=replace(target.process, command=("serve", "2")))
    shift = Shift(primary=target, candidate=trying, weight=30)
    (key,) = (one.key for one in before.mesh.plans.canaries)
    during = written(*documents, shifts={key: shift})
    assert [short(one) for one in during.rules("menu")] == [
        "path begins with /beta -> 100 other",
        "all -> 70 menu, 30 menu/canary",
    ]
    view = during.service("menu")
    assert [one.node for one in view.instances] == ["bistro/menu/0", "bistro/menu-canary/0"]
    alone = written(service("menu"), canary, shifts={key: shift})
    (rule,) = alone.rules("menu")
    assert short(rule) == "all -> 70 menu, 30 menu/canary"
    assert rule.written is not None
    assert rule.written.kind == "Canary"


def test_rules_that_some_clients_alone_see_say_so() -> None:
    for_some = (
        "[{match: [{sourceNamespace: cellar, uri: {prefix: /wine}}, {sourceLabels: {app: guest}}], route: [{destination: {host: other}}]},"
        " {route: [{destination: {host: menu}}]}]"
    )
    rules = written(service("menu"), service("other"), virtual_service("menu", for_some)).rules("menu")
    assert [short(one) for one in rules] == [
        "from namespace cellar & path begins with /wine -> 100 other",
        "from workloads with app=guest -> 100 other",
        "all -> 100 menu",
    ]


def test_a_route_that_is_exported_to_some_stands_before_that_of_everybody_else() -> None:
    mine = virtual_service(
        "menu",
        "[{match: [{uri: {prefix: /wine}}], route: [{destination: {host: other}}]}]",
        more="  exportTo: [cellar]\n",
    )
    found = written(service("menu"), service("other"), service("wine", namespace="cellar"), mine)
    assert [short(one) for one in found.rules("menu")] == [
        "from namespace cellar & path begins with /wine -> 100 other",
        "from namespace cellar -> 404: no rule matches",
        "all -> 100 menu",
    ]


def test_whom_a_service_is_kept_from_is_told_with_what_keeps_it() -> None:
    shut = service("menu").replace(
        "{name: menu, namespace: bistro}",
        "{name: menu, namespace: bistro, annotations: {networking.istio.io/exportTo: .}}",
        1,
    )
    sidecar = """\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: guest, namespace: bistro}
spec:
  workloadSelector: {labels: {app: guest}}
  egress: [{hosts: [./other]}]
"""
    found = written(shut, service("other"), service("wine", namespace="cellar"), service("guest"), sidecar)
    rules = found.rules("menu")
    assert [short(one) for one in rules] == [
        "from workload bistro/guest -> not called: their Sidecar leaves it out",
        "from namespace cellar -> not called: it is not exported to them",
        "all -> 100 menu",
    ]
    assert [one.written and one.written.object for one in rules] == [
        "Sidecar bistro/guest",
        "Service bistro/menu",
        None,
    ]


def test_policies_come_in_the_order_in_which_they_are_asked_with_each_rule_in_words() -> None:
    selected = "selector: {matchLabels: {app: menu}}, "
    documents = (
        POLICY % ("allow-nothing", "{}"),
        POLICY % ("allow", f"{{{selected}action: ALLOW, rules: [{{from: [{{source: {{principals: [cluster.local/ns/bistro/sa/guest]}}}}], to: [{{operation: {{methods: [GET, HEAD], paths: [/menu*]}}}}], when: [{{key: 'request.headers[x-user]', values: [tester]}}]}}]}}"),
        POLICY % ("other", "{selector: {matchLabels: {app: other}}, action: DENY, rules: [{}]}"),
        POLICY % ("deny", f"{{{selected}action: DENY, rules: [{{from: [{{source: {{namespaces: [cellar], notIpBlocks: [10.0.0.0/8]}}}}]}}]}}"),
        POLICY % ("audit", f"{{{selected}action: AUDIT, rules: [{{}}]}}"),
        POLICY % ("zz-ask", f"{{{selected}action: CUSTOM, provider: {{name: nobody}}, rules: [{{}}]}}"),
    )  # fmt: skip
    found = written(service("menu"), service("other"), *documents)
    policies = found.service("menu").policies
    told = [(one.written and one.written.name, one.action, one.workload, len(one.rules)) for one in policies]
    assert told == [
        ("deny", "DENY", "bistro/menu", 1),
        ("zz-ask", "DENY", "bistro/menu", 1),  # who can't be asked can't allow
        ("allow", "ALLOW", "bistro/menu", 1),
        ("allow-nothing", "ALLOW", "bistro/menu", 0),
        ("audit", "AUDIT", "bistro/menu", 1),
    ]
    (rule,) = policies[2].rules
    assert (rule.who, rule.what, rule.when) == (
        ("service account bistro/guest",),
        ("GET or HEAD /menu*",),
        ("header x-user is tester",),
    )
    assert rule.written is not None
    assert (rule.written.field, rule.written.file) == ("spec.rules[0]", FILE)
    (denied,) = policies[0].rules
    assert (denied.who, denied.what, denied.when) == (
        ("namespace cellar but not address 10.0.0.0/8",),
        (),
        (),
    )
    assert [one.action for one in found.service("other").policies] == ["DENY", "ALLOW"]


def test_policies_and_modes_are_those_of_every_workload_behind_a_service() -> None:
    peers = """\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: old, namespace: bistro}
spec:
  selector: {matchLabels: {app: menu, version: v0}}
  mtls: {mode: PERMISSIVE}
"""
    dry = POLICY.replace(
        "namespace: bistro", "namespace: bistro, annotations: {istio.io/dry-run: 'true'}"
    ) % ("try", "{rules: []}")
    found = written(service("menu"), workload("menu-old", "v0", app="menu"), peers, dry)
    view = found.service("menu")
    assert view.mtls == ("STRICT", "PERMISSIVE")
    assert [(one.workload, one.dry_run) for one in view.policies] == [
        ("bistro/menu", True),
        ("bistro/menu-old", True),
    ]
    assert written(service("menu")).service("menu").mtls == ("STRICT",)


def test_instances_are_those_that_run_behind_it_as_their_agents_reported_them() -> None:
    found = written(service("menu"), workload("menu-2", "v2", app="menu"), service("other"))
    first, second, *others = found.reports
    held = Held(issuer="one", issued=0.0, signed=0.0, expires=1_700_000_000.0, roots="")
    reports = (
        replace(first, state=State.FAILED, restarts=3, message="exit status 1"),
        replace(second, held=held),
        *others,
    )
    one, two = replace(found, reports=reports).service("menu").instances
    assert one == InstanceView(
        node="bistro/menu/0",
        version="v1",
        state="failed",
        address=first.replica.sidecar.address,
        restarts=3,
        message="exit status 1",
    )
    assert (two.node, two.version, two.state) == ("bistro/menu-2/0", "v2", "ready")
    assert two.certificate_expires == "2023-11-14T22:13:20+00:00"


def test_all_that_is_said_arrives_as_it_was_said() -> None:
    view = written(service("reservations"), SUBSETS, SPLIT, POLICY % ("any", "{rules: [{}]}")).service(
        "reservations"
    )
    codec: Codec[ServiceView] = Codec(ServiceView)
    assert codec.decode(codec.encode(view)) == view


def test_an_unknown_service_is_answered_with_those_that_there_are() -> None:
    found = written(service("menu"), service("other"))
    with pytest.raises(NotFound, match="no service bistro/nemu; in bistro there are menu and other"):
        found.service("nemu")
    with pytest.raises(NotFound, match="no service cellar/menu; services are in bistro"):
        found.service("menu", "cellar")


@pytest.mark.prove
def test_an_answer_for_one_of_300_services_takes_less_than_20_ms(tmp_path: Path) -> None:
    meshes.write(tmp_path, 300)
    sidecars = [
        f"apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: narrow, namespace: team-{number}}}\n"
        f"spec: {{egress: [{{hosts: [./*, team-{number + 1}/*]}}]}}\n"
        for number in range(5)
    ]
    (tmp_path / "sidecars.yaml").write_text("---\n".join(sidecars))
    found = offline.read([tmp_path], MeshSettings())
    reports = tuple(
        ReplicaReport(replica=one, revision="r", state=State.READY, identity="")
        for one in offline.replicas(found.mesh)
    )
    took = []
    for number in range(1, 300, 7):
        began = time.perf_counter()
        name = f"service-{number:04}"
        services.service(found.mesh, reports, {}, found.store, f"team-{number % meshes.NAMESPACES}", name)
        took.append(time.perf_counter() - began)
    assert sorted(took)[len(took) // 2] < 0.02, took
