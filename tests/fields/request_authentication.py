"""The fields of a RequestAuthentication."""

from typing import Any

from tests.envoy.tokens import claims, key, key_set
from tests.fields.cases import proves
from tests.fields.mesh import Answer, Mesh

KIND = "RequestAuthentication"
V1, V2 = "reservations-v1:8080", "reservations-v2:8080"
ISSUER = "https://issuer.example"
KEY, FOREIGN = key("ES256"), key("ES256", "foreign")
KEYS = f"jwks: '{key_set(KEY)}'"
WHOM = "selector: {matchLabels: {version: v1}}"


def good(**more: Any) -> str:
    return KEY.token(claims(ISSUER, aud="bistro", **more))


def bad() -> str:
    return FOREIGN.token(claims(ISSUER, aud="bistro"))


async def shown(mesh: Mesh, token: str, host: str = V1) -> Answer:
    return await mesh.ask(host=host, headers={"authorization": f"Bearer {token}"})


@proves(
    KIND,
    f"""
{WHOM}
jwtRules:
- issuer: {ISSUER}
  audiences: [bistro]
  {KEYS}
""",
    "selector",
    "selector.matchLabels",
    "jwtRules",
    "jwtRules[0]",
    "jwtRules[0].issuer",
    "jwtRules[0].audiences",
    "jwtRules[0].audiences[0]",
    "jwtRules[0].jwks",
)
async def tokens_of_an_issuer_are_checked_by_its_keys(mesh: Mesh) -> None:
    answer = await shown(mesh, good())
    assert (answer.status, "authorization" in answer.asked) == (200, False)
    assert (await shown(mesh, bad())).status == 401
    assert (await shown(mesh, KEY.token(claims(ISSUER, aud="market")))).status == 403
    assert (await shown(mesh, KEY.token(claims("https://other.example", aud="bistro")))).status == 401
    assert (await shown(mesh, bad(), V2)).status == 200


@proves(
    KIND,
    f"""
targetRefs: [{{kind: Service, name: reservations-v1}}]
jwtRules: [{{issuer: {ISSUER}, {KEYS}}}]
""",
    "targetRefs",
    "targetRefs[0]",
    "targetRefs[0].kind",
    "targetRefs[0].name",
)
async def they_are_checked_behind_the_services_that_are_named(mesh: Mesh) -> None:
    assert (await shown(mesh, good())).status == 200
    assert (await shown(mesh, bad())).status == 401
    assert (await shown(mesh, bad(), V2)).status == 200


@proves(
    KIND,
    f"""
targetRef: {{kind: Service, name: reservations-v1}}
jwtRules: [{{issuer: {ISSUER}, {KEYS}}}]
""",
    "targetRef",
    "targetRef.kind",
    "targetRef.name",
)
async def they_are_checked_behind_the_one_service_that_is_named(mesh: Mesh) -> None:
    await they_are_checked_behind_the_services_that_are_named(mesh)


@proves(
    KIND,
    f"""
targetRefs: [{{group: apps, kind: Service, name: reservations-v1}}]
jwtRules: [{{issuer: {ISSUER}, {KEYS}}}]
""",
    "targetRefs[0].group",
)
@proves(
    KIND,
    f"""
targetRef: {{group: apps, kind: Service, name: reservations-v1}}
jwtRules: [{{issuer: {ISSUER}, {KEYS}}}]
""",
    "targetRef.group",
)
async def where_something_else_is_named_no_token_holds(mesh: Mesh) -> None:
    assert (await shown(mesh, good())).status == 401
    assert (await shown(mesh, good(), V2)).status == 401


@proves(
    KIND,
    f"""
targetRefs: [{{namespace: market, kind: Service, name: reservations-v1}}]
jwtRules: [{{issuer: {ISSUER}, {KEYS}}}]
""",
    "targetRefs[0].namespace",
)
@proves(
    KIND,
    f"""
targetRef: {{namespace: market, kind: Service, name: reservations-v1}}
jwtRules: [{{issuer: {ISSUER}, {KEYS}}}]
""",
    "targetRef.namespace",
)
async def where_somebody_of_another_namespace_is_named_no_token_holds(mesh: Mesh) -> None:
    await where_something_else_is_named_no_token_holds(mesh)


@proves(
    KIND,
    f"""
{WHOM}
jwtRules:
- issuer: {ISSUER}
  {KEYS}
  fromHeaders: [{{name: X-Token, prefix: "Token "}}]
  fromParams: [t]
  fromCookies: [session]
""",
    "jwtRules[0].fromHeaders",
    "jwtRules[0].fromHeaders[0]",
    "jwtRules[0].fromHeaders[0].name",
    "jwtRules[0].fromHeaders[0].prefix",
    "jwtRules[0].fromParams",
    "jwtRules[0].fromParams[0]",
    "jwtRules[0].fromCookies",
    "jwtRules[0].fromCookies[0]",
)
async def a_token_stands_where_a_rule_says(mesh: Mesh) -> None:
    for token, status in ((good(), 200), (bad(), 401)):
        assert (await mesh.ask(f"/?t={token}", host=V1)).status == status
        for headers in ({"x-token": f"Token {token}"}, {"cookie": f"a=b; session={token}"}):
            assert (await mesh.ask(host=V1, headers=headers)).status == status


@proves(
    KIND,
    f"""
{WHOM}
jwtRules:
- issuer: {ISSUER}
  {KEYS}
  outputPayloadToHeader: X-Payload
  outputClaimToHeaders: [{{header: X-User, claim: sub}}, {{header: x-city, claim: address.city}}]
""",
    "jwtRules[0].outputPayloadToHeader",
    "jwtRules[0].outputClaimToHeaders",
    *(f"jwtRules[0].outputClaimToHeaders[{number}]" for number in range(2)),
    "jwtRules[0].outputClaimToHeaders[0].header",
    "jwtRules[0].outputClaimToHeaders[0].claim",
)
async def what_a_token_says_is_told_and_can_t_be_forged(mesh: Mesh) -> None:
    forged = {"x-payload": "x", "x-user": "root", "x-city": "Rome"}
    token = good(address={"city": "Oslo"})
    asked = (await mesh.ask(host=V1, headers={"authorization": f"Bearer {token}", **forged})).asked
    assert (asked["x-user"], asked["x-city"]) == ("alice", "Oslo")
    assert asked["x-payload"] == token.split(".")[1]
    asked = (await mesh.ask(host=V1, headers={"authorization": f"Bearer {good()}", **forged})).asked
    assert "x-city" not in asked
    asked = (await mesh.ask(host=V1, headers=forged)).asked
    assert not forged.keys() & {name.lower() for name in asked}


@proves(
    KIND,
    f"""
{WHOM}
jwtRules: [{{issuer: {ISSUER}, forwardOriginalToken: true, {KEYS}}}]
""",
    "jwtRules[0].forwardOriginalToken",
)
async def the_application_gets_the_token_too(mesh: Mesh) -> None:
    token = good()
    assert (await shown(mesh, token)).asked["authorization"] == f"Bearer {token}"
