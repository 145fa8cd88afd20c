"""Every message of the link survives the journey, and nothing that a peer sends can do harm."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.codec import Codec, CodecError
from plait.identity.trust import Trust
from plait.link.codec import FROM_AGENT, IN_SESSION, JOIN_REQUEST, SIGN_REQUEST, SIGNED, TO_AGENT
from plait.link.messages import (
    AgentHolds,
    Assignments,
    ExecRequest,
    Exited,
    Hello,
    JoinRequest,
    LogsRequest,
    OpenSession,
    Output,
    ReplicaGone,
    ReplicaReport,
    Signed,
    SignRequest,
    Withdrawn,
)

SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    bytes: st.binary(max_size=20),
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    types.NoneType: st.none(),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a kind, made from its type hints, so that a new field is covered once it is written."""
    arguments = typing.get_args(kind)
    if kind in SCALARS:
        return SCALARS[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = {field.name: values(hints[field.name]) for field in dataclasses.fields(kind)}
        return st.fixed_dictionaries(fields).map(lambda given: kind(**given))  # type: ignore[operator]  # a class
    if typing.get_origin(kind) is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if typing.get_origin(kind) is tuple:
        return st.tuples(*map(values, arguments))
    return st.one_of(*map(values, arguments))


KINDS: tuple[tuple[Codec[Any], tuple[type, ...]], ...] = (
    (FROM_AGENT, (Hello, ReplicaReport, ReplicaGone, AgentHolds)),
    (TO_AGENT, (Assignments, Trust, Withdrawn, OpenSession)),
    (IN_SESSION, (Output, Exited)),
    (JOIN_REQUEST, (JoinRequest,)),
    (SIGN_REQUEST, (SignRequest,)),
    (SIGNED, (Signed,)),
    (Codec[Any](ExecRequest | LogsRequest), (ExecRequest, LogsRequest)),
)


@settings(max_examples=30, deadline=None)
@given(st.data())
@pytest.mark.parametrize(("codec", "kinds"), KINDS)
def test_every_message_is_read_as_it_was_sent(
    codec: Codec[Any], kinds: tuple[type, ...], data: st.DataObject
) -> None:
    message = data.draw(st.one_of(*map(values, kinds)))
    sent = codec.encode(message)
    assert codec.decode(sent) == message
    cut = data.draw(st.integers(0, len(sent) - 1))
    for broken in (sent[:cut], sent[:cut] + b"\x00" + sent[cut + 1 :], sent + sent):
        try:
            codec.decode(broken)
        except CodecError:
            continue  # the only error there is
