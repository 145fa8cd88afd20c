"""Namespace."""

from __future__ import annotations

from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.names import is_dns_label
from plait.model.reading import Fact, Namespace


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    root.at("spec").ignore()
    if not is_dns_label(subject.name):
        message = "the name of a Namespace is lower case letters, digits and - between them, 63 at most"
        root.at("metadata").at("name").error("name.invalid", message)
        return ()
    return (Namespace(subject.name),)


NAMESPACE = Kind(group="", name="Namespace", versions=("v1",), read=read)
