"""What the pages say is so: their YAML is sound, their links lead somewhere, the tour is the demo's."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs import tasks
from tests.docs.pages import README, ROOT, anchors, blocks, links, pages

PLAIT = Path(sys.executable).with_name("plait")
BISTRO = ROOT / "examples" / "bistro"
WITH_YAML = [page for page in pages() if blocks(page, "yaml") and page not in tasks.PAGES]
"""The tasks are done in a bistro that runs, where nothing may be found wrong with them."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def findings(folder: Path) -> list[Any]:
    """What `plait check` finds."""
    done = subprocess.run(
        [PLAIT, "check", "--output", "json", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    found: list[Any] = json.loads(done.stdout)["findings"]
    return found


def key(document: Any) -> tuple[str, str, str]:
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]


@pytest.mark.parametrize("page", WITH_YAML, ids=name)
def test_the_yaml_of_a_page_is_sound_in_the_bistro_that_it_may_speak_of(page: Path, tmp_path: Path) -> None:
    """What a page says takes the place of what the bistro says of the same object."""
    said = [document for block in blocks(page, "yaml") for document in yaml.safe_load_all(block)]
    keys = {key(document) for document in said}
    for file in BISTRO.glob("*.yaml"):
        kept = [document for document in yaml.safe_load_all(file.read_text()) if key(document) not in keys]
        (tmp_path / file.name).write_text(yaml.safe_dump_all(kept))
    for number, block in enumerate(blocks(page, "yaml")):
        (tmp_path / f"page-{number:02}.yaml").write_text(block)
    assert findings(tmp_path) == []


def test_the_bistro_is_a_sound_mesh_with_and_without_what_the_tour_adds(tmp_path: Path) -> None:
    shutil.copytree(BISTRO, tmp_path / "bistro")
    assert findings(tmp_path / "bistro") == []
    shutil.copytree(ROOT / "examples" / "tour" / "more", tmp_path / "bistro", dirs_exist_ok=True)
    assert findings(tmp_path / "bistro") == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_page_of_the_documentation_can_be_reached_from_its_index() -> None:
    index = ROOT / "docs" / "README.md"
    reached, waiting = {index}, [index]
    while waiting:
        page = waiting.pop()
        for link in links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target not in reached:
                reached.add(target)
                waiting.append(target)
    assert {page for page in pages() if page.parent != ROOT} - reached == set()


def test_the_tour_of_the_readme_is_the_tour_that_the_demo_walks() -> None:
    spec = importlib.util.spec_from_file_location("steps", ROOT / "examples" / "tour" / "steps.py")
    assert spec
    assert spec.loader
    steps = importlib.util.module_from_spec(spec)
    sys.modules["steps"] = steps  # dataclasses look their module up
    try:
        spec.loader.exec_module(steps)
    finally:
        del sys.modules["steps"]
    told = [line for block in blocks(README, "sh") for line in block.splitlines()]
    typed = [command for step in steps.TOUR for command in step.commands]
    assert [line for line in told if line in typed] == typed
