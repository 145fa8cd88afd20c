"""Tokens (JWT) that are really signed, and those that only look so; key sets to check them by."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: Mapping[str, tuple[str, ec.EllipticCurve, int]] = {
    "ES256": ("P-256", ec.SECP256R1(), 32),
    "ES384": ("P-384", ec.SECP384R1(), 48),
    "ES512": ("P-521", ec.SECP521R1(), 66),
}
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip


def b64(data: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, length: int = 0) -> str:
    return b64(value.to_bytes(length or (value.bit_length() + 7) // 8))


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs by one algorithm."""

    kid: str
    algorithm: str
    public: Mapping[str, str]
    sign: Callable[[bytes], bytes] = field(repr=False)
    pem: bytes = b""
    """Of the public key."""

    @property
    def jwk(self) -> dict[str, str]:
        return {"kid": self.kid, "use": "sig", "alg": self.algorithm, **self.public}

    def token(self, claims: Mapping[str, Any], **header: Any) -> str:
        head = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid} | header
        return signed({key: value for key, value in head.items() if value is not None}, claims, self.sign)


def signed(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    said = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{said}.{b64(sign(said.encode()))}"


@cache
def key(algorithm: str = "RS256", kid: str = "one") -> Key:
    """The key of an algorithm and name: the same each time."""
    if algorithm == "EdDSA":
        return _edwards(kid)
    return _curve(algorithm, kid) if algorithm in _CURVES else _rsa(algorithm, kid)


def _pem(public: Any) -> bytes:
    found: bytes = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


def _rsa(algorithm: str, kid: str) -> Key:
    private = rsa.generate_private_key(65537, 2048)
    numbers = private.public_key().public_numbers()
    digest = _HASHES[algorithm[2:]]
    pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
    way: Any = pss if algorithm.startswith("PS") else padding.PKCS1v15()
    public = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    return Key(
        kid, algorithm, public, lambda data: private.sign(data, way, digest), _pem(private.public_key())
    )


def _curve(algorithm: str, kid: str) -> Key:
    name, curve, length = _CURVES[algorithm]
    private = ec.generate_private_key(curve)
    numbers = private.public_key().public_numbers()

    def sign(data: bytes) -> bytes:
        r, s = utils.decode_dss_signature(private.sign(data, ec.ECDSA(_HASHES[_DIGEST[algorithm]])))
        return r.to_bytes(length) + s.to_bytes(length)

    public = {"kty": "EC", "crv": name, "x": number(numbers.x, length), "y": number(numbers.y, length)}
    return Key(kid, algorithm, public, sign, _pem(private.public_key()))


_DIGEST = {"ES256": "256", "ES384": "384", "ES512": "512"}


def _edwards(kid: str) -> Key:
    private = ed25519.Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    public = {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
    return Key(kid, "EdDSA", public, private.sign, _pem(private.public_key()))


def key_set(*keys: Key) -> str:
    return json.dumps({"keys": [one.jwk for one in keys]})


def claims(issuer: str = "https://issuer.example", **more: Any) -> dict[str, Any]:
    """Claims that hold longer than any run of the tests, which makes some as it begins; None takes one away."""
    now = int(time.time())
    found = {"iss": issuer, "sub": "alice", "iat": now, "exp": now + 86400} | more
    return {name: value for name, value in found.items() if value is not None}


def by_hmac(secret: bytes, told: Mapping[str, Any], kid: str) -> str:
    """A token signed with a secret that is no secret: the text of a public key."""
    header = {"alg": "HS256", "typ": "JWT", "kid": kid}
    return signed(header, told, lambda data: hmac.new(secret, data, sha256).digest())
