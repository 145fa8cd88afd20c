"""Every reason that a denial is counted by has words of its own; what nobody knows is told as it is."""

from __future__ import annotations

import pytest

from plait.envoy import names
from plait.explain.denials import NOTHING_OVER, denial
from plait.model.names import ObjectRef, Origin


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (names.NO_ALLOW, "no ALLOW rule let it in"),
        (
            names.SEVERAL_IDENTITIES,
            "its certificate has several identities, and whose rights count can't be told",
        ),
        (names.TOO_LONG, "the policies over this port are too long for Envoy: it lets nobody in"),
        ("jwt_authn_access_denied{Audiences_in_Jwt_are_not_allowed}", "its token is meant for somebody else"),
        (
            "jwt_authn_access_denied{Jwks_doesn't_have_key_to_match_kid_or_alg_from_Jwt}",
            "its issuer has no key that its token is signed by",
        ),
        (
            "jwt_authn_access_denied{Jwt_header_is_an_invalid_JSON}",
            "its token does not hold: Jwt header is an invalid JSON",
        ),
        ("ext_authz_error", "the authorizer can't be asked, or does not answer in time"),
        ("ext_authz_new", "an authorizer keeps it out"),
        ("upgrade_failed", "it asks for a change of protocol that is not taken here"),
        ("something_new", "Envoy says: something_new"),
        ("", "its proxy does not say why"),
    ],
)
def test_a_reason_is_told_in_words(told: str, words: str) -> None:
    found = denial(told, NOTHING_OVER)
    assert (found.words, found.origin) == (words, None)


def test_a_rule_is_known_by_its_name() -> None:
    ref = ObjectRef("security.istio.io", "AuthorizationPolicy", "bistro", "no-guests")
    assert names.rule_origin("ns[bistro]-policy[no-guests]-rule[12]") == Origin(ref, "spec.rules[12]")
    for other in ("ns[bistro]-rate-limit[x]-limit[0]", "ns[]-policy[x]-rule[0]", names.NO_ALLOW, ""):
        assert names.rule_origin(other) is None
