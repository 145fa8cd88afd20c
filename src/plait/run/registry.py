"""The replicas that agents have reported, remembered across restarts of the control plane.

A control plane that comes back has to know every endpoint before it tells any proxy anything, or it would
take endpoints away that serve.  What an agent says in its Hello replaces all that is remembered of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from plait.codec import Codec, CodecError
from plait.identity.files import Insecure, read_private, write_private
from plait.link.messages import Hello, ReplicaReport
from plait.model.catalog import Member, Replica
from plait.model.names import ReplicaKey


@dataclass(frozen=True, slots=True)
class _Remembered:
    agents: tuple[Hello, ...]


_FILE = Codec[_Remembered](_Remembered)


@dataclass(slots=True)
class Registry:
    """Reports by agent and replica; `path` is where they are kept (0600)."""

    path: Path
    agents: dict[str, dict[ReplicaKey, ReplicaReport]] = field(default_factory=dict)

    @staticmethod
    def load(path: Path) -> Registry:
        """What was remembered; an unreadable file is as good as none, since agents say it all again."""
        try:
            hellos = _FILE.decode(read_private(path)).agents
        except (FileNotFoundError, Insecure, CodecError):
            return Registry(path)
        return Registry(
            path, {hello.agent: {report.replica.key: report for report in hello.replicas} for hello in hellos}
        )

    def save(self) -> None:
        """Write everything aside and rename it into place."""
        hellos = (
            Hello(agent=agent, replicas=tuple(reports.values()))
            for agent, reports in sorted(self.agents.items())
        )
        write_private(self.path, _FILE.encode(_Remembered(tuple(hellos))))

    def hello(self, agent: str, reports: Iterable[ReplicaReport]) -> None:
        self.agents[agent] = {report.replica.key: report for report in reports}

    def report(self, agent: str, report: ReplicaReport) -> None:
        self.agents.setdefault(agent, {})[report.replica.key] = report

    def gone(self, agent: str, key: ReplicaKey) -> None:
        self.agents.get(agent, {}).pop(key, None)

    def find(self, key: ReplicaKey) -> tuple[str, ReplicaReport] | None:
        """The agent of a replica and its last report."""
        for agent, reports in self.agents.items():
            if key in reports:
                return agent, reports[key]
        return None

    def reports(self) -> tuple[ReplicaReport, ...]:
        """Every report, sorted by replica."""
        merged = {key: report for reports in self.agents.values() for key, report in reports.items()}
        return tuple(merged[key] for key in sorted(merged))

    def replicas(self) -> tuple[Replica, ...]:
        return tuple(report.replica for report in self.reports())

    def members(self) -> frozenset[Member]:
        return frozenset(replica.member for replica in self.replicas())
