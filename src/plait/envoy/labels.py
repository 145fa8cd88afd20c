"""The labels of Istio's metrics, and how they get from Envoy's counters to who asks for them.

A request pays for one label of one text: groups, each of which is one operator of Envoy's access log, or a word.
What is the same for all that a proxy counts is not among them.  Operators that look into metadata cost three times
what others do, so that what has to be known is said by names: of the cluster that was called, of the route that
serves, and of the endpoint, whose host name nothing else asks for.  `unpacked` makes Istio's labels of it, and so
does `scrape` inside of Envoy.  Plain values, without message classes: agents import this and stay small.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from plait.envoy import names

LABEL = "packed"
GROUP, PART = "|", ";"

_ALWAYS = (
    "reporter",
    "security",
    "source_principal",
    "destination",
    "destination_principal",
    "service",
    "response_flags",
)
GROUPS = {
    "tcp": (*_ALWAYS, "other_end"),
    "http": (*_ALWAYS, "response_code", "grpc_response_status", "other_end"),
    "denied": (*_ALWAYS, "protocol", "grpc_response_status", "reason", "other_end"),
}
"""What stands in a text that begins with this word.

`destination` is told at the source, and `service`, a host, at the destination.  `other_end` is at the source the name
of the cluster that was called, and at the destination the subject of who called; it may hold anything.
"""

CALLEE, CALLED, SERVED = "%UPSTREAM_HOST_NAME%", "%UPSTREAM_CLUSTER_RAW%", "%ROUTE_NAME%"
"""By which operators these are told: the workload that was chosen, what was called, and as what it is served."""

WORKLOAD = ("workload", "namespace", "app", "version", "principal")
"""The parts of `destination`, which is the host name of an endpoint."""

UNKNOWN = "unknown"
"""What Istio says of what is not known."""

RULE_HELD = "rbac_access_denied_matched_policy"
"""How Envoy tells which policy kept a request out: this, and its name in brackets; `none` where no ALLOW held."""

_NO_SEPARATORS = str.maketrans(GROUP + PART, "__")
_ATTRIBUTE = re.compile(r"([A-Z]+)=(.*?[^\\]),", re.DOTALL)
_RULE = re.compile(rf"{RULE_HELD}\[(.*)\]", re.DOTALL)
_OF_NAMESPACE = re.compile(r"/ns/([^/]+)/sa/")
_CLUSTER = re.compile(r"outbound\|\d+\|[^|]*\|(.+)", re.DOTALL)
_SERVICE = re.compile(r"([^.]+)\.([^.]+)\.svc\..*", re.DOTALL)


def packed(family: str, groups: Mapping[str, str]) -> str:
    """The text of a family (of GROUPS); a group that is not given is empty: nothing is known of that."""
    return GROUP.join((family, *(groups.get(name, "") for name in GROUPS[family])))


def workload(*, name: str, namespace: str, app: str, version: str, principal: str) -> str:
    """A group that tells a workload; empty what it has not."""
    return PART.join(text.translate(_NO_SEPARATORS) for text in (name, namespace, app, version, principal))


def service(of: str) -> dict[str, str]:
    """A service by its host, or by the name of a cluster: `host`, `name` and `namespace`, as far as they are known.

    A cluster that is no service's has a name alone: its own.
    """
    if not _said(of):
        return {}
    if GROUP in of or "." not in of:
        cluster = _CLUSTER.fullmatch(of)
        if cluster is None:
            return {"name": of}
        of = cluster[1]
    parts = _SERVICE.fullmatch(of)
    return {"host": of, "name": parts[1], "namespace": parts[2]} if parts else {"host": of, "name": of}


def callee(text: str) -> dict[str, str]:
    """A workload by its group, by the names of WORKLOAD.

    An endpoint that has no name is told by its address, which says nothing.
    """
    return _named(text, PART, WORKLOAD) if PART in text else {}


def caller(subject: str, principal: str) -> dict[str, str]:
    """Whom a certificate is of, by the names of WORKLOAD: its subject (RFC 2253, in reverse) says it."""
    said = {key: value.replace("\\", "") for key, value in _ATTRIBUTE.findall(subject + ",")}
    namespace = _OF_NAMESPACE.search(principal)
    found = {
        "workload": said.get("CN"),
        "app": said.get("OU", said.get("CN")),
        "version": said.get("O"),
        "namespace": namespace[1] if namespace else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def unpacked(text: str, own: Mapping[str, str]) -> dict[str, str]:
    """Istio's labels of a text that a proxy counted by, as its metrics port shows them.

    `own` tells the proxy's own workload: `workload`, `namespace`, `app`, `version`; empty what it has not.
    ValueError when the text begins with no family that is known.
    """
    family, _, rest = text.partition(GROUP)
    if family not in GROUPS:
        raise ValueError(f"no such family: {family!r}")
    of = _named(rest, GROUP, GROUPS[family])
    called = service(of.get("service", ""))
    source = destination = {name: value for name, value in own.items() if _said(value)}
    principal = of.get("destination_principal")
    other_end = of.get("other_end", "")
    if of.get("reporter") == "source":
        called = service(other_end)
        destination = callee(of.get("destination", ""))
        principal = destination.get("principal")
    else:
        source = caller(other_end, of.get("source_principal", ""))
    found = {
        "reporter": of.get("reporter"),
        **_of_workload("source", source),
        "source_principal": of.get("source_principal"),
        **_of_workload("destination", destination),
        "destination_principal": principal,
        "destination_service": called.get("host"),
        "destination_service_name": called.get("name"),
        "destination_service_namespace": called.get("namespace"),
        "connection_security_policy": of.get("security"),
        "response_flags": of.get("response_flags", "-"),
        **_of_family(family, of),
    }
    return {name: UNKNOWN if value is None else value for name, value in found.items()}


def _of_family(family: str, of: Mapping[str, str]) -> dict[str, str | None]:
    protocol = "grpc" if "grpc_response_status" in of else of.get("protocol", family)
    found: dict[str, str | None] = {"request_protocol": protocol}
    if family == "http":
        found |= {
            "response_code": of.get("response_code"),
            "grpc_response_status": of.get("grpc_response_status", ""),
        }
    if family == "denied":
        found |= {"reason": _reason(of.get("reason"))}
    return found


def _reason(details: str | None) -> str | None:
    """The rule that kept somebody out, or what else Envoy says of it."""
    rule = _RULE.fullmatch(details or "")
    return (names.NO_ALLOW if rule[1] == "none" else rule[1]) if rule else details


def _of_workload(where: str, who: Mapping[str, str]) -> dict[str, str | None]:
    return {
        f"{where}_workload": who.get("workload"),
        f"{where}_workload_namespace": who.get("namespace"),
        f"{where}_app": who.get("app"),
        f"{where}_version": who.get("version"),
        f"{where}_cluster": None,
        f"{where}_canonical_service": who.get("app"),
        f"{where}_canonical_revision": who.get("version", "latest" if "workload" in who else None),
    }


def _named(text: str, separator: str, keys: Sequence[str]) -> dict[str, str]:
    """The parts of a text by their names, those that say something; the last takes all that is left."""
    parts = text.split(separator, len(keys) - 1)
    return {key: part for key, part in zip(keys, parts, strict=False) if _said(part)}


def _said(text: str) -> bool:
    """Whether it is a value, and not what Envoy says when it has none."""
    return text not in {"", "-"}
