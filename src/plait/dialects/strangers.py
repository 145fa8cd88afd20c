"""Kinds that Plait does not read: each gets one Finding that says so, and what to use instead."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

from plait.dialects.kind import Kind
from plait.model.finding import Finding, Severity
from plait.model.names import ObjectRef

REFUSED = {
    ("networking.istio.io", "EnvoyFilter"): (
        "patches of Envoy's configuration are not taken; say what you need in VirtualService, DestinationRule or "
        "AuthorizationPolicy"
    ),
    ("extensions.istio.io", "WasmPlugin"): (
        "code is not loaded into the proxies; put what it does into a service of its own"
    ),
    ("networking.istio.io", "ProxyConfig"): (
        "proxies are not tuned one by one; Plait sets them up for the workload that they stand beside"
    ),
}

_WORKLOADS = frozenset(
    {
        ("", "Pod"),
        ("", "ReplicationController"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("batch", "CronJob"),
        ("batch", "Job"),
    }
)

_SIMILAR = 0.8


def finding(ref: ObjectRef, kinds: Iterable[Kind]) -> Finding:
    """What to say about an object of a kind that has no reader."""
    key = (ref.group, ref.kind)
    if key in REFUSED:
        return Finding(Severity.ERROR, "kind.refused", f"{ref.kind}: {REFUSED[key]}", ref, "kind")
    meant = next((kind for kind in kinds if kind.name == ref.kind and _is_slip(ref.group, kind.group)), None)
    if meant is not None:
        group = meant.group or "no group"
        message = f"{ref.kind} belongs to {group}: write apiVersion: {_versions(meant)}"
        return Finding(Severity.ERROR, "kind.group", message, ref, "apiVersion")
    if key in _WORKLOADS:
        message = f"Plait runs no {ref.kind} here: say it as a Workload (plait.dev/v1alpha1), with a command"
    else:
        message = f"Plait does not honour {ref.kind} of {ref.group or 'the core API'}: it has no effect"
    return Finding(Severity.WARNING, "kind.unsupported", message, ref, "kind")


def version(ref: ObjectRef, api_version: str, kind: Kind) -> Finding:
    """What to say about an object of a known kind in a version that nobody serves."""
    message = f"{api_version!r} is no version of {kind.name}: write {_versions(kind)}"
    return Finding(Severity.ERROR, "kind.version", message, ref, "apiVersion")


def _is_slip(written: str, right: str) -> bool:
    """Whether a group was most likely meant to be another: none was written, or nearly the right one."""
    return not written or (bool(right) and SequenceMatcher(None, written, right).ratio() > _SIMILAR)


def _versions(kind: Kind) -> str:
    prefix = f"{kind.group}/" if kind.group else ""
    return " or ".join(f"{prefix}{served}" for served in kind.versions)
