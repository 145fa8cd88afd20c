"""A client in one word: how it speaks, and to whom."""

import sys


def raw(host: str, port: str, text: str) -> None:
    import socket

    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(65536):
            received += data
    print(received.decode(), end="")


def first(host: str, port: str) -> None:
    """What the server says before it is asked."""
    import socket

    with socket.create_connection((host, int(port)), timeout=10) as connection:
        print(connection.recv(100).decode(), end="")


def httpx(url: str) -> None:
    import httpx

    with httpx.Client(trust_env=True) as client:
        answer = client.get(url)
        print(answer.status_code, answer.text, end="")


def grpc(host: str, port: str, text: str) -> None:
    import grpc

    with grpc.insecure_channel(f"{host}:{port}") as channel:
        for answer in channel.unary_stream("/town.Echo/Twice")(text.encode(), timeout=10):
            print(answer.decode())


globals()[sys.argv[1]](*sys.argv[2:])
