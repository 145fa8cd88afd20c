"""All that one run has found: what is measured, on which machine, and which parts have failed; kept in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.records import Record, load, save

PARTS = ("data plane", "control plane", "sidecars", "rebuild", "telemetry")
"""In the order in which they are measured and shown."""

_RECORDS, _RUN = "results.json", "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """`machine` is a table of two columns; `failures` are parts, and why each has no figures, or not all."""

    command: str
    machine: tuple[tuple[str, str], ...]
    failures: tuple[tuple[str, str], ...] = ()
    records: tuple[Record, ...] = ()

    def of(self, part: str) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.part == part)

    def find(self, part: str, case: str, setting: str, metric: str) -> Record | None:
        return next(
            (
                record
                for record in self.of(part)
                if (record.case, record.setting, record.metric) == (case, setting, metric)
            ),
            None,
        )

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save(folder / _RECORDS, self.records)
        run = {"command": self.command, "machine": self.machine, "failures": self.failures}
        (folder / _RUN).write_text(json.dumps(run, indent=1) + "\n")

    @staticmethod
    def load(folder: Path) -> Results:
        run = json.loads((folder / _RUN).read_text())
        return Results(
            command=run["command"],
            machine=_pairs(run["machine"]),
            failures=_pairs(run["failures"]),
            records=tuple(load(folder / _RECORDS)),
        )


def each_once(values: Iterable[str]) -> Iterator[str]:
    """Without repetition, in the order of their first appearance."""
    yield from dict.fromkeys(values)


def _pairs(rows: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in rows)
