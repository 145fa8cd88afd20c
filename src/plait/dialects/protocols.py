"""Which protocol a port speaks, by what is declared: appProtocol first, then the prefix of its name.

The rule and the words are Istio's (https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/),
and the names with kubernetes.io/ those of Kubernetes.  Only where nobody declares anything traffic is looked at.
"""

from __future__ import annotations

from plait.model.catalog import Protocol

_WORDS = {
    "tcp": Protocol.TCP,
    "udp": Protocol.UDP,
    "http": Protocol.HTTP,
    "http_proxy": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    "grpc-web": Protocol.HTTP,  # passed on as it is: nothing translates it to gRPC
    "https": Protocol.TCP,
    "tls": Protocol.TCP,
    "mongo": Protocol.TCP,
    "mysql": Protocol.TCP,
    "redis": Protocol.TCP,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.TCP,
}
_WELL_KNOWN_TCP = frozenset({25, 53, 3306, 27017})
"""Servers that speak first, or of old: Istio never looks into them, and a name is not asked for."""

UNDECLARED = (
    "does not say what it speaks: that is detected, and whoever waits to be spoken to waits up to 100 ms; "
    "name it http-..., grpc-..., tcp-..."
)


def declared(name: str, app_protocol: str, number: int) -> Protocol | None:
    """The protocol that is declared for a port, None when there is none."""
    if app_protocol in _WORDS:
        return _WORDS[app_protocol]
    word = (app_protocol or name).lower()
    if word.startswith("grpc-web"):
        return _WORDS["grpc-web"]
    found = _WORDS.get(word.partition("-")[0])
    if found is None and number in _WELL_KNOWN_TCP:
        return Protocol.TCP
    return found
