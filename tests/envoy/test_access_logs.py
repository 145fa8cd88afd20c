"""Access logs of real Envoys: what a line says and keeps to itself, and what a change of it costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from plait.dialects.cel import ATTRIBUTES
from plait.dialects.istio.log_formats import OPERATORS
from plait.explain import flags
from tests.envoy.support import eventually
from tests.fields.mesh import Mesh, running
from tests.fields.telemetry import exported, lines, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "reservations-v1:8080"
SECRETS = {"Authorization": "Bearer s3cret", "Cookie": "session=s3cret", "Referer": "http://a/?t=s3cret"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running() as made:
        yield made


def telemetry(spec: str, name: str = "all", namespace: str = "istio-system") -> str:
    return (
        f"---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"spec: {spec}\n"
    )


def config(providers: str) -> str:
    return (
        "---\napiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\n"
        "metadata: {name: mesh, namespace: istio-system}\n"
        f"spec: {{meshConfig: {{extensionProviders: [{providers}]}}}}\n"
    )


ALL = telemetry("{accessLogging: [{providers: [{name: envoy}]}]}")


async def say(mesh: Mesh, *texts: str) -> None:
    """Have all proxies told, and log so what they take by new connections."""
    await mesh.say("\n".join(texts))
    await settled(mesh, *mesh.proxies)


async def renewed(mesh: Mesh) -> None:
    """Wait until there is no connection between proxies that was taken before they were told."""

    async def drained() -> bool:
        return not any(
            [
                await one.total(r"listener_manager\.total_(listeners|filter_chains)_draining")
                for one in mesh.proxies.values()
            ]
        )

    await eventually(drained)


async def line(mesh: Mesh, name: str, path: str) -> Mapping[str, Any]:
    """The line that a proxy writes of the request for a path."""
    found: list[Mapping[str, Any]] = []

    async def written() -> bool:
        found[:] = [one for one in lines(mesh, name) if one.get("path") == path]
        return bool(found)

    await eventually(written)
    assert len(found) == 1, found
    return found[0]


async def test_both_ends_tell_the_same_request_and_nothing_secret(mesh: Mesh) -> None:
    route = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: named, namespace: bistro}
spec:
  hosts: [reservations-v1]
  http: [{name: mine, route: [{destination: {host: reservations-v1}}]}]
"""
    watching = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: watching, namespace: bistro, annotations: {istio.io/dry-run: "true"}}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/both"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: shut, namespace: bistro}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/shut"]}}]}]}
"""
    await say(mesh, route, watching, ALL)
    await renewed(mesh)
    answer = await mesh.ask("/both?token=s3cret", host=HOST, headers={**SECRETS, "User-Agent": "me"})
    assert answer.status == 200
    client, server = await line(mesh, "frontend", "/both"), await line(mesh, "reservations-v1", "/both")
    alike = (
        "method",
        "status",
        "authority",
        "user_agent",
        "request_id",
        "caller",
        "callee",
        "bytes_sent",
        "flags",
    )
    assert {key: client[key] for key in alike} == {key: server[key] for key in alike}
    assert client["caller"] == "spiffe://cluster.local/ns/bistro/sa/frontend"
    assert client["callee"] == "spiffe://cluster.local/ns/bistro/sa/reservations"
    assert (client["side"], server["side"]) == ("client", "server")
    assert (client["route"], client["origin"]) == ("mine", "VirtualService bistro/named spec.http[0]")
    assert client["upstream_cluster"] == "outbound|8080||reservations-v1.bistro.svc.cluster.local"
    assert (client["attempts"], client["details"], client["protocol"]) == (1, "via_upstream", "HTTP/1.1")
    assert isinstance(client["duration_ms"], int)
    assert isinstance(client["upstream_ms"], int)
    assert (server["policy"], server["dry_run_denied_by"]) == (
        "allowed",
        "ns[bistro]-policy[watching]-rule[0]",
    )

    assert (await mesh.ask("/shut", host=HOST)).status == 403
    refused = await line(mesh, "reservations-v1", "/shut")
    assert refused["policy"] == "rbac_access_denied_matched_policy[ns[bistro]-policy[shut]-rule[0]]"
    assert "dry_run_denied_by" not in refused

    for name, proxy in mesh.proxies.items():
        assert "s3cret" not in proxy.log, name


async def test_a_line_says_what_refused_a_request(mesh: Mesh) -> None:
    guarded = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: bistro}
spec: {jwtRules: [{issuer: a, jwks: '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: some, namespace: bistro}
spec: {rules: [{to: [{operation: {paths: ["/let/*"]}}]}]}
"""
    await say(mesh, guarded, ALL)
    await renewed(mesh)
    for path, headers, status, verdict in (
        ("/let/in", {}, 200, "allowed"),
        ("/let/bad", {"x-status": "403"}, 403, "allowed"),
        ("/shut-out", {}, 403, "no ALLOW rule holds"),
        ("/let/token", {"Authorization": "Bearer a.s3cret.c"}, 401, "jwt_authn_access_denied"),
    ):
        assert (await mesh.ask(path, host=HOST, headers=headers)).status == status
        told = await line(mesh, "reservations-v1", path)
        assert told["policy"].startswith(verdict)
    assert "s3cret" not in mesh.proxies["reservations-v1"].log


async def test_a_failure_is_told_in_words(mesh: Mesh) -> None:
    await say(mesh, ALL)
    async with mesh.without("reservations-v1"):
        assert (await mesh.ask("/nobody", host=HOST)).status == 503
        failed = await line(mesh, "frontend", "/nobody")
    assert (failed["flags"], failed["flags_long"]) == ("UH", "NoHealthyUpstream")
    (flag,) = flags.words(failed["flags"])
    assert flag == flags.words(failed["flags_long"])[0]
    told = json.loads(flags.told(json.dumps(failed, separators=(",", ":"))))
    assert told == {**failed, "words": [flag.words]}


async def test_the_narrower_level_holds_in_the_running_mesh(mesh: Mesh) -> None:
    of_v1 = "{selector: {matchLabels: {version: v1}}, accessLogging: [{providers: [{name: envoy}]}]}"
    await say(
        mesh,
        ALL,
        telemetry("{accessLogging: [{disabled: true}]}", "none", "bistro"),
        telemetry(of_v1, "v1", "bistro"),
    )
    await renewed(mesh)
    await mesh.ask("/level", host=HOST)
    assert (await line(mesh, "reservations-v1", "/level"))["side"] == "server"
    assert [one for one in lines(mesh, "frontend") if one.get("path") == "/level"] == []


async def test_lines_may_be_texts(mesh: Mesh) -> None:
    """Plait's own, where the encoding says so; told to what takes errors."""
    text = """---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec: {meshConfig: {accessLogFile: /dev/stderr, accessLogEncoding: TEXT}}
"""
    await say(mesh, text)
    await renewed(mesh)
    await mesh.ask("/text?token=s3cret", host=HOST)

    async def written() -> bool:
        return all('"GET /text HTTP/' in mesh.proxies[name].log for name in ("frontend", "reservations-v1"))

    await eventually(written)
    assert ' client "GET /text HTTP/1.1" 200 - via_upstream ' in mesh.proxies["frontend"].log
    assert ' server "GET /text HTTP/2" 200 - via_upstream ' in mesh.proxies["reservations-v1"].log
    assert "s3cret" not in mesh.proxies["frontend"].log


async def test_a_collector_is_told_plait_s_own_fields_and_not_of_itself(mesh: Mesh) -> None:
    otel = config("{name: it, envoyOtelAls: {service: reservations-v2.bistro.svc.cluster.local, port: 9090}}")
    await say(mesh, otel, telemetry("{accessLogging: [{providers: [{name: it}]}]}"))
    resource, body, said = await exported(
        mesh, "GET /told ", "/told?token=s3cret", host="reservations-v2:8080", headers=SECRETS
    )
    assert resource["node_name"] == "bistro/frontend/0"
    assert (said["side"], said["status"], said["log"]) == ("client", "200", "access")
    assert ' client "GET /told HTTP/1.1" 200 ' in body
    assert "s3cret" not in f"{resource}{body}{said}"


def options(operator: str) -> str:
    """Something that may stand behind an operator."""
    by_name = {
        "START_TIME": "(%Y-%m-%d %s.%3f)",
        "GRPC_STATUS": "(NUMBER)",
        "PATH": "(NQ:ORIG)",
        "METADATA": "(CLUSTER:plait:origin)",
        "FILTER_STATE": "(plait.denied_by:PLAIN)",
    }
    by_kind = {"HEADER": "(X-A?:AUTHORITY):9", "NAMES": "(plait:origin)"}
    return by_name.get(operator) or by_kind.get(OPERATORS[operator].name, "")


CONDITIONS = (
    "response.code >= 400 && response.code < 600 || response.code == 0",
    "connection.mtls && request.url_path.contains('v1beta3')",
    '!has(request.useragent) || !(request.useragent.startsWith("Amazon-Route53-Health-Check-Service"))',
    "request.headers['x-a'] in ['b', r'c\\d'] ? true : request.method.matches('^(GET|HEAD)$')",
    "size(request.path) > 10 || request.host.size() == 1 || -response.size * 2 + 1 > 0",
    "int(response.code) / 100 == 5 && double(response.code) > 1.5e2 && response.code % 2 == 1",
    "request.time > timestamp('2020-01-01T00:00:00Z') && request.duration > duration('1s')",
    "request.time.getHours() >= 9 && request.time.getDayOfWeek('UTC') == 1",
    "xds.node.id.startsWith('bistro/') && metadata.filter_metadata['a']['b'] == '\\u0041'",
    "matches(request.path, '/a') && uint(1) == 1u && 0x10 == 16 && null == null",
    *(f"has({root}.{name})" for root, names in ATTRIBUTES.items() for name in names),
    *(f"has({root}.a)" for root, names in ATTRIBUTES.items() if not names),
)


async def test_what_is_taken_an_envoy_takes(mesh: Mesh) -> None:
    """Every operator and attribute, and whatever of CEL is let through; `say` sees to it that nothing is refused."""
    labels = {name.lower(): f"%{name}{options(name)}%" for name in OPERATORS}
    providers = [f"{{name: all, envoyFileAccessLog: {{logFormat: {{labels: {json.dumps(labels)}}}}}}}"]
    providers += [
        f"{{name: c{index}, envoyFileAccessLog: {{path: access.log}}}}" for index in range(len(CONDITIONS))
    ]
    rules = ['{providers: [{name: all}], filter: {expression: "response.code == 418"}}']
    rules += [
        f"{{providers: [{{name: c{index}}}], filter: {{expression: {json.dumps(one)}}}}}"
        for index, one in enumerate(CONDITIONS)
    ]
    await say(mesh, config(", ".join(providers)), telemetry(f"{{accessLogging: [{', '.join(rules)}]}}"))
    assert await mesh.proxies["frontend"].stat("listener_manager.lds.update_rejected") == 0
    await mesh.ask("/tea", host=HOST, headers={"x-status": "418"})

    async def written() -> bool:
        return bool(lines(mesh, "frontend")[-1].get("response_code") == 418)

    await eventually(written)
    last = lines(mesh, "frontend")[-1]
    assert (last["req"], last["path"], last["upstream_peer_issuer"]) == ("reservati", None, "CN=root")


async def test_a_changed_log_fails_no_request(mesh: Mesh) -> None:
    """While they come one after the other, and one that lasts as long as the change."""
    await say(mesh)
    failed: list[int] = []
    asked = 0
    over = asyncio.Event()

    async def load() -> None:
        nonlocal asked
        while not over.is_set():
            answer = await mesh.ask("/load", host=HOST)
            asked += 1
            if answer.status != 200:
                failed.append(answer.status)

    loading = [asyncio.create_task(load()) for _ in range(4)]
    long = asyncio.create_task(mesh.ask("/long", host=HOST, headers={"x-seconds": "0.8"}))
    await asyncio.sleep(0.1)
    for text in (
        ALL,
        telemetry("{accessLogging: [{match: {mode: SERVER}, providers: [{name: envoy}]}]}"),
        "",
    ):
        await mesh.say(text)
    assert (await long).status == 200
    over.set()
    await asyncio.gather(*loading)
    assert failed == []
    assert asked > 20
