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
}
"""What stands in a text that begins with this word.  The caller's subject is last: it may hold anything."""

WORKLOAD = ("workload", "namespace", "app", "version", "principal")
"""The parts of `destination`, which an endpoint's metadata hold."""
SERVICE = ("host", "name", "namespace", "protocol")
"""The parts of `service`, which the metadata of clusters and routes hold."""

_ATTRIBUTE = re.compile(r"([A-Z]+)=(.*?[^\\]),", re.DOTALL)
_OF_NAMESPACE = re.compile(r"/ns/([^/]+)/sa/")
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


def caller(subject: str, principal: str) -> dict[str, str]:
    """Whom a certificate is of: its subject (RFC 2253, in reverse) names workload, app and version."""
    said = {key: value.replace("\\", "") for key, value in _ATTRIBUTE.findall(subject + ",")}
    namespace = _OF_NAMESPACE.search(principal)
    found = {
        "workload": said.get("CN"),
        "app": said.get("OU", said.get("CN")),
        "version": said.get("O"),
        "namespace": namespace[1] if namespace else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _parts(*texts: str) -> str:
    return PART.join(text.translate(_NO_SEPARATORS) for text in texts)
