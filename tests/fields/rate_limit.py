"""The fields of a RateLimit.  Nothing comes back into a bucket during a test: all of them count by the hour."""

from typing import Any

from tests.fields.cases import proves
from tests.fields.mesh import Mesh

KIND = "RateLimit"

TO_V1 = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: versions, namespace: bistro}
spec:
  hosts: [reservations]
  http:
  - match: [{uri: {prefix: /v2}}]
    route: [{destination: {host: reservations, subset: v2}}]
  - route: [{destination: {host: reservations, subset: v1}}]
"""
"""All go to version 1, but for those who ask for the other."""

OTHER = (
    TO_V1
    + """
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: bistro}
spec: {selector: {app: reservations, version: v1}, ports: [{name: http, port: 8081}]}
"""
)


async def statuses(mesh: Mesh, number: int, path: str = "/", **request: Any) -> list[int]:
    """How so many requests are answered, one after the other."""
    return [(await mesh.ask(path, **request)).status for _ in range(number)]


@proves(
    KIND,
    "limits: [{requests: 2, per: 1h}]",
    "limits",
    "limits[0]",
    "limits[0].requests",
    "limits[0].per",
    beside=TO_V1,
)
async def who_comes_too_often_is_told_when_to_come_again(mesh: Mesh) -> None:
    answers = [await mesh.ask() for _ in range(3)]
    assert [one.status for one in answers] == [200, 200, 429]
    assert [one.headers["x-ratelimit-limit"] for one in answers] == ["2", "2", "2"]
    assert [one.headers["x-ratelimit-remaining"] for one in answers] == ["1", "0", "0"]
    refused = answers[2]
    assert refused.seen is None
    assert refused.body.startswith(b"too many requests: a RateLimit")
    assert 1000 < int(refused.headers["retry-after"]) <= 1800
    assert refused.headers["x-ratelimit-reset"] == refused.headers["retry-after"]


@proves(KIND, "limits: [{requests: 1, per: 1h}]", "limits[0].requests", beside=TO_V1)
async def a_caller_of_grpc_is_told_that_a_resource_is_exhausted(mesh: Mesh) -> None:
    asked = {"content-type": "application/grpc"}
    assert "grpc-status" not in (await mesh.ask(method="POST", headers=asked)).headers
    refused = await mesh.ask(method="POST", headers=asked)
    assert (refused.status, refused.headers["grpc-status"]) == (200, "8")
    assert refused.headers["grpc-message"].startswith("too many requests")


@proves(KIND, "limits: [{requests: 1, per: 1h, burst: 3}]", "limits[0].burst", beside=TO_V1)
async def more_may_come_at_once_than_in_the_long_run(mesh: Mesh) -> None:
    assert await statuses(mesh, 4) == [200, 200, 200, 429]


@proves(KIND, "limits: [{requests: 2, per: 1h, scope: EachIdentity}]", "limits[0].scope", beside=TO_V1)
async def each_caller_has_a_bucket_of_its_own_whatever_it_says_of_itself(mesh: Mesh) -> None:
    assert await statuses(mesh, 3) == [200, 200, 429]
    other = "spiffe://cluster.local/ns/bistro/sa/other"
    forged = {
        "x-forwarded-client-cert": f"Hash=0;URI={other}",
        "x-forwarded-for": "192.0.2.7",
        "x-envoy-peer-metadata-id": other,
    }
    assert await statuses(mesh, 1, headers=forged) == [429]
    assert await statuses(mesh, 3, client="reservations-v2") == [200, 200, 429]


@proves(
    KIND,
    """
limits:
- requests: 7
  per: 1h
  matches:
  - path: {exact: /exact.}
  - path: {prefix: /prefix/}
  - path: {regex: "/[0-9]{1,300}|/x"}
  - method: {regex: PUT|POST}
    headers: {X-Kind: {exact: heavy}, x-some: {}}
  - headers: {x-user: {prefix: t}}
  - method: {prefix: PAT}
""",
    "limits[0].matches",
    *(f"limits[0].matches[{number}]" for number in range(6)),
    "limits[0].matches[0].path",
    "limits[0].matches[0].path.exact",
    "limits[0].matches[1].path.prefix",
    "limits[0].matches[2].path.regex",
    "limits[0].matches[3].method",
    "limits[0].matches[3].method.regex",
    "limits[0].matches[3].headers",
    "limits[0].matches[5].method.prefix",
    beside=TO_V1,
)
async def a_request_counts_once_that_meets_one_of_the_matches(mesh: Mesh) -> None:
    heavy = {"x-kind": "heavy", "x-some": "thing"}
    counted = [
        await mesh.ask("/exact.?a=b"),
        await mesh.ask("/prefix/a"),
        await mesh.ask("/42?a"),
        await mesh.ask("/y", method="POST", headers=heavy),
        await mesh.ask("/y", headers={"x-user": "tester"}),
        await mesh.ask("/prefix/b", method="PUT", headers={**heavy, "x-user": "t"}),
        await mesh.ask("/y", method="PATCH"),
    ]
    assert [one.headers.get("x-ratelimit-remaining") for one in counted] == [
        "6",
        "5",
        "4",
        "3",
        "2",
        "1",
        "0",
    ]
    others = [
        await mesh.ask("/exactly"),
        await mesh.ask("/exact./a"),
        await mesh.ask("/prefix"),
        await mesh.ask("/a?/prefix/"),
        await mesh.ask("/42a"),
        await mesh.ask("/y", headers=heavy),
        await mesh.ask("/y", method="POST", headers={"x-kind": "heavy"}),
        await mesh.ask("/y", method="POST", headers={"x-kind": "light", "x-some": ""}),
        await mesh.ask("/y", headers={"x-user": "nobody"}),
    ]
    assert {(one.status, "x-ratelimit-limit" in one.headers) for one in others} == {(200, False)}
    assert (await mesh.ask("/x")).status == 429


@proves(
    KIND,
    """
limits:
- {requests: 3, per: 1h}
- {requests: 1, per: 1h, matches: [{method: {exact: POST}}]}
""",
    "limits[0]",
    "limits[1]",
    "limits[1].matches[0].method.exact",
    beside=TO_V1,
)
async def every_limit_has_to_let_a_request_pass(mesh: Mesh) -> None:
    assert await statuses(mesh, 2, method="POST") == [200, 429]
    assert await statuses(mesh, 3) == [200, 200, 429]


@proves(
    KIND,
    """
selector: {matchLabels: {app: reservations}}
limits: [{requests: 1, per: 1h}]
""",
    "selector",
    "selector.matchLabels",
    beside=TO_V1,
)
async def a_selector_chooses_whose_requests_are_counted(mesh: Mesh) -> None:
    assert await statuses(mesh, 2) == [200, 429]
    assert await statuses(mesh, 2, host="frontend:8080", client="reservations-v2") == [200, 200]


@proves(
    KIND,
    """
targetRef: {group: plait.dev, kind: Workload, name: reservations-v2}
limits: [{requests: 1, per: 1h}]
""",
    "targetRef",
    "targetRef.kind",
    "targetRef.name",
    beside=TO_V1,
)
async def it_is_for_one_workload(mesh: Mesh) -> None:
    assert await statuses(mesh, 2) == [200, 200]
    assert await statuses(mesh, 2, path="/v2") == [200, 429]


@proves(
    KIND,
    """
targetRef: {group: apps, kind: Workload, name: reservations-v1}
limits: [{requests: 1, per: 1h}]
""",
    "targetRef.group",
    beside=TO_V1,
)
async def what_is_of_another_group_is_not_limited(mesh: Mesh) -> None:
    assert await statuses(mesh, 2) == [200, 200]


@proves(
    KIND,
    """
targetRef: {kind: Service, name: other}
limits: [{requests: 2, per: 1h}]
""",
    "targetRef.kind",
    "targetRef.name",
    beside=OTHER,
)
async def it_is_for_the_ports_of_one_service_under_any_name(mesh: Mesh) -> None:
    assert await statuses(mesh, 3) == [200, 200, 200]
    assert await statuses(mesh, 1, host="other:8081") == [200]
    assert await statuses(mesh, 1, host="reservations:8081") == [200]
    assert await statuses(mesh, 1, host="other:8081") == [429]
