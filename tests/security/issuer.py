"""Whoever signs the tokens of the cases, and somebody else who signs tokens just as well."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


class Issuer:
    """Signs tokens (ES256), and says by which key."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def jwks(self) -> str:
        """The public key, as a JSON Web Key Set."""
        numbers = self._key.public_key().public_numbers()
        point = {"x": _base64(numbers.x.to_bytes(32)), "y": _base64(numbers.y.to_bytes(32))}
        return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", **point}]})

    def token(self, claims: Mapping[str, Any]) -> str:
        signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "ES256"}, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64(r.to_bytes(32) + s.to_bytes(32))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


ISSUER, STRANGER = Issuer(), Issuer()
