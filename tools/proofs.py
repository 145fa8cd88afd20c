"""Writes the record of `make prove`: what was proven, when, on which machine, and with what figures.

    python tools/proofs.py REPORT.xml docs/proofs.md

Of modules that the report says nothing of, the page keeps what it said.  The report is pytest's (JUnit XML).  A proof tells its figures through pytest's own fixture:
`record_property("requests", 5000)`.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
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


def sections(proofs: Sequence[Proof], head: str) -> dict[str, str]:
    """A table for each module, below when and where it was proven."""
    found = {}
    ordered = sorted(proofs, key=lambda proof: (proof.module, proof.promise))
    for module, rows in groupby(ordered, lambda proof: proof.module):
        lines = [head, "", "| promise | verdict | took | figures |", "|---|---|---|---|"]
        for proof in rows:
            figures = "; ".join(f"{name}: {value}" for name, value in proof.figures).replace("|", "\\|")
            lines.append(f"| {proof.promise} | {proof.verdict} | {proof.seconds:.0f} s | {figures} |")
        found[module] = "\n".join(lines)
    return found


def recorded(page: str) -> dict[str, str]:
    """The sections of a page, by module."""
    parts = (part.partition("\n") for part in page.split("\n## ")[1:])
    return {module: text.strip() for module, _, text in parts}


def render(found: Mapping[str, str]) -> str:
    """The page."""
    parts = "".join(f"\n## {module}\n\n{found[module]}\n" for module in sorted(found))
    return f"# Proofs\n\nWritten by `make prove`; not by hand.\n{parts}"


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
    record = Path(page)
    before = recorded(record.read_text(encoding="utf-8")) if record.exists() else {}
    there = {module: text for module, text in before.items() if Path(module).exists()}
    record.write_text(render(there | sections(proofs, machine())), encoding="utf-8")
    print(f"{len(proofs)} proofs recorded in {page}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
