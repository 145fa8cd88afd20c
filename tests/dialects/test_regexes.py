"""Regular expressions: refused is what RE2 surely refuses."""

import pytest

from plait.dialects.regexes import refusal


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a.*",
        "^/api/v[0-9]+(/.*)?$",
        r"\d+\.\w{2,5}?",
        "(?i)abc",
        "(?i:a)b",
        "(?P<name>a)|(?<other>b)",
        "[]a]",
        "[^]]+",
        r"[\]]",
        "[[:alpha:]]+",
        r"\pL\p{Greek}",
        r"\Q(*+\E+",
        r"\Qabc(",
        "a{,3}",
        "a{1000}",
        "x{",
        r"\012",
        r"\12",
        "(?s-i).",
        "a+?b*?c??",
        "日本+",
    ],
)
def test_what_re2_takes_is_taken(pattern: str) -> None:
    assert refusal(pattern) == ""


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "a)",
        "(a|(b)",
        "[a",
        "[]",
        "[^",
        "a\\",
        r"(a)\1",
        r"\k<a>",
        "(?=a)",
        "(?!a)",
        "(?<=a)",
        "(?<!a)",
        "(?>a)",
        "(?#a)",
        "(?(1)a)",
        "(?x)a",
        "*a",
        "a|*",
        "(+)",
        "a**",
        "a*+",
        "a?+",
        "a{2}{3}",
        "a{1001}",
        "a{3,2}",
        "{2}",
    ],
)
def test_what_re2_refuses_is_refused_with_a_reason(pattern: str) -> None:
    assert refusal(pattern)
