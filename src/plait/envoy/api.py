"""The one door for Envoy's message classes.

They are built from descriptors read out of the pinned Envoy itself (`make descriptors`), in a pool of their
own, so that nothing else installed can disagree with them.  Nested messages may be given as dicts, enums by
name: `Cluster(name="a", type="EDS", connect_timeout={"seconds": 1})`; an unknown field is a ValueError.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

TYPE_PREFIX = "type.googleapis.com/"


@cache
def pool() -> DescriptorPool:
    """All of Envoy's descriptors; takes some 60 ms the first time."""
    result = DescriptorPool()
    for file in FileDescriptorSet.FromString(_descriptors()).file:
        result.AddSerializedFile(file.SerializeToString())
    return result


def _descriptors() -> bytes:
    return gzip.decompress(files("plait.envoy").joinpath("descriptors.binpb.gz").read_bytes())


@cache
def message(name: str) -> Any:
    """The class of a message by its full name, such as `envoy.config.cluster.v3.Cluster`; KeyError if none."""
    return GetMessageClass(pool().FindMessageTypeByName(name))


def pack(inner: Any) -> Any:
    """The message inside a google.protobuf.Any."""
    return message("google.protobuf.Any")(
        type_url=TYPE_PREFIX + inner.DESCRIPTOR.full_name, value=serialize(inner)
    )


def serialize(what: Any) -> bytes:
    """The bytes of a message, the same each time for equal messages."""
    result: bytes = what.SerializeToString(deterministic=True)
    return result


def parse(type_url: str, body: bytes) -> Any:
    """The message that a type URL and bytes stand for."""
    return message(type_url.removeprefix(TYPE_PREFIX)).FromString(body)


def struct(values: Mapping[str, str]) -> Any:
    """A google.protobuf.Struct of strings; a message, since what a dict means in its place depends on the field."""
    fields = {key: {"string_value": value} for key, value in sorted(values.items())}
    return message("google.protobuf.Struct")(fields=fields)


def told(name: str, data: bytes) -> Any:
    """A message of OpenTelemetry that Envoy tells, mended where a text is not UTF-8; DecodeError if there is none.

    Envoy passes on the bytes that callers send, and one such text would make all else in the message unreadable.
    """
    try:
        return message(name).FromString(data)
    except DecodeError:
        loose = GetMessageClass(_loose_pool().FindMessageTypeByName(name)).FromString(data)
        _mend(loose, message(name).DESCRIPTOR)
        return message(name).FromString(loose.SerializeToString())


@cache
def _loose_pool() -> DescriptorPool:
    """The descriptors of OpenTelemetry, in which texts are any bytes."""
    result = DescriptorPool()
    for file in FileDescriptorSet.FromString(_descriptors()).file:
        if file.package.startswith("opentelemetry."):
            _loosen(file.message_type)
            result.AddSerializedFile(file.SerializeToString())
    return result


def _loosen(messages: Iterable[DescriptorProto]) -> None:
    for one in messages:
        _loosen(one.nested_type)
        for field in one.field:
            if field.type == FieldDescriptorProto.TYPE_STRING:
                field.type = FieldDescriptorProto.TYPE_BYTES


def _mend(loose: Any, strict: Any) -> None:
    """Make texts of what ought to be such, by the strict descriptor of the message."""
    for field, value in loose.ListFields():
        meant = strict.fields_by_number[field.number]
        several = isinstance(value, Sequence) and not isinstance(value, bytes)
        if meant.message_type is not None:
            for inner in value if several else (value,):
                _mend(inner, meant.message_type)
        elif meant.type == meant.TYPE_STRING:
            if several:
                value[:] = map(_text, value)
            else:
                setattr(loose, field.name, _text(value))


def _text(data: bytes) -> bytes:
    return data.decode(errors="replace").encode()


def any_struct(values: Mapping[str, Any]) -> Any:
    """A google.protobuf.Struct of whatever JSON can say."""
    return json_format.ParseDict(dict(values), message("google.protobuf.Struct")())


def to_dict(what: Any) -> dict[str, Any]:
    """A message in the JSON form that Envoy reads, as Python values; keys in order (those of maps have none)."""
    text = json_format.MessageToJson(
        what, descriptor_pool=pool(), preserving_proto_field_name=True, sort_keys=True, indent=None
    )
    result: dict[str, Any] = json.loads(text)
    return result


def to_json(what: Any) -> str:
    """A message in the JSON form that Envoy reads."""
    return json.dumps(to_dict(what), indent=2)
