"""Namespaces of a test's own, and programs that run in them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest

from plait.local.network import namespace

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft") is None, reason="network namespaces need root, Linux and nft"
)

_CONNECT = """
import os, socket, sys
uid, kind, address, port, say = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
if uid:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
    s.settimeout(2)
    try:
        s.connect((address, port))
        s.sendall(say.encode())
        print(s.recv(200).decode())
    except OSError as error:
        print(type(error).__name__)
"""


def asked(where: int, address: str, port: int, *, uid: int = 0, kind: str = "tcp", say: str = "?") -> str:  # noqa: PLR0913
    """What is answered to somebody in a namespace, or the name of the error."""
    command = (sys.executable, "-I", "-S", "-c", _CONNECT, str(uid), kind, address, str(port), say)
    done = namespace.inside(
        where, lambda: subprocess.run(command, capture_output=True, text=True, check=True)
    )
    return done.stdout.strip()


def shown(where: int, command: str) -> str:
    """What a shell command prints in a namespace."""
    run = lambda: subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)  # noqa: E731
    return namespace.inside(where, run).stdout


class Servers:
    """Servers in namespaces that answer with their own place and where the client thought to go."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def tcp(self, where: int, address: str, port: int) -> None:
        def listen() -> socket.socket:
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            made.listen()
            return made

        self._serve(namespace.inside(where, listen), self._answer_tcp, f"{address}:{port}")

    def udp(self, where: int, address: str, port: int) -> None:
        def bind() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((address, port))
            return made

        self._serve(namespace.inside(where, bind), self._answer_udp, f"{address}:{port}")

    def close(self) -> None:
        for one in self._sockets:
            one.shutdown(socket.SHUT_RDWR) if one.type == socket.SOCK_STREAM else None
            one.close()

    def _serve(self, made: socket.socket, answer: object, name: str) -> None:
        self._sockets.append(made)
        threading.Thread(target=answer, args=(made, name), daemon=True).start()  # type: ignore[arg-type]

    def _answer_tcp(self, made: socket.socket, name: str) -> None:
        while True:
            try:
                accepted, _ = made.accept()
            except OSError:
                return
            with accepted:
                try:
                    packed = accepted.getsockopt(socket.SOL_IP, 80, 16)  # SO_ORIGINAL_DST
                    meant = f"{socket.inet_ntoa(packed[4:8])}:{int.from_bytes(packed[2:4], 'big')}"
                except OSError:
                    meant = "itself"
                accepted.sendall(f"{name} for {meant}".encode())

    def _answer_udp(self, made: socket.socket, name: str) -> None:
        while True:
            try:
                _, sender = made.recvfrom(100)
                made.sendto(name.encode(), sender)
            except OSError:
                return
