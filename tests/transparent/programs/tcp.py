"""A server of bytes: `echo` sends back what it gets to its end, `greeter` speaks first, then echoes."""

import os
import socketserver
import sys


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        if sys.argv[1] == "greeter":
            self.request.sendall(b"220 welcome\n")
        while data := self.request.recv(65536):
            self.request.sendall(data)


socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
