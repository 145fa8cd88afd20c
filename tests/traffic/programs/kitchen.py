"""A kitchen that writes down every order (POST) before it works on it, in a file that all kitchens share.

It is healthy unless there is a file with the name of its HOST in the folder ILL.  Told to end, it takes nobody new and
ends when nobody is left whose order it works on.
"""

import http.server
import os
import signal
import socketserver
import threading
import time
from pathlib import Path

HOST, PORT = os.environ["HOST"], int(os.environ["PORT"])
LEDGER = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)
ILL = Path(os.environ["ILL"], HOST)
WORK = 0.02
busy = threading.Semaphore(1000)
"""Taken by each order under way."""


class Kitchen(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(503 if ILL.exists() else 200)
            return
        time.sleep(WORK)
        self.answer(200)

    def do_POST(self) -> None:
        order = self.rfile.read(int(self.headers["content-length"]))
        with busy:
            os.write(LEDGER, order + f" {HOST}\n".encode())
            time.sleep(WORK)
            self.answer(200)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer.request_queue_size = 128
server = socketserver.ThreadingTCPServer((HOST, PORT), Kitchen)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(poll_interval=0.05)
for _ in range(1000):
    busy.acquire()
