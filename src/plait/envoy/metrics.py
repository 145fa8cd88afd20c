"""What an Envoy counts: the names of metrics, the buckets of histograms, and how many series there may be.

Requests have no counter of their own: they are as many as durations, and `scrape` says so under Istio's name.
Plain values, without message classes: agents import this and stay small.
"""

from __future__ import annotations

REQUESTS = "requests_total"
"""Made at the scrape, of the number of durations."""
DURATION = "request_duration_milliseconds"
REQUEST_BYTES = "request_bytes"
RESPONSE_BYTES = "response_bytes"

OPENED = "tcp_connections_opened_total"
CLOSED = "tcp_connections_closed_total"
SENT = "tcp_sent_bytes_total"
RECEIVED = "tcp_received_bytes_total"

DENIED = "denied_total"
OUTLASTING = "may_outlive_certificate_total"
ATTEMPTS, RETRIES = "request_attempts_total", "request_retries_total"
"""Made at the scrape, of what Envoy counts of each cluster by itself."""

_MILLISECONDS = (
    *(step * decade for decade in (1, 10, 100, 1000) for step in (1, 1.5, 2, 3, 4, 5, 7)),
    *(10_000, 30_000, 60_000, 300_000),
)
"""Each at most half more than the one before, up to ten seconds."""
_BYTES = tuple(4**power for power in range(3, 15))
"""Powers of four, from 64 B to 256 MiB."""

BUCKETS = {DURATION: _MILLISECONDS, REQUEST_BYTES: _BYTES, RESPONSE_BYTES: _BYTES}
"""The upper bounds of each histogram's buckets, but for the last, which has none."""

MOST_TEXTS = 500
"""By so many different texts (see `labels`) requests are counted, connections, and denials.

What would be counted by more of them is left out, and how often is counted: `server.stats_overflow`.
"""
IDLE_SECONDS = 3600
"""What was not counted for so long, or up to twice that, is forgotten, and leaves room for others."""
