"""ServiceAccount."""

from __future__ import annotations

from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.reading import Fact, ServiceAccount


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    # They concern Kubernetes' own API and images; a workload's certificate is all that counts here.
    for field in ("secrets", "imagePullSecrets", "automountServiceAccountToken"):
        root.at(field).ignore()
    return (ServiceAccount(subject.namespace, subject.name),)


SERVICE_ACCOUNT = Kind(group="", name="ServiceAccount", versions=("v1",), read=read)
