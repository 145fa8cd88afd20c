"""The bistro's services: what they serve, what they pass on, how they misbehave when told to, how they stop."""

from __future__ import annotations

import ast
import http.client
import re
import signal
import socket
import threading
import time

import pytest

from tests.examples.conftest import PROGRAM, Bistro, Reply, request, until

TRACE = {
    "x-request-id": "5c9b2d1e-0000-4000-8000-000000000001",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "vendor=value",
    "baggage": "guest=ada",
    "b3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1",
    "x-b3-traceid": "80f198ee56343ba864fe8b2a57d3eff7",
    "x-b3-spanid": "e457b5a2e4d86bd1",
    "x-b3-sampled": "1",
}


def test_the_program_can_be_read_by_python_3_9() -> None:
    ast.parse(PROGRAM.read_text(), feature_version=(3, 9))


def test_the_menu_is_made_of_what_the_other_services_say(bistro: Bistro) -> None:
    bistro.start_all()
    menu = bistro.ask("frontend", "/menu").json()
    assert (menu["service"], menu["version"]) == ("frontend", "v1")
    assert {name: menu[name]["service"] for name in ("restaurants", "reviews", "reservations")} == {
        "restaurants": "restaurants",
        "reviews": "reviews",
        "reservations": "reservations",
    }
    names = {place["name"] for place in menu["restaurants"]["restaurants"]}
    assert {review["restaurant"] for review in menu["reviews"]["reviews"]} == names
    assert "Trattoria Sole" in bistro.ask("frontend", "/").body


def test_a_reservation_is_paid_for_and_then_listed(bistro: Bistro) -> None:
    bistro.start_all()
    made = bistro.ask("frontend", "/reservations", body={"restaurant": 2, "seats": 3})
    assert made.status == 201
    reservation = made.json()["reservation"]
    assert reservation["reservation"]["restaurant"] == "Chez Margaux"
    assert [(call.method, call.path) for call in bistro.calls if call.service == "payments"] == [
        ("POST", "/charge")
    ]
    listed = bistro.ask("frontend", "/reservations").json()["reservations"]["reservations"]
    assert reservation["reservation"] in listed


def test_the_second_version_of_reservations_can_be_told_from_the_first(bistro: Bistro) -> None:
    bistro.start("restaurants")
    bistro.start("reservations", "v1")
    assert all(
        "table" not in booked for booked in bistro.ask("reservations", "/reservations").json()["reservations"]
    )
    bistro.start("reservations", "v2")
    answer = bistro.ask("reservations", "/reservations").json()
    assert answer["version"] == "v2"
    assert all("table" in booked for booked in answer["reservations"])


def test_trace_headers_and_the_user_are_passed_on_at_every_hop_and_nothing_else_is(bistro: Bistro) -> None:
    bistro.start_all()
    secret = {"authorization": "Bearer not-yours", "cookie": "a=b"}
    reply = bistro.ask("frontend", "/menu", headers={**TRACE, "X-User": "tester", **secret})
    assert reply.status == 200
    assert sorted(call.service for call in bistro.calls) == [
        "reservations",
        "restaurants",
        "restaurants",
        "restaurants",
        "reviews",
    ]
    for call in bistro.calls:
        assert {name: call.headers.get(name) for name in TRACE} == TRACE
        assert call.headers["x-user"] == "tester"
        assert not {"authorization", "cookie"} & call.headers.keys()


def test_the_wish_for_the_beta_is_passed_on_to_reservations(bistro: Bistro) -> None:
    bistro.start_all()
    bistro.ask("frontend", "/menu?beta=1")
    assert [call.path for call in bistro.calls if call.service == "reservations"] == ["/reservations?beta=1"]


def test_a_service_is_slow_when_the_request_says_so(bistro: Bistro) -> None:
    bistro.start("restaurants")
    began = time.monotonic()
    assert bistro.ask("restaurants", "/restaurants?slow=300").status == 200
    assert time.monotonic() - began >= 0.3


def test_a_service_deep_in_the_call_is_slow_when_a_header_names_it(bistro: Bistro) -> None:
    bistro.start_all()
    began = time.monotonic()
    assert bistro.ask("frontend", "/menu", headers={"x-slow": "reviews=300, payments=9000"}).status == 200
    assert 0.3 <= time.monotonic() - began < 9


def test_a_service_fails_when_the_request_says_so_and_its_caller_says_who(bistro: Bistro) -> None:
    bistro.start_all()
    failed = bistro.ask("restaurants", "/restaurants?fail=100")
    assert (failed.status, failed.json()["error"]) == (500, "told to fail")
    above = bistro.ask("frontend", "/menu", headers={"x-fail": "reviews=100"})
    assert above.status == 502
    assert above.json()["error"].startswith("reviews answered 500")
    assert bistro.ask("frontend", "/menu").status == 200


def test_a_process_is_slow_and_fails_when_its_environment_says_so_but_stays_healthy(bistro: Bistro) -> None:
    bistro.start("restaurants", SLOW_MS="200", FAIL_PERCENT="100")
    began = time.monotonic()
    assert bistro.ask("restaurants", "/restaurants").status == 500
    assert time.monotonic() - began >= 0.2
    assert bistro.ask("restaurants", "/healthz").status == 200


def test_a_service_that_is_not_there_is_an_answer_that_says_so(bistro: Bistro) -> None:
    bistro.start("reviews")
    reply = bistro.ask("reviews", "/reviews")
    assert (reply.status, reply.json()["error"]) == (502, "restaurants answered 503: no such service")


def test_requests_share_a_connection(bistro: Bistro) -> None:
    bistro.start("payments")
    connection = http.client.HTTPConnection("127.0.0.1", bistro.ports["payments"], timeout=20)
    try:
        connection.connect()
        assert connection.sock
        ours = connection.sock.getsockname()
        for amount in range(1, 20):
            assert request(connection, "/charge", body={"amount": amount}).json()["charged"] == amount
            assert connection.sock
            assert connection.sock.getsockname() == ours
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("service", "path", "body", "status"),
    [
        ("payments", "/charge", {"amount": -1}, 400),
        ("payments", "/charge", ["no object"], 400),
        ("payments", "/charge", {"amount": 1, "note": "x" * 70_000}, 413),
        ("payments", "/nowhere", {}, 404),
        ("payments", "/charge", None, 404),
    ],
)
def test_what_can_not_be_done_is_refused(
    bistro: Bistro, service: str, path: str, body: object, status: int
) -> None:
    bistro.start(service)
    assert bistro.ask(service, path, body=body).status == status


def test_a_service_listens_on_the_host_and_port_that_it_is_given(bistro: Bistro) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bistro.start("payments", PORT=str(port))
    assert bistro.ports["payments"] == port
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", port))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_told_to_stop_finishes_what_is_under_way_and_ends_with_zero(
    bistro: Bistro, number: signal.Signals
) -> None:
    bistro.start("restaurants")
    process = bistro.start("reviews")
    idle = http.client.HTTPConnection("127.0.0.1", bistro.ports["reviews"], timeout=20)
    assert request(idle, "/").status == 200  # a connection kept alive must not keep the process
    replies: list[Reply] = []
    slow = {"x-slow": "restaurants=700"}
    thread = threading.Thread(target=lambda: replies.append(bistro.ask("reviews", "/reviews", slow)))
    thread.start()
    until(lambda: bool(bistro.calls))
    process.send_signal(number)
    assert process.wait(20) == 0
    thread.join()
    idle.close()
    assert [(reply.status, reply.headers["connection"]) for reply in replies] == [(200, "close")]


def test_the_diner_keeps_a_steady_load_and_sums_it_up_when_it_is_told_to_stop(bistro: Bistro) -> None:
    bistro.start_all()
    process = bistro.start("diner", RATE="50")
    assert process.stdout
    assert re.fullmatch(
        r"diner: first answer at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\n", process.stdout.readline()
    )
    until(lambda: len(bistro.calls) >= 200)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    summary = process.stdout.read().splitlines()[-1]
    told = re.match(r"diner: (\d+) requests in all, 0 failed; lately ", summary)
    assert told, summary
    sent = [call for call in bistro.calls if call.service == "frontend"]
    assert {call.method for call in sent} == {"GET", "POST"}
    assert int(told[1]) == len(sent) - 2  # it does not count those that it waited with


def test_the_diner_says_what_fails_and_why(bistro: Bistro) -> None:
    bistro.start_all()
    process = bistro.start("diner", RATE="50")
    assert process.stdout
    process.stdout.readline()
    until(lambda: sum(call.service == "frontend" for call in bistro.calls) > 2)  # it has begun to count
    del bistro.ports["frontend"]
    seen = len(bistro.calls)
    until(lambda: len(bistro.calls) >= seen + 10)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    summary = process.stdout.read().splitlines()[-1]
    assert re.search(r"; \d+ x frontend answered 503: no such service", summary), summary


def test_a_diner_without_a_bistro_stops_when_it_is_told_to(bistro: Bistro) -> None:
    process = bistro.start("diner")
    until(lambda: bool(bistro.calls))
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
