"""HTTPRoute, GRPCRoute and ReferenceGrant: what can't be read is answered by nobody, and opens nothing."""

import pytest

from plait.model.finding import Severity
from plait.model.names import ObjectRef, Origin
from plait.model.reading import Reading
from plait.model.routing import (
    AttachedRoutes,
    AttachedRule,
    Backend,
    Changes,
    Cors,
    Grant,
    HeaderChanges,
    MatchKind,
    Mirror,
    Parent,
    PathChange,
    PathPart,
    Redirect,
    RedirectPort,
    RequestMatch,
    Retries,
    RouteRule,
    StringMatch,
)
from tests.dialects.reading import codes, document, fact, reading

GROUP = "gateway.networking.k8s.io"
A = "a.shop.svc.cluster.local"
PARENT = "parentRefs: [{group: '', kind: Service, name: a}]"
TO_A = "backendRefs: [{name: a, port: 80}]"


def http_route(spec: str) -> Reading:
    return reading(document(f"{GROUP}/v1", "HTTPRoute", spec))


def grpc_route(spec: str) -> Reading:
    return reading(document(f"{GROUP}/v1", "GRPCRoute", spec))


def grant(spec: str) -> Reading:
    return reading(document(f"{GROUP}/v1beta1", "ReferenceGrant", spec))


def with_rule(text: str) -> Reading:
    return http_route(f"{{{PARENT}, rules: [{text}]}}")


def attached(read: Reading) -> tuple[AttachedRule, ...]:
    return fact(read, AttachedRoutes).rules


def rule(text: str) -> RouteRule:
    (found,) = attached(with_rule(text))
    return found.rule


def match(text: str) -> RequestMatch | None:
    return rule(f"{{matches: [{text}], {TO_A}}}").match


def filtered(text: str, more: str = TO_A) -> RouteRule:
    return rule(f"{{filters: [{text}], {more}}}")


def origin(kind: str, field: str = "") -> Origin:
    return Origin(ObjectRef(GROUP, kind, "shop", "it"), field)


def exact(text: str) -> StringMatch:
    return StringMatch(MatchKind.EXACT, text)


def segments(text: str) -> StringMatch:
    return StringMatch(MatchKind.SEGMENTS, text)


def test_a_route_is_read_whole() -> None:
    read = http_route("""
parentRefs:
- {group: "", kind: Service, name: a}
- {group: "", kind: Service, name: b, namespace: other, port: 80, sectionName: web}
rules:
- name: tables
  matches:
  - path: {type: Exact, value: /tables}
    method: POST
    headers: [{name: X-User, value: tester}]
    queryParams: [{name: Free, value: "1"}]
  backendRefs:
  - {name: a, port: 80, weight: 9}
  - {name: b, namespace: other, port: 81}
""")
    assert read.findings == ()
    assert fact(read, AttachedRoutes) == AttachedRoutes(
        parents=(
            Parent(host=A, origin=origin("HTTPRoute", "spec.parentRefs[0]")),
            Parent(
                host="b.other.svc.cluster.local",
                port=80,
                section="web",
                origin=origin("HTTPRoute", "spec.parentRefs[1]"),
            ),
        ),
        rules=(
            AttachedRule(
                rule=RouteRule(
                    name="tables",
                    match=RequestMatch(
                        path=exact("/tables"),
                        method=exact("POST"),
                        headers=(("x-user", exact("tester")),),
                        query=(("Free", exact("1")),),
                        origin=origin("HTTPRoute", "spec.rules[0].matches[0]"),
                    ),
                    backends=(
                        Backend(
                            host=A,
                            port=80,
                            weight=9,
                            origin=origin("HTTPRoute", "spec.rules[0].backendRefs[0]"),
                        ),
                        Backend(
                            host="b.other.svc.cluster.local",
                            port=81,
                            weight=1,
                            origin=origin("HTTPRoute", "spec.rules[0].backendRefs[1]"),
                        ),
                    ),
                    nobody_status=500,
                    origin=origin("HTTPRoute", "spec.rules[0]"),
                ),
                specificity=(2, 7, 1, 1, 1),
            ),
        ),
        origin=origin("HTTPRoute"),
    )


def test_the_age_of_a_route_is_what_its_metadata_say() -> None:
    text = document(f"{GROUP}/v1", "HTTPRoute", f"{{{PARENT}, rules: [{{{TO_A}}}]}}")
    aged = text.replace("name: it,", "name: it, creationTimestamp: '2026-01-31T12:00:00Z',")
    assert fact(reading(aged), AttachedRoutes).created == "2026-01-31T12:00:00Z"
    assert fact(reading(text), AttachedRoutes).created == ""
    broken = reading(text.replace("name: it,", "name: it, creationTimestamp: yesterday,"))
    assert codes(broken) == [("metadata.creationTimestamp", "field.type")]
    assert fact(broken, AttachedRoutes).created == ""


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{path: {value: /a}}", segments("/a")),
        ("{path: {type: PathPrefix, value: /a/}}", segments("/a")),
        ("{path: {type: PathPrefix, value: /a/b}}", segments("/a/b")),
        ("{path: {type: Exact, value: /a/}}", exact("/a/")),
        ("{path: {type: Exact, value: /}}", exact("/")),
        ("{path: {type: RegularExpression, value: '/a.*'}}", StringMatch(MatchKind.REGEX, "/a.*")),
        ("{path: {type: Exact, value: '/%C3%A4'}}", exact("/%C3%A4")),
    ],
)
def test_a_path_is_matched_by_segments_and_the_slash_at_its_end_does_not_count(
    text: str, path: StringMatch
) -> None:
    found = match(text)
    assert found is not None
    assert found.path == path


@pytest.mark.parametrize(
    "text", ["{}", "{path: {}}", "{path: {type: PathPrefix, value: /}}", "{headers: []}"]
)
def test_a_match_of_everything_is_none(text: str) -> None:
    assert match(text) is None


def test_a_rule_without_matches_is_for_every_request_and_a_prefix_of_nothing_leaves_the_rest() -> None:
    assert rule(f"{{{TO_A}}}").match is None
    found = match("{path: {value: /}, method: GET}")
    assert found is not None
    assert (found.path, found.method) == (None, exact("GET"))


def test_each_match_is_a_rule_of_its_own() -> None:
    read = with_rule(
        f"{{matches: [{{path: {{value: /a}}}}, {{method: GET}}, {{path: {{value: 'b'}}}}], {TO_A}}}"
    )
    assert [one.rule.match and one.rule.match.origin.field for one in attached(read)] == [
        "spec.rules[0].matches[0]",
        "spec.rules[0].matches[1]",
    ]
    assert codes(read) == [
        ("spec.rules[0].matches[2].path.value", "path.invalid"),
        ("spec.rules[0].matches[2]", "match.left-out"),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{path: {value: a}}", "path.invalid"),
        ("{path: {value: //a}}", "path.invalid"),
        ("{path: {value: /a/../b}}", "path.invalid"),
        ("{path: {value: /a/.}}", "path.invalid"),
        ("{path: {value: /a%2Fb}}", "path.invalid"),
        ("{path: {value: '/a#b'}}", "path.invalid"),
        ("{path: {value: '/a?b'}}", "path.invalid"),
        (f"{{path: {{value: '/{'a' * 1024}'}}}}", "field.range"),
        ("{path: {type: Prefix, value: /a}}", "field.choice"),
        ("{path: {type: RegularExpression, value: '('}}", "regex.invalid"),
        ("{path: {type: RegularExpression, value: ''}}", "match.empty"),
        ("{path: /a}", "field.type"),
        ("{method: get}", "field.choice"),
        ("{headers: [{name: x}]}", "field.required"),
        ("{headers: [{value: x}]}", "field.required"),
        ("{headers: [{name: 'a b', value: x}]}", "header.name"),
        ("{headers: [{name: x, value: '(', type: RegularExpression}]}", "regex.invalid"),
        ("{headers: {x: a}}", "field.type"),
        ("{queryParams: [{name: x, value: ''}]}", "field.required"),
        ("{querryParams: [{name: x, value: y}]}", "field.unknown"),
        ("null", "field.type"),
    ],
)
def test_a_match_that_cannot_be_read_whole_matches_nothing(text: str, code: str) -> None:
    read = with_rule(f"{{matches: [{text}], {TO_A}}}")
    assert read.facts == ()
    found = [one for _, one in codes(read)]
    assert code in found
    assert {"match.left-out", "route.left-out"} <= set(found)


def test_of_two_tests_of_one_name_the_first_holds_and_headers_have_no_case() -> None:
    read = with_rule(f"""{{matches: [{{
        headers: [{{name: X-A, value: one}}, {{name: x-a, value: two}}],
        queryParams: [{{name: a, value: one}}, {{name: A, value: two}}, {{name: a, value: three}}]}}], {TO_A}}}""")
    (found,) = attached(read)
    assert found.rule.match is not None
    assert found.rule.match.headers == (("x-a", exact("one")),)
    assert found.rule.match.query == (("a", exact("one")), ("A", exact("two")))
    assert found.specificity == (0, 1, 0, 1, 2)
    assert codes(read) == [
        ("spec.rules[0].matches[0].headers[1]", "match.twice"),
        ("spec.rules[0].matches[0].queryParams[2]", "match.twice"),
    ]


def test_matches_are_placed_by_path_method_headers_and_parameters() -> None:
    texts = [
        "{path: {type: Exact, value: /a}, method: GET}",
        "{path: {type: Exact, value: /a}, headers: [{name: a, value: a}]}",
        "{path: {type: RegularExpression, value: '/a.*'}}",
        "{path: {value: /aaaa}}",
        "{path: {value: /a}, method: GET}",
        "{path: {value: /a}, headers: [{name: a, value: a}, {name: b, value: b}]}",
        "{path: {value: /a}, headers: [{name: a, value: a}], queryParams: [{name: a, value: a}]}",
        "{path: {value: /a}, headers: [{name: a, value: a}]}",
        "{path: {value: /a}, queryParams: [{name: a, value: a}]}",
        "{path: {value: /a}}",
        "{method: GET}",
        "{headers: [{name: a, value: a}]}",
        "{}",
    ]
    found = attached(with_rule(f"{{matches: [{', '.join(texts)}], {TO_A}}}"))
    places = [one.specificity for one in found]
    assert places == sorted(places, reverse=True)
    assert len(set(places)) == len(texts)


@pytest.mark.parametrize(
    ("parent", "code"),
    [
        ("{name: gateway}", "parent.gateway"),
        ("{kind: Service, name: a}", "parent.kind"),
        ("{group: networking.istio.io, kind: ServiceEntry, name: a}", "parent.kind"),
        ("{group: '', kind: Service}", "field.required"),
        ("{group: '', kind: Service, name: a, port: 0}", "field.range"),
        ("{group: '', kind: Service, name: A_B}", "name.invalid"),
        ("a", "field.type"),
    ],
)
def test_a_parent_that_is_none_leaves_the_others(parent: str, code: str) -> None:
    read = http_route(
        f"{{parentRefs: [{parent}, {{group: '', kind: Service, name: a}}], rules: [{{{TO_A}}}]}}"
    )
    assert [one.host for one in fact(read, AttachedRoutes).parents] == [A]
    assert code in [one for _, one in codes(read)]
    assert http_route(f"{{parentRefs: [{parent}], rules: [{{{TO_A}}}]}}").facts == ()


def test_a_route_without_parents_or_with_one_twice_is_told() -> None:
    assert codes(http_route(f"{{rules: [{{{TO_A}}}]}}")) == [("spec.parentRefs", "parent.none")]
    twice = "{group: '', kind: Service, name: a}"
    read = http_route(f"{{parentRefs: [{twice}, {twice}], rules: [{{{TO_A}}}]}}")
    assert codes(read) == [("spec.parentRefs[1]", "parent.twice")]
    assert len(fact(read, AttachedRoutes).parents) == 1


def test_hostnames_have_no_effect_on_services() -> None:
    read = http_route(f"{{{PARENT}, hostnames: [a.example], rules: [{{{TO_A}}}]}}")
    assert codes(read) == [("spec.hostnames", "hostnames.no-effect")]
    assert read.findings[0].severity is Severity.WARNING
    gateway = http_route(f"{{parentRefs: [{{name: g}}], hostnames: [a.example], rules: [{{{TO_A}}}]}}")
    assert codes(gateway) == [("spec.parentRefs[0]", "parent.gateway")]


@pytest.mark.parametrize(
    ("backend", "code"),
    [
        ("{name: a}", "backend.left-out"),
        ("{port: 80}", "backend.left-out"),
        ("{name: a, port: http}", "backend.left-out"),
        ("{name: a, port: 80, wieght: 5}", "backend.left-out"),
        ("{name: a, port: 80, weight: -1}", "backend.left-out"),
        ("{name: a, port: 80, filters: [{type: Unheard}]}", "backend.left-out"),
        ("{name: a, port: 80, filters: [{type: CORS, cors: {}}]}", "backend.left-out"),
        (
            "{name: a, port: 80, filters: [{type: RequestMirror, requestMirror: {backendRef: {name: b}}}]}",
            "backend.left-out",
        ),
        (
            "{name: a, port: 80, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath}}}]}",
            "backend.left-out",
        ),
        ("{group: multicluster.x-k8s.io, kind: ServiceImport, name: a, port: 80}", "backend.kind"),
        ("{kind: Bucket, name: UPPER_case}", "backend.kind"),
        ("a", "backend.left-out"),
    ],
)
def test_a_backend_that_cannot_be_sent_to_keeps_its_share(backend: str, code: str) -> None:
    read = with_rule(f"{{backendRefs: [{backend}, {{name: a, port: 80, weight: 3}}]}}")
    (found,) = attached(read)
    assert [(one.host, one.weight) for one in found.rule.backends] == [("", 1), (A, 3)]
    assert found.rule.nobody_status == 500
    assert ("spec.rules[0].backendRefs[0]", code) in codes(read)


def test_what_is_sent_nowhere_is_told() -> None:
    for text in ("{}", "{backendRefs: []}"):
        read = with_rule(text)
        assert codes(read) == [("spec.rules[0].backendRefs", "route.no-backends")]
        (found,) = attached(read)
        assert (found.rule.backends, found.rule.nobody_status) == ((), 500)
    read = http_route(f"{{{PARENT}}}")
    assert codes(read) == [("spec.rules", "route.no-backends")]
    (found,) = attached(read)
    assert (found.rule.match, found.rule.backends) == (None, ())
    assert codes(grpc_route(f"{{{PARENT}}}")) == [("spec.rules", "route.no-rules")]


def test_filters_change_headers_and_a_percent_sign_is_one() -> None:
    found = filtered("""
{type: RequestHeaderModifier, requestHeaderModifier:
  {set: [{name: X-A, value: 100 %}], add: [{name: x-b, value: '%REQ(x)%'}], remove: [X-C]}},
{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-a, value: b}]}}""")
    assert found.changes == Changes(
        request=HeaderChanges(set=(("x-a", "100 %%"),), add=(("x-b", "%%REQ(x)%%"),), remove=("x-c",)),
        response=HeaderChanges(set=(("x-a", "b"),)),
    )


def test_of_a_header_that_is_set_twice_the_first_holds() -> None:
    read = with_rule(f"""{{filters: [{{type: RequestHeaderModifier, requestHeaderModifier:
        {{set: [{{name: x-a, value: one}}, {{name: X-A, value: two}}]}}}}], {TO_A}}}""")
    assert [code for _, code in codes(read)] == ["header.twice"]
    assert read.findings[0].severity is Severity.WARNING
    assert attached(read)[0].rule.changes.request.set == (("x-a", "one"),)


@pytest.mark.parametrize(
    "text",
    [
        "{type: Unheard}",
        "{requestHeaderModifier: {remove: [a]}}",
        "{type: RequestHeaderModifier}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a}]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: 'a b', value: c}]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: c}]}}",
        '{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: "b\\nc"}]}}',
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}], remove: [A]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {sett: [{name: a, value: b}]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {remove: [a]}, cors: {}}",
        (
            "{type: RequestHeaderModifier, requestHeaderModifier: {remove: [a]}}, "
            "{type: RequestHeaderModifier, requestHeaderModifier: {remove: [b]}}"
        ),
        "{type: ExtensionRef, extensionRef: {group: a.example, kind: B, name: c}}",
        "{type: ExternalAuth, externalAuth: {protocol: HTTP}}",
        "{type: RequestMirror, requestMirror: {backendRef: {name: a}}}",
        "{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, percent: 101}}",
        "{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, percent: 1, fraction: {numerator: 1}}}",
        "{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, fraction: {numerator: 5, denominator: 4}}}",
        "{type: URLRewrite, urlRewrite: {hostname: 'a:80'}}",
        "{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replacePrefixMatch: /}}}",
        "{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: a}}}",
        "{type: URLRewrite, urlRewrite: {path: {replaceFullPath: /a}}}",
        "{type: CORS, cors: {allowOrigins: ['ftp://a']}}",
        "{type: CORS, cors: {allowOrigins: ['*', 'https://a']}}",
        "{type: CORS, cors: {allowOrigins: ['*'], allowMethods: [get]}}",
        "{type: CORS, cors: {allowOrigins: ['*'], maxAge: 0}}",
        "{type: RequestRedirect, requestRedirect: {hostname: b.example}}",
        "{}",
        "null",
    ],
)
def test_a_filter_that_cannot_be_read_is_not_skipped(text: str) -> None:
    read = with_rule(f"{{name: it, filters: [{text}], {TO_A}}}")
    (found,) = attached(read)
    assert found.rule == RouteRule(name="it", nobody_status=500, origin=origin("HTTPRoute", "spec.rules[0]"))
    assert ("spec.rules[0].filters", "filter.left-out") in codes(read)


def test_filters_that_are_no_list_are_not_skipped() -> None:
    read = with_rule(f"{{filters: {{type: CORS}}, {TO_A}}}")
    assert attached(read)[0].rule.backends == ()
    assert ("spec.rules[0].filters", "filter.left-out") in codes(read)


@pytest.mark.parametrize("field", ["filter: []", "match: []", "Matches: []"])
def test_a_rule_with_a_field_that_nobody_knows_is_left_out(field: str) -> None:
    read = http_route(f"{{{PARENT}, rules: [{{{TO_A}, {field}}}, {{{TO_A}}}]}}")
    assert [one.rule.origin.field for one in attached(read)] == ["spec.rules[1]"]
    assert ("spec.rules[0]", "route.left-out") in codes(read)


def test_a_session_that_can_not_be_read_keeps_no_rule_from_holding() -> None:
    read = with_rule(f"{{{TO_A}, sessionPersistence: {{type: Hat}}}}")
    assert codes(read) == [("spec.rules[0].sessionPersistence.type", "field.choice")]
    (found,) = attached(read)
    assert (len(found.rule.backends), found.rule.session) == (1, None)


def test_every_rule_has_a_session_of_its_own_name() -> None:
    one = f"{{{TO_A}, sessionPersistence: {{}}}}"
    read = http_route(f"{{{PARENT}, rules: [{one}, {one}]}}")
    names = {one.rule.session.name for one in attached(read) if one.rule.session is not None}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("prefix", "text", "found"),
    [
        ("/foo", "/xyz", "/xyz"),
        ("/foo", "/xyz/", "/xyz"),
        ("/foo/", "/xyz/", "/xyz"),
        ("/foo", "", "/"),
        ("/foo", "/", "/"),
        ("/", "/xyz", "/xyz/"),
        ("/", "/", "/"),
    ],
)
def test_a_prefix_is_replaced_as_the_table_of_the_specification_says(
    prefix: str, text: str, found: str
) -> None:
    replaced = f"path: {{type: ReplacePrefixMatch, replacePrefixMatch: '{text}'}}"
    one = rule(
        f"{{matches: [{{path: {{value: {prefix}}}}}], "
        f"filters: [{{type: URLRewrite, urlRewrite: {{{replaced}}}}}], {TO_A}}}"
    )
    assert one.path == PathChange(part=PathPart.PREFIX, text=found)
    other = rule(
        f"{{matches: [{{path: {{value: {prefix}}}}}], "
        f"filters: [{{type: RequestRedirect, requestRedirect: {{{replaced}}}}}]}}"
    )
    assert isinstance(other.answer, Redirect)
    assert other.answer.path == PathChange(part=PathPart.PREFIX, text=found)


@pytest.mark.parametrize(
    "matches",
    [
        "[{path: {type: Exact, value: /a}}]",
        "[{path: {type: RegularExpression, value: /a}}]",
        "[{path: {value: /a}}, {path: {value: /b}}]",
    ],
)
def test_only_the_prefix_of_a_single_match_is_replaced(matches: str) -> None:
    read = with_rule(
        f"{{matches: {matches}, filters: [{{type: URLRewrite, urlRewrite: "
        f"{{path: {{type: ReplacePrefixMatch, replacePrefixMatch: /b}}}}}}], {TO_A}}}"
    )
    assert all(one.rule.backends == () for one in attached(read))
    assert ("spec.rules[0].filters[0].urlRewrite.path", "filter.prefix") in codes(read)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{}", Redirect(port=RedirectPort.CALLED, status=302)),
        (
            "{hostname: b.example}",
            Redirect(host="b.example", port=RedirectPort.CALLED, status=302),
        ),
        ("{scheme: https}", Redirect(scheme="https", port=443, status=302)),
        ("{scheme: http}", Redirect(scheme="http", port=80, status=302)),
        ("{scheme: https, port: 8443}", Redirect(scheme="https", port=8443, status=302)),
        ("{port: 81, statusCode: 308}", Redirect(port=81, status=308)),
        (
            "{path: {type: ReplaceFullPath, replaceFullPath: /b}}",
            Redirect(port=RedirectPort.CALLED, status=302, path=PathChange(part=PathPart.WHOLE, text="/b")),
        ),
    ],
)
def test_a_redirect_keeps_to_the_port_that_was_called_or_to_that_of_its_scheme(
    text: str, found: Redirect
) -> None:
    assert filtered(f"{{type: RequestRedirect, requestRedirect: {text}}}", "backendRefs: []").answer == found


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{statusCode: 304}", "redirect.status"),
        ("{scheme: ftp}", "field.choice"),
        ("{port: 0}", "field.range"),
        ("{hostname: ''}", "field.required"),
        ("{hostname: '*.example'}", "host.invalid"),
    ],
)
def test_a_redirect_that_cannot_be_read_answers_500(text: str, code: str) -> None:
    read = with_rule(f"{{filters: [{{type: RequestRedirect, requestRedirect: {text}}}]}}")
    assert attached(read)[0].rule.answer is None
    assert {code, "filter.left-out"} <= {one for _, one in codes(read)}


def test_a_redirect_to_where_the_request_was_is_told() -> None:
    for text in ("{}", "{statusCode: 301}"):
        read = with_rule(f"{{filters: [{{type: RequestRedirect, requestRedirect: {text}}}]}}")
        assert codes(read) == [("spec.rules[0].filters[0].requestRedirect", "redirect.empty")]
        assert attached(read)[0].rule.answer is not None


def test_what_a_redirect_leaves_without_effect_is_told() -> None:
    read = with_rule("""{timeouts: {request: 1s}, retry: {attempts: 1}, filters: [
        {type: RequestRedirect, requestRedirect: {hostname: b.example}},
        {type: RequestHeaderModifier, requestHeaderModifier: {remove: [a]}},
        {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [a]}},
        {type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}}}]}""")
    assert [(field, code) for field, code in codes(read) if code == "redirect.no-effect"] == [
        ("spec.rules[0].filters[1].requestHeaderModifier", "redirect.no-effect"),
        ("spec.rules[0].filters[3].requestMirror", "redirect.no-effect"),
        ("spec.rules[0].timeouts", "redirect.no-effect"),
        ("spec.rules[0].retry", "redirect.no-effect"),
    ]
    (found,) = attached(read)
    assert (found.rule.mirrors, found.rule.timeout, found.rule.retries) == ((), None, None)


@pytest.mark.parametrize(
    ("share", "millionths"),
    [
        ("", 1_000_000),
        (", percent: 5", 50_000),
        (", fraction: {numerator: 5}", 50_000),
        (", fraction: {numerator: 1, denominator: 3000}", 333),
    ],
)
def test_copies_go_to_a_share_of_the_requests(share: str, millionths: int) -> None:
    found = filtered(f"{{type: RequestMirror, requestMirror: {{backendRef: {{name: a, port: 80}}{share}}}}}")
    (mirror,) = found.mirrors
    assert mirror == Mirror(
        backend=Backend(host=A, port=80, weight=100, origin=mirror.backend.origin), millionths=millionths
    )


def test_no_copies_go_to_nobody() -> None:
    assert filtered(
        "{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, percent: 0}}"
    ) == rule(f"{{{TO_A}}}")
    read = with_rule(
        f"{{filters: [{{type: RequestMirror, requestMirror: {{backendRef: {{kind: B, name: a}}}}}}], {TO_A}}}"
    )
    assert codes(read) == [("spec.rules[0].filters[0].requestMirror.backendRef", "backend.kind")]
    assert (attached(read)[0].rule.mirrors, len(attached(read)[0].rule.backends)) == ((), 1)


def test_other_origins_may_read_what_a_cors_filter_says() -> None:
    found = filtered("""{type: CORS, cors: {
        allowOrigins: ['https://A.example:443', 'https://*.b.example', 'http://c.example:8080'],
        allowMethods: [GET, PATCH], allowHeaders: [X-A], exposeHeaders: ['*']}}""")
    assert found.cors == Cors(
        origins=(
            exact("https://a.example"),
            StringMatch(MatchKind.REGEX, r"https://[^/:]+\.b\.example"),
            exact("http://c.example:8080"),
        ),
        methods=("GET", "PATCH"),
        headers=("X-A",),
        exposed=("*",),
        max_age=5.0,
        forward_unmatched=False,
    )


def test_with_credentials_a_wildcard_is_written_out_or_told() -> None:
    read = with_rule(f"""{{filters: [{{type: CORS, cors: {{allowCredentials: true, allowOrigins: ['*'],
        allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*'], maxAge: 60}}}}], {TO_A}}}""")
    found = attached(read)[0].rule.cors
    assert found is not None
    assert found.methods == ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
    assert (found.headers, found.exposed, found.max_age) == ((), (), 60.0)
    assert [code for _, code in codes(read)] == ["cors.wildcard", "cors.wildcard"]


CONDITIONS = ("connect-failure", "refused-stream", "unavailable", "reset-before-request", "retriable-headers")


@pytest.mark.parametrize(
    ("text", "timeout", "retries", "try_timeout"),
    [
        ("timeouts: {request: 2s}", 2.0, None, None),
        ("timeouts: {request: 0s, backendRequest: 0s}", 0.0, None, None),
        ("timeouts: {request: 2s, backendRequest: 500ms}", 2.0, None, 0.5),
        ("retry: {}", None, Retries(attempts=2, on=CONDITIONS), None),
        (
            "retry: {attempts: 3, codes: [500, 503], backoff: 10ms}",
            None,
            Retries(attempts=3, on=(*CONDITIONS, "500", "503"), back_off=0.01),
            None,
        ),
        (
            "timeouts: {backendRequest: 1s}, retry: {attempts: 1}",
            None,
            Retries(attempts=1, per_try_timeout=1.0, on=(*CONDITIONS, "reset")),
            None,
        ),
        ("timeouts: {backendRequest: 1s}, retry: {attempts: 0}", 1.0, Retries(attempts=0), None),
        ("timeouts: {request: 2s, backendRequest: 1s}, retry: {attempts: 0}", 1.0, Retries(attempts=0), None),
    ],
)
def test_timeouts_and_retries(
    text: str, timeout: float | None, retries: Retries | None, try_timeout: float | None
) -> None:
    found = rule(f"{{{TO_A}, {text}}}")
    assert (found.timeout, found.retries, found.try_timeout) == (timeout, retries, try_timeout)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("retry: {codes: [200]}", "field.range"),
        ("retry: {attempts: -1}", "field.range"),
        ("retry: {backoff: 0s}", "field.range"),
        ("timeouts: {request: soon}", "field.duration"),
        ("timeouts: {request: 1s, backendRequest: 2s}", "timeout.never"),
    ],
)
def test_timeouts_and_retries_that_cannot_be_read_leave_the_default(text: str, code: str) -> None:
    read = with_rule(f"{{{TO_A}, {text}}}")
    assert [one for _, one in codes(read)] == [code]
    assert attached(read)[0].rule.retries is None


def test_long_lists_and_names_given_twice_are_told() -> None:
    read = with_rule(f"{{backendRefs: [{', '.join(['{name: a, port: 80}'] * 17)}]}}")
    assert codes(read) == [("spec.rules[0].backendRefs", "field.items")]
    assert len(attached(read)[0].rule.backends) == 17
    named = f"{{name: it, {TO_A}, matches: [{{method: GET}}, {{method: PUT}}]}}"
    read = http_route(f"{{{PARENT}, rules: [{named}, {named}]}}")
    assert codes(read) == [("spec.rules[1].name", "rule.name-twice")]


def calls(text: str) -> AttachedRule:
    (found,) = attached(grpc_route(f"{{{PARENT}, rules: [{{matches: [{text}], {TO_A}}}]}}"))
    return found


@pytest.mark.parametrize(
    ("text", "path", "specificity"),
    [
        ("{service: a.B, method: C}", exact("/a.B/C"), (3, 1, 0)),
        ("{type: Exact, service: a.B}", StringMatch(MatchKind.PREFIX, "/a.B/"), (3, 0, 0)),
        ("{method: C}", StringMatch(MatchKind.REGEX, "/[^/]+/C"), (0, 1, 0)),
        (
            "{type: RegularExpression, service: 'a|b', method: 'C.*'}",
            StringMatch(MatchKind.REGEX, "/(?:a|b)/(?:C.*)"),
            (3, 3, 0),
        ),
        (
            "{type: RegularExpression, service: 'a|b'}",
            StringMatch(MatchKind.REGEX, "/(?:a|b)/[^/]+"),
            (3, 0, 0),
        ),
    ],
)
def test_a_call_is_matched_by_service_and_method(
    text: str, path: StringMatch, specificity: tuple[int, ...]
) -> None:
    found = calls(f"{{method: {text}}}")
    assert found.rule.match is not None
    assert (found.rule.match.path, found.specificity) == (path, specificity)
    assert found.rule.nobody_status == 503


def test_calls_may_be_matched_by_headers_alone_or_all_of_them() -> None:
    found = calls("{headers: [{name: x-a, value: b}]}")
    assert found.rule.match is not None
    assert (found.rule.match.headers, found.specificity) == ((("x-a", exact("b")),), (0, 0, 1))
    assert (calls("{}").rule.match, calls("{}").specificity) == (None, (0, 0, 0))
    assert fact(grpc_route(f"{{{PARENT}, rules: [{{{TO_A}}}]}}"), AttachedRoutes).grpc


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{}", "field.required"),
        ("{type: Exact, service: 'a/b'}", "match.name"),
        ("{service: a, method: 'b c'}", "match.name"),
        ("{type: Prefix, service: a}", "field.choice"),
        ("{type: RegularExpression, service: '('}", "regex.invalid"),
        ("a", "field.type"),
    ],
)
def test_a_call_that_cannot_be_read_is_matched_by_nothing(text: str, code: str) -> None:
    read = grpc_route(f"{{{PARENT}, rules: [{{matches: [{{method: {text}}}], {TO_A}}}]}}")
    assert read.facts == ()
    assert {code, "match.left-out", "route.left-out"} <= {one for _, one in codes(read)}


def test_a_filter_of_http_is_none_of_grpc() -> None:
    read = grpc_route(
        f"{{{PARENT}, rules: [{{filters: [{{type: URLRewrite, urlRewrite: {{hostname: b}}}}], {TO_A}}}]}}"
    )
    (found,) = attached(read)
    assert (found.rule.backends, found.rule.nobody_status) == ((), 503)
    assert ("spec.rules[0].filters[0].type", "filter.unsupported") in codes(read)


FROM = f"from: [{{group: {GROUP}, kind: HTTPRoute, namespace: other}}]"
TO = "to: [{group: '', kind: Service}]"


def test_a_grant_names_who_and_whom() -> None:
    assert fact(grant(f"{{{FROM}, {TO}}}"), Grant) == Grant(
        namespace="shop",
        sources=((GROUP, "HTTPRoute", "other"),),
        names=("",),
        origin=origin("ReferenceGrant"),
    )
    named = grant(f"{{{FROM}, to: [{{group: '', kind: Service, name: a}}, {{group: '', kind: Secret}}]}}")
    assert fact(named, Grant).names == ("a",)
    assert codes(named) == [("spec.to[1]", "grant.no-effect")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"{{{FROM}}}", "field.required"),
        (f"{{{TO}}}", "field.required"),
        (f"{{{FROM}, to: [{{group: '', kind: Service, nmae: a}}]}}", "grant.left-out"),
        (f"{{{FROM}, to: [{{group: '', kind: Service, name: ''}}]}}", "grant.left-out"),
        (f"{{{FROM}, to: [{{kind: Service}}]}}", "field.required"),
        (f"{{{FROM}, to: [{{group: '', kind: Secret}}]}}", "grant.no-effect"),
        (f"{{from: [{{group: {GROUP}, kind: Gateway, namespace: b}}], {TO}}}", "grant.no-effect"),
        (f"{{from: [{{group: {GROUP}, kind: HTTPRoute}}], {TO}}}", "grant.left-out"),
        (f"{{from: [{{group: {GROUP}, kind: HTTPRoute, namespace: '*'}}], {TO}}}", "grant.left-out"),
        (f"{{from: a, {TO}}}", "field.type"),
    ],
)
def test_what_cannot_be_read_grants_nothing(text: str, code: str) -> None:
    read = grant(text)
    assert read.facts == ()
    assert code in [one for _, one in codes(read)]
