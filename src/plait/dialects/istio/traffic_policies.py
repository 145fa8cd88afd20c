"""The trafficPolicy of a DestinationRule: whom of several to call, how many at once, and whom to leave alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from plait.dialects.checks import port_number, seconds
from plait.dialects.istio.answers import percent_of
from plait.dialects.istio.headers import is_header_name
from plait.dialects.istio.localities import locality_balancing
from plait.model.document import Cursor
from plait.model.traffic import (
    LONGEST_IDLE,
    Balance,
    ConnectionPool,
    HashKey,
    HashKind,
    Keepalive,
    LoadBalancing,
    OutlierDetection,
    PortPolicies,
    RetryBudget,
    TrafficPolicy,
    WarmUp,
)

_SHOWN = 80
_MOST = 2**31 - 1
_SIMPLE: Mapping[str, Balance] = {
    "": Balance.LEAST_REQUEST,
    "UNSPECIFIED": Balance.LEAST_REQUEST,
    "LEAST_REQUEST": Balance.LEAST_REQUEST,
    "LEAST_CONN": Balance.LEAST_REQUEST,
    "ROUND_ROBIN": Balance.ROUND_ROBIN,
    "RANDOM": Balance.RANDOM,
}
_LARGEST_RING = 8 * 1024 * 1024
_LARGEST_MAGLEV = 5_000_011
_ATTRIBUTE_VALUE = re.compile(r"[^;\x00-\x20\x7f]*\Z")
_HASH_KEYS = ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")

UNSUPPORTED = (
    *(
        f"tls.{field}"
        for field in (
            "clientCertificate", "privateKey", "caCertificates", "credentialName", "subjectAltNames", "sni",
            "insecureSkipVerify", "caCrl",
        )
    ),
    "tunnel",
    "proxyProtocol",
)  # fmt: skip
"""Fields of a trafficPolicy that are not honoured; the last two stand in no portLevelSettings."""


class _Upgrade(StrEnum):
    DEFAULT = "DEFAULT"
    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


def policies(cursor: Cursor) -> PortPolicies:
    """What is said of a destination, and of its ports; parts that can't be read are left out, with an error each."""
    everywhere = replace(_policy(cursor), retry_budget=_retry_budget(cursor.at("retryBudget")))
    ports: dict[int, TrafficPolicy] = {}
    for item in cursor.at("portLevelSettings").each():
        number = port_number(item.at("port").at("number"))
        if number in ports:
            item.at("port").error("traffic.port-twice", f"port {number} has settings already")
        policy = _policy(item)
        if number and number not in ports:
            ports[number] = policy
    return PortPolicies(everywhere=everywhere, ports=tuple(sorted(ports.items())))


def _policy(cursor: Cursor) -> TrafficPolicy:
    return TrafficPolicy(
        clear=_tls(cursor.at("tls")),
        load_balancing=_load_balancing(cursor.at("loadBalancer")),
        connections=_connections(cursor.at("connectionPool")),
        outliers=_outliers(cursor.at("outlierDetection")),
    )


def _tls(cursor: Cursor) -> bool | None:
    """Whether to call in the clear; None: nothing is said that could be meant."""
    mode = cursor.at("mode")
    text = mode.text()
    if text in ("DISABLE", "ISTIO_MUTUAL"):
        return text == "DISABLE"
    if not cursor.present or mode.error_count():
        return None
    if not text:
        mode.warn(
            "traffic.tls",
            "without a mode it stays at mutual TLS of the mesh: nothing is called in the clear unless DISABLE is written",
        )
    elif text in ("SIMPLE", "MUTUAL"):
        mode.warn(
            "traffic.tls", "has no effect: sidecars show each other certificates of the mesh, and no others"
        )
    else:
        mode.error("field.choice", f"{text[:_SHOWN]!r} is not one of DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL")
    return None


def _load_balancing(cursor: Cursor) -> LoadBalancing | None:
    if not cursor.present:
        return None
    locality = locality_balancing(cursor.at("localityLbSetting"))
    simple, hashed = cursor.at("simple"), cursor.at("consistentHash")
    if simple.present and hashed.present:
        hashed.error("traffic.balance", "only one of simple and consistentHash can be given")
    warm_up = _warm_up(cursor)
    if hashed.present:
        if warm_up is not None:
            cursor.at("warmup").warn(
                "traffic.warm-up", "has no effect: a key leads to its replica from the first moment"
            )
        found = _consistent_hash(hashed)
        return replace(found, locality=locality) if found is not None and not cursor.error_count() else None
    text = simple.text()
    if text == "PASSTHROUGH":
        simple.error(
            "traffic.balance",
            "in a mesh of sidecars nobody knows the address that was meant: PASSTHROUGH is not for a Service",
        )
    elif text not in _SIMPLE:
        simple.error("field.choice", f"{text[:_SHOWN]!r} is not one of {', '.join(filter(None, _SIMPLE))}")
    if cursor.error_count():
        return None
    balance = _SIMPLE[text]
    if warm_up is not None and balance is Balance.RANDOM:
        cursor.at("warmup").warn(
            "traffic.warm-up", "has no effect: by chance every replica gets as much as any other"
        )
        warm_up = None
    return LoadBalancing(balance=balance, warm_up=warm_up, locality=locality)


def _warm_up(cursor: Cursor) -> WarmUp | None:
    whole, plain = cursor.at("warmup"), cursor.at("warmupDurationSecs")
    if whole.present and plain.present:
        plain.error("traffic.warm-up", "only one of warmup and warmupDurationSecs can be given")
    length = seconds(whole.at("duration") if whole.present else plain, least=1.0)
    least, aggression = whole.at("minimumPercent"), whole.at("aggression")
    if whole.present and length is None and not whole.error_count():
        whole.error("field.required", "a duration is missing")
    found = WarmUp(
        seconds=length or 1.0,
        least=percent_of(least, 10.0),
        aggression=_number(aggression, 1.0, least=1.0),
    )
    return found if length is not None and not whole.error_count() and not plain.error_count() else None


def _consistent_hash(cursor: Cursor) -> LoadBalancing | None:
    ring, maglev, plain = cursor.at("ringHash"), cursor.at("maglev"), cursor.at("minimumRingSize")
    if ring.present and maglev.present:
        maglev.error("traffic.hash", "only one of ringHash and maglev can be given")
    sizes = [one.integer(0, least=0, most=_LARGEST_RING) for one in (ring.at("minimumRingSize"), plain)]
    size = max(sizes)
    if maglev.present:
        size = maglev.at("tableSize").integer(0, least=0, most=_LARGEST_MAGLEV)
        if size and not _is_prime(size):
            maglev.at("tableSize").error(
                "traffic.hash", f"{size} is no prime number, as the size of the table has to be"
            )
    key = _hash_key(cursor)
    if key is None or cursor.error_count():
        return None
    balance = Balance.RING_HASH if ring.present or plain.present else Balance.MAGLEV
    return LoadBalancing(balance=balance, hash_key=key, table_size=size)


def _hash_key(cursor: Cursor) -> HashKey | None:
    named = [name for name in _HASH_KEYS if cursor.has(name)]
    if len(named) != 1:
        cursor.error("traffic.hash", f"one of {', '.join(_HASH_KEYS)} is wanted")
        return None
    item = cursor.at(named[0])
    match named[0]:
        case "httpHeaderName":
            return HashKey(kind=HashKind.HEADER, name=item.value.lower()) if is_header_name(item) else None
        case "httpQueryParameterName":
            return HashKey(kind=HashKind.QUERY, name=item.text()) if _is_named(item) else None
        case "useSourceIp":
            if item.boolean():
                return HashKey(kind=HashKind.SOURCE)
            item.error("traffic.hash", "false names nothing")
            return None
        case _:
            return _cookie(item)


def _cookie(cursor: Cursor) -> HashKey | None:
    name, path, lifetime = cursor.at("name"), cursor.at("path").text(), seconds(cursor.at("ttl"))
    attributes = tuple(_attributes(cursor.at("attributes")))
    if attributes and lifetime is None and not cursor.error_count():
        cursor.at("attributes").warn("traffic.hash", "without a ttl no cookie is made that could have these")
    if not is_header_name(name) or cursor.error_count():
        return None
    return HashKey(kind=HashKind.COOKIE, name=name.value, path=path, lifetime=lifetime, attributes=attributes)


def _attributes(cursor: Cursor) -> Iterator[tuple[str, str]]:
    for item in cursor.each():
        value = item.at("value")
        text = value.text()
        if not _ATTRIBUTE_VALUE.match(text):
            value.error("traffic.hash", f"{text[:_SHOWN]!r} is no value of an attribute of a cookie")
        if is_header_name(item.at("name")) and not item.error_count():
            yield item.at("name").value, text


def _connections(cursor: Cursor) -> ConnectionPool | None:
    if not cursor.present:
        return None
    tcp, http = cursor.at("tcp"), cursor.at("http")
    alive = tcp.at("tcpKeepalive")
    idle = seconds(tcp.at("idleTimeout")) or None
    _versions(http)
    found = ConnectionPool(
        max_connections=_limit(tcp.at("maxConnections")),
        connect_timeout=seconds(tcp.at("connectTimeout"), least=0.001),
        keepalive=Keepalive(
            probes=_limit(alive.at("probes")),
            time=seconds(alive.at("time"), least=1.0),
            interval=seconds(alive.at("interval"), least=1.0),
        )
        if alive.present
        else None,
        max_connection_duration=seconds(tcp.at("maxConnectionDuration"), least=0.001),
        max_pending_requests=_limit(http.at("http1MaxPendingRequests")),
        max_requests=_limit(http.at("http2MaxRequests")),
        max_requests_per_connection=_limit(http.at("maxRequestsPerConnection")),
        max_retries=_limit(http.at("maxRetries")),
        max_concurrent_streams=_limit(http.at("maxConcurrentStreams")),
        idle_timeout=_idle_timeout(http.at("idleTimeout")) or idle,
        tcp_idle_timeout=idle,
    )
    return None if cursor.error_count() else found


def _idle_timeout(cursor: Cursor) -> float | None:
    found = seconds(cursor, least=0.001)
    if found is not None and found > LONGEST_IDLE:
        cursor.warn(
            "traffic.idle-timeout",
            f"idle connections of HTTP are closed after {LONGEST_IDLE:g}s at the latest",
        )
    return found


def _versions(cursor: Cursor) -> None:
    """Nothing follows from these: which HTTP is spoken between sidecars, and to the application, is known."""
    upgrade, kept = cursor.at("h2UpgradePolicy"), cursor.at("useClientProtocol")
    if upgrade.choice(_Upgrade, _Upgrade.DEFAULT) is _Upgrade.DO_NOT_UPGRADE:
        upgrade.warn(
            "traffic.http-version",
            "has no effect: sidecars speak HTTP/2 to each other, and to the application what its port declares",
        )
    if kept.boolean():
        kept.warn(
            "traffic.http-version",
            "has no effect where the protocol of a port is declared; where it is not, an application is always "
            "spoken to in the version of its client",
        )


def _outliers(cursor: Cursor) -> OutlierDetection | None:
    if not cursor.present:
        return None
    errors, older = cursor.at("consecutive5xxErrors"), cursor.at("consecutiveErrors")
    if errors.present and older.present:
        older.error("traffic.outliers", "only one of consecutive5xxErrors and consecutiveErrors can be given")
    gateway = cursor.at("consecutiveGatewayErrors").integer(0, least=0, most=_MOST)
    if older.present:
        gateway = older.integer(0, least=0, most=_MOST)
    found = OutlierDetection(
        errors=errors.integer(5, least=0, most=_MOST) if not older.present else 0,
        gateway_errors=gateway,
        split_local=cursor.at("splitExternalLocalOriginErrors").boolean(),
        local_failures=cursor.at("consecutiveLocalOriginFailures").integer(5, least=0, most=_MOST),
        interval=seconds(cursor.at("interval"), 10.0, least=0.001) or 10.0,
        ejection=seconds(cursor.at("baseEjectionTime"), 30.0, least=0.001) or 30.0,
        most_ejected=cursor.at("maxEjectionPercent").integer(10, least=0, most=100),
        least_healthy=cursor.at("minHealthPercent").integer(0, least=0, most=100),
    )
    return None if cursor.error_count() else found


def _retry_budget(cursor: Cursor) -> RetryBudget | None:
    if not cursor.present:
        return None
    share = percent_of(cursor.at("percent"), 20.0)
    least = cursor.at("minRetryConcurrency").integer(3, least=0, most=_MOST)
    return None if cursor.error_count() else RetryBudget(percent=share, least=least)


def _limit(cursor: Cursor) -> int | None:
    """A number above 0; None when nothing is said, or 0, which to Istio is the same."""
    return cursor.integer(0, least=0, most=_MOST) or None


def _number(cursor: Cursor, default: float, *, least: float) -> float:
    value = cursor.value
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        cursor.error("field.type", "expected a number")
        return default
    if not least <= value <= _MOST:
        cursor.error("field.range", f"{str(value)[:_SHOWN]} is less than {least:g}, or too much")
        return default
    return float(value)


def _is_named(cursor: Cursor) -> bool:
    if cursor.is_text() and cursor.value:
        return True
    if not cursor.error_count():
        cursor.error("field.required", "a name is missing")
    return False


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % one for one in range(2, int(number**0.5) + 1))
