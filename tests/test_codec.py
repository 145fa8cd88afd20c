"""The JSON form of values: what is written is read back, and junk is refused without harm."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.codec import Codec, CodecError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    number: int
    flag: bool = False


@dataclass(frozen=True, slots=True)
class Other:
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    inner: Inner
    colour: Colour
    data: bytes
    pairs: tuple[tuple[str, str], ...] = ()
    ratio: float = 0.0
    maybe: Inner | None = None
    either: int | str = 0
    one_of: Inner | Other = field(default_factory=Other)


WHOLE = Codec[Whole](Whole)
text = st.text()
numbers = st.integers(-(2**63), 2**63 - 1)
inners = st.builds(Inner, numbers, st.booleans())
wholes = st.builds(
    Whole,
    inner=inners,
    colour=st.sampled_from(Colour),
    data=st.binary(),
    pairs=st.lists(st.tuples(text, text)).map(tuple),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    maybe=st.none() | inners,
    either=numbers | text,
    one_of=inners | st.builds(Other, text),
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["inner", "type", "number"]), inner)
    ),
    max_leaves=20,
)


@given(wholes)
def test_a_value_is_read_back_as_it_was_written(value: Whole) -> None:
    data = WHOLE.encode(value)
    assert b"\n" not in data
    again = WHOLE.decode(data)
    assert again == value
    assert type(again.either) is type(value.either)
    assert WHOLE.from_json(WHOLE.to_json(value)) == value


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_junk_is_refused_and_never_crashes(data: bytes) -> None:
    with pytest.raises(CodecError):
        WHOLE.decode(data)


@given(
    wholes, st.sampled_from(["inner", "colour", "data", "pairs", "ratio", "either", "one_of"]), json_values
)
def test_a_field_of_another_form_is_refused_or_reads_as_what_it_says(
    value: Whole, name: str, junk: Any
) -> None:
    changed = {**WHOLE.to_json(value), name: junk}
    try:
        read = WHOLE.from_json(changed)
    except CodecError:
        return
    assert json.loads(WHOLE.encode(read)) is not None


def test_refusals_say_where_and_do_not_repeat_what_stood_there() -> None:
    good = WHOLE.to_json(Whole(inner=Inner(1), colour=Colour.RED, data=b"x"))
    for changed, message in (
        ({"inner": {"number": "s3cret"}}, "inner.number: expected int, not other text"),
        ({"inner": {"number": True}}, "inner.number: expected int, not a boolean"),
        ({"inner": {}}, "inner: number missing"),
        ({"inner": {"number": 1, "numer": 2}}, "inner: no field 'numer' is known here"),
        ({"inner": {"number": 2**63}}, "inner.number: a number beyond 64 bits"),
        ({"colour": "green"}, "colour: expected one of red, blue, not other text"),
        ({"data": "%%"}, "data: expected base64, not other text"),
        ({"pairs": [["a", "b"], ["c"]]}, "pairs[1]: expected a list of 2, not a list"),
        ({"ratio": "1"}, "ratio: expected float, not other text"),
        ({"either": None}, "either: expected int or str, not null"),
        ({"one_of": {"type": "Whole"}}, "one_of.type: expected one of Inner, Other, not other text"),
        ({"one_of": {"text": ""}}, "one_of.type: expected one of Inner, Other, not null"),
        ({"maybe": []}, "maybe: expected an object, not a list"),
    ):
        with pytest.raises(CodecError) as raised:
            WHOLE.from_json({**good, **changed})
        assert str(raised.value) == message
    with pytest.raises(CodecError, match="message: expected an object"):
        WHOLE.decode(b"[]")


def test_numbers_without_end_and_bottomless_nesting_are_refused() -> None:
    for data in (
        b"NaN",
        b"[" * 100_000,
        b"1" * 100_000,
        b'{"ratio": Infinity}',
        b'{"ratio": 1e999}',
        b'"\\ud800"',
    ):
        with pytest.raises(CodecError):
            WHOLE.decode(data)
    with pytest.raises(CodecError, match="Unicode"):
        Codec[Other](Other).from_json({"text": "\ud800"})
    with pytest.raises(CodecError, match="no JSON"):
        Codec[Other](Other).encode(Other("\ud800"))
    with pytest.raises(CodecError, match="no JSON"):
        WHOLE.encode(Whole(inner=Inner(1), colour=Colour.RED, data=b"", ratio=float("nan")))


def test_a_lenient_reader_skips_what_it_does_not_know_and_fills_in_what_has_a_default() -> None:
    data = b'{"number": 3, "new": {"a": [1]}}'
    assert Codec[Inner](Inner, lenient=True).decode(data) == Inner(3)
    with pytest.raises(CodecError):
        Codec[Inner](Inner).decode(data)


def test_types_without_a_form_are_an_error_of_ours_told_at_once() -> None:
    @dataclass
    class Odd:
        anything: dict[str, str]

    for kind in (Odd, Inner | str, list[int]):
        with pytest.raises((TypeError, NameError)):
            Codec[Any](kind)
