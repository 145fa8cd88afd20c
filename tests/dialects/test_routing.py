"""VirtualService and DestinationRule: routing degrades, and never takes more than it was meant to."""

import pytest

from plait.model.names import ObjectRef, Origin
from plait.model.reading import Reading
from plait.model.routing import (
    Backend,
    DelegateRoutes,
    HostRoutes,
    MatchKind,
    RequestMatch,
    Retries,
    RouteRule,
    StringMatch,
)
from plait.model.traffic import Balance, DestinationSettings, Subset
from tests.dialects.reading import codes, document, fact, reading

HOST = "a.shop.svc.cluster.local"
TO_A = "route: [{destination: {host: a}}]"


def virtual_service(spec: str) -> Reading:
    return reading(document("networking.istio.io/v1", "VirtualService", spec))


def routes(http: str) -> Reading:
    return virtual_service(f"{{hosts: [a], http: {http}}}")


def rule(text: str) -> RouteRule:
    (found,) = fact(routes(f"[{text}]"), HostRoutes).rules
    return found


def match(text: str) -> RequestMatch:
    found = rule(f"{{match: [{text}], {TO_A}}}").match
    assert found is not None
    return found


def destination_rule(spec: str) -> Reading:
    return reading(document("networking.istio.io/v1", "DestinationRule", spec))


def origin(kind: str, field: str = "") -> Origin:
    return Origin(ObjectRef("networking.istio.io", kind, "shop", "it"), field)


def test_a_virtual_service_is_read_whole() -> None:
    read = virtual_service("""
hosts: [a, b.other.svc.cluster.local]
http:
- name: testers
  match:
  - uri: {prefix: /api}
    method: {exact: GET}
    headers: {X-User: {exact: tester}}
  route:
  - destination: {host: a, subset: v2, port: {number: 80}}
  timeout: 2s
  retries: {attempts: 3, perTryTimeout: 500ms, retryOn: "5xx, reset,503"}
- route:
  - destination: {host: a, subset: v1}
    weight: 90
  - destination: {host: a, subset: v2}
    weight: 10
""")
    assert read.findings == ()
    found = fact(read, HostRoutes)
    assert found.hosts == (HOST, "b.other.svc.cluster.local")
    testers, rest = found.rules
    assert testers == RouteRule(
        name="testers",
        match=RequestMatch(
            path=StringMatch(MatchKind.PREFIX, "/api"),
            method=StringMatch(MatchKind.EXACT, "GET"),
            headers=(("x-user", StringMatch(MatchKind.EXACT, "tester")),),
            origin=origin("VirtualService", "spec.http[0].match[0]"),
        ),
        backends=(
            Backend(
                host=HOST,
                subset="v2",
                port=80,
                weight=100,
                origin=origin("VirtualService", "spec.http[0].route[0]"),
            ),
        ),
        timeout=2.0,
        retries=Retries(attempts=3, per_try_timeout=0.5, on=("5xx", "reset", "503")),
        origin=origin("VirtualService", "spec.http[0]"),
    )
    assert [(backend.subset, backend.weight) for backend in rest.backends] == [("v1", 90), ("v2", 10)]
    assert (rest.match, rest.timeout, rest.retries) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("{exact: a}", StringMatch(MatchKind.EXACT, "a")),
        ("{prefix: a}", StringMatch(MatchKind.PREFIX, "a")),
        ("{regex: 'a.*'}", StringMatch(MatchKind.REGEX, "a.*")),
        ("{}", StringMatch(MatchKind.PRESENT)),
        ("{exact: ''}", StringMatch(MatchKind.PRESENT)),
        ("{regex: '*'}", StringMatch(MatchKind.PRESENT)),
    ],
)
def test_an_empty_test_of_a_header_or_parameter_asks_only_that_it_is_there(
    text: str, header: StringMatch
) -> None:
    found = match(f"{{headers: {{x: {text}}}, withoutHeaders: {{z: {text}}}, queryParams: {{Q: {text}}}}}")
    assert (found.headers, found.without_headers, found.query) == (
        (("x", header),),
        (("z", header),),
        (("Q", header),),
    )


def test_case_of_paths() -> None:
    assert match("{uri: {exact: /a}, ignoreUriCase: true}").ignore_path_case
    assert not match("{uri: {regex: /a}, ignoreUriCase: true}").ignore_path_case


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{uri: {}}", "match.empty"),
        ("{uri: {prefix: ''}}", "match.empty"),
        ("{uri: /a}", "field.type"),
        ("{uri: {exact: /a, prefix: /b}}", "match.one-kind"),
        ("{uri: {exact: 5}}", "field.type"),
        ("{uri: {regex: 'a('}}", "regex.invalid"),
        ("{uri: {regex: '(?!a)'}}", "regex.invalid"),
        ("{uri: {sufix: /a}}", "field.unknown"),
        ("{headers: {x: a}}", "field.type"),
        ("{headers: {x: null}}", "field.type"),
        ("{headers: {'a b': {exact: x}}}", "match.name"),
        ("{headers: {':path': {exact: x}}}", "match.name"),
        ("{headers: {method: {exact: x}}}", "match.name"),
        ("{headers: {'@request.auth.claims.sub': {exact: x}}}", "match.name"),
        ("{queryParams: {'': {exact: x}}}", "match.name"),
        (f"{{queryParams: {{{'é' * 513}: {{exact: x}}}}}}", "match.name"),
        ("{queryParams: [a]}", "field.type"),
        ("{header: {x: {exact: a}}}", "field.unknown"),
        ("{statPrefix: a}", "field.unsupported"),
        ("{sourceLabels: {app: [a]}}", "field.type"),
        ("{sourceNamespace: A_B}", "name.invalid"),
        ("{port: 99999}", "field.range"),
        ("{ignoreUriCase: 'yes'}", "field.type"),
        ("{gateways: mesh}", "field.type"),
        ("null", "field.type"),
        ("5", "field.type"),
    ],
)
def test_a_match_that_can_not_be_read_whole_never_matches_more(text: str, code: str) -> None:
    """It is left out; when it was the only one, so is its rule; the other rules stay."""
    read = routes(f"[{{match: [{text}], {TO_A}}}, {{name: rest, {TO_A}}}]")
    assert [found.name for found in fact(read, HostRoutes).rules] == ["rest"]
    assert code in [found for _, found in codes(read)]
    assert ("spec.http[0]", "route.left-out") in codes(read)
    read = routes(f"[{{match: [{text}, {{uri: {{exact: /a}}}}], {TO_A}}}]")
    (kept,) = fact(read, HostRoutes).rules
    assert kept.match is not None
    assert kept.match.path == StringMatch(MatchKind.EXACT, "/a")


@pytest.mark.parametrize("text", ["5", "{uri: {exact: /a}}", "yes"])
def test_matches_that_are_no_list_are_not_every_request(text: str) -> None:
    read = routes(f"[{{match: {text}, {TO_A}}}, {{name: rest, {TO_A}}}]")
    assert [found.name for found in fact(read, HostRoutes).rules] == ["rest"]


def test_names_of_matches_are_for_people() -> None:
    assert routes(f"[{{match: [{{name: x, uri: {{exact: /a}}}}], {TO_A}}}]").findings == ()


@pytest.mark.parametrize("gateways", ["[mesh]", "[]"])
def test_the_gateway_of_sidecars_is_mesh(gateways: str) -> None:
    read = virtual_service(f"{{hosts: [a], gateways: {gateways}, http: [{{{TO_A}}}]}}")
    assert (len(read.facts), read.findings) == (1, ())


def test_what_is_for_other_gateways_has_no_effect_on_sidecars() -> None:
    read = virtual_service(f"{{hosts: [a], gateways: [front], http: [{{{TO_A}}}]}}")
    assert (read.facts, codes(read)) == ((), [("spec.gateways", "gateway.unsupported")])
    read = virtual_service(f"{{hosts: [a], gateways: [front, mesh], http: [{{{TO_A}}}]}}")
    assert (len(read.facts), codes(read)) == (1, [("spec.gateways", "gateway.unsupported")])
    read = routes(f"[{{match: [{{gateways: [front]}}], {TO_A}}}, {{name: rest, {TO_A}}}]")
    assert [found.name for found in fact(read, HostRoutes).rules] == ["rest"]
    assert codes(read) == [("spec.http[0].match[0].gateways", "gateway.unsupported")]


@pytest.mark.parametrize(
    ("hosts", "kept", "expected"),
    [
        ("[a, a]", [HOST], [("spec.hosts[1]", "host.duplicate")]),
        (f"[a, {HOST}]", [HOST], [("spec.hosts[1]", "host.duplicate")]),
        ("[a, '']", [HOST], [("spec.hosts[1]", "field.required")]),
        ("[a, '*']", [HOST], [("spec.hosts[1]", "host.invalid")]),
        ("[a, 'a:80']", [HOST], [("spec.hosts[1]", "host.invalid")]),
        ("[a, 'a b']", [HOST], [("spec.hosts[1]", "host.invalid")]),
        ("[a, 5]", [HOST], [("spec.hosts[1]", "field.type")]),
        ("[A]", [HOST], []),
        ("['*.example.com', 10.0.0.1, '::1']", ["*.example.com", "10.0.0.1", "::1"], []),
        ("[a.shop]", ["a.shop"], []),
        ("[example.com]", ["example.com"], []),
    ],
)
def test_hosts(hosts: str, kept: list[str], expected: list[tuple[str, str]]) -> None:
    read = virtual_service(f"{{hosts: {hosts}, http: [{{{TO_A}}}]}}")
    assert list(fact(read, HostRoutes).hosts) == kept
    assert codes(read) == expected


def test_a_list_of_hosts_is_not_empty() -> None:
    read = virtual_service(f"{{hosts: [], http: [{{{TO_A}}}]}}")
    assert (read.facts, codes(read)) == ((), [("spec.hosts", "field.required")])


@pytest.mark.parametrize("hosts", ["", "hosts: null,"])
def test_without_hosts_it_is_for_others_to_delegate_to(hosts: str) -> None:
    read = virtual_service(
        f"{{{hosts} http: [{{match: [{{uri: {{prefix: /a}}}}], {TO_A}}}, {{delegate: {{name: other}}}}]}}"
    )
    assert [len(found.rules) for found in read.facts if isinstance(found, DelegateRoutes)] == [1]
    assert codes(read) == [("spec.http[1].delegate", "delegate.twice")]


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("[{destination: {host: a}, weight: 0}, {destination: {host: b}, weight: 0}]", "route.weights"),
        ("[{destination: {host: a}}, {destination: {host: b}}]", "route.weights"),
        (
            "[{destination: {host: a}, weight: 2147483647}, {destination: {host: b}, weight: 2147483647}, {destination: {host: c}, weight: 2}]",
            "route.weights",
        ),
        ("[{destination: {}}]", "field.required"),
        ("[{destination: {host: '*.a.example'}}]", "host.invalid"),
        ("[{destination: {host: a, port: {number: 0}}}]", "field.range"),
        ("[{destination: {host: a, port: {name: http}}}]", "field.unknown"),
        ("[{destination: {host: a, subset: V_1}}]", "name.invalid"),
        ("[{destination: {host: a}, weight: -1}]", "field.range"),
        ("[{weight: 1}]", "field.required"),
        ("[5]", "field.type"),
        ("{destination: {host: a}}", "field.type"),
        ("[]", "route.no-destination"),
    ],
)
def test_a_rule_without_a_destination_is_left_out(route: str, expected: str) -> None:
    read = routes(f"[{{match: [{{uri: {{exact: /x}}}}], route: {route}}}, {{name: rest, {TO_A}}}]")
    assert [found.name for found in fact(read, HostRoutes).rules] == ["rest"]
    assert expected in [code for _, code in codes(read)]


def test_a_rule_whose_answer_can_not_be_read_is_left_out_and_says_so() -> None:
    read = routes(f"[{{match: [{{uri: {{exact: /x}}}}], redirect: {{uri: there}}}}, {{name: rest, {TO_A}}}]")
    assert [found.name for found in fact(read, HostRoutes).rules] == ["rest"]
    assert codes(read) == [
        ("spec.http[0].redirect.uri", "path.invalid"),
        ("spec.http[0]", "route.left-out"),
    ]


def test_what_has_no_effect_beside_something_else_is_told() -> None:
    read = routes("[{redirect: {uri: /y}, headers: {request: {set: {a: b}}, response: {set: {a: b}}}}]")
    assert codes(read) == [("spec.http[0].headers.request", "header.no-effect")]
    assert len(fact(read, HostRoutes).rules) == 1
    read = destination_rule(
        "{host: a, trafficPolicy: {loadBalancer: {warmup: {duration: 9s}, consistentHash: {useSourceIp: true}}}}"
    )
    assert codes(read) == [("spec.trafficPolicy.loadBalancer.warmup", "traffic.warm-up")]


def test_a_value_of_a_header_is_no_longer_than_envoy_takes() -> None:
    def read(value: str) -> Reading:
        return routes(f"[{{headers: {{request: {{set: {{x: {value}}}}}}}, {TO_A}}}]")

    assert codes(read("é" * 8192)) == []
    assert codes(read("é" * 8192 + "a")) == [("spec.http[0].headers.request.set.x", "header.value")]


@pytest.mark.parametrize(
    ("algorithm", "balance"),
    [
        ("", Balance.MAGLEV),
        (", maglev: {}", Balance.MAGLEV),
        (", ringHash: {}", Balance.RING_HASH),
        (", minimumRingSize: 64", Balance.RING_HASH),
    ],
)
def test_keys_are_spread_by_maglev_unless_a_ring_is_asked_for(algorithm: str, balance: Balance) -> None:
    policy = f"{{loadBalancer: {{consistentHash: {{useSourceIp: true{algorithm}}}}}}}"
    found = fact(destination_rule(f"{{host: a, trafficPolicy: {policy}}}"), DestinationSettings)
    balancing = found.policies.everywhere.load_balancing
    assert balancing is not None
    assert balancing.balance is balance


def test_of_several_destinations_those_that_can_be_read_are_kept() -> None:
    found = rule("{route: [{destination: {host: a}, weight: 1}, {destination: {host: ''}, weight: 9}]}")
    assert [(backend.host, backend.weight) for backend in found.backends] == [(HOST, 1)]


def test_without_any_rule_that_can_be_read_a_host_keeps_its_default_routes() -> None:
    assert routes("[{route: []}]").facts == ()
    assert codes(routes("[]")) == [("spec.http", "field.required")]


def test_tcp_and_tls_routes_are_not_honoured_and_not_http() -> None:
    read = virtual_service("{hosts: [a], tcp: [{route: [{destination: {host: a}}]}]}")
    assert (read.facts, codes(read)) == ((), [("spec.tcp", "field.unsupported")])


@pytest.mark.parametrize(
    ("text", "timeout", "expected"),
    [
        ("timeout: 0s", 0.0, []),
        ("timeout: 1m", 60.0, []),
        ("timeout: 5", None, ["field.type"]),
        ("timeout: soon", None, ["field.duration"]),
        ("timeout: 99999999h", None, ["field.range"]),
        (f"timeout: {'9' * 400}s", None, ["field.range"]),
    ],
)
def test_a_timeout_that_can_not_be_read_leaves_the_rest(
    text: str, timeout: float | None, expected: list[str]
) -> None:
    read = routes(f"[{{{text}, {TO_A}}}]")
    assert fact(read, HostRoutes).rules[0].timeout == timeout
    assert [code for _, code in codes(read)] == expected


@pytest.mark.parametrize(
    ("text", "retries", "expected"),
    [
        ("{attempts: 0}", Retries(attempts=0), []),
        ("{attempts: 2}", Retries(attempts=2), []),
        ("{attempts: 2, retryOn: ''}", Retries(attempts=2), []),
        ("{attempts: 2, retryOn: 'cancelled,418'}", Retries(attempts=2, on=("cancelled", "418")), []),
        ("{attempts: 2, retryOn: 5xxx}", None, ["retries.condition"]),
        ("{attempts: 2, retryOn: '5xx,'}", None, ["retries.condition"]),
        ("{attempts: 2, retryOn: '600'}", None, ["retries.condition"]),
        ("{attempts: -1}", None, ["field.range"]),
        ("{attempts: many}", None, ["field.type"]),
        ("{perTryTimeout: 1s}", None, ["retries.disabled"]),
        ("{attempts: 2, backoff: 1s}", Retries(attempts=2, back_off=1.0), []),
        ("{attempts: 2, retryRemoteLocalities: true}", Retries(attempts=2), ["field.unsupported"]),
        ("[]", None, ["field.type"]),
    ],
)
def test_retries_that_can_not_be_read_leave_the_default(
    text: str, retries: Retries | None, expected: list[str]
) -> None:
    read = routes(f"[{{retries: {text}, {TO_A}}}]")
    assert fact(read, HostRoutes).rules[0].retries == retries
    assert [code for _, code in codes(read)] == expected


def test_a_rule_behind_one_that_takes_everything_is_told() -> None:
    read = routes(f"[{{{TO_A}}}, {{match: [{{uri: {{exact: /a}}}}], {TO_A}}}]")
    assert codes(read) == [("spec.http[1]", "route.unreachable")]


def test_a_destination_rule_has_a_host_and_subsets() -> None:
    read = destination_rule("{host: a, subsets: [{name: v1, labels: {version: v1, a: b}}]}")
    assert read.findings == ()
    assert fact(read, DestinationSettings) == DestinationSettings(
        host=HOST,
        subsets=(
            Subset(
                name="v1",
                labels=(("a", "b"), ("version", "v1")),
                origin=origin("DestinationRule", "spec.subsets[0]"),
            ),
        ),
        origin=origin("DestinationRule"),
    )


@pytest.mark.parametrize(
    ("subsets", "kept", "expected"),
    [
        ("[{name: v1, labels: {v: '1'}}, {name: v1, labels: {v: '2'}}]", ["v1"], "subset.duplicate"),
        ("[{name: v1, labels: {v: 1}}]", [], "field.type"),
        ("[{name: v1, labels: {v: 'a b', w: x}}]", [], "label.invalid"),
        ("[{labels: {v: '1'}}]", [], "field.required"),
        ("[{name: V1, labels: {v: '1'}}]", [], "name.invalid"),
        ("[{name: all}]", ["all"], "subset.no-labels"),
        ("[{name: v1, labels: {v: '1'}, trafficPolicy: {tunnel: {}}}]", ["v1"], "field.unsupported"),
        (
            "[{name: v1, labels: {v: '1'}, trafficPolicy: {loadBalancer: {simple: a}}}]",
            ["v1"],
            "field.choice",
        ),
        ("[5]", [], "field.type"),
        ("5", [], "field.type"),
    ],
)
def test_a_subset_that_can_not_be_read_is_left_out(subsets: str, kept: list[str], expected: str) -> None:
    read = destination_rule(f"{{host: a, subsets: {subsets}}}")
    assert [subset.name for subset in fact(read, DestinationSettings).subsets] == kept
    assert expected in [code for _, code in codes(read)]


def test_a_destination_rule_without_a_host_is_none() -> None:
    assert (destination_rule("{}").facts, codes(destination_rule("{}"))) == (
        (),
        [("spec.host", "field.required")],
    )


def test_a_mirror_has_no_headers_of_its_own() -> None:
    mirrors = "[{destination: {host: b}, headers: {request: {set: {x-a: b}}}}]"
    read = routes(f"[{{mirrors: {mirrors}, {TO_A}}}]")
    assert codes(read) == [("spec.http[0].mirrors[0].headers", "field.unknown")]
