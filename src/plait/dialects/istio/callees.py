"""Services that the proxies themselves call: the hosts of them, by any of their names."""

from __future__ import annotations

from plait.model.names import CLUSTER_DOMAIN, is_dns_label, service_host


def callee(text: str, namespace: str) -> str:
    """The full host of a Service that is named somehow (`keys`, `keys.bistro`, ...); "" when it can't be one."""
    parts = (
        text.lower().removesuffix(".").removesuffix(f".svc.{CLUSTER_DOMAIN}").removesuffix(".svc").split(".")
    )
    if not all(is_dns_label(part) for part in parts):
        return ""
    match parts:
        case [name]:
            return service_host(namespace, name)
        case [name, place]:
            return service_host(place, name)
        case _:
            return ""
