"""The bistro's programs without a mesh: one plain forward proxy stands for all the Envoys."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "bistro" / "bistro.py"


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the proxy saw it; names of headers in lower case."""

    service: str
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: str

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Bistro:
    """Processes of the bistro that find each other through a forward proxy."""

    ports: dict[str, int] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    proxy: str = ""

    def start(self, service: str, version: str = "v1", **environment: str) -> subprocess.Popen[str]:
        """Start one, and wait until it listens."""
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), service, version],
            env={**os.environ, "HOST": "127.0.0.1", "PORT": "0", "http_proxy": self.proxy, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        if service != "diner":
            assert process.stdout
            line = process.stdout.readline()
            listens = re.fullmatch(rf"{service} {version} listens on http://127\.0\.0\.1:(\d+)\n", line)
            assert listens, line
            self.ports[service] = int(listens[1])
        return process

    def start_all(self) -> None:
        for service in ("frontend", "reservations", "restaurants", "reviews", "payments"):
            self.start(service)

    def ask(
        self,
        service: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        method: str = "",
    ) -> Reply:
        """Ask a service itself, without the proxy."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[service], timeout=20)
        try:
            return request(connection, path, headers, body, method)
        finally:
            connection.close()

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with process:
                process.wait(20)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition; fails when it does not come true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def request(
    connection: http.client.HTTPConnection,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    method: str = "",
) -> Reply:
    data = None if body is None else json.dumps(body)
    connection.request(method or ("GET" if data is None else "POST"), path, data, dict(headers or {}))
    answer = connection.getresponse()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return Reply(answer.status, found, answer.read().decode())


def _proxy(bistro: Bistro) -> type[BaseHTTPRequestHandler]:
    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            service = url.hostname or ""
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = url.path + (f"?{url.query}" if url.query else "")
            bistro.calls.append(Call(service, self.command, path, headers))
            body = self.rfile.read(int(headers.get("content-length", "0"))) or None
            connection = http.client.HTTPConnection("127.0.0.1", bistro.ports.get(service, 1), timeout=20)
            try:
                connection.request(self.command, path, body, headers)
                answer = connection.getresponse()
                status, data = answer.status, answer.read()
            except OSError:
                status, data = 503, b"no such service"
            finally:
                connection.close()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: Any) -> None:
            pass

    return Proxy


@pytest.fixture
def bistro() -> Iterator[Bistro]:
    """An empty bistro; what a test starts in it is stopped after it."""
    made = Bistro()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _proxy(made))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made.proxy = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        made.stop()
        server.shutdown()
        thread.join()
        server.server_close()
