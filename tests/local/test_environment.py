"""What an application inherits, and what it is given."""

from __future__ import annotations

import pwd
from dataclasses import replace

from plait.local.addresses import Places
from plait.local.environment import bare, marks, of_application
from plait.model.catalog import Binding, Process, Protocol, SidecarAddresses
from plait.model.names import ReplicaKey, WorkloadKey

PLACES = Places(
    sidecar=SidecarAddresses(address="127.77.1.2"),
    bindings=(
        Binding(
            name="http",
            number=8080,
            protocol=Protocol.HTTP,
            address="127.77.1.2",
            port=8080,
            app_address="127.78.1.2",
            app_port=8080,
        ),
    ),
    host="127.78.1.2",
)
AROUND = {
    "PATH": "/opt/bin:/bin",
    "HOME": "/home/me",
    "LANG": "C.UTF-8",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "http_proxy": "http://corporate:3128",
    "HOST": "my-machine",
    "PLAIT_STATE_DIR": "/somewhere",
}
MARKS = marks("/state", "0123abcd")
KEY = ReplicaKey(WorkloadKey("bistro", "reviews-v2"), 0)


def environment(process: Process) -> dict[str, str]:
    return dict(of_application(KEY, (("app", "reviews"), ("version", "v2")), process, PLACES, AROUND, MARKS))


def test_an_application_is_told_its_place_and_inherits_little() -> None:
    assert environment(Process(command=("true",))) == {
        "PATH": "/opt/bin:/bin",
        "HOME": "/home/me",
        "LANG": "C.UTF-8",
        "HOST": "127.78.1.2",
        "PORT": "8080",
        "http_proxy": "http://127.77.1.2:15001",
        "HTTP_PROXY": "http://127.77.1.2:15001",
        "no_proxy": "localhost,127.0.0.1,127.78.1.2,127.77.1.2",
        "NO_PROXY": "localhost,127.0.0.1,127.78.1.2,127.77.1.2",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.77.1.2:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "reviews",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=reviews,service.namespace=bistro,service.version=v2,"
        "service.instance.id=bistro/reviews-v2/0",
        "PLAIT_MESH": "/state",
        "PLAIT_REPLICA": "0123abcd",
        "PLAIT_SIDECAR": "127.77.1.2",
    }


def test_a_workload_may_change_what_is_inherited_but_not_its_place_in_the_mesh() -> None:
    env = (("LANG", "de_DE"), ("DEBUG", "1"), ("HTTP_PROXY", "http://elsewhere"), ("PLAIT_MESH", "/other"))
    found = environment(Process(command=("true",), env=env))
    assert (found["LANG"], found["DEBUG"]) == ("de_DE", "1")
    assert (found["HTTP_PROXY"], found["PLAIT_MESH"]) == ("http://127.77.1.2:15001", "/state")


def test_a_workload_may_tell_its_spans_elsewhere_or_by_another_name() -> None:
    found = environment(Process(command=("true",), env=(("OTEL_SERVICE_NAME", "critics"),)))
    assert (found["OTEL_SERVICE_NAME"], found["OTEL_EXPORTER_OTLP_PROTOCOL"]) == ("critics", "http/protobuf")
    elsewhere = (("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),)
    found = environment(Process(command=("true",), env=elsewhere))
    assert {name: value for name, value in found.items() if name.startswith("OTEL_")} == dict(elsewhere)


def test_who_collects_spans_is_not_told_to_send_any() -> None:
    places = replace(PLACES, sidecar=replace(PLACES.sidecar, otlp_grpc=0, otlp_http=0))
    found = dict(of_application(KEY, (), Process(command=("true",)), places, AROUND, MARKS))
    assert not [name for name in found if name.startswith("OTEL_")]


def test_another_user_gets_a_home_of_their_own() -> None:
    account = pwd.getpwuid(0)
    found = environment(Process(command=("true",), user=account.pw_name))
    assert (found["HOME"], found["USER"], found["LOGNAME"]) == (
        account.pw_dir,
        account.pw_name,
        account.pw_name,
    )
    assert environment(Process(command=("true",), user="no-such-user"))["HOME"] == "/home/me"


def test_a_workload_without_ports_has_no_port() -> None:
    places = Places(sidecar=PLACES.sidecar, bindings=(), host=PLACES.host)
    assert "PORT" not in dict(of_application(KEY, (), Process(command=("true",)), places, AROUND, MARKS))


def test_envoy_gets_a_path_and_the_marks() -> None:
    assert dict(bare(AROUND, MARKS)) == {
        "PATH": "/opt/bin:/bin",
        "PLAIT_MESH": "/state",
        "PLAIT_REPLICA": "0123abcd",
    }
