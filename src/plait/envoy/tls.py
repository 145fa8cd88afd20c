"""Mutual TLS as Envoy's fields say it, in plain values: a client's context serves the bootstrap file too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plait.envoy import names

DOWNSTREAM = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
UPSTREAM = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
SOCKET = "envoy.transport_sockets.tls"

_PARAMETERS = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}


def server(trust_domains: Iterable[str], alpn: tuple[str, ...]) -> dict[str, Any]:
    """A DownstreamTlsContext that asks every client for the certificate of a workload of one of these trust domains.

    No session is ever resumed: Envoy does not look at the certificate of a resumed session again.
    """
    return {
        "common_tls_context": _common(_any_workload(trust_domains), alpn),
        "require_client_certificate": {"value": True},
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
    }


def client(uris: Iterable[str], sni: str, alpn: tuple[str, ...]) -> dict[str, Any]:
    """An UpstreamTlsContext that shows our certificate and wants one of these SPIFFE IDs on the other side."""
    return {
        "common_tls_context": _common([{"exact": uri} for uri in uris], alpn),
        "sni": sni,
    }


def client_of_any(trust_domains: Iterable[str]) -> dict[str, Any]:
    """An UpstreamTlsContext that shows our certificate and wants that of any workload on the other side."""
    return {"common_tls_context": _common(_any_workload(trust_domains), ())}


def _any_workload(trust_domains: Iterable[str]) -> list[dict[str, str]]:
    return [{"prefix": names.workload_uri_prefix(one)} for one in trust_domains]


def _common(peers: list[dict[str, str]], alpn: tuple[str, ...]) -> dict[str, Any]:
    return {
        "tls_params": dict(_PARAMETERS),
        "alpn_protocols": list(alpn),
        "tls_certificate_sds_secret_configs": [_secret(names.IDENTITY_SECRET)],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": peer} for peer in peers]
            },
            "validation_context_sds_secret_config": _secret(names.ROOTS_SECRET),
        },
    }


def _secret(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "sds_config": {
            "resource_api_version": "V3",
            "path_config_source": {
                "path": names.secret_file(name),
                "watched_directory": {"path": names.SECRETS_FOLDER},
            },
        },
    }
