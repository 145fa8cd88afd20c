"""A gRPC server whose one method sends back what it gets, twice as a stream."""

import os
from collections.abc import Iterator
from concurrent import futures

import grpc


def twice(request: bytes, _: object) -> Iterator[bytes]:
    yield request
    yield request


handler = grpc.method_handlers_generic_handler(
    "town.Echo", {"Twice": grpc.unary_stream_rpc_method_handler(twice)}
)
server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((handler,))
server.add_insecure_port(f"0.0.0.0:{os.environ['PORT']}")
server.start()
server.wait_for_termination()
