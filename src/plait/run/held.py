"""The last good versions of what is broken now, kept in a file so that a restart does not lose them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.identity.files import Insecure, read_private, write_private
from plait.model.change import Located, Stated
from plait.model.document import Document
from plait.model.names import ObjectRef


@dataclass(frozen=True, slots=True)
class Held:
    """`units` are what unreadable units last said, `objects` the last good versions of broken objects."""

    units: Mapping[str, Stated] = field(default_factory=dict)
    objects: Mapping[ObjectRef, Document] = field(default_factory=dict)

    @staticmethod
    def load(path: Path) -> Held:
        """What was kept; nothing when there is no file, or none that can be trusted."""
        try:
            value = json.loads(read_private(path))
            units = {
                unit: Stated(unit, tuple(Located(_document(item), unit, 0, {}) for item in items))
                for unit, items in value["units"].items()
            }
            objects = [_document(item) for item in value["objects"]]
        except (FileNotFoundError, Insecure, ValueError, KeyError, TypeError):
            return Held()
        return Held(units, {document.ref: document for document in objects})

    def save(self, path: Path) -> None:
        """Keep this, or remove the file when there is nothing to keep."""
        if not self.units and not self.objects:
            path.unlink(missing_ok=True)
            return
        value = {
            "units": {
                unit: [_plain(located.document) for located in stated.documents]
                for unit, stated in sorted(self.units.items())
            },
            "objects": [_plain(self.objects[ref]) for ref in sorted(self.objects)],
        }
        write_private(path, json.dumps(value).encode())


def _plain(document: Document) -> dict[str, Any]:
    ref = document.ref
    return {
        "ref": [ref.group, ref.kind, ref.namespace, ref.name],
        "apiVersion": document.api_version,
        "digest": document.digest,
        "value": document.value,
    }


def _document(item: Mapping[str, Any]) -> Document:
    return Document(ObjectRef(*item["ref"]), item["apiVersion"], item["digest"], item["value"])
