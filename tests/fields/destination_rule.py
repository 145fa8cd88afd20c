"""The fields of a DestinationRule."""

import asyncio
import itertools
import socket
import time
from collections import Counter

from tests.envoy.support import addresses, eventually
from tests.fields.cases import proves
from tests.fields.mesh import Mesh

KIND = "DestinationRule"
_HEEDED = 0.5
"""Seconds in which the threads of an Envoy tell each other whom they leave alone."""


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer: {simple: ROUND_ROBIN}
""",
    "host",
    "trafficPolicy.loadBalancer.simple",
)
async def round_robin_calls_one_after_the_other(mesh: Mesh) -> None:
    called = [(await mesh.ask()).by for _ in range(40)]
    assert all(one != other for one, other in itertools.pairwise(called))


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer: {consistentHash: {httpHeaderName: x-user}}
  portLevelSettings:
  - port: {number: 8081}
    loadBalancer: {consistentHash: {httpQueryParameterName: user, maglev: {tableSize: 101}}}
""",
    "trafficPolicy.loadBalancer.consistentHash.httpHeaderName",
    "trafficPolicy.portLevelSettings",
    "trafficPolicy.portLevelSettings[0].port.number",
    "trafficPolicy.portLevelSettings[0].loadBalancer.consistentHash.httpQueryParameterName",
)
async def the_same_key_leads_to_the_same_replica(mesh: Mesh) -> None:
    by_header, by_query = {}, {}
    for user in map(str, range(12)):
        header = {(await mesh.ask(headers={"x-user": user})).by for _ in range(4)}
        query = {(await mesh.ask(f"/?user={user}", host="reservations:8081")).by for _ in range(4)}
        assert (len(header), len(query)) == (1, 1)
        by_header[user], by_query[user] = header.pop(), query.pop()
    assert len(set(by_header.values())) == len(set(by_query.values())) == 2


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer: {consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 101}}}
""",
    "trafficPolicy.loadBalancer.consistentHash.maglev",
    "trafficPolicy.loadBalancer.consistentHash.maglev.tableSize",
)
async def a_table_of_keys_has_so_many_entries(mesh: Mesh) -> None:
    await _is_stable(mesh)
    assert await mesh.stat("maglev_lb.min_entries_per_host") == 50
    assert await mesh.stat("maglev_lb.max_entries_per_host") == 51


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer: {consistentHash: {httpHeaderName: x-user, ringHash: {minimumRingSize: 5000}}}
""",
    "trafficPolicy.loadBalancer.consistentHash.httpHeaderName",
    "trafficPolicy.loadBalancer.consistentHash.ringHash",
    "trafficPolicy.loadBalancer.consistentHash.ringHash.minimumRingSize",
)
async def a_ring_of_keys_has_so_many_places(mesh: Mesh) -> None:
    await _is_stable(mesh)
    assert await mesh.stat("ring_hash_lb.size") == 5000


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer: {consistentHash: {httpHeaderName: x-user, minimumRingSize: 5000}}
""",
    "trafficPolicy.loadBalancer.consistentHash.minimumRingSize",
)
async def the_places_of_a_ring_may_be_said_as_before(mesh: Mesh) -> None:
    await a_ring_of_keys_has_so_many_places(mesh)


async def _is_stable(mesh: Mesh) -> None:
    """The same key leads to the same replica, and not all of them to one."""
    led = [{(await mesh.ask(headers={"x-user": str(user)})).by for _ in range(3)} for user in range(12)]
    assert {len(one) for one in led} == {1}
    assert len(set.union(*led)) == 2


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer:
    consistentHash:
      httpCookie:
        name: stay
        path: /
        ttl: 60s
        attributes: [{name: SameSite, value: Strict}, {name: Secure}]
""",
    "trafficPolicy.loadBalancer.consistentHash.httpCookie",
    "trafficPolicy.loadBalancer.consistentHash.httpCookie.name",
    "trafficPolicy.loadBalancer.consistentHash.httpCookie.path",
    "trafficPolicy.loadBalancer.consistentHash.httpCookie.ttl",
    "trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes",
    "trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes[0].name",
    "trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes[0].value",
)
async def a_cookie_that_is_made_leads_back(mesh: Mesh) -> None:
    first = [await mesh.ask() for _ in range(20)]
    assert {one.by for one in first} == {"reservations-v1", "reservations-v2"}
    for one in first[:8]:
        cookie = one.headers["set-cookie"]
        assert cookie.startswith('stay="')
        assert "Max-Age=60" in cookie
        assert "Path=/" in cookie
        assert {"SameSite=Strict", "Secure"} <= set(cookie.split("; "))
        again = {"cookie": cookie.split(";")[0]}
        assert {(await mesh.ask(headers=again)).by for _ in range(3)} == {one.by}


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer: {consistentHash: {useSourceIp: true}}
""",
    "trafficPolicy.loadBalancer.consistentHash.useSourceIp",
)
async def a_client_stays_with_one_replica(mesh: Mesh) -> None:
    assert len({(await mesh.ask()).by for _ in range(20)}) == 1


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer:
    localityLbSetting:
      distribute:
      - from: north/*
        to: {west: 80, east/b: 20}
""",
    "trafficPolicy.loadBalancer.localityLbSetting",
    "trafficPolicy.loadBalancer.localityLbSetting.distribute",
    "trafficPolicy.loadBalancer.localityLbSetting.distribute[0].from",
    "trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to",
)
async def localities_get_their_shares(mesh: Mesh) -> None:
    called = Counter([(await mesh.ask()).by for _ in range(200)])
    assert 15 <= called["reservations-v2"] <= 65
    assert called.total() == 200


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer:
    localityLbSetting:
      distribute:
      - from: "*"
        to: {east: 100}
""",
    "trafficPolicy.loadBalancer.localityLbSetting.distribute",
)
async def a_locality_without_a_share_gets_nothing(mesh: Mesh) -> None:
    assert {(await mesh.ask()).by for _ in range(20)} == {"reservations-v2"}


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer:
    localityLbSetting:
      failover: [{from: north, to: east}]
  outlierDetection:
    consecutive5xxErrors: 3
    interval: 100ms
    baseEjectionTime: 2s
    maxEjectionPercent: 50
""",
    "trafficPolicy.loadBalancer.localityLbSetting.failover",
    "trafficPolicy.loadBalancer.localityLbSetting.failover[0].from",
    "trafficPolicy.loadBalancer.localityLbSetting.failover[0].to",
    "trafficPolicy.outlierDetection",
)
async def the_region_that_is_named_is_asked_as_long_as_it_is_healthy(mesh: Mesh) -> None:
    assert {(await mesh.ask()).by for _ in range(20)} == {"reservations-v2"}
    async with mesh.fails("reservations-v2", 500):
        assert await mesh.failures(500) >= 3
        assert {(await mesh.ask(method="POST")).by for _ in range(5)} == {"reservations-v1"}
    await mesh.until(lambda by: by == "reservations-v2", 8)


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer:
    localityLbSetting:
      failoverPriority: [topology.kubernetes.io/zone, version=v1]
  outlierDetection: {}
  portLevelSettings:
  - port: {number: 8081}
    loadBalancer:
      localityLbSetting:
        failoverPriority: [version=v2]
    outlierDetection: {}
""",
    "trafficPolicy.loadBalancer.localityLbSetting.failoverPriority",
    "trafficPolicy.outlierDetection",
    "trafficPolicy.portLevelSettings[0].loadBalancer.localityLbSetting.failoverPriority",
    "trafficPolicy.portLevelSettings[0].loadBalancer.localityLbSetting.failoverPriority[0]",
    "trafficPolicy.portLevelSettings[0].outlierDetection",
)
async def who_has_the_labels_is_asked_before_others(mesh: Mesh) -> None:
    assert {(await mesh.ask()).by for _ in range(20)} == {"reservations-v1"}
    assert {(await mesh.ask(host="reservations:8081")).by for _ in range(20)} == {"reservations-v2"}


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer:
    localityLbSetting:
      enabled: false
      failoverPriority: [version=v1]
  outlierDetection: {}
""",
    "trafficPolicy.loadBalancer.localityLbSetting.enabled",
)
async def nobody_is_nearer_where_localities_are_not_looked_at(mesh: Mesh) -> None:
    assert len({(await mesh.ask()).by for _ in range(30)}) == 2


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  connectionPool:
    tcp: {maxConnections: 1}
    http: {http1MaxPendingRequests: 1}
""",
    "trafficPolicy.connectionPool.tcp.maxConnections",
    "trafficPolicy.connectionPool.http.http1MaxPendingRequests",
)
async def more_requests_than_a_pool_takes_are_refused(mesh: Mesh) -> None:
    for _ in range(8):
        await mesh.ask()  # nobody has to wait for a connection
    statuses = Counter(
        one.status
        for one in await asyncio.gather(*(mesh.ask(headers={"x-seconds": "0.7"}) for _ in range(6)))
    )
    assert statuses.keys() == {200, 503}
    assert statuses[503] >= 2


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  connectionPool:
    http: {http2MaxRequests: 2}
""",
    "trafficPolicy.connectionPool.http.http2MaxRequests",
)
async def more_requests_at_a_time_than_allowed_are_refused(mesh: Mesh) -> None:
    answers = await asyncio.gather(*(mesh.ask(headers={"x-seconds": "1"}) for _ in range(8)))
    assert sorted(one.status for one in answers) == [200] * 2 + [503] * 6


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  outlierDetection:
    consecutive5xxErrors: 3
    interval: 100ms
    baseEjectionTime: 3s
    maxEjectionPercent: 50
""",
    "trafficPolicy.outlierDetection",
    "trafficPolicy.outlierDetection.consecutive5xxErrors",
    "trafficPolicy.outlierDetection.interval",
    "trafficPolicy.outlierDetection.baseEjectionTime",
    "trafficPolicy.outlierDetection.maxEjectionPercent",
    slow=True,
)
async def who_fails_is_left_alone_for_a_while_and_comes_back(mesh: Mesh) -> None:
    await mesh.quiet()
    async with mesh.fails("reservations-v1", 500):
        errors = 0
        while errors < 3:
            errors += (await mesh.ask(method="POST")).status == 500
        ejected = time.monotonic()
        await asyncio.sleep(_HEEDED)
        assert {(await mesh.ask(method="POST")).status for _ in range(20)} == {200}
    await mesh.until(lambda by: by == "reservations-v1", 6)
    assert time.monotonic() - ejected >= 2.5


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  outlierDetection:
    consecutive5xxErrors: 0
    consecutiveGatewayErrors: 3
    interval: 100ms
    baseEjectionTime: 2s
    maxEjectionPercent: 50
""",
    "trafficPolicy.outlierDetection.consecutive5xxErrors",
    "trafficPolicy.outlierDetection.consecutiveGatewayErrors",
)
async def only_what_a_gateway_answers_may_count(mesh: Mesh) -> None:
    async with mesh.fails("reservations-v1", 500):
        assert [(await mesh.ask(method="POST")).status for _ in range(60)][-30:].count(500) > 3
    await mesh.quiet()
    async with mesh.fails("reservations-v1", 503):
        errors = 0
        while errors < 3:
            errors += (await mesh.ask(method="POST")).status == 503
        await asyncio.sleep(_HEEDED)
        assert {(await mesh.ask(method="POST")).status for _ in range(10)} == {200}
    await mesh.until(lambda by: by == "reservations-v1", 8)


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  outlierDetection: {consecutiveErrors: 3, interval: 100ms, baseEjectionTime: 2s, maxEjectionPercent: 50}
""",
    "trafficPolicy.outlierDetection.consecutiveErrors",
)
async def errors_of_gateways_may_be_said_as_before(mesh: Mesh) -> None:
    await only_what_a_gateway_answers_may_count(mesh)


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  outlierDetection:
    consecutive5xxErrors: 3
    interval: 100ms
    baseEjectionTime: 30s
    maxEjectionPercent: 50
    minHealthPercent: 100
""",
    "trafficPolicy.outlierDetection.minHealthPercent",
)
async def with_too_few_healthy_ones_everybody_is_called(mesh: Mesh) -> None:
    async with mesh.fails("reservations-v1", 500):
        assert [(await mesh.ask(method="POST")).status for _ in range(60)][-30:].count(500) > 3


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer: {simple: ROUND_ROBIN}
  outlierDetection:
    splitExternalLocalOriginErrors: true
    consecutiveLocalOriginFailures: 3
    consecutive5xxErrors: 0
    interval: 100ms
    baseEjectionTime: 30s
    maxEjectionPercent: 50
""",
    "trafficPolicy.outlierDetection.splitExternalLocalOriginErrors",
    "trafficPolicy.outlierDetection.consecutiveLocalOriginFailures",
)
async def who_can_not_be_reached_is_tried_so_often(mesh: Mesh) -> None:
    nowhere, _ = addresses()
    async with mesh.at("reservations-v2", nowhere):
        await mesh.quiet()
        before = await mesh.stat("upstream_cx_connect_fail")

        async def failures() -> int:
            await mesh.ask()
            return await mesh.stat("upstream_cx_connect_fail") - before

        async def often() -> bool:
            return await failures() == 3

        await eventually(often)
        await asyncio.sleep(_HEEDED)
        assert {await failures() for _ in range(20)} == {3}


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  retryBudget: {percent: 100, minRetryConcurrency: 0}
""",
    "trafficPolicy.retryBudget.percent",
)
async def of_the_requests_under_way_so_many_may_be_tried_again(mesh: Mesh) -> None:
    mesh.order.clear()
    under_way = [mesh.ask(headers={"x-seconds": "2"}) for _ in range(6)]
    fail = [mesh.ask(headers={"x-status": "503", "x-seconds": "1"}) for _ in range(6)]
    await asyncio.gather(*under_way, *fail)
    assert len(mesh.order) >= 18  # 16 where only two can be tried again at a time


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  retryBudget: {percent: 0, minRetryConcurrency: 0}
""",
    "trafficPolicy.retryBudget",
    "trafficPolicy.retryBudget.minRetryConcurrency",
)
async def a_budget_ends_retries(mesh: Mesh) -> None:
    assert len(await mesh.tried("/", {"x-status": "503"})) == 1


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  connectionPool: {http: {maxRetries: 1}}
""",
    "trafficPolicy.connectionPool.http.maxRetries",
)
async def so_many_retries_go_on_at_a_time(mesh: Mesh) -> None:
    mesh.order.clear()
    late = {"x-status": "503", "x-seconds": "0.7"}
    await asyncio.gather(*(mesh.ask(headers=late) for _ in range(6)))
    assert 7 <= len(mesh.order) <= 9


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  connectionPool: {http: {maxRequestsPerConnection: 1}}
""",
    "trafficPolicy.connectionPool.http.maxRequestsPerConnection",
)
async def a_connection_carries_so_many_requests(mesh: Mesh) -> None:
    before = await mesh.connections()
    for _ in range(10):
        await mesh.ask()
    assert await mesh.connections() - before >= 9


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  connectionPool: {http: {maxConcurrentStreams: 1}}
""",
    "trafficPolicy.connectionPool.http.maxConcurrentStreams",
)
async def a_connection_carries_so_many_requests_at_a_time(mesh: Mesh) -> None:
    before = await mesh.connections()
    await asyncio.gather(*(mesh.ask(headers={"x-seconds": "1"}) for _ in range(8)))
    assert await mesh.connections() - before >= 6


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  connectionPool: {http: {idleTimeout: 200ms}}
""",
    "trafficPolicy.connectionPool.http.idleTimeout",
)
async def an_idle_connection_is_closed(mesh: Mesh) -> None:
    await _is_closed(mesh)


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  connectionPool: {tcp: {idleTimeout: 200ms}}
""",
    "trafficPolicy.connectionPool.tcp.idleTimeout",
)
async def what_is_said_of_idle_connections_of_tcp_holds_for_http_too(mesh: Mesh) -> None:
    await _is_closed(mesh)


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  connectionPool: {tcp: {maxConnectionDuration: 200ms}}
""",
    "trafficPolicy.connectionPool.tcp.maxConnectionDuration",
)
async def a_connection_is_used_for_so_long(mesh: Mesh) -> None:
    await _is_closed(mesh)


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  connectionPool: {tcp: {connectTimeout: 200ms}}
""",
    "trafficPolicy.connectionPool.tcp.connectTimeout",
)
async def who_does_not_take_a_connection_is_not_waited_for(mesh: Mesh) -> None:
    silent, _ = addresses()
    with socket.create_server((silent, 8080)):  # where nobody answers what is written
        async with mesh.at("reservations-v2", silent):
            asked = [asyncio.create_task(mesh.ask()) for _ in range(10)]
            _, waiting = await asyncio.wait(asked, timeout=3)
            for one in waiting:
                one.cancel()
            assert not waiting
            assert await mesh.stat("upstream_cx_connect_timeout") > 0


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  connectionPool: {tcp: {tcpKeepalive: {time: 77s, interval: 11s, probes: 7}}}
""",
    "trafficPolicy.connectionPool.tcp.tcpKeepalive",
    "trafficPolicy.connectionPool.tcp.tcpKeepalive.time",
    "trafficPolicy.connectionPool.tcp.tcpKeepalive.interval",
    "trafficPolicy.connectionPool.tcp.tcpKeepalive.probes",
)
async def a_connection_is_kept_alive_as_a_rule_says(mesh: Mesh) -> None:
    for _ in range(8):
        await mesh.ask()

    async def as_said() -> bool:
        return set(mesh.keepalives()) == {(77, 11, 7)}

    await eventually(as_said, 1)  # connections from before are closed meanwhile


async def _is_closed(mesh: Mesh) -> None:
    """Whether a new connection is opened after a while, each time: once may be for what has just changed."""
    for _ in range(2):
        for _ in range(8):
            await mesh.ask()
        before = await mesh.connections()
        await asyncio.sleep(0.6)
        await mesh.ask()
        assert await mesh.connections() > before


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  loadBalancer: {consistentHash: {useSourceIp: true}}
subsets:
- name: all
  labels: {app: reservations}
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    portLevelSettings:
    - port: {number: 8081}
      connectionPool: {http: {http2MaxRequests: 2}}
""",
    "subsets",
    "subsets[0].name",
    "subsets[0].trafficPolicy.loadBalancer",
    "subsets[0].trafficPolicy.portLevelSettings",
    beside="""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: to-all, namespace: bistro}
spec:
  hosts: [reservations]
  http:
  - route: [{destination: {host: reservations, subset: all}}]
""",
)
async def a_subset_has_a_policy_of_its_own(mesh: Mesh) -> None:
    called = [(await mesh.ask()).by for _ in range(20)]
    assert all(one != other for one, other in itertools.pairwise(called))
    late = {"x-seconds": "1"}
    answers = await asyncio.gather(*(mesh.ask(host="reservations:8081", headers=late) for _ in range(6)))
    assert sorted(one.status for one in answers) == [200] * 2 + [503] * 4


@proves(
    KIND,
    """
host: reservations
exportTo: [kitchens]
subsets:
- {name: late, labels: {version: v1}}
""",
    "exportTo",
    "exportTo[0]",
    beside="""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: late, namespace: bistro}
spec:
  hosts: [reservations]
  http:
  - route: [{destination: {host: reservations, subset: late}}]
""",
)
async def settings_are_for_those_whom_they_are_exported_to(mesh: Mesh) -> None:
    assert (await mesh.ask()).status == 503


_SUBSETS = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: subsets, namespace: bistro}
spec:
  hosts: [reservations]
  http:
  - match: [{uri: {prefix: /early}}]
    route: [{destination: {host: reservations, subset: early}}]
  - route: [{destination: {host: reservations, subset: late}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: early, namespace: bistro}
spec:
  host: reservations
  subsets:
  - {name: early, labels: {version: v2}}
"""


@proves(
    KIND,
    """
host: reservations
workloadSelector: {matchLabels: {app: kitchen}}
subsets:
- {name: late, labels: {version: v1}}
""",
    "workloadSelector",
    "workloadSelector.matchLabels",
    beside=_SUBSETS,
)
async def settings_are_not_for_clients_that_they_do_not_select(mesh: Mesh) -> None:
    assert (await mesh.ask()).status == 503
    assert (await mesh.ask("/early")).by == "reservations-v2"


@proves(
    KIND,
    """
host: reservations
workloadSelector: {matchLabels: {app: frontend}}
subsets:
- {name: late, labels: {version: v1}}
""",
    "workloadSelector",
    "subsets[0].labels",
    beside=_SUBSETS,
)
async def settings_for_some_clients_are_in_place_of_those_for_all(mesh: Mesh) -> None:
    assert {(await mesh.ask()).by for _ in range(20)} == {"reservations-v1"}
    assert (await mesh.ask("/early")).status == 503


_WARM_UP = 3
"""Seconds that a new replica takes until it is called as often as any other."""


@proves(
    KIND,
    f"""
host: reservations
trafficPolicy:
  loadBalancer: {{simple: ROUND_ROBIN, warmup: {{duration: {_WARM_UP}s}}}}
""",
    "trafficPolicy.loadBalancer.warmup",
    "trafficPolicy.loadBalancer.warmup.duration",
    slow=True,
)
async def a_new_replica_is_called_less_often_at_first(mesh: Mesh) -> None:
    assert await _calls_of_a_new_one(mesh) <= 12


@proves(
    KIND,
    f"""
host: reservations
trafficPolicy:
  loadBalancer: {{simple: ROUND_ROBIN, warmupDurationSecs: {_WARM_UP}s}}
""",
    "trafficPolicy.loadBalancer.warmupDurationSecs",
    slow=True,
)
async def how_long_a_new_replica_warms_up_may_be_said_as_before(mesh: Mesh) -> None:
    assert await _calls_of_a_new_one(mesh) <= 12


@proves(
    KIND,
    f"""
host: reservations
trafficPolicy:
  loadBalancer: {{simple: ROUND_ROBIN, warmup: {{duration: {_WARM_UP}s, minimumPercent: 80}}}}
""",
    "trafficPolicy.loadBalancer.warmup.minimumPercent",
    slow=True,
)
async def a_new_replica_is_never_called_more_seldom_than_that(mesh: Mesh) -> None:
    assert await _calls_of_a_new_one(mesh) >= 15


@proves(
    KIND,
    f"""
host: reservations
trafficPolicy:
  loadBalancer: {{simple: ROUND_ROBIN, warmup: {{duration: {_WARM_UP}s, aggression: 10}}}}
""",
    "trafficPolicy.loadBalancer.warmup.aggression",
    slow=True,
)
async def a_new_replica_may_be_called_often_quite_soon(mesh: Mesh) -> None:
    assert await _calls_of_a_new_one(mesh) >= 13


async def _calls_of_a_new_one(mesh: Mesh) -> int:
    """How many of the first 40 requests go to a replica that has just come to one that is warm.

    18 where it gets 80 percent of what the other one gets, 4 where it gets 10.
    """
    async with mesh.without("reservations-v2"):
        await mesh.ask()
        await asyncio.sleep(_WARM_UP + 0.2)
    return [(await mesh.ask()).by for _ in range(40)].count("reservations-v2")


@proves(
    KIND,
    """
host: reservations
trafficPolicy:
  tls: {mode: DISABLE}
  connectionPool: {http: {maxRequestsPerConnection: 1}}
""",
    "trafficPolicy.tls.mode",
    beside="""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: either, namespace: bistro}
spec: {mtls: {mode: PERMISSIVE}}
""",
)
async def who_takes_it_is_called_in_the_clear(mesh: Mesh) -> None:
    answer = await mesh.ask()
    assert answer.status == 200
    assert "x-forwarded-client-cert" not in answer.asked
