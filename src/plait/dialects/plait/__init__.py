"""The kinds of Plait itself, plait.dev: Workload."""
