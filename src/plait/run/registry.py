"""The replicas that agents have reported, remembered across restarts of the control plane.

A control plane that comes back has to know every endpoint before it tells any proxy anything, or it would
take endpoints away that serve.  What an agent says in its Hello replaces all that is remembered of it.

Each thing said is one more line of a file (0600); from time to time that is written anew with what still holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plait.codec import Codec, CodecError
from plait.identity.files import Insecure, read_private, write_private
from plait.identity.trust import Held
from plait.link.messages import Hello, ReplicaReport
from plait.model.catalog import Member, Replica
from plait.model.names import ReplicaKey, WorkloadKey


@dataclass(frozen=True, slots=True)
class _Reported:
    agent: str
    report: ReplicaReport


@dataclass(frozen=True, slots=True)
class _Gone:
    agent: str
    key: ReplicaKey


@dataclass(frozen=True, slots=True)
class _Holds:
    agent: str
    held: Held


_LINE = Codec[Hello | _Reported | _Gone | _Holds](Hello | _Reported | _Gone | _Holds)
_SPARE = 1000
"""So many lines, and one for each report, are added before the file is written anew."""


@dataclass(slots=True)
class Registry:
    """Reports by agent and replica; `path` is where they are kept."""

    path: Path
    agents: dict[str, dict[ReplicaKey, ReplicaReport]] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    """What each agent has for itself."""
    _room: int = 0
    """How many lines may still be added."""
    _order: tuple[ReplicaKey, ...] | None = None
    _replicas: dict[str, Replica] | None = None
    _members: frozenset[Member] | None = None
    _shown: dict[tuple[str, str, str], WorkloadKey] | None = None
    """What follows from the reports, until they change."""

    @staticmethod
    def load(path: Path) -> Registry:
        """What was remembered, up to a line that was cut short: agents say it all again."""
        found = Registry(path)
        try:
            for line in read_private(path).splitlines():
                found._apply(_LINE.decode(line))
        except (FileNotFoundError, Insecure, CodecError):
            pass
        return found

    def hello(self, agent: str, reports: Iterable[ReplicaReport]) -> None:
        """All that runs under an agent."""
        self._apply(Hello(agent=agent, replicas=tuple(reports), held=self.held.get(agent)))
        self._rewrite()

    def report(self, agent: str, report: ReplicaReport) -> None:
        self._append(_Reported(agent, report))

    def gone(self, agent: str, key: ReplicaKey) -> None:
        self._append(_Gone(agent, key))

    def holds(self, agent: str, held: Held) -> None:
        """What certificate of its own an agent has."""
        self._append(_Holds(agent, held))

    def find(self, key: ReplicaKey) -> tuple[str, ReplicaReport] | None:
        """The agent of a replica and its last report."""
        for agent, reports in self.agents.items():
            if key in reports:
                return agent, reports[key]
        return None

    def reports(self) -> tuple[ReplicaReport, ...]:
        """Every report, sorted by replica."""
        return tuple(report for _, report in self._sorted())

    def replicas(self) -> Mapping[str, Replica]:
        """Every replica by the name of its node, sorted; the same mapping until something is said."""
        if self._replicas is None:
            self._replicas = {str(key): report.replica for key, report in self._sorted()}
        return self._replicas

    def members(self) -> frozenset[Member]:
        """What selectors look at; the same set until one more, one less or another is there."""
        if self._members is None:
            self._members = frozenset(replica.member for replica in self.replicas().values())
        return self._members

    def holder(self, namespace: str, service_account: str, common_name: str) -> WorkloadKey | None:
        """The workload whose certificate says this; None when none such runs.

        Not which replica: the certificates of all of them say the same.
        """
        if self._shown is None:
            self._shown = {
                (one.key.workload.namespace, one.service_account, common_name_of(one.key.workload)): (
                    one.key.workload
                )
                for one in self.replicas().values()
            }
        return self._shown.get((namespace, service_account, common_name))

    def _sorted(self) -> Iterator[tuple[ReplicaKey, ReplicaReport]]:
        merged = {key: report for reports in self.agents.values() for key, report in reports.items()}
        if self._order is None:
            self._order = tuple(sorted(merged, key=lambda key: (*_words(key), key.number)))
        return ((key, merged[key]) for key in self._order)

    def _apply(self, said: Hello | _Reported | _Gone | _Holds) -> None:
        if isinstance(said, _Holds):
            self.held[said.agent] = said.held
            return
        reports = self.agents.setdefault(said.agent, {})
        self._replicas = self._shown = None
        match said:
            case Hello(replicas=replicas, held=held):
                if held is not None:
                    self.held[said.agent] = held
                self.agents[said.agent] = {report.replica.key: report for report in replicas}
                self._order = self._members = None
            case _Reported(report=report):
                before = reports.get(report.replica.key)
                reports[report.replica.key] = report
                if before is None:
                    self._order = None
                if before is None or before.replica.member != report.replica.member:
                    self._members = None
            case _Gone(key=key):
                if reports.pop(key, None) is not None:
                    self._order = self._members = None

    def _append(self, said: _Reported | _Gone | _Holds) -> None:
        self._apply(said)
        if not self._room:
            self._rewrite()
            return
        line = _LINE.encode(said) + b"\n"
        self._room, room = 0, self._room - 1  # behind a line that is cut short nothing is added
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self.path, flags, 0o600)
        try:
            if os.write(file, line) == len(line):
                self._room = room
        finally:
            os.close(file)

    def _rewrite(self) -> None:
        """Write everything aside and rename it into place."""
        hellos = [
            Hello(agent=agent, replicas=tuple(reports.values()), held=self.held.get(agent))
            for agent, reports in sorted(self.agents.items())
        ]
        write_private(self.path, b"".join(_LINE.encode(hello) + b"\n" for hello in hellos))
        self._room = _SPARE + sum(map(len, self.agents.values()))


def common_name_of(workload: WorkloadKey) -> str:
    """What certificates call a workload: a common name has 64 letters at most."""
    return workload.name[:63]


def _words(key: ReplicaKey) -> tuple[str, str]:
    return key.workload.namespace, key.workload.name
