"""What was seen: counts, latencies and spans, kept for a while and asked for by name.

It knows neither sockets nor Envoys: what agents and proxies report comes in as the values of `reports`.
"""
