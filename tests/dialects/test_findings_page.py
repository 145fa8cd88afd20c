"""docs/findings.md tells every code that occurs in the source, and no other, with the remedy that the package tells."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from plait.model.remedies import REMEDIES

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z.-]+)` \| ([a-z ]+) \| \S.* \| (\S.*) \|$", re.MULTILINE)
LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")
CODE = re.compile(r"[a-z]+\.[a-z][a-z0-9-]*\Z")
SAYS = {
    "_finding",
    "error",
    "warn",
    "Finding",
    "Problem",
    "_Refused",
    "_refuse",
    "_error",
    "_warning",
    "warning",
    "info",
}
"""Functions and classes that take a code, among their first three arguments."""


def rows() -> list[tuple[str, str, str]]:
    """Code, severities and remedy."""
    return ROW.findall((ROOT / "docs" / "findings.md").read_text())


def codes(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    constants = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for argument in node.args[:3] if called in SAYS else ():
            value = constants.get(argument.id, argument) if isinstance(argument, ast.Name) else argument
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and CODE.match(value.value):
                yield value.value


def test_the_page_and_the_source_have_the_same_codes() -> None:
    in_source = {code for path in (ROOT / "src").rglob("*.py") for code in codes(path)}
    on_page = [code for code, _, _ in rows()]
    assert sorted(on_page) == sorted(in_source)


def test_the_page_is_sorted_by_code_within_its_tables() -> None:
    for table in (ROOT / "docs" / "findings.md").read_text().split("\n## ")[1:]:
        found = [code for code, _, _ in ROW.findall(table)]
        assert found == sorted(found)


def test_the_page_and_the_package_have_the_same_remedies() -> None:
    assert {code: LINK.sub(r"\1", remedy) for code, _, remedy in rows()} == REMEDIES
    assert list(REMEDIES) == sorted(REMEDIES)


def test_the_page_tells_the_severities_that_are_seen() -> None:
    told = {code: set(severity.split(" or ")) for code, severity, _ in rows()}
    for path in (ROOT / "tests" / "golden").rglob("findings.yaml"):
        for finding in yaml.safe_load(path.read_text()) or ():
            assert finding["severity"] in told[finding["code"]], finding
