"""The bistro: five small web services, and a diner who keeps asking, to try a mesh with.

    python3 bistro.py frontend|reservations|restaurants|reviews|payments|diner [VERSION]

A service listens on HOST:PORT and calls the others by name (http://restaurants:8080), through `http_proxy`
where the environment has one.  What it is sent of trace context, it sends on.  Any of them can be told to
be slow or to fail:

    environment  SLOW_MS=200  FAIL_PERCENT=10        every request of this process
    query        ?slow=200&fail=10                   this request, at the service that is asked
    headers      x-slow: reviews=200, x-fail: ...    this request, at the service named, however deep

Python 3.9 or newer and its standard library are all that it needs.
"""

from __future__ import annotations

import collections
import contextlib
import html
import http.client
import itertools
import json
import os
import random
import signal
import socketserver
import statistics
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

TRACE_HEADERS = ("x-request-id", "traceparent", "tracestate", "baggage", "b3")
PASSED_ON = (*TRACE_HEADERS, "x-user", "x-slow", "x-fail")
LARGEST_BODY = 64 * 1024
LONGEST_WAIT_MS = 30_000.0


class Request(NamedTuple):
    """What a service was asked, and which service it is."""

    service: str
    version: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict[str, Any]

    def passed_on(self) -> dict[str, str]:
        """The headers that every call made for this request carries along."""
        return {
            name: value
            for name, value in self.headers.items()
            if name in PASSED_ON or name.startswith("x-b3-")
        }


class Failed(Exception):  # noqa: N818 - it is an answer, and reads as one
    """An answer that is no success."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


# What the services do --------------------------------------------------------------------------------

RESTAURANTS: list[dict[str, Any]] = [
    {"id": 1, "name": "Trattoria Sole", "tables": 12},
    {"id": 2, "name": "Chez Margaux", "tables": 8},
    {"id": 3, "name": "Gasthaus Linde", "tables": 20},
]
REVIEWS = {
    1: [{"stars": 5, "text": "The gnocchi are worth the walk."}],
    2: [{"stars": 4, "text": "Small, loud and good."}],
    3: [{"stars": 3, "text": "Bring time, and an appetite."}],
}

_numbers = itertools.count(2)
_booked = collections.deque([{"number": 1, "restaurant": 1, "seats": 2}], maxlen=5)


def restaurants(_: Request) -> dict[str, Any]:
    return {"restaurants": RESTAURANTS}


def reviews(request: Request) -> dict[str, Any]:
    names = _restaurant_names(request)
    return {"reviews": [{"restaurant": names[id_], **review} for id_ in names for review in REVIEWS[id_]]}


def reservations(request: Request) -> dict[str, Any]:
    names = _restaurant_names(request)
    return {"reservations": [_shown(booked, names, request.version) for booked in _booked]}


def reserve(request: Request) -> dict[str, Any]:
    """Books a table and charges a deposit for it."""
    names = _restaurant_names(request)
    restaurant, seats = request.body.get("restaurant"), request.body.get("seats")
    if restaurant not in names or not isinstance(seats, int) or not 1 <= seats <= 12:
        raise Failed(400, "a reservation names a restaurant by its id, and seats from 1 to 12")
    payment = call(request, "payments", "/charge", {"amount": 5 * seats})
    booked = {"number": next(_numbers), "restaurant": restaurant, "seats": seats}
    _booked.append(booked)
    return {"reservation": _shown(booked, names, request.version), "receipt": payment["receipt"]}


def charge(request: Request) -> dict[str, Any]:
    amount = request.body.get("amount")
    if not isinstance(amount, int) or amount <= 0:
        raise Failed(400, "an amount is a whole number above zero")
    return {"charged": amount, "receipt": f"{random.getrandbits(32):08x}"}


def menu(request: Request) -> dict[str, Any]:
    """All that the front page shows, each part as the service behind it answered."""
    beta = "?beta=1" if request.query.get("beta") == "1" else ""
    return {
        "restaurants": call(request, "restaurants", "/restaurants"),
        "reviews": call(request, "reviews", "/reviews"),
        "reservations": call(request, "reservations", "/reservations" + beta),
    }


def page(request: Request) -> str:
    """The menu for a browser."""
    parts = menu(request)
    reviewed = {review["restaurant"]: review for review in parts["reviews"]["reviews"]}
    rows = "".join(
        f"<li>{html.escape(place['name'])}: {reviewed[place['name']]['stars']} of 5, "
        f"<q>{html.escape(reviewed[place['name']]['text'])}</q></li>"
        for place in parts["restaurants"]["restaurants"]
    )
    booked = "".join(
        f"<li>{html.escape(json.dumps(booked))}</li>" for booked in parts["reservations"]["reservations"]
    )
    by = html.escape(parts["reservations"]["version"])
    return (
        "<!doctype html><title>The bistro</title><h1>The bistro</h1>"
        f"<ul>{rows}</ul><h2>Reservations, as {by} tells them</h2><ul>{booked}</ul>"
    )


def front_reservations(request: Request) -> dict[str, Any]:
    return {"reservations": call(request, "reservations", "/reservations")}


def front_reserve(request: Request) -> dict[str, Any]:
    return {"reservation": call(request, "reservations", "/reservations", request.body)}


def _restaurant_names(request: Request) -> dict[int, str]:
    found = call(request, "restaurants", "/restaurants")["restaurants"]
    return {place["id"]: place["name"] for place in found}


def _shown(booked: dict[str, Any], names: dict[int, str], version: str) -> dict[str, Any]:
    shown = {**booked, "restaurant": names[booked["restaurant"]]}
    if version != "v1":
        shown["table"] = booked["number"] % 12 + 1
    return shown


def health(_: Request) -> dict[str, Any]:
    return {"status": "ok"}


def who(_: Request) -> dict[str, Any]:
    """Nothing but the service and its version, which every answer carries."""
    return {}


Answer = Callable[[Request], "dict[str, Any] | str"]

COMMON: dict[tuple[str, str], Answer] = {("GET", "/"): who, ("GET", "/healthz"): health}
SERVICES: dict[str, dict[tuple[str, str], Answer]] = {
    "frontend": {
        ("GET", "/"): page,
        ("GET", "/menu"): menu,
        ("GET", "/reservations"): front_reservations,
        ("POST", "/reservations"): front_reserve,
    },
    "reservations": {("GET", "/reservations"): reservations, ("POST", "/reservations"): reserve},
    "restaurants": {("GET", "/restaurants"): restaurants},
    "reviews": {("GET", "/reviews"): reviews},
    "payments": {("POST", "/charge"): charge},
}


# How they call each other ----------------------------------------------------------------------------


def call(request: Request, service: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask another service (POST where there is a body); Failed with 502 or 504 when it does not succeed."""
    headers = {**request.passed_on(), "content-type": "application/json"}
    return ask(service, path, body, headers)


def ask(
    service: str, path: str, body: dict[str, Any] | None, headers: dict[str, str], timeout: float = 15.0
) -> dict[str, Any]:
    outgoing = urllib.request.Request(
        f"http://{service}:8080{path}", None if body is None else json.dumps(body).encode(), headers
    )
    try:
        with urllib.request.urlopen(outgoing, timeout=timeout) as answer:  # noqa: S310 - http, as written above
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(200).decode(errors="replace").strip()
        raise Failed(502, f"{service} answered {error.code}: {said}") from error
    except TimeoutError as error:
        raise Failed(504, f"{service} did not answer within {timeout:g} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Failed(502, f"{service} can't be asked: {error}") from error


# How they can be told to misbehave -------------------------------------------------------------------


def told(request: Request, knob: str, variable: str) -> float:
    """The number that a knob is set to for this request: the largest that was asked for, 0 if none was."""
    values = [os.environ.get(variable, "0"), request.query.get(knob, "0")]
    for part in request.headers.get(f"x-{knob}", "").split(","):
        name, _, value = part.partition("=")
        if name.strip() == request.service:
            values.append(value)
    return max(_number(value) for value in values)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def misbehave(request: Request) -> None:
    """Wait as long, and fail as often, as was asked for."""
    time.sleep(max(0.0, min(told(request, "slow", "SLOW_MS"), LONGEST_WAIT_MS)) / 1000)
    if random.random() * 100 < told(request, "fail", "FAIL_PERCENT"):  # noqa: S311 - chance, not a secret
        raise Failed(500, "told to fail")


# The server ------------------------------------------------------------------------------------------


class Server(socketserver.ThreadingTCPServer):
    """Serves one service, a thread a connection, and knows how many requests are under way."""

    allow_reuse_address = True
    daemon_threads = True  # an idle connection keeps nobody from leaving
    request_queue_size = 128

    def __init__(self, service: str, version: str, address: tuple[str, int]) -> None:
        self.service = service
        self.version = version
        self.stopping = False
        self.under_way = 0
        self.changed = threading.Condition()
        super().__init__(address, Connection)

    def finish(self, seconds: float) -> None:
        """Accept nothing more, and give the requests under way so long to end."""
        self.stopping = True
        self.shutdown()
        self.server_close()
        with self.changed:
            self.changed.wait_for(lambda: self.under_way == 0, seconds)


class Connection(BaseHTTPRequestHandler):
    """One connection, kept alive from request to request."""

    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one piece

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # whoever asked may leave at any moment
            super().handle()

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's own name
        """Successes are not news."""

    def _serve(self) -> None:
        with self.server.changed:
            self.server.under_way += 1
        try:
            try:
                self._send(*self._answer())
            except Failed as failed:
                print(f"{self.command} {self.path}: {failed.status} {failed}", flush=True)
                self._send(failed.status, {"error": str(failed)})
            self.wfile.flush()  # before the request counts as over
        finally:
            with self.server.changed:
                self.server.under_way -= 1
                self.server.changed.notify_all()

    def _answer(self) -> tuple[int, dict[str, Any] | str]:
        url = urllib.parse.urlsplit(self.path)
        request = Request(
            service=self.server.service,
            version=self.server.version,
            method=self.command,
            path=url.path,
            query=dict(urllib.parse.parse_qsl(url.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
        )
        answer = {**COMMON, **SERVICES[request.service]}.get((request.method, request.path))
        if answer is None:
            raise Failed(404, f"{request.service} knows no {request.method} {request.path}")
        if answer is not health:
            misbehave(request)
        return (201 if request.method == "POST" else 200), answer(request)

    def _body(self) -> dict[str, Any]:
        if "transfer-encoding" in self.headers:
            self.close_connection = True
            raise Failed(411, "say the length of the body")
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            raise Failed(413, f"a body has at most {LARGEST_BODY} bytes")
        text = self.rfile.read(int(length))
        try:
            body = json.loads(text or "{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Failed(400, "the body is no JSON object")
        return body

    def _send(self, status: int, content: dict[str, Any] | str) -> None:
        if isinstance(content, str):
            kind, body = "text/html; charset=utf-8", content
        else:
            who_answers = {"service": self.server.service, "version": self.server.version}
            kind, body = "application/json", json.dumps({**content, **who_answers}) + "\n"
        data = body.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        if self.server.stopping or self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)


def serve(service: str, version: str, stop: threading.Event) -> None:
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080"))
    server = Server(service, version, address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    host, port = server.socket.getsockname()
    print(f"{service} {version} listens on http://{host}:{port}", flush=True)
    stop.wait()
    server.finish(seconds=10)
    thread.join()


# The diner -------------------------------------------------------------------------------------------


class Tally:
    """What came of the requests so far, and of those since the last look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = self._failed = 0
        self._times: list[float] = []
        self._versions: collections.Counter[str] = collections.Counter()
        self._reasons: collections.Counter[str] = collections.Counter()

    def add(self, seconds: float, version: str, reason: str) -> None:
        """One request: how long it took, which reservations answered it, and why it failed ("": it did not)."""
        with self._lock:
            self._requests += 1
            self._failed += bool(reason)
            self._times.append(seconds)
            self._versions.update([version] if version else [])
            self._reasons.update([reason] if reason else [])

    def look(self) -> str:
        """One line; the next look begins anew."""
        with self._lock:
            times, versions, reasons = self._times, self._versions, self._reasons
            self._times, self._versions, self._reasons = [], collections.Counter(), collections.Counter()
            total = f"{self._requests} requests in all, {self._failed} failed"
        middle, longest = statistics.median(times or [0.0]) * 1000, max(times or [0.0]) * 1000
        shares = ", ".join(f"{version} {count}" for version, count in sorted(versions.items())) or "none"
        why = "".join(f"; {count} x {reason}" for reason, count in reasons.most_common(3))
        return (
            f"{total}; lately {len(times)} requests, {sum(reasons.values())} failed, "
            f"median {middle:.0f} ms, slowest {longest:.0f} ms, reservations by {shares}{why}"
        )


def dine(stop: threading.Event) -> None:
    """A steady load on the frontend: RATE requests a second (20), at most 4 at a time, told of every 5 s."""
    rate = min(max(_number(os.environ.get("RATE", "20")), 0.1), 200.0)
    if not _wait_for_the_bistro(stop):
        return
    tally, workers = Tally(), 4
    threads = [
        threading.Thread(target=_visit, args=(tally, workers / rate, seed, stop)) for seed in range(workers)
    ]
    for thread in threads:
        thread.start()
        stop.wait(1 / rate)
    while not stop.wait(5):
        print(f"diner: {tally.look()}", flush=True)
    for thread in threads:
        thread.join()
    print(f"diner: {tally.look()}", flush=True)


def _wait_for_the_bistro(stop: threading.Event) -> bool:
    """Whether every service, both versions of reservations among them, has answered before the stop."""
    waiting = ["/menu", "/menu?beta=1"]
    began = time.monotonic()
    while waiting and not stop.wait(0.05):
        try:
            ask("frontend", waiting[0], None, {}, timeout=2)
        except Failed as failed:
            last = str(failed)
            if time.monotonic() - began > 10:
                print(f"diner: still waiting: {last}", flush=True)
                began = time.monotonic()
            continue
        if waiting[0] == "/menu":
            now = time.time()
            clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
            print(f"diner: first answer at {clock}.{int(now % 1 * 1000):03d}Z", flush=True)
        waiting.pop(0)
    return not waiting


def _visit(tally: Tally, interval: float, seed: int, stop: threading.Event) -> None:
    """One request an interval (seconds): mostly the menu, some reservations, now and then a new one."""
    chance = random.Random(seed)  # noqa: S311 - the same diner each time
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due, time.monotonic() - interval) + interval  # a slow answer is not made up for by a rush
        what = chance.choices(["menu", "list", "reserve"], [6, 3, 1])[0]
        began, version, reason = time.monotonic(), "", ""
        try:
            if what == "menu":
                version = ask("frontend", "/menu", None, {})["reservations"]["version"]
            elif what == "list":
                ask("frontend", "/reservations", None, {})
            else:
                wish = {"restaurant": chance.randint(1, 3), "seats": chance.randint(1, 6)}
                ask("frontend", "/reservations", wish, {"content-type": "application/json"})
        except Failed as failed:
            reason = str(failed)[:200]
        tally.add(time.monotonic() - began, version, reason)


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in (*SERVICES, "diner") or len(arguments) > 2:
        print(__doc__, file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if arguments[0] == "diner":
        dine(stop)
    else:
        serve(arguments[0], arguments[1] if len(arguments) > 1 else "v1", stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
