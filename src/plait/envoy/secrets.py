"""The files by which an Envoy gets its key, its certificate and the roots it trusts (SDS by file).

Key and chain stand in one file, so that one rename replaces both at once.
"""

from __future__ import annotations

import json
from typing import Any

from plait.envoy import names

_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105  # a type's name


def identity_secret(chain_pem: str, key_pem: str) -> str:
    """The text of `secrets/identity.json`: a certificate chain and its private key, both PEM."""
    return _file(
        names.IDENTITY_SECRET,
        {
            "tls_certificate": {
                "certificate_chain": {"inline_string": chain_pem},
                "private_key": {"inline_string": key_pem},
            }
        },
    )


def roots_secret(roots_pem: str) -> str:
    """The text of `secrets/roots.json`: the certificates (PEM) that a peer's chain must end in."""
    return _file(names.ROOTS_SECRET, {"validation_context": {"trusted_ca": {"inline_string": roots_pem}}})


def _file(name: str, content: dict[str, Any]) -> str:
    return json.dumps({"resources": [{"@type": _SECRET, "name": name, **content}]})
