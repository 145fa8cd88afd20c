"""Meshes without what must differ: who said something, and what is answered where there is nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from plait.model.names import ObjectRef, Origin
from plait.model.routing import RouteRule

SOMEBODY = Origin(ObjectRef("", "", "", ""))


def without_origins(value: Any) -> Any:
    """The same value, with one Origin in the place of all that are in it."""
    return _walked(value, lambda one: SOMEBODY if isinstance(one, Origin) else one)


def with_one_nobody(value: Any) -> Any:
    """The same value, with one status for nobody: Istio's is 503, that of HTTPRoute 500."""
    return _walked(value, lambda one: replace(one, nobody_status=503) if isinstance(one, RouteRule) else one)


def _walked(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value of frozen values, each changed after all that is in it."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = {one.name: _walked(getattr(value, one.name), change) for one in fields(value)}
        return change(replace(value, **parts))
    if isinstance(value, tuple):
        return tuple(_walked(one, change) for one in value)
    if isinstance(value, Mapping):
        return {key: _walked(inner, change) for key, inner in value.items()}
    return value
