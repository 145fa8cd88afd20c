"""Namespaces, Services and Workloads."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.properties.values import (
    EXPORTS,
    LONG,
    PORTS,
    Strategy,
    document,
    labels,
    one_of,
    optional,
)

WORKLOADS = ("web-1", LONG)
_PROTOCOLS = ("http", "http2", "grpc", "tcp", "udp", "redis", "grpc-web", "kubernetes.io/h2c", "")
_NAMES = ("http", "grpc-a", "tcp-b", "udp-c", "odd", "http2-" + "d" * 50, "https", "mongo")


def namespace(name: str) -> Strategy:
    return document("v1", "Namespace", name, "", st.just({}))


@st.composite
def _service_ports(draw: st.DrawFn) -> list[dict[str, Any]]:
    numbers = draw(st.lists(one_of(PORTS), min_size=1, max_size=4, unique=True))
    names = draw(st.permutations(_NAMES))
    return [
        {
            "name": name,
            "port": number,
            **draw(
                optional(
                    targetPort=one_of((*PORTS, *_NAMES)),
                    protocol=one_of(("TCP", "UDP")),
                    appProtocol=one_of(_PROTOCOLS),
                )
            ),
        }
        for number, name in zip(numbers, names, strict=False)
    ]


def service(name: str, namespace: str) -> Strategy:
    exported = EXPORTS.map(lambda names: {"networking.istio.io/exportTo": ", ".join(names)})
    spec = optional(
        {"ports": _service_ports(), "selector": st.just({"app": name}) | labels()},
        clusterIP=one_of(("None", "10.0.0.1")),
        type=one_of(("ClusterIP", "NodePort")),
    )
    return document("v1", "Service", name, namespace, spec, annotations=st.just({}) | exported)


@st.composite
def _workload_ports(draw: st.DrawFn) -> list[dict[str, Any]]:
    numbers = draw(st.lists(one_of(PORTS), min_size=1, max_size=4, unique=True))
    names = draw(st.permutations(_NAMES))
    protocols = one_of(("http", "http2", "grpc", "tcp", "udp"))
    return [
        {"name": name, "port": number, **draw(optional(protocol=protocols))}
        for number, name in zip(numbers, names, strict=False)
    ]


def workload(name: str, namespace: str) -> Strategy:
    spec = optional(
        {"command": st.just(["true"])},
        ports=_workload_ports(),
        replicas=st.integers(0, 2),
        serviceAccount=one_of(("web", "a.b", LONG)),
    )
    return document("plait.dev/v1alpha1", "Workload", name, namespace, spec, labels=labels())
