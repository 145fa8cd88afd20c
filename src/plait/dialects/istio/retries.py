"""The retries of a VirtualService: how often, after what, and how long each may take."""

from __future__ import annotations

from collections.abc import Iterator

from plait.dialects.checks import seconds
from plait.model.document import Cursor
from plait.model.routing import Retries

MOST_ATTEMPTS = 100

RETRY_CONDITIONS = frozenset(
    {
        # https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "envoy-ratelimited",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "http3-post-connect-failure",
        # ... and of x-envoy-retry-grpc-on
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    }
)


def retries_of(cursor: Cursor) -> Retries | None:
    """The retries that are asked for, None (the default) when they can't be read."""
    if not cursor.present:
        return None
    attempts = cursor.at("attempts").integer(0, least=0, most=MOST_ATTEMPTS)
    per_try = seconds(cursor.at("perTryTimeout"))
    on = tuple(_conditions(cursor.at("retryOn")))
    back_off = seconds(cursor.at("backoff"), least=0.001)
    other_hosts = cursor.at("retryIgnorePreviousHosts").boolean(default=True)
    if cursor.error_count():
        return None
    if not attempts and (on or per_try is not None or back_off is not None):
        cursor.error(
            "retries.disabled", "attempts are missing or 0: nothing is retried, so nothing else can be said"
        )
        return None
    return Retries(
        attempts=attempts, per_try_timeout=per_try, on=on, back_off=back_off, other_hosts=other_hosts
    )


def _conditions(cursor: Cursor) -> Iterator[str]:
    for text in cursor.text().split(","):
        condition = text.strip()
        status = condition.isdecimal() and len(condition) == 3 and 100 <= int(condition) < 600
        if condition in RETRY_CONDITIONS or status:
            yield condition
        elif condition or cursor.value:
            cursor.error("retries.condition", f"{condition[:80]!r} is nothing that Envoy retries on")
