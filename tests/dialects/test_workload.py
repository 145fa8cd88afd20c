"""Workloads: a program is run as it is said, or not at all."""

import pytest

from plait.model.catalog import (
    CommandProbe,
    HttpProbe,
    Process,
    Protocol,
    Readiness,
    Restart,
    TcpProbe,
    Workload,
    WorkloadPort,
)
from plait.model.names import ObjectRef, Origin
from plait.model.reading import Reading
from tests.dialects.reading import codes, document, fact, reading


def workload(spec: str) -> Reading:
    return reading(document("plait.dev/v1alpha1", "Workload", spec))


def test_a_command_is_enough() -> None:
    assert fact(workload("{command: [x]}"), Workload) == Workload(
        namespace="shop",
        name="it",
        process=Process(command=("x",)),
        origin=Origin(ObjectRef("plait.dev", "Workload", "shop", "it")),
    )


def test_every_field_is_read() -> None:
    text = """
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {name: it, namespace: shop, labels: {version: v1, app: web}}
spec:
  command: [python3, -m, app]
  env: {B: "2", A: "1"}
  workingDir: app
  user: web
  serviceAccount: web
  replicas: 0
  ports:
  - {name: http, port: 8080}
  - {name: admin, port: 9090, protocol: grpc}
  readiness:
    http: {path: /ready, port: admin}
    interval: 500ms
    timeout: 2s
  restart: OnFailure
  terminationGracePeriodSeconds: 5
"""
    read = reading(text)
    assert read.findings == ()
    found = fact(read, Workload)
    assert (found.app, found.version, found.service_account, found.replicas) == ("web", "v1", "web", 0)
    assert found.process == Process(
        command=("python3", "-m", "app"),
        env=(("A", "1"), ("B", "2")),
        working_dir="app",
        user="web",
        ports=(
            WorkloadPort(name="http", number=8080, protocol=Protocol.HTTP),
            WorkloadPort(name="admin", number=9090, protocol=Protocol.GRPC),
        ),
        readiness=Readiness(probe=HttpProbe(path="/ready", port=9090), interval=0.5, timeout=2.0),
        restart=Restart.ON_FAILURE,
        grace_seconds=5.0,
    )


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        ("{tcp: 8080}", TcpProbe(port=8080)),
        ("{tcp: http}", TcpProbe(port=8080)),
        ("{tcp: {port: 8080}}", TcpProbe(port=8080)),
        ("{tcp: {port: http}}", TcpProbe(port=8080)),
        ("{http: {port: 8080}}", HttpProbe(path="/", port=8080)),
        ("{command: [test, -f, x]}", CommandProbe(command=("test", "-f", "x"))),
    ],
)
def test_ways_to_ask_for_readiness(text: str, probe: object) -> None:
    read = workload(f"{{command: [x], ports: [{{name: http, port: 8080}}], readiness: {text}}}")
    readiness = fact(read, Workload).process.readiness
    assert readiness is not None
    assert (readiness.probe, read.findings) == (probe, ())


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{}", [("spec.command", "field.required")]),
        ("{command: []}", [("spec.command", "field.required")]),
        ("{command: ['']}", [("spec.command", "field.required")]),
        ("{command: x}", [("spec.command", "field.type")]),
        ("{command: [x, 5]}", [("spec.command[1]", "field.type")]),
        ("5", [("spec", "field.type"), ("spec.command", "field.required")]),
        ("{command: [x], env: {A: 5}}", [("spec.env.A", "field.type")]),
        ("{command: [x], env: {A=: b}}", [('spec.env["A="]', "name.invalid")]),
        ("{command: [x], env: [A]}", [("spec.env", "field.type")]),
        ("{command: [x], replicas: -1}", [("spec.replicas", "field.range")]),
        ("{command: [x], replicas: 1001}", [("spec.replicas", "field.range")]),
        ("{command: [x], replicas: 1.5}", [("spec.replicas", "field.type")]),
        ("{command: [x], replicas: true}", [("spec.replicas", "field.type")]),
        ("{command: [x], restart: always}", [("spec.restart", "field.choice")]),
        ("{command: [x], serviceAccount: A_b}", [("spec.serviceAccount", "name.invalid")]),
        ("{command: [x], ports: [{port: 0}]}", [("spec.ports[0].port", "field.range")]),
        ("{command: [x], ports: [{name: http}]}", [("spec.ports[0].port", "field.required")]),
        ("{command: [x], ports: [{name: http, port: 15006}]}", [("spec.ports[0].port", "port.reserved")]),
        (
            "{command: [x], ports: [{name: http, port: 1, protocol: web}]}",
            [("spec.ports[0].protocol", "field.choice")],
        ),
        (
            "{command: [x], ports: [{name: http, port: 1}, {name: http, port: 2}]}",
            [("spec.ports[1].name", "port.duplicate")],
        ),
        (
            "{command: [x], ports: [{name: http, port: 1}, {name: tcp, port: 1}]}",
            [("spec.ports[1].port", "port.duplicate")],
        ),
        (
            f"{{command: [x], ports: [{{name: http-{'x' * 60}, port: 1}}]}}",
            [("spec.ports[0].name", "name.invalid")],
        ),
        ("{command: [x], readiness: {}}", [("spec.readiness", "readiness.one-way")]),
        ("{command: [x], readiness: {tcp: 1, command: [y]}}", [("spec.readiness", "readiness.one-way")]),
        ("{command: [x], readiness: {tcp: web}}", [("spec.readiness.tcp", "readiness.port")]),
        (
            "{command: [x], readiness: {http: {path: a, port: 1}}}",
            [("spec.readiness.http.path", "readiness.path")],
        ),
        ("{command: [x], readiness: {http: {path: /}}}", [("spec.readiness.http.port", "field.required")]),
        ("{command: [x], readiness: {tcp: 1, interval: 1}}", [("spec.readiness.interval", "field.type")]),
        ("{command: [x], readiness: {tcp: 1, interval: 0s}}", [("spec.readiness.interval", "field.range")]),
        ("{command: [x], readiness: {command: []}}", [("spec.readiness.command", "field.required")]),
        (
            "{command: [x], terminationGracePeriodSeconds: -1}",
            [("spec.terminationGracePeriodSeconds", "field.range")],
        ),
    ],
)
def test_what_can_not_be_run_as_it_is_said_is_not_run(spec: str, expected: list[tuple[str, str]]) -> None:
    read = workload(spec)
    assert [found for found in codes(read) if found[1] != "port.protocol-undeclared"] == expected
    assert read.facts == ()


def test_labels_that_are_none_keep_it_from_running() -> None:
    text = document("plait.dev/v1alpha1", "Workload", "{command: [x]}")
    long = "v" * 64
    read = reading(text.replace("namespace: shop", f"namespace: shop, labels: {{version: {long}}}"))
    assert (read.facts, codes(read)) == ((), [("metadata.labels.version", "label.invalid")])


def test_names_of_workloads_are_labels() -> None:
    read = reading(document("plait.dev/v1alpha1", "Workload", "{command: [x]}", name="a.b"))
    assert (read.facts, codes(read)) == ((), [("metadata.name", "name.invalid")])


def test_ports_that_say_nothing_are_undeclared_and_a_finding() -> None:
    read = workload("{command: [x], ports: [{port: 80}, {name: udp-x, port: 81}]}")
    protocols = [port.protocol for port in fact(read, Workload).process.ports]
    assert protocols == [Protocol.UNDECLARED, Protocol.UDP]
    assert codes(read) == [("spec.ports[0]", "port.protocol-undeclared"), ("spec.ports[1]", "port.udp")]


def test_an_unknown_field_is_told_and_the_rest_is_read() -> None:
    read = workload("{command: [x], image: y}")
    assert codes(read) == [("spec.image", "field.unknown")]
    assert fact(read, Workload).process.command == ("x",)


@pytest.mark.parametrize("user", ["root", '"0"', '"00"'])
def test_no_workload_runs_as_root(user: str) -> None:
    read = workload(f"{{command: [x], user: {user}}}")
    assert (read.facts, codes(read)) == ((), [("spec.user", "workload.user-root")])


def test_undeclared_is_no_word_to_declare() -> None:
    read = workload("{command: [x], ports: [{port: 80, protocol: undeclared}]}")
    assert codes(read) == [("spec.ports[0].protocol", "field.choice")]
