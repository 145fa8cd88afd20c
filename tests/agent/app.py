"""A small application for tests.  It writes down what it sees, and misbehaves as it is told (by its arguments).

app.py [stuck] [daemon] [wildcard] [slow-start]
"""

import http.server
import os
import signal
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(os.environ["APP_DIRECTORY"])
WORDS = sys.argv[1:]


def note(text: str) -> None:
    with (HERE / "events").open("a") as file:
        file.write(text + "\n")


def accepts(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except OSError:
        return False
    return True


def wait_for(name: str) -> None:
    deadline = time.monotonic() + 60
    while not (HERE / name).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/exit":
            os._exit(3)
        if self.path == "/slow":
            note("slow begun")
            wait_for("release")
            note("slow done")
        status = 503 if (HERE / "unhealthy").exists() else 200
        body = str(os.getpid()).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


def told_to_stop(*_: object) -> None:
    if "stuck" in WORDS:
        note("told to stop, and staying")
    else:
        note("told to stop")
        sys.exit(0)


def main() -> None:
    out = os.environ.get("HTTP_PROXY")
    note(f"started {os.getpid()} envoy={'up' if out and accepts(out) else 'down'}")
    signal.signal(signal.SIGTERM, told_to_stop)
    if "daemon" in WORDS and os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        note(f"daemon {os.getpid()}")
        while True:
            signal.pause()
    if "slow-start" in WORDS:
        wait_for("go")
    host = "0.0.0.0" if "wildcard" in WORDS else os.environ["HOST"]
    port = int(os.environ.get("LISTEN_PORT", os.environ["PORT"]))
    Server((host, port), Answers).serve_forever(poll_interval=0.05)


main()
