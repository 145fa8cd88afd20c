"""From documents to a Mesh, with the last good version of whatever is broken now.

The mistakes of a user never take a running mesh backwards: an object whose new version has an error keeps its
last version that had none, for as long as it is written at all.  Without an earlier version it takes effect as
far as it can be read, its dialect having closed what security asks to be closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from plait import dialects
from plait.compiler.merge import NO_SHIFTS, merge
from plait.compiler.sharing import Made
from plait.model.catalog import Member
from plait.model.change import Located
from plait.model.document import Document
from plait.model.finding import Finding, Severity
from plait.model.mesh import Mesh
from plait.model.names import ObjectRef
from plait.model.reading import Fact, Reading
from plait.model.rollout import Shifts
from plait.model.routing import AttachedRoutes
from plait.model.settings import MeshSettings

_GATEWAY_API = "gateway.networking.k8s.io"

HELD = "the last version without an error stays in force"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A Mesh, what was found wrong with its documents, and the older versions that stand in for broken ones."""

    mesh: Mesh
    findings: tuple[Finding, ...]
    held: Mapping[ObjectRef, Document]
    attached: tuple[AttachedRoutes, ...] = ()
    """The routes whose conditions are told, as they are written now."""


@dataclass(slots=True)
class Compilation:
    """Compiles again and again, reading a document once per content and keeping the last good of each object."""

    settings: MeshSettings
    good: dict[ObjectRef, Document] = field(default_factory=dict)
    _readings: Made = field(default_factory=Made)
    _merged: Made = field(default_factory=Made)

    def compile(
        self,
        documents: Iterable[Located],
        running: frozenset[Member] = frozenset(),
        shifts: Shifts = NO_SHIFTS,
    ) -> Compiled:
        """The Mesh of these documents, one for each object, of the members that run, and of where rollouts stand."""
        wanted = {located.document.ref: located.document for located in documents}
        self._readings.begin()
        mesh, findings = self._merge(wanted.values(), running, shifts)
        broken = _broken(findings)
        held = {
            ref: self.good[ref]
            for ref in sorted(broken)
            if ref in wanted and ref in self.good and self.good[ref].digest != wanted[ref].digest
        }
        if held:
            mesh, _ = self._merge((wanted | held).values(), running, shifts)
            findings = tuple(_say_held(finding, held) for finding in findings)
        known, self.good = self.good, dict(wanted)
        for ref in broken & wanted.keys():
            if ref in known:
                self.good[ref] = known[ref]
            else:
                del self.good[ref]
        attached = tuple(
            fact
            for document in wanted.values()
            if document.ref.group == _GATEWAY_API
            for fact in self._read(document).facts
            if isinstance(fact, AttachedRoutes)
        )
        return Compiled(mesh, findings, held, attached)

    def _merge(
        self, documents: Iterable[Document], running: frozenset[Member], shifts: Shifts
    ) -> tuple[Mesh, tuple[Finding, ...]]:
        readings = [self._read(document) for document in documents]
        facts: list[Fact] = [fact for reading in readings for fact in reading.facts]
        self._merged.begin()
        mesh, merged = merge(facts, self.settings, running, self._merged, shifts)
        return mesh, tuple(finding for reading in readings for finding in reading.findings) + merged

    def _read(self, document: Document) -> Reading:
        return self._readings.of(document.digest, (document,), dialects.read)


def _broken(findings: Iterable[Finding]) -> frozenset[ObjectRef]:
    return frozenset(
        finding.ref for finding in findings if finding.severity is Severity.ERROR and finding.ref is not None
    )


def _say_held(finding: Finding, held: Mapping[ObjectRef, Document]) -> Finding:
    if finding.severity is Severity.ERROR and finding.ref in held:
        return replace(finding, message=f"{finding.message}; {HELD}")
    return finding
