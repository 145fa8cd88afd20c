"""Names that identify things: objects, hosts, workload identities, proxies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

CLUSTER_DOMAIN = "cluster.local"

REPLICA_NETWORK = IPv4Network("198.18.0.0/16")
"""Where replicas have their addresses in transparent mode: of RFC 2544, which nobody else routes."""
REPLICA_NETWORK_6 = IPv6Network("fd70:6c61:6974::/96")
"""Where they have those of IPv6, which end in the others; only to leave the mesh by (RFC 4193)."""

VIRTUAL_NETWORK = IPv4Network("240.0.0.0/5")
"""Where hosts have their virtual addresses: reserved for ever, and routed nowhere."""

Export = frozenset[str] | None
"""The namespaces whose clients something is for; None: all of them."""

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """One API object.  `group` is the API group without version ("" for Kubernetes' core)."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """What made a value: an object and the path of the field inside it."""

    ref: ObjectRef
    field: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A workload's identity: SPIFFE, in the layout that Istio uses."""

    trust_domain: str
    namespace: str
    service_account: str

    @property
    def uri(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    @staticmethod
    def parse(uri: str) -> Identity | None:
        """The identity that a SPIFFE ID names, or None when it is not one of a workload."""
        match uri.split("/"):
            case ["spiffe:", "", trust_domain, "ns", namespace, "sa", account] if (
                trust_domain and namespace and account
            ):
                return Identity(trust_domain, namespace, account)
            case _:
                return None


@dataclass(frozen=True, slots=True, order=True)
class WorkloadKey:
    """One Workload object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class ReplicaKey:
    """One running copy of a workload; its text is the node id of its proxy: `NS/WORKLOAD/NUMBER`."""

    workload: WorkloadKey
    number: int

    def __str__(self) -> str:
        return f"{self.workload}/{self.number}"

    @staticmethod
    def parse(node_id: str) -> ReplicaKey | None:
        match node_id.split("/"):
            case [namespace, name, number] if namespace and name and number.isdecimal():
                return ReplicaKey(WorkloadKey(namespace, name), int(number))
            case _:
                return None


def service_host(namespace: str, name: str) -> str:
    """The fully qualified host of a Service."""
    return f"{name}.{namespace}.svc.{CLUSTER_DOMAIN}"


def qualify(host: str, namespace: str) -> str:
    """The full host for one written in an object of `namespace`; a name without a dot is a Service there.

    Istio's rule for short names; a name with dots is taken as it stands.
    """
    return host if "." in host or host == "*" else service_host(namespace, host)


def aliases(namespace: str, name: str, client_namespace: str) -> tuple[str, ...]:
    """Every host name by which a client in `client_namespace` may call a Service, shortest first."""
    full = (f"{name}.{namespace}", f"{name}.{namespace}.svc", service_host(namespace, name))
    return (name, *full) if client_namespace == namespace else full


def is_dns_label(text: str) -> bool:
    """Whether this is an RFC 1123 label: the form of namespaces, services and subsets, 63 characters at most."""
    return _LABEL.match(text) is not None


def is_dns_subdomain(text: str) -> bool:
    """Whether this is labels joined by dots, 253 characters at most: the form of most objects' names."""
    return len(text) <= 253 and all(is_dns_label(label) for label in text.split("."))
