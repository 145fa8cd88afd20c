"""The latest of everything that sources said: one document for each object, and where it was written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from plait.model.change import Change, Gone, Located, Stated, Unreadable
from plait.model.finding import Finding, Place, Severity
from plait.model.names import ObjectRef


@dataclass(slots=True)
class Store:
    """Takes Changes in any order; what it says depends on the latest of each unit alone."""

    _stated: dict[str, tuple[Located, ...]] = field(default_factory=dict)
    _findings: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    _of: dict[ObjectRef, tuple[Located, ...]] = field(default_factory=dict)
    """Everything written for an object; the first by file and line is the one that counts."""
    _refs: tuple[ObjectRef, ...] | None = None
    """All objects, sorted; None when one is new or gone."""

    def apply(self, change: Change) -> bool:
        """Take what a unit says now; whether that changed the meaning of any document, or any finding."""
        unit = change.unit
        before = self._stated.get(unit, ())
        match change:
            case Stated():
                after, findings = change.documents, change.findings
            case Unreadable():
                after, findings = before, change.findings
            case Gone():
                after, findings = (), ()
        touched = {located.document.ref for located in before} | {located.document.ref for located in after}
        said = self._said(unit, touched)
        self._stated[unit], self._findings[unit] = after, findings
        if not after and not findings:
            del self._stated[unit], self._findings[unit]
        self._replace(touched, before, after)
        return said != self._said(unit, touched)

    def documents(self) -> tuple[Located, ...]:
        """One document for each object, sorted by object."""
        if self._refs is None:
            self._refs = tuple(sorted(self._of, key=_order))
        return tuple(self._of[ref][0] for ref in self._refs)

    def findings(self) -> tuple[Finding, ...]:
        """What keeps units from being read, and objects that are written twice; sorted by place."""
        found = [finding for findings in self._findings.values() for finding in findings]
        twice = [written for written in self._of.values() if len(written) > 1]
        found += [finding for written in twice for finding in _duplicates(written)]
        return tuple(
            sorted(found, key=lambda finding: (finding.place or Place(""), finding.code, finding.message))
        )

    def place(self, ref: ObjectRef, path: str) -> Place | None:
        """Where a field of an object is written (or what is around it); None for an object that is not."""
        written = self._of.get(ref)
        return written[0].place(path) if written else None

    def _said(self, unit: str, refs: Iterable[ObjectRef]) -> tuple[object, ...]:
        """What the rest of the program sees of a unit and some objects: not the lines of what is right."""
        written = [(ref, self._of.get(ref, ())) for ref in sorted(refs)]
        meaning = [
            (ref, all_[0].document.api_version, all_[0].document.digest) for ref, all_ in written if all_
        ]
        return self._findings.get(unit, ()), meaning, [_duplicates(all_) for _, all_ in written]

    def _replace(
        self, refs: Iterable[ObjectRef], before: tuple[Located, ...], after: tuple[Located, ...]
    ) -> None:
        gone = {id(located) for located in before}
        written = {
            ref: [located for located in self._of.get(ref, ()) if id(located) not in gone] for ref in refs
        }
        for located in after:
            written[located.document.ref].append(located)
        for ref, all_ in written.items():
            if bool(all_) != (ref in self._of):
                self._refs = None
            if all_:
                self._of[ref] = tuple(sorted(all_, key=lambda located: (located.file, located.line)))
            else:
                self._of.pop(ref, None)


def _order(ref: ObjectRef) -> tuple[str, str, str, str]:
    """That of ObjectRefs, told in what is compared faster."""
    return ref.group, ref.kind, ref.namespace, ref.name


def _duplicates(written: tuple[Located, ...]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            Severity.ERROR,
            "document.duplicate",
            f"{other.document.ref} is already defined at {written[0].place('')}; that one is in force",
            other.document.ref,
            place=other.place(""),
        )
        for other in written[1:]
    )
