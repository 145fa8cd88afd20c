"""The localityLbSetting of a DestinationRule, and what else is said of TLS, versions and idle connections."""

import pytest

from plait.model.finding import Severity
from plait.model.locality import Distribution, Locality, LocalityBalancing
from plait.model.traffic import DestinationSettings, TrafficPolicy
from tests.dialects.reading import codes, document, fact, reading

AT = "spec.trafficPolicy.loadBalancer.localityLbSetting"
OUTLIERS = "outlierDetection: {}"


def rule(setting: str, more: str = OUTLIERS) -> str:
    return document(
        "networking.istio.io/v1",
        "DestinationRule",
        f"{{host: a, trafficPolicy: {{loadBalancer: {{localityLbSetting: {setting}}}, {more}}}}}",
    )


def policy(text: str) -> TrafficPolicy:
    return fact(reading(text), DestinationSettings).policies.everywhere


def balancing(setting: str) -> LocalityBalancing | None:
    found = policy(rule(setting)).load_balancing
    return found.locality if found else None


def test_shares_of_localities_are_read() -> None:
    found = balancing("{distribute: [{from: r/z/*, to: {r/z: 80, q/*: 20}}, {from: q, to: {'*': 100}}]}")
    assert found == LocalityBalancing(
        distributions=(
            Distribution(
                clients=Locality("r", "z", "*"),
                shares=((Locality("r", "z", "*"), 80), (Locality("q", "*", "*"), 20)),
            ),
            Distribution(clients=Locality("q", "*", "*"), shares=((Locality("*", "*", "*"), 100),)),
        )
    )


def test_failover_by_region_and_by_labels_is_read() -> None:
    assert balancing("{failover: [{from: r, to: q}], failoverPriority: [a.b/c, version=v1, app=]}") == (
        LocalityBalancing(failover=(("r", "q"),), priority=(("a.b/c", None), ("version", "v1"), ("app", "")))
    )
    assert balancing("{enabled: false}") == LocalityBalancing(enabled=False)


@pytest.mark.parametrize(
    ("setting", "field", "code"),
    [
        ("{distribute: [{from: r, to: {r: 90}}]}", ".distribute[0].to", "traffic.locality"),
        ("{distribute: [{from: r, to: {r: 0, q: 100}}]}", ".distribute[0].to.r", "field.range"),
        ("{distribute: [{from: r, to: {r: 50, r/z: 50}}]}", ".distribute[0].to.r/z", "traffic.locality"),
        ("{distribute: [{from: '*/z', to: {r: 100}}]}", ".distribute[0].from", "traffic.locality"),
        ("{distribute: [{from: r/z/s/t, to: {r: 100}}]}", ".distribute[0].from", "traffic.locality"),
        ("{distribute: [{from: r//s, to: {r: 100}}]}", ".distribute[0].from", "traffic.locality"),
        ("{distribute: [{to: {r: 100}}]}", ".distribute[0].from", "traffic.locality"),
        (
            "{distribute: [{from: r, to: {r: 100}}, {from: r/z, to: {r: 100}}]}",
            ".distribute[1].from",
            "traffic.locality",
        ),
        (
            "{distribute: [{from: r, to: {r: 100}}], failoverPriority: [a]}",
            ".distribute",
            "traffic.locality",
        ),
        ("{failover: [{from: r, to: r}]}", ".failover[0].to", "traffic.locality"),
        ("{failover: [{from: r/z, to: q}]}", ".failover[0].from", "traffic.locality"),
        ("{failover: [{from: r}]}", ".failover[0].to", "field.required"),
        (
            "{failover: [{from: r, to: q}, {from: r, to: p}]}",
            ".failover[1].from",
            "traffic.locality",
        ),
        (
            "{failover: [{from: r, to: q}], failoverPriority: [topology.kubernetes.io/zone]}",
            ".failover",
            "traffic.locality",
        ),
        ("{failoverPriority: [-a]}", ".failoverPriority[0]", "label.invalid"),
    ],
)
def test_what_can_not_be_read_is_told_where_it_stands(setting: str, field: str, code: str) -> None:
    read = reading(rule(setting))
    assert codes(read) == [(AT + field, code)]
    assert read.findings[0].severity is Severity.ERROR
    assert policy(rule(setting)).load_balancing is None


def test_what_stands_beside_a_setting_that_is_not_enabled_is_told() -> None:
    read = reading(rule("{enabled: false, failover: [{from: r, to: q}]}"))
    assert codes(read) == [(f"{AT}.enabled", "traffic.locality")]


def test_a_failover_that_can_not_happen_is_told_wherever_it_is_said() -> None:
    setting = "loadBalancer: {localityLbSetting: {failoverPriority: [version]}}"
    read = reading(
        document(
            "networking.istio.io/v1",
            "DestinationRule",
            f"""
host: a
trafficPolicy:
  {setting}
  portLevelSettings:
  - {{port: {{number: 80}}, {setting}}}
subsets:
- {{name: a, labels: {{v: a}}, trafficPolicy: {{{setting}}}}}
- {{name: b, labels: {{v: b}}, trafficPolicy: {{{setting}, outlierDetection: {{}}}}}}
""",
        )
    )
    policy_at = (
        "spec.trafficPolicy",
        "spec.trafficPolicy.portLevelSettings[0]",
        "spec.subsets[0].trafficPolicy",
    )
    assert codes(read) == [
        (f"{at}.loadBalancer.localityLbSetting", "traffic.failover-without-outliers") for at in policy_at
    ]


def test_a_failover_may_happen_where_somebody_else_says_who_is_healthy() -> None:
    wide = document(
        "networking.istio.io/v1",
        "DestinationRule",
        """
host: a
trafficPolicy:
  loadBalancer: {localityLbSetting: {failoverPriority: [version]}}
subsets:
- {name: a, labels: {v: a}, trafficPolicy: {outlierDetection: {}}}
""",
    )
    assert reading(wide).findings == ()


@pytest.mark.parametrize(
    ("said", "field", "code"),
    [
        ("tls: {mode: DISABLE}", "", ""),
        ("tls: {}", "tls.mode", "traffic.tls"),
        ("tls: {mode: SIMPLE}", "tls.mode", "traffic.tls"),
        ("tls: {mode: MUTUAL}", "tls.mode", "traffic.tls"),
        ("tls: {mode: ISTIO_MUTUAL}", "", ""),
        ("tls: {mode: simple}", "tls.mode", "field.choice"),
        ("tls: {mode: ISTIO_MUTUAL, sni: a}", "tls.sni", "field.unsupported"),
        (
            "connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}",
            "connectionPool.http.h2UpgradePolicy",
            "traffic.http-version",
        ),
        ("connectionPool: {http: {h2UpgradePolicy: UPGRADE}}", "", ""),
        (
            "connectionPool: {http: {useClientProtocol: true}}",
            "connectionPool.http.useClientProtocol",
            "traffic.http-version",
        ),
        (
            "connectionPool: {http: {idleTimeout: 301s}}",
            "connectionPool.http.idleTimeout",
            "traffic.idle-timeout",
        ),
        ("connectionPool: {tcp: {idleTimeout: 301s}}", "", ""),
    ],
)
def test_what_sidecars_do_in_any_case_is_told_where_something_else_is_said(
    said: str, field: str, code: str
) -> None:
    text = document("networking.istio.io/v1", "DestinationRule", f"{{host: a, trafficPolicy: {{{said}}}}}")
    assert codes(reading(text)) == ([(f"spec.trafficPolicy.{field}", code)] if code else [])


@pytest.mark.parametrize(
    ("said", "http", "tcp"),
    [
        ("{tcp: {idleTimeout: 9s}}", 9.0, 9.0),
        ("{tcp: {idleTimeout: 9s}, http: {idleTimeout: 5s}}", 5.0, 9.0),
        ("{http: {idleTimeout: 5s}}", 5.0, None),
        ("{tcp: {idleTimeout: 0s}}", None, None),
    ],
)
def test_the_idle_timeout_of_tcp_is_that_of_http_too_unless_that_has_its_own(
    said: str, http: float | None, tcp: float | None
) -> None:
    text = document(
        "networking.istio.io/v1", "DestinationRule", f"{{host: a, trafficPolicy: {{connectionPool: {said}}}}}"
    )
    found = policy(text).connections
    assert found is not None
    assert (found.idle_timeout, found.tcp_idle_timeout) == (http, tcp)


def test_a_cookie_that_is_not_made_has_no_attributes() -> None:
    cookie = "{name: a, attributes: [{name: Secure}]}"
    hashed = f"{{consistentHash: {{httpCookie: {cookie}}}}}"
    text = document(
        "networking.istio.io/v1", "DestinationRule", f"{{host: a, trafficPolicy: {{loadBalancer: {hashed}}}}}"
    )
    at = "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes"
    assert codes(reading(text)) == [(at, "traffic.hash")]
