"""What is outside of the mesh: a resolver that knows one address, a web server and an echo of datagrams."""

import http.server
import socket
import socketserver
import sys
import threading

address = sys.argv[1]


def resolver() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as served:
        served.bind((address, 53))
        while True:
            question, sender = served.recvfrom(512)
            asked = question[12 : question.index(0, 12) + 5]
            is_a = asked[-4:-2] == b"\0\1"
            answer = question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0" + asked
            if is_a:
                answer += b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(address)
            served.sendto(answer, sender)


def echo() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as served:
        served.bind((address, 7))
        while True:
            data, sender = served.recvfrom(512)
            served.sendto(data, sender)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the world\n")

    def log_message(self, *_: object) -> None:
        pass


class Web(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6


def echo_6() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as served:
        served.bind((sys.argv[2], 7))
        while True:
            data, sender = served.recvfrom(512)
            served.sendto(data, sender)


for service in (resolver, echo, echo_6):
    threading.Thread(target=service, daemon=True).start()
server = Web(("::", 8000), Handler)  # and IPv4
print("open", flush=True)
server.serve_forever()
