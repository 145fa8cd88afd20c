"""The fields of a GRPCRoute, with real calls."""

import asyncio

from grpc import StatusCode

from tests.fields.cases import proves
from tests.fields.mesh import Mesh

KIND = "GRPCRoute"
PARENT = """
parentRefs: [{group: "", kind: Service, name: reservations}]
"""
V1, V2 = "reservations-v1", "reservations-v2"


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{method: {type: Exact, service: bistro.Tables, method: Book}}]
  backendRefs: [{name: reservations-v2, port: 9090}]
- matches: [{method: {service: bistro.Guests}}, {method: {method: List}}]
  backendRefs: [{name: reservations-v2, port: 9090}]
- matches: [{method: {type: RegularExpression, service: "bistro[.](Wines|Meals)", method: "Get.*"}}]
  backendRefs: [{name: reservations-v2, port: 9090}]
- matches:
  - headers: [{name: X-User, value: tester}]
  - headers: [{name: x-user, type: RegularExpression, value: "v[0-9]+"}]
  backendRefs: [{name: reservations-v2, port: 9090}]
- backendRefs: [{name: reservations-v1, port: 9090}]
""",
    "parentRefs",
    "rules[0].matches",
    "rules[0].matches[0].method",
    "rules[0].matches[0].method.service",
    "rules[0].matches[0].method.method",
    "rules[1].matches[0].method.service",
    "rules[1].matches[1].method.method",
    "rules[2].matches[0].method.type",
    "rules[2].matches[0].method.method",
    "rules[3].matches[0].headers",
    "rules[3].matches[0].headers[0].name",
    "rules[3].matches[0].headers[0].value",
    "rules[3].matches[1].headers[0].type",
)
async def a_method_or_a_header_chooses_the_rule(mesh: Mesh) -> None:
    methods = {
        "/bistro.Tables/Book": V2,
        "/bistro.Tables/Booked": V1,
        "/bistro.Tables/Free": V1,
        "/bistro.Other/Book": V1,
        "/bistro.Guests/Greet": V2,
        "/bistro.Guest/Greet": V1,
        "/bistro.Other/List": V2,
        "/bistro.Meals/GetAll": V2,
        "/bistro.Meals/Cook": V1,
    }
    assert {method: (await mesh.call(method)).by for method in methods} == methods
    users = {"tester": V2, "v12": V2, "v": V1}
    found = {user: (await mesh.call("/bistro.Other/Do", {"x-user": user})).by for user in users}
    assert found == users


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{method: {service: bistro.Tables}}]
  backendRefs: [{name: reservations-v1, port: 9090, weight: 80}, {name: reservations-v2, port: 9090, weight: 20}]
- matches: [{method: {service: bistro.Nobody}}]
  backendRefs: [{kind: Bucket, name: reservations-v1, port: 9090}]
- matches: [{method: {service: bistro.Core}}]
  backendRefs: [{group: example.com, name: reservations-v1, port: 9090}]
- matches: [{method: {service: bistro.Abroad}}]
  backendRefs: [{namespace: elsewhere, name: reservations-v1, port: 9090}]
- matches: [{method: {service: bistro.Nothing}}]
  backendRefs: [{name: reservations-v1, port: 9090, weight: 0}]
""",
    "rules",
    "rules[0].backendRefs",
    "rules[0].backendRefs[0].name",
    "rules[0].backendRefs[0].port",
    "rules[0].backendRefs[1].weight",
    "rules[1].backendRefs[0].kind",
    "rules[2].backendRefs[0].group",
    "rules[3].backendRefs[0].namespace",
    "rules[4].backendRefs[0].weight",
)
async def backends_get_their_share_and_what_is_for_nobody_is_unavailable(mesh: Mesh) -> None:
    shared = [(await mesh.call("/bistro.Tables/Book")).by for _ in range(200)]
    assert 10 <= shared.count(V2) <= 75  # 40 expected; outside once in ten million
    assert shared.count(V1) == 200 - shared.count(V2)
    for service in ("Nobody", "Core", "Abroad", "Nothing"):
        assert (await mesh.call(f"/bistro.{service}/Do")).code is StatusCode.UNAVAILABLE
    assert (await mesh.call("/bistro.Other/Do")).code is StatusCode.UNIMPLEMENTED


@proves(
    KIND,
    """
parentRefs:
- {group: "", kind: Service, name: reservations, port: 9090}
- {group: "", kind: Service, name: reservations-v1, sectionName: grpc-9090}
- {group: "", kind: Service, namespace: elsewhere, name: reservations}
rules:
- backendRefs: [{group: "", kind: Service, name: reservations-v2, port: 9090}]
""",
    "parentRefs[0].group",
    "parentRefs[0].kind",
    "parentRefs[0].name",
    "parentRefs[0].port",
    "parentRefs[1].sectionName",
    "parentRefs[2].namespace",
    beside="""
apiVersion: v1
kind: Service
metadata: {name: reservations, namespace: elsewhere}
spec: {ports: [{name: grpc, port: 80}]}
""",
)
async def routes_hold_at_the_services_and_ports_that_they_are_attached_to(mesh: Mesh) -> None:
    assert {(await mesh.call("/A/B")).by for _ in range(10)} == {V2}
    assert (await mesh.call("/A/B", host="reservations-v1:9090")).by == V2
    assert (await mesh.call("/A/B", host="reservations.elsewhere:80")).by == V2
    for other in ("reservations:8080", "reservations-v1:8080"):  # HTTP/1 is spoken there
        assert (await mesh.call("/A/B", host=other)).code is not StatusCode.OK


@proves(
    KIND,
    PARENT
    + """
rules:
- filters:
  - type: RequestHeaderModifier
    requestHeaderModifier:
      set: [{name: X-Set, value: 100 %}]
      add: [{name: x-add, value: rule}]
      remove: [X-Gone]
  - type: ResponseHeaderModifier
    responseHeaderModifier:
      set: [{name: x-old, value: new}]
      add: [{name: x-more, value: rule}]
      remove: [answered-by]
  - type: RequestMirror
    requestMirror: {backendRef: {name: reservations-v1, port: 9090}}
  backendRefs:
  - name: reservations-v2
    port: 9090
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set: [{name: x-mine, value: backend}]
        add: [{name: x-add, value: backend}]
        remove: [x-gone-too]
    - type: ResponseHeaderModifier
      responseHeaderModifier:
        set: [{name: x-mine, value: backend}]
        add: [{name: x-more, value: backend}]
        remove: [x-even-older]
""",
    "rules[0].filters",
    "rules[0].filters[0].type",
    "rules[0].filters[0].requestHeaderModifier.set",
    "rules[0].filters[0].requestHeaderModifier.add",
    "rules[0].filters[0].requestHeaderModifier.remove",
    "rules[0].filters[1].responseHeaderModifier.set",
    "rules[0].filters[1].responseHeaderModifier.add",
    "rules[0].filters[1].responseHeaderModifier.remove",
    "rules[0].filters[2].requestMirror.backendRef.name",
    "rules[0].filters[2].requestMirror.backendRef.port",
    "rules[0].backendRefs[0].filters[0].type",
    "rules[0].backendRefs[0].filters[0].requestHeaderModifier.set",
    "rules[0].backendRefs[0].filters[0].requestHeaderModifier.add",
    "rules[0].backendRefs[0].filters[0].requestHeaderModifier.remove",
    "rules[0].backendRefs[0].filters[1].responseHeaderModifier.set",
    "rules[0].backendRefs[0].filters[1].responseHeaderModifier.add",
    "rules[0].backendRefs[0].filters[1].responseHeaderModifier.remove",
)
async def headers_are_changed_on_both_ways_and_calls_are_copied(mesh: Mesh) -> None:
    mesh.called.clear()
    reply = await mesh.call("/A/B", {"x-set": "before", "x-add": "before", "x-gone": "1", "x-gone-too": "1"})
    assert (reply.code, reply.by) == (StatusCode.OK, V2)
    assert "answered-by" not in reply.metadata
    assert (reply.metadata["x-old"], reply.metadata["x-mine"]) == ("new", "backend")
    assert "x-even-older" not in reply.metadata
    assert sorted(reply.metadata["x-more"].split(",")) == ["backend", "rule"]
    (seen,) = (one for one in mesh.called if one.by == V2)
    assert (seen.method, seen.request) == ("/A/B", b"hello")
    assert (seen.metadata["x-set"], seen.metadata["x-add"]) == ("100 %", "before,rule,backend")
    assert seen.metadata["x-mine"] == "backend"
    assert not {"x-gone", "x-gone-too"} & seen.metadata.keys()
    await mesh.until_called(V1)
    (copy,) = (one for one in mesh.called if one.by == V1)
    assert (copy.method, copy.metadata["x-set"]) == ("/A/B", "100 %")


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{method: {service: bistro.Half}}]
  filters: [{type: RequestMirror, requestMirror: {backendRef: {name: reservations-v2, port: 9090}, percent: 50}}]
  backendRefs: [{name: reservations-v1, port: 9090}]
- matches: [{method: {service: bistro.Fraction}}]
  filters:
  - type: RequestMirror
    requestMirror:
      backendRef: {name: reservations-v2, port: 9090}
      fraction: {numerator: 500, denominator: 1000}
  backendRefs: [{name: reservations-v1, port: 9090}]
- filters:
  - type: RequestMirror
    requestMirror: {backendRef: {group: example.com, name: reservations-v2, port: 9090}}
  - type: RequestMirror
    requestMirror: {backendRef: {kind: Bucket, name: reservations-v2, port: 9090}}
  - type: RequestMirror
    requestMirror: {backendRef: {namespace: elsewhere, name: reservations-v2, port: 9090}}
  backendRefs: [{name: reservations-v1, port: 9090}]
""",
    "rules[0].filters[0].requestMirror.percent",
    "rules[1].filters[0].requestMirror.fraction.numerator",
    "rules[1].filters[0].requestMirror.fraction.denominator",
    "rules[2].filters[0].requestMirror.backendRef.group",
    "rules[2].filters[1].requestMirror.backendRef.kind",
    "rules[2].filters[2].requestMirror.backendRef.namespace",
)
async def a_share_of_the_calls_is_copied_to_those_who_may_get_copies(mesh: Mesh) -> None:
    for service in ("Half", "Fraction"):
        assert 1 <= await _copies(mesh, f"/bistro.{service}/Do", 24) <= 23  # outside once in eight million
    assert await _copies(mesh, "/bistro.Other/Do", 1) == 0


async def _copies(mesh: Mesh, method: str, number: int) -> int:
    """How many of so many calls version 2 sees, all of which version 1 answers; waits for them to come."""
    mesh.called.clear()
    assert {(await mesh.call(method)).by for _ in range(number)} == {V1}
    await asyncio.sleep(0.3)
    return sum(one.by == V2 for one in mesh.called)


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{method: {service: bistro.Cookies}}]
  backendRefs: [{name: reservations, port: 9090}]
  sessionPersistence: {sessionName: stay, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}
- backendRefs: [{name: reservations, port: 9090}]
  sessionPersistence: {sessionName: X-Stay, type: Header}
""",
    "rules[0].sessionPersistence.absoluteTimeout",
    "rules[0].sessionPersistence.cookieConfig.lifetimeType",
    "rules[1].sessionPersistence",
    "rules[1].sessionPersistence.sessionName",
    "rules[1].sessionPersistence.type",
)
async def who_was_answered_once_is_led_back(mesh: Mesh) -> None:
    assert "Max-Age=3600" in (await mesh.call("/bistro.Cookies/Bake")).metadata["set-cookie"]
    stay = {"x-stay": (await mesh.call("/A/B")).metadata["x-stay"]}
    assert len({(await mesh.call("/A/B", stay)).by for _ in range(20)}) == 1
