"""The kinds of Plait itself, plait.dev: RateLimit, Workload."""
