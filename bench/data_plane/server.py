"""What all contenders call, the same for all and never counted: as fast as C can be, so that proxies are the limit.

HTTP/1.1, and raw TCP, is answered by HAProxy, from memory; gRPC by nghttpd, with a message and grpc-status in a
trailer.  Both listen at the HOST and PORT of their environment, as an application of Plait's does.
"""

from __future__ import annotations

from pathlib import Path

SERVED = Path(__file__).with_name("served")
GRPC_PATH = "bench.Echo/Say.grpc"
"""The method, and the file with the one message of requests and answers; its ending gives it the type."""

HTTP_SERVER = ("haproxy", "-db", "-f", "haproxy.cfg")
_GRPC_OPTIONS = "--no-tls -d . --mime-types-file=mime.types --no-content-length --trailer 'grpc-status: 0'"
GRPC_SERVER = ("sh", "-c", f'exec nghttpd --address="$HOST" {_GRPC_OPTIONS} "$PORT"')


def place(host: str, port: int) -> dict[str, str]:
    """The environment that tells a server where to listen."""
    return {"HOST": host, "PORT": str(port)}
