"""How xDS is carried: gRPC over HTTP/2 over mutual TLS, on Unix sockets and TCP, one asyncio protocol a connection.

`listener` has the sockets, `tls` secures a connection, `http2` finds gRPC's streams in it, and `grpc` reads and
writes what gRPC puts into those.  Nothing here knows what is said.
"""
