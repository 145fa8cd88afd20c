"""Proxies that are none: `python -m bench.control_plane.simulated FILE` is a thousand of them in one process.

Each is a delta ADS client as Envoy is one, over HTTP/2 and mutual TLS on a Unix socket, that keeps no configuration:
it acknowledges whatever it is sent and notes when.  What makes it cheap is that proxies of one mesh are sent the
same bytes: a response is read once, and found again by comparing it to what another has received (`library`).
"""
