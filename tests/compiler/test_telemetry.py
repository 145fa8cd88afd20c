"""What proxies tell of requests: mesh, namespace and workload laid over each other, and whoever is named but not there."""

from __future__ import annotations

import json

import pytest
import yaml

from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.model.catalog import Protocol
from plait.model.reading import Fact
from plait.model.telemetry import NOTHING_SAID, FileSink, Observed, OtlpSink, TagSource
from tests.compiler.facts import SETTINGS, listens, port, replica, service, workload
from tests.dialects.reading import reading

WEB = workload("web", version="v1")
OTHER = workload("other", namespace="shop")
OTEL = workload("otel", listens(4317, Protocol.GRPC), listens(4318), listens(5432, Protocol.TCP))
MESH: tuple[Fact, ...] = (
    WEB,
    OTHER,
    OTEL,
    service("web"),
    service("other", namespace="shop"),
    service("otel", port(4317, Protocol.GRPC), port(4318), port(5432, Protocol.TCP)),
)
PROVIDERS = """
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec:
  meshConfig:
    SETTINGS
    extensionProviders:
    - {name: a, envoyFileAccessLog: {}}
    - {name: b, envoyFileAccessLog: {path: /dev/stderr}}
    - {name: counts, prometheus: {}}
    - {name: records, envoyOtelAls: {service: otel.bistro.svc.cluster.local, port: 4317}}
    - {name: spans, opentelemetry: {service: otel.bistro.svc.cluster.local, port: 4317}}
    - name: spans-by-http
      opentelemetry:
        {service: otel.bistro.svc.cluster.local, port: 4318, http: {path: /v1/traces, headers: [{name: A, value: b}]}}
    - {name: gone, zipkin: {service: z.bistro.svc.cluster.local, port: 9411}}
"""


def facts(text: str) -> tuple[Fact, ...]:
    found: list[Fact] = []
    for document in yaml.safe_load_all(text):
        found += reading(json.dumps(document)).facts if document else ()
    return tuple(found)


def providers(settings: str = "{}") -> str:
    said = "" if settings == "{}" else settings
    return PROVIDERS.replace("    SETTINGS\n", f"    {said}\n" if said else "")


def telemetry(spec: str, name: str = "it", namespace: str = "bistro", created: str = "") -> str:
    stamp = f", creationTimestamp: {created!r}" if created else ""
    return (
        f"---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\n"
        f"metadata: {{name: {name}, namespace: {namespace}{stamp}}}\nspec: {spec}\n"
    )


def compiled(*texts: str, of: object = WEB) -> tuple[Observed, Observed, list[tuple[str, str]]]:
    """What a workload tells as client and as server, and what is found: (object, code)."""
    mesh, findings = merge((*MESH, *facts("\n---\n".join(texts))), SETTINGS)
    seen = view(mesh, replica(of))  # type: ignore[arg-type]
    codes = [
        (one.ref.name, one.code)
        for one in findings
        if one.ref is not None and one.code not in ("port.tcp-explicit", "service.no-workloads")
    ]
    return seen.client, seen.server, codes


def logs(observed: Observed) -> list[tuple[str, str]]:
    return [(one.sink.name, one.condition) for one in observed.logs]


def test_who_says_nothing_is_told_what_was_always_told() -> None:
    assert compiled() == (NOTHING_SAID, NOTHING_SAID, [])
    client, server, found = compiled(providers())
    assert (client, server, found) == (NOTHING_SAID, NOTHING_SAID, [])


ROOT, NAMESPACE = "istio-system", "bistro"


@pytest.mark.parametrize(
    ("root", "namespace", "chosen", "client", "server"),
    [
        ("[{providers: [{name: a}]}]", "", "", ["a"], ["a"]),
        ("[{providers: [{name: a}]}]", "[{disabled: true}]", "", [], []),
        ("[{providers: [{name: a}]}]", "[{disabled: true}]", "[{disabled: false}]", ["a"], ["a"]),
        ("[{providers: [{name: a}]}]", "[{providers: [{name: b}]}]", "", ["b"], ["b"]),
        ("[{providers: [{name: a}]}]", "", "[{match: {mode: CLIENT}, disabled: true}]", [], ["a"]),
        ("", "[{providers: [{name: a}, {name: b}]}]", "[{match: {mode: SERVER}, providers: [{name: b}]}]", ["b"], ["b"]),
        ("[{match: {mode: SERVER}, providers: [{name: a}]}]", "", "", [], ["a"]),
        ("[{providers: [{name: a}]}, {providers: [{name: b}]}]", "", "", ["a", "b"], ["a", "b"]),
    ],
)  # fmt: skip
def test_the_narrower_has_the_last_word_about_logs(
    root: str, namespace: str, chosen: str, client: list[str], server: list[str]
) -> None:
    texts = [
        telemetry(f"{{{whom}accessLogging: {said}}}", name, place)
        for said, name, place, whom in (
            (root, "all", ROOT, ""),
            (namespace, "own", NAMESPACE, ""),
            (chosen, "chosen", NAMESPACE, "selector: {matchLabels: {app: web}}, "),
        )
        if said
    ]
    told = compiled(providers(), *texts)
    assert [[name for name, _ in logs(side)] for side in told[:2]] == [client, server]
    assert told[2] == []


def test_the_last_condition_holds_and_that_of_the_other_side_stays() -> None:
    client, server, _ = compiled(
        providers(),
        telemetry(
            "{accessLogging: [{providers: [{name: a}], filter: {expression: 'response.code >= 500'}}]}"
        ),
        telemetry(
            "{targetRefs: [{kind: Service, name: web}], accessLogging: "
            "[{match: {mode: SERVER}, filter: {expression: connection.mtls}}]}",
            "web",
        ),
    )
    assert (logs(client), logs(server)) == ([("a", "response.code >= 500")], [("a", "connection.mtls")])


@pytest.mark.parametrize(
    "whom",
    [
        "targetRef: {group: '', kind: Service, name: web}",
        "targetRefs: [{group: core, kind: Service, name: web, namespace: bistro}]",
        "targetRefs: [{kind: Service, name: otel}, {kind: Service, name: web}]",
    ],
)
def test_services_choose_the_workloads_behind_them(whom: str) -> None:
    said = telemetry(f"{{{whom}, accessLogging: [{{providers: [{{name: a}}]}}]}}")
    assert logs(compiled(providers(), said)[0]) == [("a", "")]
    assert logs(compiled(providers(), said, of=OTHER)[0]) == []


def test_what_is_said_elsewhere_is_not_for_others() -> None:
    said = telemetry("{accessLogging: [{providers: [{name: a}]}]}", namespace="shop")
    assert logs(compiled(providers(), said)[0]) == []
    assert logs(compiled(providers(), said, of=OTHER)[0]) == [("a", "")]
    of_root = telemetry(
        "{selector: {matchLabels: {app: web}}, accessLogging: [{providers: [{name: a}]}]}", namespace=ROOT
    )
    assert logs(compiled(providers(), of_root)[0]) == []


def test_defaults_hold_where_no_object_speaks() -> None:
    file = "accessLogFile: /dev/stdout"
    assert logs(compiled(providers(file))[0]) == [("accessLogFile", "")]
    assert logs(compiled(providers("defaultProviders: {accessLogging: [b]}"))[0]) == [("b", "")]
    assert logs(compiled(providers(file), telemetry("{accessLogging: [{providers: [{name: a}]}]}"))[0]) == [
        ("a", "")
    ]
    off = compiled(
        providers("defaultProviders: {accessLogging: [b]}"), telemetry("{accessLogging: [{disabled: true}]}")
    )
    assert (logs(off[0]), off[2]) == ([], [])
    look = "accessLogFormat: '%RESPONSE_CODE%'"
    (log,) = compiled(providers(look), telemetry("{accessLogging: [{providers: [{name: envoy}]}]}"))[0].logs
    assert isinstance(log.sink, FileSink)
    assert (log.sink.text, log.sink.json) == ("%RESPONSE_CODE%", False)


def test_spans_are_told_as_the_narrowest_says_field_by_field() -> None:
    client, server, found = compiled(
        providers("defaultConfig: {tracing: {sampling: 7}}"),
        telemetry(
            "{tracing: [{providers: [{name: spans}], customTags: {a: {literal: {value: b}}}}]}", "all", ROOT
        ),
        telemetry("{tracing: [{match: {mode: CLIENT}, randomSamplingPercentage: 50}]}"),
        telemetry(
            "{selector: {matchLabels: {app: web}}, tracing: [{match: {mode: SERVER}, disableSpanReporting: true, "
            "customTags: {c: {header: {name: X-C, defaultValue: d}}, e: {environment: {name: F}}, "
            "g: {formatter: {value: '%PROTOCOL%'}}}}]}",
            "web",
        ),
    )
    assert found == []
    assert client.tracing.collector is not None
    assert (client.tracing.collector.name, client.tracing.sampled, client.tracing.reported) == (
        "spans",
        50,
        True,
    )
    assert [tag.name for tag in client.tracing.tags] == ["a"]
    assert (server.tracing.sampled, server.tracing.reported) == (7, False)
    assert [(tag.name, tag.source, tag.value, tag.default) for tag in server.tracing.tags] == [
        ("c", TagSource.HEADER, "x-c", "d"),
        ("e", TagSource.ENVIRONMENT, "F", ""),
        ("g", TagSource.FORMAT, "%PROTOCOL%", ""),
    ]


def test_whom_spans_are_told_is_said_once_for_the_mesh() -> None:
    client, _, _ = compiled(providers("defaultProviders: {tracing: [spans-by-http]}"))
    assert client.tracing.collector is not None
    collector = client.tracing.collector
    assert (collector.path, collector.port, collector.timeout, collector.headers) == (
        "/v1/traces", 4318, 3.0, (("a", "b"),),
    )  # fmt: skip
    by_grpc = PROVIDERS.replace(
        "4317}}\n    - name",
        "4317, grpc: {timeout: 2s, initialMetadata: [{name: A, value: b}]}}}\n    - name",
    )
    client, _, _ = compiled(by_grpc.replace("SETTINGS", "defaultProviders: {tracing: [spans]}"))
    assert client.tracing.collector is not None
    collector = client.tracing.collector
    assert (collector.path, collector.timeout, collector.headers) == ("", 2.0, (("a", "b"),))
    assert not compiled(providers("enableTracing: false"))[0].tracing.reported
    spoken = compiled(
        providers("enableTracing: false"), telemetry("{tracing: [{randomSamplingPercentage: 3}]}")
    )
    assert (spoken[0].tracing.reported, spoken[0].tracing.sampled) == (True, 3)


@pytest.mark.parametrize(
    ("rules", "client", "server"),
    [
        ("[{overrides: [{disabled: true}]}]", False, False),
        ("[{overrides: [{match: {metric: ALL_METRICS, mode: SERVER}, disabled: true}]}]", True, False),
        (
            "[{providers: [{name: counts}], overrides: [{match: {mode: CLIENT}, disabled: true}]}]",
            False,
            True,
        ),
        ("[{providers: [{name: prometheus}], overrides: [{disabled: true}, {disabled: false}]}]", True, True),
        ("[{overrides: [{match: {metric: REQUEST_COUNT}, disabled: true}]}]", True, True),
    ],
)
def test_a_side_counts_or_does_not(rules: str, client: bool, server: bool) -> None:  # noqa: FBT001  # parameters
    found = compiled(providers(), telemetry(f"{{metrics: {rules}}}"))
    assert ((found[0].metrics, found[1].metrics), found[2]) == ((client, server), [])


def test_who_takes_records_is_not_told_of_those() -> None:
    all_logs = telemetry("{accessLogging: [{providers: [{name: records}, {name: a}]}]}")
    for observed in compiled(providers(), all_logs)[:2]:
        assert [type(one.sink) for one in observed.logs] == [OtlpSink, FileSink]
    for observed in compiled(providers(), all_logs, of=OTEL)[:2]:
        assert [type(one.sink) for one in observed.logs] == [FileSink]
    spans = telemetry("{tracing: [{providers: [{name: spans}]}]}")
    assert not compiled(providers(), spans, of=OTEL)[0].tracing.reported


def test_the_oldest_of_two_holds_and_else_the_first_by_name() -> None:
    def two(first: str = "", second: str = "") -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        found = compiled(
            providers(),
            telemetry("{accessLogging: [{providers: [{name: a}]}]}", "first", created=first),
            telemetry("{accessLogging: [{providers: [{name: b}]}]}", "second", created=second),
        )
        return logs(found[0]), found[2]

    assert two() == ([("a", "")], [("second", "telemetry.said-twice")])
    older = two("2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z")
    assert older == ([("b", "")], [("first", "telemetry.said-twice")])
    assert two("", "2026-01-01T00:00:00Z") == ([("b", "")], [("first", "telemetry.said-twice")])


HIDING = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: only, namespace: bistro}
spec: {egress: [{hosts: [./web]}]}
"""


@pytest.mark.parametrize(
    ("said", "beside", "code"),
    [
        ("{accessLogging: [{providers: [{name: nobody}]}]}", "", "telemetry.unknown-provider"),
        ("{accessLogging: [{providers: [{name: spans}]}]}", "", "telemetry.provider-kind"),
        ("{accessLogging: [{providers: [{name: prometheus}]}]}", "", "telemetry.provider-kind"),
        ("{tracing: [{providers: [{name: nobody}]}]}", "", "telemetry.unknown-provider"),
        ("{tracing: [{providers: [{name: envoy}]}]}", "", "telemetry.provider-kind"),
        ("{metrics: [{providers: [{name: nobody}]}]}", "", "telemetry.unknown-provider"),
        ("{accessLogging: [{disabled: false}]}", "", "telemetry.no-provider"),
        ("{accessLogging: [{providers: [{name: records}]}]}", HIDING, "telemetry.hidden-provider"),
        ("{tracing: [{providers: [{name: spans}]}]}", HIDING, "telemetry.hidden-provider"),
        ("{selector: {matchLabels: {app: none}}, tracing: [{disableSpanReporting: true}]}", "", "policy.no-workloads"),
        ("{targetRefs: [{kind: Service, name: none}]}", "", "policy.unknown-target"),
    ],
)  # fmt: skip
def test_who_is_not_there_is_told_nothing_and_that_is_said(said: str, beside: str, code: str) -> None:
    client, server, found = compiled(providers(), telemetry(said), beside)
    assert ("it", code) in found
    for side in (client, server):
        assert (side.logs, side.tracing.collector) == ((), None)
        assert side.tracing.reported


def test_who_was_left_out_is_not_said_to_be_unknown() -> None:
    assert compiled(providers(), telemetry("{tracing: [{providers: [{name: gone}]}]}"))[2] == []


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("{name: records, envoyOtelAls: {service: none.bistro.svc.cluster.local, port: 1}}", "provider.unreachable"),
        ("{name: records, envoyOtelAls: {service: otel.bistro.svc.cluster.local, port: 1}}", "provider.unreachable"),
        ("{name: records, envoyOtelAls: {service: otel.bistro.svc.cluster.local, port: 4318}}", "provider.unreachable"),
        ("{name: spans, opentelemetry: {service: otel.bistro.svc.cluster.local, port: 5432}}", "provider.unreachable"),
        ("{name: prometheus, envoyFileAccessLog: {}}", "provider.twice"),
    ],
)  # fmt: skip
def test_a_provider_that_can_t_be_told_is_said_to_be_that(entry: str, code: str) -> None:
    text = PROVIDERS[: PROVIDERS.index("    SETTINGS")] + f"    extensionProviders: [{entry}]\n"
    client, _, found = compiled(text, telemetry("{accessLogging: [{providers: [{name: records}]}]}"))
    assert ("mesh", code) in found
    assert logs(client) == []


def test_two_of_one_name_are_nobody_unless_they_are_alike() -> None:
    again = providers().replace("name: mesh", "name: more")
    uses = telemetry("{accessLogging: [{providers: [{name: b}]}]}")
    assert logs(compiled(providers(), again, uses)[0]) == [("b", "")]
    other = again.replace("/dev/stderr", "access.log")
    client, _, found = compiled(providers(), other, uses)
    assert (logs(client), found) == ([], [("more", "provider.twice")])


def test_defaults_that_name_nobody_are_said_to() -> None:
    client, _, found = compiled(
        providers("defaultProviders: {accessLogging: [none], tracing: [a], metrics: [b]}")
    )
    assert (logs(client), found) == ([], [("mesh", "telemetry.unknown-provider")] * 3)
