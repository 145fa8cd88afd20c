"""Writes the record of `make prove`: what was proven, when, on which machine, and with what figures.

    python tools/proofs.py REPORT.xml docs/proofs.md

The report is pytest's (JUnit XML).  A proof tells its figures through pytest's own fixture:
`record_property("requests", 5000)`.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from os import cpu_count
from pathlib import Path
from xml.etree import ElementTree as ET


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One test that was run: the promise it is named by, the verdict, seconds, and the figures it recorded."""

    module: str
    promise: str
    verdict: str
    seconds: float
    figures: tuple[tuple[str, str], ...]


def read(report: str) -> Iterator[Proof]:
    """The proofs in a report."""
    for case in ET.fromstring(report).iter("testcase"):
        kinds = {child.tag for child in case}
        verdict = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "held"
        yield Proof(
            module=case.get("classname", "").replace(".", "/") + ".py",
            promise=case.get("name", "").removeprefix("test_").replace("_", " "),
            verdict=verdict,
            seconds=float(case.get("time", "0")),
            figures=tuple(
                (found.get("name", ""), found.get("value", ""))
                for found in case.iterfind("properties/property")
            ),
        )


def render(proofs: Sequence[Proof], head: str) -> str:
    """The page: a table for each module."""
    lines = ["# Proofs", "", "Written by `make prove`; not by hand.", "", head]
    ordered = sorted(proofs, key=lambda proof: (proof.module, proof.promise))
    for module, rows in groupby(ordered, lambda proof: proof.module):
        lines += ["", f"## {module}", "", "| promise | verdict | took | figures |", "|---|---|---|---|"]
        for proof in rows:
            figures = "; ".join(f"{name}: {value}" for name, value in proof.figures).replace("|", "\\|")
            lines.append(f"| {proof.promise} | {proof.verdict} | {proof.seconds:.0f} s | {figures} |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """The moment, the commit, and what it ran on."""
    commit = _output("git", "rev-parse", "--short", "HEAD")
    changed = " with changes" if _output("git", "status", "--porcelain") else ""
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit}{changed}; {cpu_count()} CPUs ({platform.machine()}), "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main(report: str, page: str) -> None:
    proofs = tuple(read(Path(report).read_text(encoding="utf-8")))
    Path(page).write_text(render(proofs, machine()), encoding="utf-8")
    print(f"{len(proofs)} proofs recorded in {page}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
