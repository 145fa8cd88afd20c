"""Rules of routes and of policies in words: each field says something, and nothing is said of what is not given."""

import pytest

from plait.explain import policy_words, route_words
from plait.explain.phrases import either, few, seconds
from plait.model.names import ObjectRef, Origin, WorkloadKey
from plait.model.policy import Attribute, Condition, Operation, PolicyRule, Source
from plait.model.routing import (
    Abort,
    Backend,
    Changes,
    Clients,
    Cors,
    Delay,
    DirectResponse,
    Fault,
    HeaderChanges,
    MatchKind,
    PathChange,
    PathPart,
    Redirect,
    RedirectPort,
    RequestMatch,
    Retries,
    RouteRule,
    Session,
    SessionKind,
    StringMatch,
)
from plait.model.traffic import HashKey, HashKind

ORIGIN = Origin(ObjectRef("any", "Any", "bistro", "any"))
MENU = Backend(host="menu.bistro.svc.cluster.local", port=8080, origin=ORIGIN)


def match(**fields: object) -> RequestMatch:
    return RequestMatch(origin=ORIGIN, **fields)  # type: ignore[arg-type]


def rule(**fields: object) -> RouteRule:
    return RouteRule(origin=ORIGIN, **fields)  # type: ignore[arg-type]


def exact(value: str) -> StringMatch:
    return StringMatch(MatchKind.EXACT, value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (match(), ()),
        (match(path=StringMatch(MatchKind.PREFIX, "/")), ()),
        (match(path=StringMatch(MatchKind.SEGMENTS, "/")), ()),
        (match(port=8080), ()),  # ports stand beside the rules
        (match(path=StringMatch(MatchKind.SEGMENTS, "/menu")), ("path is /menu or below",)),
        (match(path=StringMatch(MatchKind.REGEX, "/m.*")), ("path matches /m.*",)),
        (match(path=exact("/Menu"), ignore_path_case=True), ("path is /Menu in any case",)),
        (
            match(method=exact("GET"), scheme=exact("https"), authority=StringMatch(MatchKind.PREFIX, "menu")),
            ("method is GET", "scheme is https", "authority begins with menu"),
        ),
        (
            match(headers=(("x-a", StringMatch(MatchKind.PRESENT)), ("x-b", exact("")))),
            ("header x-a is there", 'header x-b is ""'),
        ),
        (
            match(
                without_headers=(
                    ("x-a", StringMatch(MatchKind.PRESENT)),
                    ("x-b", exact("1")),
                    ("x-c", StringMatch(MatchKind.PREFIX, "p")),
                    ("x-d", StringMatch(MatchKind.REGEX, "r")),
                    ("x-e", StringMatch(MatchKind.SEGMENTS, "/s")),
                )
            ),
            (
                "header x-a is not there",
                "header x-b is not 1",
                "header x-c does not begin with p",
                "header x-d does not match r",
                "header x-e is neither /s nor below",
            ),
        ),
        (match(query=(("v", StringMatch(MatchKind.REGEX, "[0-9]+")),)), ("query v matches [0-9]+",)),
        (match(clients=Clients(namespace="cellar")), ("from namespace cellar",)),
        (
            match(clients=Clients(namespace="cellar", labels=(("app", "a"), ("tier", "b")))),
            ("from workloads with app=a, tier=b in namespace cellar",),
        ),
    ],
)  # fmt: skip
def test_what_a_request_must_be_like(asked: RequestMatch, words: tuple[str, ...]) -> None:
    assert route_words.matches(asked) == words


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (rule(backends=(MENU,)), ""),
        (rule(), "503: there is nobody to send to"),
        (rule(nobody_status=500, backends=(Backend(host="", origin=ORIGIN),)), "500: there is nobody to send to"),
        (rule(answer=Redirect(scheme="https", port=8443)), "301, elsewhere: scheme https, port 8443"),
        (rule(answer=Redirect(port=RedirectPort.CALLED)), "301, elsewhere: the port that was called"),
        (
            rule(answer=Redirect(status=302, host="a.example", path=PathChange(part=PathPart.PREFIX, text="/b"))),
            "302, elsewhere: host a.example, matched part of the path becomes /b",
        ),
        (rule(answer=Redirect()), "301, to the same place"),
        (rule(answer=DirectResponse(status=404)), "404 at once"),
        (rule(answer=DirectResponse(status=200, body=b"a" * 70)), f"200 at once: {'a' * 60}…"),
    ],
)  # fmt: skip
def test_what_is_answered_in_place_of_destinations(given: RouteRule, words: str) -> None:
    assert route_words.answer(given) == words


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (rule(), ()),
        (rule(timeout=2.5), ("timeout 2.5s",)),
        (rule(timeout=0.0), ("no timeout",)),
        (rule(try_timeout=0.25), ("250ms for each try",)),
        (rule(retries=Retries(attempts=0)), ("no retries",)),
        (
            rule(retries=Retries(attempts=1, on=("5xx", "reset"), per_try_timeout=2.0, back_off=0.1, other_hosts=False)),
            ("1 retry on 5xx or reset, 2s for each try, 100ms between, at the same replica too",),
        ),
        (
            rule(
                fault=Fault(
                    delay=Delay(seconds=5, millionths=100_000), abort=Abort(status=14, grpc=True, millionths=1_000_000)
                )
            ),
            ("10% delayed by 5s", "all answered gRPC status 14 on purpose"),
        ),
        (rule(path=PathChange(part=PathPart.WHOLE, text="/a")), ("path becomes /a",)),
        (
            rule(path=PathChange(part=PathPart.PATTERN, pattern="^/a", text="")),
            ('^/a in the path becomes ""',),
        ),
        (
            rule(
                changes=Changes(
                    authority="b.example",
                    request=HeaderChanges(set=(("x-a", "1"),), add=(("x-b", "2"),), remove=("x-c",)),
                    response=HeaderChanges(remove=("server",)),
                )
            ),
            (
                "authority becomes b.example",
                "request header x-a set to 1",
                "request header x-b added: 2",
                "request header x-c removed",
                "response header server removed",
            ),
        ),
        (
            rule(
                cors=Cors(
                    origins=(exact("https://a.example"), StringMatch(MatchKind.PREFIX, "https://b")),
                    methods=("GET", "PUT"), headers=("x-a",), credentials=True,
                )
            ),
            ("CORS for https://a.example or begins with https://b, methods GET or PUT, headers x-a, with credentials",),
        ),
        (rule(cors=Cors(origins=())), ("CORS for nobody",)),
        (rule(session=Session(kind=SessionKind.COOKIE, name="table", lifetime=3600.0)), ("sessions kept by cookie table for 1h",)),
        (
            rule(backends=(Backend(host="a", hash_key=HashKey(kind=HashKind.HEADER, name="x-user"), origin=ORIGIN),)),
            ("replica chosen by header x-user",),
        ),
        (
            rule(backends=(Backend(host="a", hash_key=HashKey(kind=HashKind.SOURCE), origin=ORIGIN),)),
            ("replica chosen by the caller's address",),
        ),
    ],
)  # fmt: skip
def test_what_else_is_done(given: RouteRule, words: tuple[str, ...]) -> None:
    assert route_words.more(given) == words


def test_the_authority_of_a_rule_comes_before_that_of_a_destination() -> None:
    own = Changes(authority="b.example", request=HeaderChanges(remove=("x-a",)))
    backend = Backend(host="a", changes=own, origin=ORIGIN)
    assert route_words.of_destination(rule(), backend, "a") == (
        "to a: authority becomes b.example",
        "to a: request header x-a removed",
    )
    above = rule(changes=Changes(authority="c.example"))
    assert route_words.of_destination(above, backend, "a") == ("to a: request header x-a removed",)


def test_callers_are_named_as_far_as_they_are_few() -> None:
    assert route_words.callers((), ()) == ""
    assert route_words.callers(("a",), ()) == "from namespace a"
    assert route_words.callers(tuple("abcdef"), (WorkloadKey("x", "y"),)) == (
        "from namespaces a, b, c and 3 more and workload x/y"
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Source(principals=("cluster.local/ns/bistro/sa/a", "old.domain/ns/bistro/sa/b")), ("service account bistro/a", "service account bistro/b of old.domain")),
        (Source(principals=("*", "cluster.local/ns/bistro/*")), ("any identity", "identity cluster.local/ns/bistro/*")),
        (Source(namespaces=("a", "b")), ("namespace a", "namespace b")),
        (Source(request_principals=("iss/*",), remote_ip_blocks=("10.0.0.0/8", "11.0.0.0/8")), ("token of iss/*, client address 10.0.0.0/8 or 11.0.0.0/8",)),
        (Source(not_namespaces=("a",)), ("anybody but namespace a",)),
        (
            Source(namespaces=("a",), ip_blocks=("10.0.0.1/32",), not_principals=("*",), not_ip_blocks=("10.0.0.2/32",)),
            ("namespace a, address 10.0.0.1/32 but not any identity nor address 10.0.0.2/32",),
        ),
    ],
)  # fmt: skip
def test_who_may(source: Source, words: tuple[str, ...]) -> None:
    given = PolicyRule(index=0, sources=(source,), origin=ORIGIN)
    assert policy_words.who(given, "cluster.local") == words


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (Operation(methods=("GET", "POST")), ("GET", "POST")),
        (Operation(paths=("/a", "/b*")), ("path /a", "path /b*")),
        (Operation(methods=("GET", "POST"), paths=("/a", "/b*")), ("GET or POST /a", "GET or POST /b*")),
        (Operation(hosts=("a.example",), ports=(80, 81)), ("host a.example, port 80 or 81",)),
        (Operation(not_methods=("DELETE",), not_paths=("/x",), not_hosts=("h",), not_ports=(1,)), ("anything but DELETE or path /x or host h or port 1",)),
    ],
)  # fmt: skip
def test_what_may_be_done(operation: Operation, words: tuple[str, ...]) -> None:
    assert policy_words.what(PolicyRule(index=0, operations=(operation,), origin=ORIGIN)) == words


@pytest.mark.parametrize("attribute", list(Attribute))
def test_every_attribute_has_words(attribute: Attribute) -> None:
    condition = Condition(attribute=attribute, path=("some", "thing"), values=("1", "2"), not_values=("3",))
    first, second = policy_words.when(PolicyRule(index=0, conditions=(condition,), origin=ORIGIN))
    assert first.endswith(" is 1 or 2")
    assert second.endswith(" is not 3")
    pathed = attribute in {Attribute.HEADER, Attribute.CLAIM, Attribute.METADATA}
    assert ("some.thing" in first) is pathed


def test_numbers_and_lists_are_short() -> None:
    assert [seconds(one) for one in (0.0, 0.025, 1.0, 90.0, 300.0, 7200.0)] == [
        "0s",
        "25ms",
        "1s",
        "90s",
        "5m",
        "2h",
    ]
    assert [either(one) for one in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a or b", "a, b or c"]
    assert [few(["a", "b"]), few(list("abcd")), few(list("abcde"))] == [
        "a and b",
        "a, b, c and d",
        "a, b, c and 2 more",
    ]
