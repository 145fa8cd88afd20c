"""RequestAuthentication: what can't be read takes no token, and no secret gets any further."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from plait.model.authentication import RequestAuthentication
from plait.model.document import child
from plait.model.finding import Severity
from tests.dialects.reading import codes, fact, reading
from tests.dialects.whole import WHOLE
from tests.envoy.tokens import ALGORITHMS, b64, key, number

WRONG: tuple[object, ...] = (7, "", "a b", [], ["", 7], {}, {"a": 1}, True, 1.5)
EC, RSA = key("ES256"), key("RS256")


def users(*rules: Any) -> Any:
    document = copy.deepcopy(WHOLE["RequestAuthentication"])
    document["spec"]["jwtRules"] = list(rules)
    return reading(json.dumps(document))


def keys(*jwks: Any) -> Any:
    return users({"issuer": "a", "jwks": json.dumps({"keys": list(jwks)})})


def paths(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each place of a document: its path, and what it is in and by which key."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in list(items):
        yield child(path, name), value, name
        yield from paths(inner, child(path, name))


SPEC = [path for path, _, _ in paths(WHOLE["RequestAuthentication"]) if path.startswith("spec")]


@pytest.mark.parametrize("path", SPEC)
def test_what_can_t_be_read_whole_takes_no_token(path: str) -> None:
    for wrong in WRONG:
        document = copy.deepcopy(WHOLE["RequestAuthentication"])
        around, name = next((place, name) for at, place, name in paths(document) if at == path)
        around[name] = wrong
        read = reading(json.dumps(document))
        found = [one for one in read.facts if isinstance(one, RequestAuthentication)]
        errors = [one.field for one in read.findings if one.severity is Severity.ERROR]
        for one in found:
            assert one.rules or wrong in ([], {}, "") or not errors, (path, wrong)
            for index, rule in enumerate(one.rules):
                mine = [field for field in errors if field.startswith(f"spec.jwtRules[{index}]")]
                others = [field for field in errors if not field.startswith("spec.jwtRules[")]
                assert rule.keys is None or not (mine or others), (path, wrong, errors)
                assert rule.places
            if any(not field.startswith("spec.jwtRules[") for field in errors):
                assert (one.selector, one.targets) == ((), ())


@pytest.mark.parametrize("part", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_secret_key_is_refused_and_told_by_no_word_of_it(part: str) -> None:
    secret = "c2VjcmV0LXNlY3JldA"
    read = keys(EC.jwk, {**RSA.jwk, part: secret})
    assert codes(read) == [
        ("spec.jwtRules[0].jwks", "token.secret-key"),
        ("spec.jwtRules[0]", "token.rule-closed"),
    ]
    assert secret not in repr(read)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_public_keys_are_taken_and_nothing_but_them(algorithm: str) -> None:
    jwk = key(algorithm).jwk
    read = keys(
        {**jwk, "x5t": "a", "key_ops": ["verify"]},
        {name: jwk[name] for name in jwk if name not in ("kid", "alg", "use")},
    )
    assert read.findings == ()
    taken = fact(read, RequestAuthentication).rules[0].keys
    assert isinstance(taken, str)
    first, second = json.loads(taken)["keys"]
    assert (first, second.keys() | {"kid", "alg", "use"}) == (jwk, jwk.keys())


@pytest.mark.parametrize(
    ("jwk", "told"),
    [
        (7, "kty is not"),
        ({"kty": "oct"}, "kty is not"),
        ({**EC.jwk, "kty": "RSA"}, "n is missing"),
        ({**EC.jwk, "x": EC.jwk["x"] + "="}, "x is missing, or not base64url"),
        ({**EC.jwk, "x": EC.jwk["x"][:-4]}, "x has not 32 bytes"),
        ({**EC.jwk, "x": EC.jwk["y"]}, "x and y are no point of P-256"),
        ({**EC.jwk, "crv": "P-384"}, "x has not 48 bytes"),
        ({**EC.jwk, "crv": "secp256k1"}, "crv is none of"),
        ({**EC.jwk, "alg": "HS256"}, "alg is not ES256"),
        ({**EC.jwk, "use": "enc"}, "use is not sig"),
        ({**EC.jwk, "kid": 7}, "kid is no text"),
        ({**RSA.jwk, "alg": "HS256"}, "alg is none of"),
        ({**RSA.jwk, "n": number((1 << 1023) + 1)}, "n has not 2048"),
        ({**RSA.jwk, "n": number((1 << 16384) + 1)}, "n has not 2048"),
        ({**RSA.jwk, "n": number(1 << 2047)}, "n is no modulus"),
        ({**RSA.jwk, "e": "BA"}, "e is no exponent"),
        ({**RSA.jwk, "e": "AQ"}, "e is no exponent"),
        ({**RSA.jwk, "e": number((1 << 33) + 1)}, "e is no exponent"),
        ({"kty": "OKP", "crv": "X25519", "x": b64(bytes(32))}, "crv is none of Ed25519"),
    ],
)
def test_a_key_that_is_of_no_use_is_told(jwk: Any, told: str) -> None:
    read = keys(EC.jwk, jwk)
    assert read.findings[0].code == "token.keys"
    assert f"keys[1]: {told}" in read.findings[0].message
    assert fact(read, RequestAuthentication).rules[0].keys is None


@pytest.mark.parametrize("field", ["fromParams", "fromCookies"])
def test_a_name_that_envoy_could_not_look_for_is_told(field: str) -> None:
    longest, longer = "a" * 256, "a" * 257
    assert users({"issuer": "a", "jwksUri": "http://keys/keys", field: [longest]}).findings == ()
    read = users({"issuer": "a", "jwksUri": "http://keys/keys", field: [longer]})
    assert codes(read)[0] == (f"spec.jwtRules[0].{field}[0]", "match.name")
    assert fact(read, RequestAuthentication).rules[0].keys is None


def test_a_password_in_a_url_is_not_repeated() -> None:
    read = users({"issuer": "a", "jwksUri": "http://me:secret@keys/keys"})
    assert codes(read)[0][1] == "token.keys-uri"
    assert "secret" not in repr(read)
