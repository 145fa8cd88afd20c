"""What was seen: counts, latencies and spans, kept for a while and asked for by name.

What agents and proxies report comes in as the values of `reports`; the one socket here is that to a Prometheus, which
can be asked in place of the store.
"""
