"""How a destination is called, as parts of its cluster: whom of several, how many at once, whom not for a while."""

from __future__ import annotations

from typing import Any

from plait.envoy import build
from plait.model.catalog import Protocol
from plait.model.traffic import (
    LONGEST_CONNECTION,
    LONGEST_IDLE,
    Balance,
    ConnectionPool,
    LoadBalancing,
    OutlierDetection,
    RetryBudget,
    TrafficPolicy,
    WarmUp,
)

_NO_LIMIT = 2**32 - 1
_OWN_BUDGET = RetryBudget(least=25)
"""Where a user says nothing.  All that wait for a replica that dies fail at the same moment, and who answers nobody is
the least busy one of all; with the 3 of a user's budget without a number, and with 10, some of these failed for good at
a hundred requests a second on a busy machine.
"""
CONNECT_SECONDS = 5.0
"""Covers the TLS handshake too, on a machine that may be busy."""


def policy(told: TrafficPolicy) -> dict[str, Any]:
    """The fields of a cluster that a policy decides, those of HTTP apart."""
    pool = told.connections or ConnectionPool()
    found = {
        "connect_timeout": build.seconds(pool.connect_timeout or CONNECT_SECONDS),
        "circuit_breakers": {"thresholds": [thresholds(pool, told.retry_budget)]},
        **_balancing(told.load_balancing or LoadBalancing()),
    }
    if pool.keepalive is not None:
        alive = pool.keepalive
        said = {
            "keepalive_probes": alive.probes,
            "keepalive_time": alive.time,
            "keepalive_interval": alive.interval,
        }
        known = {name: {"value": round(value)} for name, value in said.items() if value is not None}
        found["upstream_connection_options"] = {"tcp_keepalive": known}
    common: dict[str, Any] = {}
    if told.outliers is not None:
        found["outlier_detection"] = _outliers(told.outliers)
        common["healthy_panic_threshold"] = {"value": told.outliers.least_healthy}
        # Otherwise an ejection has no effect in the second after replicas came, as when a bad version is new.
        common["update_merge_window"] = build.seconds(0.0)
    if told.by_locality is not None and told.by_locality.distributions:
        common["locality_weighted_lb_config"] = {}
    if common:
        found["common_lb_config"] = common
    return found


def thresholds(pool: ConnectionPool | None = None, budget: RetryBudget | None = None) -> dict[str, Any]:
    """Envoy's circuit breakers; without a pool nothing is limited, retries but by the budget."""
    limits = pool or ConnectionPool()
    found: dict[str, Any] = {
        "max_connections": {"value": limits.max_connections or _NO_LIMIT},
        "max_pending_requests": {"value": limits.max_pending_requests or _NO_LIMIT},
        "max_requests": {"value": limits.max_requests or _NO_LIMIT},
    }
    if pool is None:
        return found
    if limits.max_retries is not None and budget is None:
        found["max_retries"] = {"value": limits.max_retries}
    else:
        told = budget or _OWN_BUDGET
        found["retry_budget"] = {
            "budget_percent": {"value": told.percent},
            "min_retry_concurrency": {"value": told.least},
        }
    return found


def http_options(told: TrafficPolicy, protocol: Protocol) -> dict[str, Any]:
    """The common options of HTTP.  Whoever asks closes a connection before whoever answers would.

    HTTP/2 has a farewell by which the one who answers can end it as well.
    """
    pool = told.connections or ConnectionPool()
    found: dict[str, Any] = {
        "idle_timeout": build.seconds(min(pool.idle_timeout or LONGEST_IDLE, LONGEST_IDLE))
    }
    if pool.max_requests_per_connection is not None:
        found["max_requests_per_connection"] = {"value": pool.max_requests_per_connection}
    longest = pool.max_connection_duration
    if not protocol.is_http:
        longest = min(longest or LONGEST_CONNECTION, LONGEST_CONNECTION)
    if longest is not None:
        found["max_connection_duration"] = build.seconds(longest)
    return found


def streams(told: TrafficPolicy, protocol: Protocol) -> dict[str, Any]:
    """The options of HTTP/2.

    A limit of connections is meant as one of requests at a time where HTTP/1 is spoken: a connection then carries
    one, and the next ones wait for it as they would there.
    """
    pool = told.connections or ConnectionPool()
    most = pool.max_concurrent_streams
    if most is None and pool.max_connections is not None and protocol is Protocol.HTTP:
        most = 1
    return {"max_concurrent_streams": {"value": most}} if most is not None else {}


def _balancing(told: LoadBalancing) -> dict[str, Any]:
    slow = {"slow_start_config": _slow_start(told.warm_up)} if told.warm_up is not None else {}
    size = {"value": told.table_size} if told.table_size else None
    match told.balance:
        case Balance.LEAST_REQUEST:
            return {"lb_policy": "LEAST_REQUEST", **({"least_request_lb_config": slow} if slow else {})}
        case Balance.ROUND_ROBIN:
            return {"lb_policy": "ROUND_ROBIN", **({"round_robin_lb_config": slow} if slow else {})}
        case Balance.RANDOM:
            return {"lb_policy": "RANDOM"}
        case Balance.RING_HASH:
            return {
                "lb_policy": "RING_HASH",
                **({"ring_hash_lb_config": {"minimum_ring_size": size}} if size else {}),
            }
        case Balance.MAGLEV:
            return {"lb_policy": "MAGLEV", **({"maglev_lb_config": {"table_size": size}} if size else {})}


def _slow_start(told: WarmUp) -> dict[str, Any]:
    return {
        "slow_start_window": build.seconds(told.seconds),
        "min_weight_percent": {"value": told.least},
        "aggression": {"default_value": told.aggression, "runtime_key": "plait.warm_up"},
    }


def _outliers(told: OutlierDetection) -> dict[str, Any]:
    """What is 0 is not looked at; success rates and failure percentages are not part of any API here."""
    found: dict[str, Any] = {
        "interval": build.seconds(told.interval),
        "base_ejection_time": build.seconds(told.ejection),
        "max_ejection_time": build.seconds(max(told.ejection, 300.0)),
        "max_ejection_percent": {"value": told.most_ejected},
        "split_external_local_origin_errors": told.split_local,
        "enforcing_success_rate": {"value": 0},
        "enforcing_local_origin_success_rate": {"value": 0},
    }
    counted = {
        "consecutive_5xx": told.errors,
        "consecutive_gateway_failure": told.gateway_errors,
        "consecutive_local_origin_failure": told.local_failures if told.split_local else 0,
    }
    for name, number in counted.items():
        found[f"enforcing_{name}"] = {"value": 100 if number else 0}
        if number:
            found[name] = {"value": number}
    return found
