"""Plait: a service mesh that you can pip-install.

The packages, bottom up, are explained in ARCHITECTURE.md; `.importlinter` holds who may import whom.
This file imports nothing: the shim beside every workload loads it, and has to stay small.
"""
