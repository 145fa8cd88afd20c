"""What the readers of all kinds have in common: what they are given, and how they are registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from plait.model.catalog import Labels
from plait.model.document import Cursor
from plait.model.names import ObjectRef, Origin
from plait.model.reading import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The object that is being read: its name and the metadata that every kind has."""

    ref: ObjectRef
    labels: Labels = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    """When it was made (RFC 3339, UTC), if anybody knows."""

    @property
    def namespace(self) -> str:
        return self.ref.namespace

    @property
    def name(self) -> str:
        return self.ref.name

    def origin(self, cursor: Cursor) -> Origin:
        return Origin(self.ref, cursor.path)


def nothing(_: Subject) -> tuple[Fact, ...]:
    """No facts."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind that Plait reads."""

    group: str
    name: str
    versions: tuple[str, ...]
    read: Callable[[Cursor, Subject], tuple[Fact, ...]]
    """From the whole object to its facts; what is wrong is said through the cursor."""
    unsupported: tuple[str, ...] = ()
    """Fields of the API's schema that are not honoured: paths, with [] for any index and * for any key."""
    closed: Callable[[Subject], tuple[Fact, ...]] = nothing
    """What an object of a version that can't be read stands for: for security, the shut door."""
