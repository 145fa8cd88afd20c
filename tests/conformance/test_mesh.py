"""The tests of a mesh; what they are called in the public suite is their docstring, or their parameter.

Shares are counted over 200 requests; the bounds are left once in ten million.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from grpc import StatusCode

from tests.conformance.town import Town, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

V1, V2 = "echo-v1", "echo-v2"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    async with running() as made:
        yield made


def route(rules: str, parent: str = "{name: echo}", namespace: str = "town", kind: str = "HTTPRoute") -> str:
    """A route for a Service; its rules are YAML without indentation."""
    attached = parent.replace("{", '{group: "", kind: Service, ', 1)
    lines = "".join(f"  {line}\n" for line in rules.strip("\n").splitlines())
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: it, namespace: {namespace}}}
spec:
  parentRefs: [{attached}]
  rules:
{lines}"""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request, and who answers it, or the status when nobody does."""

    path: str
    by: str | int
    headers: Mapping[str, str] = field(default_factory=dict)


async def check(town: Town, *sent: Sent) -> None:
    answers = [await town.ask(one.path, headers=one.headers) for one in sent]
    assert [one.by or one.status for one in answers] == [one.by for one in sent]


async def test_a_client_reaches_a_service_of_the_mesh_without_any_route(town: Town) -> None:
    """MeshBasic."""
    await town.apply("")
    answer = await town.ask()
    assert (answer.status, answer.by in (V1, V2)) == (200, True)


async def test_paths_split_a_service_between_two_others(town: Town) -> None:
    """MeshTrafficSplit."""
    await town.apply(
        route("""
- matches: [{path: {type: Exact, value: /v1}}]
  backendRefs: [{name: echo-v1, port: 80}]
- matches: [{path: {type: Exact, value: /v2}}]
  backendRefs: [{name: echo-v2, port: 80}]
""")
    )
    await check(town, Sent("/v1", V1), Sent("/v2", V2), Sent("/v3", 404))


async def test_a_route_sends_all_requests_to_its_backend(town: Town) -> None:
    """MeshHTTPRouteSimpleSameNamespace."""
    await town.apply(route("- backendRefs: [{name: echo-v1, port: 8080}]"))
    assert {(await town.ask()).by for _ in range(10)} == {V1}


async def test_paths_and_headers_choose_the_backend(town: Town) -> None:
    """MeshHTTPRouteMatching."""
    await town.apply(
        route("""
- matches:
  - path: {type: PathPrefix, value: /}
  - headers: [{name: version, value: one}]
  backendRefs: [{name: echo-v1, port: 8080}]
- matches:
  - path: {type: PathPrefix, value: /v2}
  - headers: [{name: version, value: two}]
  backendRefs: [{name: echo-v2, port: 8080}]
""")
    )
    await check(
        town,
        Sent("/", V1),
        Sent("/example", V1),
        Sent("/", V1, {"Version": "one"}),
        Sent("/v2", V2),
        Sent("/v2/", V2),
        Sent("/v2/example", V2),
        Sent("/", V2, {"Version": "two"}),
        Sent("/v2example", V1),
        Sent("/foo/v2/example", V1),
    )


async def test_parameters_choose_the_backend(town: Town) -> None:
    """MeshHTTPRouteQueryParamMatching."""
    await town.apply(
        route("""
- matches: [{queryParams: [{name: animal, value: whale}]}]
  backendRefs: [{name: echo-v1, port: 8080}]
- matches: [{queryParams: [{name: animal, value: dolphin}]}]
  backendRefs: [{name: echo-v2, port: 8080}]
- matches:
  - path: {value: /path1}
    queryParams: [{name: animal, value: whale}]
  backendRefs: [{name: echo-v2, port: 8080}]
- matches:
  - headers: [{name: version, value: one}]
    queryParams: [{name: animal, value: whale}]
  backendRefs: [{name: echo-v2, port: 8080}]
- matches:
  - path: {value: /path3}
    queryParams: [{name: animal, value: shark}]
  - path: {value: /path4}
    headers: [{name: version, value: three}]
    queryParams: [{name: animal, value: kraken}]
  backendRefs: [{name: echo-v1, port: 8080}]
- matches: [{path: {value: /path5}}]
  backendRefs: [{name: echo-v1, port: 8080}]
- matches: [{path: {value: /path5}, queryParams: [{name: animal, value: hydra}]}]
  backendRefs: [{name: echo-v2, port: 8080}]
""")
    )
    await check(
        town,
        Sent("/?animal=whale", V1),
        Sent("/?animal=dolphin", V2),
        Sent("/?animal=whale&otherparam=irrelevant", V1),
        Sent("/?animal=dolphin&color=yellow", V2),
        Sent("/?color=blue", 404),
        Sent("/?animal=dog", 404),
        Sent("/?animal=whaledolphin", 404),
        Sent("/", 404),
        Sent("/path1?animal=whale", V2),
        Sent("/?animal=whale", V2, {"version": "one"}),
        Sent("/path3?animal=shark", V1),
        Sent("/path4?animal=kraken", V1, {"version": "three"}),
        Sent("/?animal=shark", 404),
        Sent("/path4?animal=kraken", 404),
        Sent("/path5?animal=hydra", V2),
        Sent("/path5?animal=mermaid", V1),
    )


async def test_backends_get_requests_by_weight(town: Town) -> None:
    """MeshHTTPRouteWeight."""
    await town.apply(
        route("""
- backendRefs:
  - {name: echo-v1, port: 8080, weight: 70}
  - {name: echo-v2, port: 8080, weight: 30}
  - {name: echo, port: 8080, weight: 0}
""")
    )
    by = [(await town.ask()).by for _ in range(200)]
    assert 26 <= by.count(V2) <= 96  # 60 expected
    assert by.count(V1) == 200 - by.count(V2)


_MODIFIERS = {
    "/set": "set: [{name: X-Header-Set, value: set-overwrites-values}]",
    "/add": "add: [{name: X-Header-Add, value: add-appends-values}]",
    "/remove": "remove: [X-Header-Remove]",
    "/multiple": """
        set: [{name: X-Header-Set-1, value: header-set-1}, {name: X-Header-Set-2, value: header-set-2}],
        add: [{name: X-Header-Add-1, value: header-add-1}, {name: X-Header-Add-2, value: header-add-2}],
        remove: [X-Header-Remove-1, X-Header-Remove-2]""",
}
_OF_RULE = """
- matches: [{{path: {{type: Exact, value: {path}}}}}]
  filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{{changes}}}}}]
  backendRefs: [{{name: echo-v1, port: 8080}}]
"""
_OF_BACKEND = """
- matches: [{{path: {{type: Exact, value: {path}}}}}]
  backendRefs:
  - name: echo-v1
    port: 8080
    filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{{changes}}}}}]
"""


@pytest.mark.parametrize("template", [_OF_RULE, _OF_BACKEND], ids=["rule", "backend"])
async def test_headers_of_requests_are_changed(town: Town, template: str) -> None:
    """MeshHTTPRouteRequestHeaderModifier, MeshHTTPRouteBackendRequestHeaderModifier."""
    await town.apply(
        route(
            "".join(
                template.format(path=path, changes=" ".join(changes.split()))
                for path, changes in _MODIFIERS.items()
            )
        )
    )

    async def asked(path: str, **headers: str) -> dict[str, str]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        found = (await town.ask(path, headers=sent)).asked
        return {name: value for name, value in found.items() if name.startswith("x-header") or name in sent}

    assert await asked("/set", some_other="val") == {
        "some-other": "val",
        "x-header-set": "set-overwrites-values",
    }
    assert await asked("/set", X_Header_Set="other") == {"x-header-set": "set-overwrites-values"}
    assert await asked("/add") == {"x-header-add": "add-appends-values"}
    assert await asked("/add", x_header_add="other") == {"x-header-add": "other,add-appends-values"}
    assert await asked("/remove", x_header_remove="val") == {}
    assert await asked(
        "/multiple", x_header_set_2="set-2", x_header_add_2="add-2", x_header_remove_2="remove-2", other="val"
    ) == {
        "x-header-set-1": "header-set-1",
        "x-header-set-2": "header-set-2",
        "x-header-add-1": "header-add-1",
        "x-header-add-2": "add-2,header-add-2",
        "other": "val",
    }


@dataclass(frozen=True, slots=True)
class Redirected:
    """A redirect, as YAML, of a rule for a prefix; and what a request for `path` is answered."""

    prefix: str
    filter: str
    path: str
    status: int
    location: str


_ORG = "hostname: example.org"
_PREFIX = "path: {type: ReplacePrefixMatch, replacePrefixMatch: /new-prefix}"
_FULL = "path: {type: ReplaceFullPath, replaceFullPath: /new-full}"
_OTHER_STATUSES = (303, 307, 308)

REDIRECTS = {
    "MeshHTTPRouteRedirectHostAndStatus": [
        Redirected("/host", _ORG, "/host", 302, "http://example.org/host"),
        Redirected("/status", f"{_ORG}, statusCode: 301", "/status", 301, "http://example.org/status"),
    ],
    "MeshHTTPRouteRedirectPath": [
        Redirected("/old", _PREFIX, "/old/lemon", 302, "http://echo/new-prefix/lemon"),
        Redirected("/full", _FULL, "/full/path/original", 302, "http://echo/new-full"),
        Redirected("/a", f"{_ORG}, {_PREFIX}", "/a", 302, "http://example.org/new-prefix"),
        Redirected("/b", f"{_PREFIX}, statusCode: 301", "/b", 301, "http://echo/new-prefix"),
        Redirected("/c", f"{_ORG}, {_FULL}", "/c", 302, "http://example.org/new-full"),
        Redirected("/d", f"{_FULL}, statusCode: 301", "/d", 301, "http://echo/new-full"),
    ],
    "MeshHTTPRouteRedirectPort": [
        Redirected("/a", "port: 8083", "/a", 302, "http://echo:8083/a"),
        Redirected("/b", f"{_ORG}, port: 8083", "/b", 302, "http://example.org:8083/b"),
        Redirected("/c", "port: 8083, statusCode: 301", "/c", 301, "http://echo:8083/c"),
    ],
    "MeshHTTPRouteSchemeRedirect": [
        Redirected("/a", "scheme: https", "/a", 302, "https://echo/a"),
        Redirected("/b", f"{_ORG}, scheme: https", "/b", 302, "https://example.org/b"),
        Redirected("/c", "scheme: https, statusCode: 301", "/c", 301, "https://echo/c"),
    ],
    **{
        f"MeshHTTPRoute{status}Redirect": [
            Redirected("/a", f"{_ORG}, statusCode: {status}", "/a", status, "http://example.org/a")
        ]
        for status in _OTHER_STATUSES
    },
}


@pytest.mark.parametrize("name", REDIRECTS)
async def test_redirects_lead_where_they_say(town: Town, name: str) -> None:
    cases = REDIRECTS[name]
    await town.apply(
        route(
            "\n".join(
                f"- matches: [{{path: {{value: {one.prefix}}}}}]\n"
                f"  filters: [{{type: RequestRedirect, requestRedirect: {{{one.filter}}}}}]"
                for one in cases
            )
        )
    )
    found = [await town.ask(one.path) for one in cases]
    assert [(one.status, one.headers.get("location"), one.by) for one in found] == [
        (one.status, one.location, "") for one in cases
    ]


async def test_paths_are_rewritten(town: Town) -> None:
    """MeshHTTPRouteRewritePath."""
    modifier = """
  - type: RequestHeaderModifier
    requestHeaderModifier:
      set: [{name: x-header-set, value: set}]
      add: [{name: x-header-add, value: added}]
      remove: [x-header-remove]"""

    def rewritten(prefix: str, kind: str, text: str, more: str = "") -> str:
        field_name = kind[0].lower() + kind[1:]
        return f"""
- matches: [{{path: {{value: {prefix}}}}}]
  filters:
  - type: URLRewrite
    urlRewrite: {{path: {{type: {kind}, {field_name}: {text}}}}}{more}
  backendRefs: [{{name: echo-v1, port: 8080}}]"""

    await town.apply(
        route(
            rewritten("/prefix/one", "ReplacePrefixMatch", "/one")
            + rewritten("/strip-prefix", "ReplacePrefixMatch", "/")
            + rewritten("/full/one", "ReplaceFullPath", "/one")
            + rewritten("/full/headers", "ReplaceFullPath", "/test", modifier)
            + rewritten("/prefix/headers", "ReplacePrefixMatch", "/prefix", modifier)
        )
    )
    paths = {
        "/prefix/one/two": "/one/two",
        "/strip-prefix/three": "/three",
        "/strip-prefix": "/",
        "/full/one/two": "/one",
        "/full/headers/test": "/test",
        "/prefix/headers/one": "/prefix/one",
    }
    sent = {"x-header-set": "val", "x-header-add": "val", "x-header-remove": "val"}
    for path, wanted in paths.items():
        answer = await town.ask(path, headers=sent)
        assert answer.seen is not None
        assert answer.seen.raw_path == wanted
        kept = {name: value for name, value in answer.asked.items() if name in sent}
        changed = {"x-header-set": "set", "x-header-add": "val,added"}
        assert kept == (changed if "/headers" in path else sent)


async def test_a_rule_may_have_a_name(town: Town) -> None:
    """MeshHTTPRouteNamedRule."""
    await town.apply(
        route("""
- name: named-rule
  matches: [{path: {value: /named}}]
  backendRefs: [{name: echo-v1, port: 8080}]
- matches: [{path: {value: /unnamed}}]
  backendRefs: [{name: echo-v2, port: 8080}]
""")
    )
    await check(town, Sent("/named", V1), Sent("/unnamed", V2))


async def test_backends_get_calls_by_weight(town: Town) -> None:
    """MeshGRPCRouteWeight."""
    await town.apply(
        route(
            """
- backendRefs:
  - {name: echo-v1, port: 7070, weight: 70}
  - {name: echo-v2, port: 7070, weight: 30}
""",
            kind="GRPCRoute",
        )
    )
    replies = [(await town.call())[0] for _ in range(200)]
    by = [one.by for one in replies]
    assert {one.code for one in replies} == {StatusCode.OK}
    assert 26 <= by.count(V2) <= 96  # 60 expected
    assert by.count(V1) == 200 - by.count(V2)


async def test_headers_of_calls_are_changed(town: Town) -> None:
    """MeshGRPCRouteRequestHeaderModifier."""

    def modified(case: str, changes: str, backend: str) -> str:
        return f"""
- matches: [{{headers: [{{name: x-test-case, value: {case}}}]}}]
  filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{{" ".join(changes.split())}}}}}]
  backendRefs: [{{name: {backend}, port: 7070}}]"""

    await town.apply(
        route(
            "".join(
                modified(path.strip("/"), changes, V2 if path == "/multiple" else V1)
                for path, changes in _MODIFIERS.items()
            ),
            kind="GRPCRoute",
        )
    )

    async def called(case: str, **headers: str) -> tuple[str, dict[str, str]]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        reply, seen = await town.call({"x-test-case": case, **sent})
        assert reply.by == seen.by
        return reply.by, {name: value for name, value in seen.metadata.items() if name.startswith("x-header")}

    assert await called("set", x_header_set="other") == (V1, {"x-header-set": "set-overwrites-values"})
    assert await called("add", x_header_add="other") == (V1, {"x-header-add": "other,add-appends-values"})
    assert await called("remove", x_header_remove="val") == (V1, {})
    assert await called(
        "multiple", x_header_set_2="set-2", x_header_add_2="add-2", x_header_remove_2="remove-2"
    ) == (
        V2,
        {
            "x-header-set-1": "header-set-1",
            "x-header-set-2": "header-set-2",
            "x-header-add-1": "header-add-1",
            "x-header-add-2": "add-2,header-add-2",
        },
    )


def marking(backend: str, value: str) -> str:
    """A rule that marks what it has answered."""
    return f"""
- filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-header-set, value: {value}}}]}}}}]
  backendRefs: [{backend}]"""


async def test_a_consumer_route_is_for_the_clients_of_its_namespace_alone(town: Town) -> None:
    """MeshConsumerRoute."""
    await town.apply(
        route(
            marking("{name: echo-v1, namespace: town, port: 80}", "set"),
            parent="{name: echo-v1, namespace: town}",
            namespace="village",
        )
    )
    host = "echo-v1.town"
    consumer, producer = [await town.ask(host=host, client=client) for client in ("guest", V1)]
    assert (consumer.by, consumer.headers.get("x-header-set")) == (V1, "set")
    assert (producer.by, producer.headers.get("x-header-set")) == (V1, None)


async def test_a_route_is_for_the_service_it_is_attached_to_and_not_for_who_stands_behind_it(
    town: Town,
) -> None:
    """MeshFrontend."""
    await town.apply(route(marking("{name: echo-v2, port: 80}", "set"), parent="{name: echo-v2}"))
    answer = await town.ask(host=V2)
    assert (answer.by, answer.headers.get("x-header-set")) == (V2, "set")
    past = await town.ask_replica(V2)
    assert (past.status, past.by, past.headers.get("x-header-set")) == (200, V2, None)
    others = [await town.ask(host="echo") for _ in range(40)]
    assert {one.by for one in others} == {V1, V2}
    assert {one.headers.get("x-header-set") for one in others} == {None}


async def test_a_route_may_be_for_one_port_of_a_service(town: Town) -> None:
    """MeshPorts."""
    one_port = route(marking("{name: echo-v1, port: 80}", "v1"), parent="{name: echo-v1, port: 80}")
    every_port = route(marking("{name: echo-v2, port: 80}", "v2"), parent="{name: echo-v2}")
    await town.apply(f"{one_port}---{every_port.replace('name: it', 'name: other')}")
    hosts = {
        "echo-v1": (V1, "v1"),
        "echo-v1:8080": (V1, None),
        "echo-v2": (V2, "v2"),
        "echo-v2:8080": (V2, "v2"),
    }
    answers = {host: await town.ask(host=host) for host in hosts}
    assert {host: (one.by, one.headers.get("x-header-set")) for host, one in answers.items()} == hosts
