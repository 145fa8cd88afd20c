"""What policies say of users, with tokens that are really signed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.test_end_users import ISSUER, ONE, OTHER, ask, authentication, bearer, good, rule
from tests.envoy.tokens import claims, key, key_set
from tests.fields.mesh import Mesh, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running() as found:
        yield found


TWO = key("ES256", "two")
USERS = authentication(rule(spaceDelimitedClaims=["roles"])) + authentication(
    rule(OTHER, jwks=key_set(TWO), audiences=[]), name="others"
)


def policy(rules: str, action: str = "ALLOW") -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: it, namespace: bistro}}
spec: {{selector: {{matchLabels: {{version: v1}}}}, action: {action}, rules: {rules}}}
"""


MINE = good(roles="cook waiter", groups=["a", "b"], address={"city": "Oslo"}, azp="app")
THEIRS = TWO.token(claims(OTHER, sub="bob"))


@pytest.mark.parametrize(
    ("rules", "mine", "theirs", "nobody"),
    [
        ("[{from: [{source: {requestPrincipals: ['*']}}]}]", True, True, False),
        (f"[{{from: [{{source: {{requestPrincipals: ['{ISSUER}/*']}}}}]}}]", True, False, False),
        (f"[{{from: [{{source: {{requestPrincipals: ['{ISSUER}/alice']}}}}]}}]", True, False, False),
        ("[{from: [{source: {requestPrincipals: ['*/bob']}}]}]", False, True, False),
        (f"[{{from: [{{source: {{notRequestPrincipals: ['{OTHER}/*']}}}}]}}]", True, False, True),
        ("[{when: [{key: 'request.auth.claims[roles]', values: [cook]}]}]", True, False, False),
        ("[{when: [{key: 'request.auth.claims[groups]', values: [b]}]}]", True, False, False),
        ("[{when: [{key: 'request.auth.claims[address][city]', values: [Oslo]}]}]", True, False, False),
        ("[{when: [{key: 'request.auth.claims[sub]', notValues: [bob]}]}]", True, False, True),
        ("[{when: [{key: request.auth.audiences, values: [bistro]}]}]", True, False, False),
        ("[{when: [{key: request.auth.presenter, values: [app]}]}]", True, False, False),
        ("[{when: [{key: request.auth.principal, values: ['*/alice']}]}]", True, False, False),
    ],
)
@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
async def test_a_policy_knows_users_by_their_tokens(  # noqa: PLR0913  # a verdict each
    mesh: Mesh, action: str, rules: str, *, mine: bool, theirs: bool, nobody: bool
) -> None:
    await mesh.say(USERS + policy(rules, action))
    found = [(await ask(mesh, **headers)).status == 200 for headers in (bearer(MINE), bearer(THEIRS), {})]
    holds = [mine, theirs, nobody]
    assert found == (holds if action == "ALLOW" else [not one for one in holds])
    forged = key("RS256", "foreign").token(claims(aud="bistro"), kid=ONE.kid)
    assert (await ask(mesh, **bearer(forged))).status == 401
