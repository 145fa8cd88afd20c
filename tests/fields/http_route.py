"""The fields of an HTTPRoute."""

import time

from tests.fields.cases import proves
from tests.fields.mesh import PORT, Mesh

KIND = "HTTPRoute"
PARENT = """
parentRefs: [{group: "", kind: Service, name: reservations}]
"""
V1, V2 = "reservations-v1", "reservations-v2"
NOBODY = 500
"""What is answered where there is nobody to send to."""


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{path: {type: Exact, value: /exact}}]
  backendRefs: [{name: reservations-v2, port: 8080}]
- matches: [{path: {type: PathPrefix, value: /prefix}}, {path: {value: /slash/}}]
  backendRefs: [{name: reservations-v2, port: 8080}]
- matches: [{path: {type: RegularExpression, value: "/reg[a-e]x"}}]
  backendRefs: [{name: reservations-v2, port: 8080}]
- matches: [{method: DELETE}]
  backendRefs: [{name: reservations-v2, port: 8080}]
- backendRefs: [{name: reservations-v1, port: 8080}]
""",
    "rules[0].matches[0].path",
    "rules[0].matches[0].path.type",
    "rules[1].matches[0].path.value",
    "rules[1].matches[1].path.value",
    "rules[2].matches[0].path.type",
    "rules[3].matches",
    "rules[3].matches[0].method",
)
async def a_path_or_a_method_chooses_the_rule(mesh: Mesh) -> None:
    paths = {
        "/exact": V2,
        "/exact?a=b": V2,
        "/exact/": V1,
        "/prefix": V2,
        "/prefix/": V2,
        "/prefix/more": V2,
        "/prefixmore": V1,
        "/slash": V2,
        "/slash/more": V2,
        "/regex": V2,
        "/regex/more": V1,
    }
    assert {path: (await mesh.ask(path)).by for path in paths} == paths
    methods = {"DELETE": V2, "PUT": V1}
    assert {method: (await mesh.ask(method=method)).by for method in methods} == methods


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{headers: [{name: X-Exact, value: a}, {name: x-also, type: Exact, value: b}]}]
  backendRefs: [{name: reservations-v2, port: 8080}]
- matches: [{headers: [{name: x-regex, type: RegularExpression, value: a|b}]}]
  backendRefs: [{name: reservations-v2, port: 8080}]
- matches: [{headers: [{name: Host, value: "reservations.bistro:8080"}]}]
  backendRefs: [{name: reservations-v2, port: 8080}]
- matches:
  - queryParams: [{name: Exact, value: a}, {name: also, value: b}]
  - queryParams: [{name: regex, type: RegularExpression, value: "[0-9]+"}]
  backendRefs: [{name: reservations-v2, port: 8080}]
- backendRefs: [{name: reservations-v1, port: 8080}]
""",
    "rules[0].matches[0].headers",
    "rules[0].matches[0].headers[0].name",
    "rules[0].matches[0].headers[1]",
    "rules[0].matches[0].headers[1].value",
    "rules[1].matches[0].headers[0].type",
    "rules[2].matches[0].headers",
    "rules[3].matches[0].queryParams",
    "rules[3].matches[0].queryParams[0].name",
    "rules[3].matches[0].queryParams[1]",
    "rules[3].matches[0].queryParams[1].value",
    "rules[3].matches[1].queryParams[0].type",
)
async def headers_and_parameters_choose_the_rule(mesh: Mesh) -> None:
    both = {"x-exact": "a", "x-also": "b"}
    assert (await mesh.ask(headers=both)).by == V2
    assert (await mesh.ask(headers={"x-exact": "a"})).by == V1
    assert (await mesh.ask(headers={"x-also": "b"})).by == V1
    assert (await mesh.ask(headers={**both, "x-exact": "ab"})).by == V1
    assert (await mesh.ask(headers={"x-regex": "b"})).by == V2
    assert (await mesh.ask(headers={"x-regex": "bc"})).by == V1
    assert (await mesh.ask(host="reservations.bistro:8080")).by == V2
    queries = {"Exact=a&also=b": V2, "exact=a&also=b": V1, "Exact=a": V1, "also=b": V1, "regex=12": V2}
    assert {query: (await mesh.ask(f"/?{query}")).by for query in queries} == queries


@proves(
    KIND,
    """
parentRefs:
- {name: front-door}
- {group: "", kind: Service, name: reservations, port: 8081}
- {group: "", kind: Service, name: reservations-v1, sectionName: http-8081}
- {group: "", kind: Service, namespace: elsewhere, name: reservations}
rules:
- backendRefs: [{group: "", kind: Service, name: reservations-v2, port: 8080}]
""",
    "parentRefs",
    "parentRefs[1]",
    "parentRefs[1].group",
    "parentRefs[1].kind",
    "parentRefs[1].name",
    "parentRefs[1].port",
    "parentRefs[2].sectionName",
    "parentRefs[3].namespace",
    beside="""
apiVersion: v1
kind: Service
metadata: {name: reservations, namespace: elsewhere}
spec: {ports: [{name: http, port: 80}]}
""",
)
async def routes_hold_at_the_services_and_ports_that_they_are_attached_to(mesh: Mesh) -> None:
    assert {(await mesh.ask(host="reservations:8081")).by for _ in range(10)} == {V2}
    assert {(await mesh.ask()).by for _ in range(40)} == {V1, V2}
    assert (await mesh.ask(host="reservations-v1:8081")).by == V2
    assert (await mesh.ask(host="reservations-v1:8080")).by == V1
    assert (await mesh.ask(host="reservations.elsewhere")).by == V2


@proves(
    KIND,
    PARENT
    + """
rules:
- name: both
  matches: [{path: {value: /shared}}]
  backendRefs:
  - {name: reservations-v1, port: 8080, weight: 80}
  - {name: reservations-v2, port: 8081, weight: 20}
- matches: [{path: {value: /abroad}}]
  backendRefs: [{namespace: elsewhere, name: reservations-v1, port: 8080}]
- matches: [{path: {value: /half}}]
  backendRefs: [{name: reservations-v1, port: 8080}, {kind: Bucket, name: reservations-v2, port: 8080}]
- matches: [{path: {value: /core}}]
  backendRefs: [{group: example.com, name: reservations-v1, port: 8080}]
- matches: [{path: {value: /nobody}}]
  backendRefs: []
- matches: [{path: {value: /nothing}}]
  backendRefs: [{name: reservations-v1, port: 8080, weight: 0}]
""",
    "rules",
    "rules[0].backendRefs",
    "rules[0].backendRefs[1]",
    "rules[0].backendRefs[0].name",
    "rules[0].backendRefs[0].port",
    "rules[0].backendRefs[1].weight",
    "rules[1].backendRefs[0].namespace",
    "rules[2].backendRefs[1].kind",
    "rules[3].backendRefs[0].group",
    "rules[5].backendRefs[0].weight",
)
async def backends_get_their_share_and_what_is_for_nobody_is_answered_500(mesh: Mesh) -> None:
    shared = [await mesh.ask("/shared") for _ in range(200)]
    assert 10 <= sum(one.by == V2 for one in shared) <= 75  # 40 expected; outside once in ten million
    assert {one.seen[PORT] for one in shared if one.seen is not None and one.by == V2} == {8081}
    assert {one.status for one in shared} == {200}
    half = [(await mesh.ask("/half")).status for _ in range(40)]
    assert 2 <= half.count(NOBODY) <= 38
    assert half.count(200) == 40 - half.count(NOBODY)
    for path in ("/abroad", "/core", "/nobody", "/nothing"):
        assert (await mesh.ask(path)).status == NOBODY
    assert (await mesh.ask("/elsewhere")).status == 404


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
      remove: [content-type]
  backendRefs:
  - name: reservations-v1
    port: 8080
  - name: reservations-v2
    port: 8080
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
    - type: URLRewrite
      urlRewrite: {hostname: backend.example}
""",
    "rules[0].filters",
    "rules[0].filters[0]",
    "rules[0].filters[0].type",
    "rules[0].filters[0].requestHeaderModifier.set",
    "rules[0].filters[0].requestHeaderModifier.set[0].name",
    "rules[0].filters[0].requestHeaderModifier.set[0].value",
    "rules[0].filters[0].requestHeaderModifier.add",
    "rules[0].filters[0].requestHeaderModifier.remove",
    "rules[0].filters[1].responseHeaderModifier.set",
    "rules[0].filters[1].responseHeaderModifier.add",
    "rules[0].filters[1].responseHeaderModifier.remove",
    "rules[0].backendRefs[1].filters",
    "rules[0].backendRefs[1].filters[0].type",
    "rules[0].backendRefs[1].filters[0].requestHeaderModifier.set",
    "rules[0].backendRefs[1].filters[0].requestHeaderModifier.add",
    "rules[0].backendRefs[1].filters[0].requestHeaderModifier.remove",
    "rules[0].backendRefs[1].filters[1].responseHeaderModifier.set",
    "rules[0].backendRefs[1].filters[1].responseHeaderModifier.add",
    "rules[0].backendRefs[1].filters[1].responseHeaderModifier.remove",
    "rules[0].backendRefs[1].filters[2].urlRewrite.hostname",
)
async def headers_are_changed_on_both_ways(mesh: Mesh) -> None:
    seen = set()
    for _ in range(20):
        answer = await mesh.ask(
            headers={"x-set": "before", "x-add": "before", "x-gone": "1", "x-gone-too": "1"}
        )
        asked = answer.seen
        assert asked is not None
        two = answer.by == V2
        added = ["before", "rule", "backend"] if two else ["before", "rule"]
        assert asked.headers.getall("x-set") == ["100 %"]
        assert ",".join(asked.headers.getall("x-add")).split(",") == added
        assert "x-gone" not in asked.headers
        assert ("x-gone-too" in asked.headers, "x-mine" in asked.headers) == (not two, two)
        assert (asked.headers["host"] == "backend.example") == two
        assert answer.headers.getall("x-old") == ["new"]
        assert "content-type" not in answer.headers
        assert sorted(answer.headers.getall("x-more")) == (["backend", "rule"] if two else ["rule"])
        assert ("x-mine" in answer.headers, "x-even-older" in answer.headers) == (two, not two)
        seen.add(answer.by)
    assert seen == {V1, V2}


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{path: {value: /moved}}]
  filters:
  - type: RequestRedirect
    requestRedirect: {hostname: other.example, path: {type: ReplaceFullPath, replaceFullPath: /here%20now}, statusCode: 308}
- matches: [{path: {value: /secret}}]
  filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]
- matches: [{path: {value: /secret/port}}]
  filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: other.example, port: 8443}}]
- matches: [{path: {value: /secret/host}}]
  filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: other.example}}]
- matches: [{path: {value: /plain}}]
  filters: [{type: RequestRedirect, requestRedirect: {hostname: other.example, port: 80}}]
- matches: [{path: {value: /prefix}}]
  filters:
  - {type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /other}}}
- matches: [{path: {value: /strip}}]
  filters:
  - {type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: ""}}}
""",
    "rules[0].filters[0].requestRedirect",
    "rules[0].filters[0].requestRedirect.hostname",
    "rules[0].filters[0].requestRedirect.path",
    "rules[0].filters[0].requestRedirect.path.type",
    "rules[0].filters[0].requestRedirect.path.replaceFullPath",
    "rules[0].filters[0].requestRedirect.statusCode",
    "rules[1].filters[0].requestRedirect.scheme",
    "rules[2].filters[0].requestRedirect.port",
    "rules[4].filters[0].requestRedirect.port",
    "rules[5].filters[0].requestRedirect.path.replacePrefixMatch",
)
async def a_redirect_says_where_else(mesh: Mesh) -> None:
    wanted = {
        "/moved?a=b": (308, "http://other.example:8080/here%20now?a=b"),
        "/secret": (302, "https://reservations:443/secret"),
        "/secret/port": (302, "https://other.example:8443/secret/port"),
        "/secret/host": (302, "https://other.example/secret/host"),
        "/plain": (302, "http://other.example/plain"),
        "/prefix/one?a=b": (302, "http://reservations:8080/other/one?a=b"),
        "/strip/one": (302, "http://reservations:8080/one"),
        "/strip": (302, "http://reservations:8080/"),
    }
    found = {path: await mesh.ask(path) for path in wanted}
    assert {path: (one.status, one.headers.get("location")) for path, one in found.items()} == wanted
    assert not any(one.by for one in found.values())


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{path: {value: /full}}]
  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /all of it%}}}]
  backendRefs: [{name: reservations-v1, port: 8080}]
- matches: [{path: {value: /host}}]
  filters: [{type: URLRewrite, urlRewrite: {hostname: other.example}}]
  backendRefs: [{name: reservations-v1, port: 8080}]
- matches: [{path: {value: /foo}}]
  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /xyz}}}]
  backendRefs: [{name: reservations-v1, port: 8080}]
- matches: [{path: {value: /bar/}}]
  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /xyz/}}}]
  backendRefs: [{name: reservations-v1, port: 8080}]
- matches: [{path: {value: /empty}}]
  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: ""}}}]
  backendRefs: [{name: reservations-v1, port: 8080}]
- matches: [{path: {value: /root}}]
  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
  backendRefs: [{name: reservations-v1, port: 8080}]
- filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /all}}}]
  backendRefs: [{name: reservations-v1, port: 8080}]
""".replace("/all of it%", "/all%25"),
    "rules[0].filters[0].urlRewrite",
    "rules[0].filters[0].urlRewrite.path",
    "rules[0].filters[0].urlRewrite.path.type",
    "rules[0].filters[0].urlRewrite.path.replaceFullPath",
    "rules[1].filters[0].urlRewrite.hostname",
    "rules[2].filters[0].urlRewrite.path.replacePrefixMatch",
    "rules[6].filters[0].urlRewrite.path",
)
async def a_rewritten_path_follows_the_table_of_the_specification(mesh: Mesh) -> None:
    paths = {
        "/full/one/two?a=b": "/all%25?a=b",
        "/foo/bar": "/xyz/bar",
        "/foo": "/xyz",
        "/foo/": "/xyz/",
        "/foo/bar?a=b": "/xyz/bar?a=b",
        "/bar/bar": "/xyz/bar",
        "/bar": "/xyz",
        "/empty/bar": "/bar",
        "/empty/": "/",
        "/empty": "/",
        "/empty?a=b": "/?a=b",
        "/root/bar": "/bar",
        "/root/": "/",
        "/root": "/",
        "/other": "/all/other",
        "/": "/all/",
    }
    assert {path: (await mesh.ask(path)).path for path in paths} == paths
    assert (await mesh.ask("/host")).asked["host"] == "other.example"


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{path: {value: /one}}]
  filters: [{type: RequestMirror, requestMirror: {backendRef: {name: reservations-v2, port: 8081}}}]
  backendRefs: [{name: reservations-v1, port: 8080}]
- matches: [{path: {value: /none}}]
  filters:
  - type: RequestMirror
    requestMirror: {backendRef: {group: example.com, name: reservations-v2, port: 8080}}
  - type: RequestMirror
    requestMirror: {backendRef: {kind: Bucket, name: reservations-v2, port: 8080}}
  - type: RequestMirror
    requestMirror: {backendRef: {namespace: elsewhere, name: reservations-v2, port: 8080}}
  backendRefs: [{name: reservations-v1, port: 8080}]
""",
    "rules[0].filters[0].requestMirror",
    "rules[0].filters[0].requestMirror.backendRef",
    "rules[0].filters[0].requestMirror.backendRef.name",
    "rules[0].filters[0].requestMirror.backendRef.port",
    "rules[1].filters[0].requestMirror.backendRef.group",
    "rules[1].filters[1].requestMirror.backendRef.kind",
    "rules[1].filters[2].requestMirror.backendRef.namespace",
)
async def copies_go_to_mirrors_and_nobody_sees_what_they_answer(mesh: Mesh) -> None:
    assert [one[PORT] for one in await mesh.copies("/one", 5, body=b"hello")] == [8081] * 5
    assert await mesh.copies("/none", 1) == []


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{path: {value: /half}}]
  filters: [{type: RequestMirror, requestMirror: {backendRef: {name: reservations-v2, port: 8080}, percent: 50}}]
  backendRefs: [{name: reservations-v1, port: 8080}]
- filters:
  - type: RequestMirror
    requestMirror:
      backendRef: {name: reservations-v2, port: 8080}
      fraction: {numerator: 500, denominator: 1000}
  backendRefs: [{name: reservations-v1, port: 8080}]
""",
    "rules[0].filters[0].requestMirror.percent",
    "rules[1].filters[0].requestMirror.fraction",
    "rules[1].filters[0].requestMirror.fraction.numerator",
    "rules[1].filters[0].requestMirror.fraction.denominator",
)
async def a_mirror_gets_a_share_of_the_requests(mesh: Mesh) -> None:
    for path in ("/half", "/fraction"):
        assert 1 <= len(await mesh.copies(path, 24)) <= 23  # outside once in eight million


@proves(
    KIND,
    PARENT
    + """
rules:
- filters:
  - type: CORS
    cors:
      allowOrigins: ["https://shop.example", "https://*.trusted:8443"]
      allowMethods: [GET, PUT]
      allowHeaders: [x-user]
      exposeHeaders: [x-total]
      maxAge: 90
      allowCredentials: true
  backendRefs: [{name: reservations-v1, port: 8080}]
""",
    "rules[0].filters[0].cors",
    "rules[0].filters[0].cors.allowOrigins",
    "rules[0].filters[0].cors.allowOrigins[1]",
    "rules[0].filters[0].cors.allowMethods",
    "rules[0].filters[0].cors.allowHeaders",
    "rules[0].filters[0].cors.exposeHeaders",
    "rules[0].filters[0].cors.maxAge",
    "rules[0].filters[0].cors.allowCredentials",
)
async def other_origins_may_read_what_a_cors_filter_says(mesh: Mesh) -> None:
    asked = {"origin": "https://shop.example", "access-control-request-method": "PUT"}
    preflight = await mesh.ask(method="OPTIONS", headers=asked)
    given = {name.lower(): value for name, value in preflight.headers.items()}
    told = {name.removeprefix("access-control-"): value for name, value in given.items() if "access" in name}
    assert (preflight.status, preflight.by) == (200, "")
    assert told == {
        "allow-origin": "https://shop.example",
        "allow-methods": "GET,PUT",
        "allow-headers": "x-user",
        "allow-credentials": "true",
        "expose-headers": "x-total",
        "max-age": "90",
    }
    for origin in ("https://very.trusted:8443", "https://very.very.trusted:8443"):
        assert (await mesh.ask(headers={"origin": origin})).headers["access-control-allow-origin"] == origin
    for origin in ("https://trusted:8443", "https://very.trusted", "http://shop.example"):
        foreign = await mesh.ask(method="OPTIONS", headers={**asked, "origin": origin})
        assert (foreign.status, foreign.by) == (200, "")
        assert "access-control-allow-origin" not in foreign.headers


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{path: {value: /timeout}}]
  timeouts: {request: 100ms}
  retry: {attempts: 0}
  backendRefs: [{name: reservations-v1, port: 8080}]
- matches: [{path: {value: /once}}]
  timeouts: {backendRequest: 200ms}
  retry: {attempts: 0}
  backendRefs: [{name: reservations-v1, port: 8080}]
- matches: [{path: {value: /slow}}]
  timeouts: {request: 5s, backendRequest: 200ms}
  backendRefs: [{name: reservations-v1, port: 8080}]
- matches: [{path: {value: /again}}]
  timeouts: {backendRequest: 200ms}
  retry: {attempts: 1}
  backendRefs: [{name: reservations-v1, port: 8080}]
""",
    "rules[0].timeouts.request",
    "rules[1].timeouts.backendRequest",
    "rules[1].retry.attempts",
    "rules[2].timeouts.backendRequest",
    "rules[3].retry.attempts",
)
async def what_takes_too_long_is_ended_or_tried_again(mesh: Mesh) -> None:
    slow = {"x-seconds": "1"}
    assert (await mesh.ask("/timeout", headers=slow)).status == 504
    assert len(await mesh.tried("/once", slow)) == 1
    assert (await mesh.ask("/once", headers=slow)).status == 504
    assert len(await mesh.tried("/again", slow)) == 2
    mesh.order.clear()
    assert (await mesh.ask("/slow", method="POST", headers=slow)).status == 504
    assert len(mesh.order) == 1
    assert len(await mesh.tried("/slow", slow)) == 3  # what is idempotent is tried again without a word


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{path: {value: /codes}}]
  retry: {codes: [500, 418], attempts: 3}
  backendRefs: [{name: reservations-v1, port: 8080}]
- matches: [{path: {value: /plain}}]
  retry: {}
  backendRefs: [{name: reservations-v1, port: 8080}]
- backendRefs: [{name: reservations-v1, port: 8080}]
""",
    "rules[0].retry",
    "rules[0].retry.codes",
    "rules[0].retry.codes[1]",
    "rules[0].retry.attempts",
    "rules[1].retry",
)
async def what_fails_is_tried_again_as_a_rule_says(mesh: Mesh) -> None:
    for status in ("500", "418"):
        assert len(await mesh.tried("/codes", {"x-status": status})) == 4
    assert len(await mesh.tried("/codes", {"x-status": "501"})) == 1
    for path, number in (("/plain", 1), ("/default", 3)):
        assert len(await mesh.tried(path, {"x-status": "503"})) == number


@proves(
    KIND,
    PARENT
    + """
rules:
- retry: {codes: [503], attempts: 2, backoff: 500ms}
  backendRefs: [{name: reservations-v1, port: 8080}]
""",
    "rules[0].retry.backoff",
)
async def between_tries_there_are_pauses(mesh: Mesh) -> None:
    began = time.monotonic()
    for _ in range(3):
        assert len(await mesh.tried("/", {"x-status": "503"})) == 3
    assert time.monotonic() - began > 0.4  # 0.3 at most with Envoy's own pauses; 3 expected


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{path: {value: /shield}}]
  filters: [{type: ExtensionRef, extensionRef: {group: example.com, kind: Shield, name: strong}}]
  backendRefs: [{name: reservations-v1, port: 8080}]
- backendRefs: [{name: reservations-v1, port: 8080}]
""",
    "rules[0].filters",
    "rules[0].filters[0]",
)
async def what_a_filter_of_others_would_have_looked_at_is_answered_500(mesh: Mesh) -> None:
    assert (await mesh.ask("/shield")).status == NOBODY
    assert (await mesh.ask("/other")).status == 200


@proves(
    KIND,
    PARENT
    + """
rules:
- matches: [{path: {value: /cookie}}]
  backendRefs: [{name: reservations, port: 8080}]
  sessionPersistence:
    sessionName: stay
    absoluteTimeout: 1h
    cookieConfig: {lifetimeType: Permanent}
- matches: [{path: {value: /header}}]
  backendRefs: [{name: reservations, port: 8080}]
  sessionPersistence: {sessionName: X-Stay, type: Header}
- matches: [{path: {value: /shares}}]
  backendRefs: [{name: reservations-v1, port: 8080}, {name: reservations-v2, port: 8080}]
  sessionPersistence: {}
- backendRefs: [{name: reservations, port: 8080}]
""",
    "rules[0].sessionPersistence",
    "rules[0].sessionPersistence.sessionName",
    "rules[0].sessionPersistence.absoluteTimeout",
    "rules[0].sessionPersistence.cookieConfig.lifetimeType",
    "rules[1].sessionPersistence",
    "rules[1].sessionPersistence.sessionName",
    "rules[1].sessionPersistence.type",
    "rules[2].sessionPersistence",
)
async def who_was_answered_once_is_led_back(mesh: Mesh) -> None:
    given = (await mesh.ask("/cookie")).headers.get("set-cookie", "")
    assert given.startswith("stay=")
    assert "Max-Age=3600" in given
    header = (await mesh.ask("/header")).headers.get("x-stay", "")
    assert header
    shared = (await mesh.ask("/shares")).headers.get("set-cookie", "")
    for path, shown in (
        ("/cookie", {"cookie": given.partition(";")[0]}),
        ("/header", {"x-stay": header}),
        ("/shares", {"cookie": shared.partition(";")[0]}),
    ):
        assert len({(await mesh.ask(path, headers=shown)).by for _ in range(20)}) == 1
    assert len({(await mesh.ask("/cookie")).by for _ in range(20)}) == 2
