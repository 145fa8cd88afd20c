"""Plain scalars mean here what they mean to kubectl."""

from typing import Any

import pytest

from plait.sources.files.scalars import resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("yes", True),
        ("On", True),
        ("n", False),
        ("off", False),
        ("NO", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("0", 0),
        ("8080", 8080),
        ("-5", -5),
        ("+5", 5),
        ("0x1F", 31),
        ("0b101", 5),
        ("0o17", 15),
        ("017", 15),
        ("1_000", 1000),
        ("08", 8.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        ("2001-12-14", "2001-12-14"),
        ("1:30", "1:30"),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        ("yess", "yess"),
        ("0x", "0x"),
        ("_1", "_1"),
        ("9" * 500, "9" * 500),
    ],
)
def test_a_plain_scalar_is_read_as_kubectl_reads_it(text: str, value: Any) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)
