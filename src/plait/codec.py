"""One JSON form for frozen dataclasses and what they hold.  What is decoded is not trusted.

The form follows the type hints: a dataclass is an object with all its fields, a tuple a list, an enum its
value, bytes are base64, and where one of several dataclasses may stand its name is told under "type".
Decoding takes exactly what the hints allow and says where something else stood.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, Generic, NoReturn, Protocol, TypeVar

T = TypeVar("T")

TAG = "type"
"""The field that names which of several dataclasses an object is."""


class CodecError(ValueError):
    """Something is not of the form that it should have; the message says where and what."""


class Codec(Generic[T]):
    """How values of one kind are written and read."""

    __slots__ = ("_form",)

    def __init__(self, kind: Any, *, lenient: bool = False) -> None:
        """`kind` is a dataclass or a union of them; `lenient` skips fields that it does not know."""
        self._form = _form(kind, lenient=lenient)

    def encode(self, value: T) -> bytes:
        """The value as one line of JSON; CodecError for text that is not Unicode, and for no number."""
        try:
            form = self._form.encode(value)
            return json.dumps(form, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except ValueError as error:
            raise CodecError(f"there is no JSON for this: {error}") from error

    def decode(self, data: bytes) -> T:
        """The value that the bytes say; CodecError when they say none."""
        try:
            value = json.loads(data, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise CodecError(f"not JSON: {error}") from error
        return self.from_json(value)

    def to_json(self, value: T) -> Any:
        """The value as dicts, lists, strings and numbers."""
        return self._form.encode(value)

    def from_json(self, value: Any) -> T:
        """The value that dicts, lists, strings and numbers say; CodecError when they say none."""
        result: T = self._form.decode(value, "")
        return result


class _Form(Protocol):
    def encode(self, value: Any) -> Any: ...

    def decode(self, value: Any, path: str) -> Any: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Scalar:
    kind: type

    def encode(self, value: Any) -> Any:
        return value

    def decode(self, value: Any, path: str) -> Any:
        if self.kind is float and type(value) is int:
            value = float(_bounded(value, path))
        if type(value) is not self.kind:
            raise _wrong(path, self.kind.__name__, value)
        if type(value) is str:
            _check_text(value, path)
        elif type(value) is int:
            _bounded(value, path)
        elif type(value) is float and not math.isfinite(value):
            raise _wrong(path, "a finite number", value)
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class _Bytes:
    def encode(self, value: bytes) -> str:
        return base64.b64encode(value).decode("ascii")

    def decode(self, value: Any, path: str) -> bytes:
        if type(value) is not str:
            raise _wrong(path, "base64", value)
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise _wrong(path, "base64", value) from None


@dataclasses.dataclass(frozen=True, slots=True)
class _Enum:
    kind: type[Enum]

    def encode(self, value: Enum) -> Any:
        return value.value

    def decode(self, value: Any, path: str) -> Enum:
        for member in self.kind:
            if type(value) is str and member.value == value:
                return member
        raise _wrong(path, "one of " + ", ".join(str(member.value) for member in self.kind), value)


@dataclasses.dataclass(frozen=True, slots=True)
class _Sequence:
    item: _Form

    def encode(self, value: tuple[Any, ...]) -> list[Any]:
        encode = self.item.encode
        return [encode(item) for item in value]

    def decode(self, value: Any, path: str) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _wrong(path, "a list", value)
        decode = self.item.decode
        return tuple(decode(item, f"{path}[{index}]") for index, item in enumerate(value))


@dataclasses.dataclass(frozen=True, slots=True)
class _Fixed:
    items: tuple[_Form, ...]

    def encode(self, value: tuple[Any, ...]) -> list[Any]:
        return [form.encode(item) for form, item in zip(self.items, value, strict=True)]

    def decode(self, value: Any, path: str) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(self.items):
            raise _wrong(path, f"a list of {len(self.items)}", value)
        return tuple(
            form.decode(item, f"{path}[{index}]")
            for index, (form, item) in enumerate(zip(self.items, value, strict=True))
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Record:
    kind: type
    forms: Mapping[str, _Form]
    required: frozenset[str]
    lenient: bool

    def encode(self, value: Any) -> dict[str, Any]:
        return {name: form.encode(getattr(value, name)) for name, form in self.forms.items()}

    def decode(self, value: Any, path: str) -> Any:
        if type(value) is not dict:
            raise _wrong(path, "an object", value)
        fields: dict[str, Any] = {}
        for name, inner in value.items():
            form = self.forms.get(name)
            if form is not None:
                fields[name] = form.decode(inner, f"{path}.{name}" if path else name)
            elif not self.lenient:
                raise CodecError(f"{_where(path)}: no field {name[:80]!r} is known here")
        if missing := self.required - fields.keys():
            raise CodecError(f"{_where(path)}: {', '.join(sorted(missing))} missing")
        return self.kind(**fields)


@dataclasses.dataclass(frozen=True, slots=True)
class _Tagged:
    records: Mapping[str, _Record]

    def encode(self, value: Any) -> dict[str, Any]:
        name = type(value).__name__
        return {TAG: name, **self.records[name].encode(value)}

    def decode(self, value: Any, path: str) -> Any:
        if type(value) is not dict:
            raise _wrong(path, "an object", value)
        name = value.get(TAG)
        record = self.records.get(name) if type(name) is str else None
        if record is None:
            place = f"{path}.{TAG}" if path else TAG
            raise _wrong(place, "one of " + ", ".join(self.records), name)
        return record.decode({key: inner for key, inner in value.items() if key != TAG}, path)


@dataclasses.dataclass(frozen=True, slots=True)
class _Optional:
    inner: _Form

    def encode(self, value: Any) -> Any:
        return None if value is None else self.inner.encode(value)

    def decode(self, value: Any, path: str) -> Any:
        return None if value is None else self.inner.decode(value, path)


@dataclasses.dataclass(frozen=True, slots=True)
class _Either:
    """One of several scalars; JSON itself tells which."""

    kinds: tuple[type, ...]

    def encode(self, value: Any) -> Any:
        return value

    def decode(self, value: Any, path: str) -> Any:
        if type(value) not in self.kinds:
            raise _wrong(path, " or ".join(kind.__name__ for kind in self.kinds), value)
        return _Scalar(type(value)).decode(value, path)


def _form(kind: Any, *, lenient: bool) -> _Form:
    """The form of a type hint; TypeError for one that has none (an error of ours)."""
    if kind in (str, int, float, bool):
        return _Scalar(kind)
    if kind is bytes:
        return _Bytes()
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _Enum(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, lenient=lenient)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and arguments[-1] is Ellipsis:
        return _Sequence(_form(arguments[0], lenient=lenient))
    if origin is tuple:
        return _Fixed(tuple(_form(argument, lenient=lenient) for argument in arguments))
    if origin in (types.UnionType, typing.Union):
        return _union(arguments, lenient=lenient)
    raise TypeError(f"no JSON form for {kind!r}")


def _record(kind: type, *, lenient: bool) -> _Record:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    missing = dataclasses.MISSING
    return _Record(
        kind,
        {field.name: _form(hints[field.name], lenient=lenient) for field in fields},
        frozenset(f.name for f in fields if f.default is missing and f.default_factory is missing),
        lenient,
    )


def _union(members: tuple[Any, ...], *, lenient: bool) -> _Form:
    kinds = tuple(member for member in members if member is not types.NoneType)
    form: _Form
    if len(kinds) == 1:
        form = _form(kinds[0], lenient=lenient)
    elif all(kind in (str, int, float, bool) for kind in kinds):
        form = _Either(kinds)
    elif all(dataclasses.is_dataclass(kind) for kind in kinds):
        records = {kind.__name__: _record(kind, lenient=lenient) for kind in kinds}
        if len(records) != len(kinds) or any(TAG in record.forms for record in records.values()):
            raise TypeError(f"the members of {members!r} can't be told apart by name")
        form = _Tagged(records)
    else:
        raise TypeError(f"no JSON form for a union of {members!r}")
    return form if len(kinds) == len(members) else _Optional(form)


def _bounded(value: int, path: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise CodecError(f"{_where(path)}: a number beyond 64 bits")
    return value


def _check_text(value: str, path: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _wrong(path, "Unicode text", value) from None


def _wrong(path: str, wanted: str, value: Any) -> CodecError:
    # What stood there is named by its kind alone: it may be long, and it may be a secret.
    return CodecError(f"{_where(path)}: expected {wanted}, not {_kind_of(value)}")


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "other text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def _where(path: str) -> str:
    return path or "message"


def _refuse_constant(name: str) -> NoReturn:
    raise CodecError(f"{name} is no JSON")
