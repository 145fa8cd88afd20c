"""The one form of everything that is measured: flat records, kept as JSON, from which the report is written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One quantity of one case, measured several times.

    `part` is the part of the benchmark (`data plane`, `control plane`, `sidecars`, `rebuild`, `telemetry`); `case` is what was
    measured (`plait pair`, `one route changed`); `setting` tells the cases of one kind apart (`HTTP/1.1, 32
    connections`, `1000 services, 1000 proxies`); `metric` and `unit` are as a table's head shows them.
    """

    part: str
    case: str
    setting: str
    metric: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the most."""
        return min(self.values), max(self.values)


def save(path: Path, records: Iterable[Record]) -> None:
    path.write_text(json.dumps([asdict(record) for record in records], indent=1) + "\n")


def load(path: Path) -> list[Record]:
    return [Record(**{**item, "values": tuple(item["values"])}) for item in json.loads(path.read_text())]
