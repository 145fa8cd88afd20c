"""Flagger's kinds, flagger.app: Canary, MetricTemplate, AlertProvider."""
