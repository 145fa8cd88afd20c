"""Golden cases: tests/golden/<dialect>/<case>/in.yaml and the findings it gives, in findings.yaml.

`PLAIT_GOLDEN=write` writes what is found now instead of comparing; look at the difference before you keep it.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from plait import dialects
from plait.model.finding import Finding
from plait.sources.files.parse import parse
from plait.sources.store import Store

GOLDEN = Path(__file__).parent.parent / "golden"
DIALECTS = ("kubernetes", "istio", "gateway_api", "plait", "flagger")
CASES = sorted(path.parent for dialect in DIALECTS for path in GOLDEN.glob(f"{dialect}/*/in.yaml"))


def told(finding: Finding, store: Store) -> dict[str, Any]:
    place = finding.place or (store.place(finding.ref, finding.field) if finding.ref else None)
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "message": finding.message,
        "object": str(finding.ref) if finding.ref else "",
        "field": finding.field,
        "line": place.line if place else 0,
    }


def test_there_are_cases_of_every_dialect() -> None:
    assert {case.parent.name for case in CASES} == set(DIALECTS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_a_golden_case_gives_its_findings(case: Path) -> None:
    store = Store()
    store.apply(parse("in.yaml", (case / "in.yaml").read_bytes()))
    found = [*store.findings()]
    for located in store.documents():
        found += dialects.read(located.document).findings
    findings = [told(finding, store) for finding in found]
    if os.environ.get("PLAIT_GOLDEN") == "write":
        text = yaml.safe_dump(findings, sort_keys=False, width=110, allow_unicode=True)
        (case / "findings.yaml").write_text(text)
    assert findings == yaml.safe_load((case / "findings.yaml").read_text())
