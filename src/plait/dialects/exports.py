"""exportTo: which namespaces see an object."""

from __future__ import annotations

from collections.abc import Iterable

from plait.model.document import Cursor
from plait.model.names import Export, is_dns_label

_SHOWN = 80


def export(cursor: Cursor, namespace: str) -> Export:
    """The namespaces that an object is for; what can't be read is for its own alone."""
    return exported(cursor, cursor.strings(), namespace)


def exported(cursor: Cursor, names: Iterable[str], namespace: str) -> Export:
    """As `export`, of names that stand in the list, or in the text, at a cursor."""
    found: set[str] = set()
    everybody = nobody = False
    for name in names:
        if name == "*":
            everybody = True
        elif name == "~":
            nobody = True
        elif name == ".":
            found.add(namespace)
        elif is_dns_label(name):
            found.add(name)
        else:
            cursor.error("export.invalid", f"{name[:_SHOWN]!r} is no namespace, nor one of . * ~")
    if (everybody or nobody) and (found or (everybody and nobody)):
        cursor.error("export.invalid", "* and ~ stand alone: all namespaces, or none")
    if cursor.error_count():
        return frozenset((namespace,))
    return frozenset(found) if found or nobody else None
