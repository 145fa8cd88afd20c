"""How xDS is carried: gRPC over HTTP/2 over mutual TLS, on Unix sockets and TCP, one asyncio protocol a connection.

`listener` has the sockets and says what is served at which path, `tls` secures a connection, `http2` finds the
streams in it, and `grpc` and `plain` read and write the messages that stand in those.  Nothing here knows what is said.
"""
