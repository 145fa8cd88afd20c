"""Kubernetes' own kinds that describe a mesh: Namespace, ServiceAccount, Service."""
