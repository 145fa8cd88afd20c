"""Sets of public keys (JWKS, RFC 7517), read so that nothing gets on that is secret or of no use for checking."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from typing import Any

from plait.model.document import Cursor

_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
"""What a public key does not have (RFC 7518, section 6)."""
_KINDS: Mapping[str, tuple[str, ...]] = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
_CURVES = {"P-256": (32, "ES256"), "P-384": (48, "ES384"), "P-521": (66, "ES512"), "Ed25519": (32, "EdDSA")}
"""Bytes of a coordinate, and the algorithm of signatures."""
_CURVES_OF = {"EC": ("P-256", "P-384", "P-521"), "OKP": ("Ed25519",)}
_RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_POINTS = {
    "P-256": (
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "P-384": (
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    "P-521": (
        2**521 - 1,
        0x51953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    ),
}
"""Of each curve y² = x³ - 3x + b the field's prime and b (FIPS 186-4, D.1.2).  A set with no sound key Envoy refuses,
and with it all other rules of a port.
"""
_RSA_BITS = (2048, 16384)
_MOST_EXPONENT = 2**33
_ABOUT = ("kid", "alg", "use")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+\Z")


def public_keys(cursor: Cursor) -> str:
    """A key set as JSON that says what is needed of it and nothing else; "" and errors when it can't be taken."""
    if not cursor.is_text():
        return ""
    keys = _keys(cursor.value)
    if not keys:
        cursor.error("token.keys", 'no key set: a JSON text such as {"keys": [{"kty": "RSA", ...}]}')
        return ""
    problems = [f"keys[{index}]: {problem}" for index, key in enumerate(keys) for problem in _problems(key)]
    if any(isinstance(key, dict) and any(part in key for part in _PRIVATE) for key in keys):
        message = "a secret key is written here: whoever can read this can sign; make another key, and write its public part"
        cursor.error("token.secret-key", message)
    elif problems:
        cursor.error("token.keys", "; ".join(problems[:3]))
    return "" if cursor.error_count() else _written(keys)


def _keys(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    keys = value.get("keys") if isinstance(value, dict) else None
    return keys if isinstance(keys, list) else []


def _problems(key: Any) -> Iterator[str]:
    """Why a key is of no use; no value of it is repeated."""
    if not isinstance(key, dict) or not isinstance(key.get("kty"), str) or key["kty"] not in _KINDS:
        yield "kty is not RSA, EC or OKP"
        return
    yield from (f"{name} is no text" for name in _ABOUT if not isinstance(key.get(name, ""), str))
    if key.get("use", "sig") != "sig":
        yield "use is not sig"
    parts = {name: _octets(key.get(name)) for name in _KINDS[key["kty"]]}
    yield from (f"{name} is missing, or not base64url" for name, octets in parts.items() if not octets)
    if all(parts.values()):
        yield from _of_rsa(key, parts) if key["kty"] == "RSA" else _of_curve(key, parts)


def _of_rsa(key: Mapping[str, Any], parts: Mapping[str, bytes]) -> Iterator[str]:
    n, e = (int.from_bytes(parts[name]) for name in ("n", "e"))
    least, most = _RSA_BITS
    if not least <= n.bit_length() <= most:
        yield f"n has not {least} to {most} bits"
    if not n % 2:
        yield "n is no modulus"
    if not e % 2 or not 3 <= e < _MOST_EXPONENT:
        yield "e is no exponent"
    if key.get("alg", "RS256") not in _RSA_ALGORITHMS:
        yield f"alg is none of {', '.join(_RSA_ALGORITHMS)}"


def _of_curve(key: Mapping[str, Any], parts: Mapping[str, bytes]) -> Iterator[str]:
    curves = _CURVES_OF[key["kty"]]
    curve = key.get("crv")
    if curve not in curves:
        yield f"crv is none of {', '.join(curves)}"
        return
    length, algorithm = _CURVES[curve]
    yield from (f"{name} has not {length} bytes" for name, part in parts.items() if len(part) != length)
    if curve in _POINTS and all(len(part) == length for part in parts.values()):
        prime, b = _POINTS[curve]
        x, y = (int.from_bytes(parts[name]) for name in ("x", "y"))
        if max(x, y) >= prime or (y * y - (x * x * x - 3 * x + b)) % prime:
            yield f"x and y are no point of {curve}"
    if key.get("alg", algorithm) != algorithm:
        yield f"alg is not {algorithm}"


def _octets(value: object) -> bytes:
    if not isinstance(value, str) or not _BASE64URL.match(value) or len(value) % 4 == 1:
        return b""
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))


def _written(keys: list[Mapping[str, Any]]) -> str:
    kept = [
        {name: key[name] for name in ("kty", "crv", *_ABOUT, *_KINDS[key["kty"]]) if name in key}
        for key in keys
    ]
    return json.dumps({"keys": kept}, sort_keys=True, separators=(",", ":"))
