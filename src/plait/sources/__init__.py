"""How facts arrive: files and (later) Kubernetes become Changes, and the store holds the latest of everything.

A source yields Changes; what the documents in them mean is no concern of this package, and neither is who asks.
"""
