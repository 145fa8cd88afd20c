"""PeerAuthentication: over what workloads may be called.  One that can't be read whole means STRICT."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from plait.dialects.istio.shared import SECURITY_VERSIONS, selector
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.names import Origin
from plait.model.policy import MtlsMode, PeerAuthentication
from plait.model.reading import Fact


class _Mode(StrEnum):
    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    selected = selector(spec)
    mode = _mode(spec.at("mtls"))
    ports = tuple(sorted(_ports(spec.at("portLevelMtls"))))
    if spec.at("portLevelMtls").value and not spec.at("selector").value:
        message = "modes of ports need a selector: which workloads have these ports?"
        spec.at("portLevelMtls").error("mtls.port-without-selector", message)
    if spec.error_count() or spec.unread():
        spec.error("policy.closed", "it can't be read whole, so it asks for STRICT")
        mode, ports = MtlsMode.STRICT, ()
    return (
        PeerAuthentication(
            namespace=subject.namespace,
            name=subject.name,
            selector=selected or (),
            mode=mode,
            ports=ports,
            origin=subject.origin(root),
        ),
    )


def closed(subject: Subject) -> tuple[Fact, ...]:
    """STRICT for the whole namespace."""
    return (
        PeerAuthentication(
            namespace=subject.namespace, name=subject.name, mode=MtlsMode.STRICT, origin=Origin(subject.ref)
        ),
    )


def _mode(cursor: Cursor) -> MtlsMode | None:
    mode = cursor.at("mode").choice(_Mode, _Mode.UNSET)
    return None if mode is _Mode.UNSET else MtlsMode(mode.value)


def _ports(cursor: Cursor) -> Iterator[tuple[int, MtlsMode]]:
    for key, item in cursor.entries():
        mode = _mode(item)
        if not (key.isascii() and key.isdecimal() and len(key) < 6 and 0 < int(key) < 65536):
            item.error("field.range", f"{key[:80]!r} is no port from 1 to 65535")
        elif mode is not None:
            yield int(key), mode


PEER_AUTHENTICATION = Kind(
    group="security.istio.io",
    name="PeerAuthentication",
    versions=SECURITY_VERSIONS,
    read=read,
    closed=closed,
)
