"""The labels of Istio's metrics, and how they get from Envoy's counters to the metrics port.

A request pays for one label of one text: groups, each of which is one operator of Envoy's access log, or a word.
What is the same for all that a proxy counts is not among them.  `scrape` makes Istio's labels of it when somebody
asks.  Plain values, without message classes: agents import this and stay small.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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
    "tcp": (*_ALWAYS, "source_subject"),
    "http": (*_ALWAYS, "response_code", "grpc_response_status", "source_subject"),
    "denied": (*_ALWAYS, "reason", "source_subject"),
}
"""What stands in a text that begins with this word.  The caller's subject is last: it may hold anything."""

WORKLOAD = ("workload", "namespace", "app", "version", "principal")
"""The parts of `destination`, which an endpoint's metadata hold."""
SERVICE = ("host", "name", "namespace", "protocol")
"""The parts of `service`, which the metadata of clusters and routes hold."""

_NO_SEPARATORS = str.maketrans(GROUP + PART, "__")


def packed(family: str, groups: Mapping[str, str]) -> str:
    """The text of a family (`tcp`, `http`); a group that is not given is empty: nothing is known of that."""
    return GROUP.join((family, *(groups.get(name, "") for name in GROUPS[family])))


def workload(*, name: str, namespace: str, app: str, version: str, principal: str) -> str:
    """A group that tells a workload; empty what it has not."""
    return _parts(name, namespace, app, version, principal)


def service(*, host: str = "", name: str = "", namespace: str = "", protocol: str = "") -> str:
    """A group that tells a service, and what is spoken to it; empty what is not known."""
    return _parts(host, name, namespace, protocol)


def unpacked(text: str, own: Mapping[str, str]) -> Mapping[str, str]:
    """Istio's labels of a text that `packed` made; ValueError for one of no family.

    `own` tells the workload that counted by it, by the names of WORKLOAD.  It says what the Lua of `scrape` says.
    """
    family, _, rest = text.partition(GROUP)
    if family not in GROUPS:
        raise ValueError(f"no family {family[:20]!r}")
    of = _split(rest, GROUP, GROUPS[family])
    called = _split(of.get("service", ""), PART, SERVICE)
    source = destination = own
    principal = of.get("destination_principal", "")
    if of.get("reporter") == "source":
        destination = _split(of.get("destination", ""), PART, WORKLOAD)
        principal = destination.get("principal", "")
    else:
        source = _caller(of.get("source_subject", ""), of.get("source_principal", ""))
    found = {
        "reporter": of.get("reporter", ""),
        **_of_workload("source", source),
        "source_principal": of.get("source_principal", ""),
        **_of_workload("destination", destination),
        "destination_principal": principal,
        "destination_service": called.get("host", ""),
        "destination_service_name": called.get("name", ""),
        "destination_service_namespace": called.get("namespace", ""),
        "connection_security_policy": of.get("security", ""),
        "response_flags": of.get("response_flags", "") or "-",
        "request_protocol": "tcp" if family == "tcp" else called.get("protocol", "") or "http",
    }
    if family == "http":
        found["response_code"] = of.get("response_code", "")
    if family == "denied":
        found["reason"] = of.get("reason", "")
    said = {name: value or "unknown" for name, value in found.items()}
    return said | {"grpc_response_status": of.get("grpc_response_status", "")} if family == "http" else said


_ATTRIBUTE = re.compile(r"([A-Z]+)=(.*?[^\\]),")
"""Of a subject (RFC 2253): each attribute ends at a comma that no backslash stands before."""


def _caller(subject: str, principal: str) -> Mapping[str, str]:
    said = {key: value.replace("\\", "") for key, value in _ATTRIBUTE.findall(subject + ",")}
    _, found, account = principal.partition("/ns/")
    return {
        "workload": said.get("CN", ""),
        "app": said.get("OU") or said.get("CN", ""),
        "version": said.get("O", ""),
        "namespace": account.partition("/sa/")[0] if found and "/sa/" in account else "",
    }


def _of_workload(where: str, who: Mapping[str, str]) -> Mapping[str, str]:
    version = who.get("version", "")
    return {
        f"{where}_workload": who.get("workload", ""),
        f"{where}_workload_namespace": who.get("namespace", ""),
        f"{where}_app": who.get("app", ""),
        f"{where}_version": version,
        f"{where}_cluster": "",
        f"{where}_canonical_service": who.get("app", ""),
        f"{where}_canonical_revision": version or ("latest" if who.get("workload") else ""),
    }


def _split(text: str, separator: str, names: tuple[str, ...]) -> dict[str, str]:
    """The parts of a text by their names; what is not known ("" or "-") is not among them."""
    return {
        name: part
        for name, part in zip(names, text.split(separator, len(names) - 1), strict=False)
        if part not in {"", "-"}
    }


def _parts(*texts: str) -> str:
    return PART.join(text.translate(_NO_SEPARATORS) for text in texts)
