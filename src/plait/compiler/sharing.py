"""Sharing between builds: what is made of the same as before is the very same object as before.

Everything is made anew in every build, and nothing here knows what has changed.  It only finds again by content,
so that whatever comes after (rendering, comparing) is done with a look at what is identical.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar, cast

from plait.model.mesh import Mesh

T = TypeVar("T")


class Made:
    """What was made in this build and in the one before, and of what."""

    __slots__ = ("_before", "_now", "_within")

    def __init__(self) -> None:
        self._within: dict[Hashable, Made] = {}
        self._now: dict[Hashable, tuple[tuple[object, ...], object]] = {}
        self._before: dict[Hashable, tuple[tuple[object, ...], object]] = {}

    def begin(self) -> None:
        """Begin a build: forget what the one before did not ask for."""
        self._before, self._now = self._now, {}
        if not self._within.keys() <= self._before.keys():
            self._within = {key: parts for key, parts in self._within.items() if key in self._before}

    def of(self, key: Hashable, inputs: tuple[object, ...], make: Callable[..., T]) -> T:
        """`make(*inputs)`, or what that gave under this key when the inputs were equal to these."""
        kept = self._now.get(key) or self._before.get(key)
        value = make(*inputs) if kept is None or kept[0] != inputs else kept[1]
        self._now[key] = (
            inputs,
            value,
        )  # these inputs: the next will rather be the very same than the first ones
        return cast(T, value)  # the same inputs are always made into the same

    def whole(self, key: Hashable, inputs: tuple[object, ...], make: Callable[[Made], T]) -> T:
        """What is made of many parts: `make(parts)`, or what that gave for equal inputs.

        `parts` is for this key alone, and its builds are those in which the inputs were others: it knows the parts
        of the last time however long ago that is, as long as every build asks.
        """

        def anew(*_: object) -> T:
            parts = self._within.setdefault(key, Made())
            parts.begin()
            return make(parts)

        return self.of(key, inputs, anew)

    def same(self, key: Hashable, value: T) -> T:
        """The value that stood under this key before when it was equal to this one, else this one."""
        return self.of(key, (value,), lambda _: value)


class PerMesh(Generic[T]):
    """What is made once for a Mesh: the very same for every call with the very same Mesh, the latest alone.

    Two Meshes are told apart by identity: to compare them by content would cost more than to make all this anew.
    """

    __slots__ = ("_latest", "_make", "_shared")

    def __init__(self, make: Callable[[Mesh, Made], T]) -> None:
        self._make = make
        self._shared = Made()
        self._latest: tuple[Mesh, T] | None = None

    def __call__(self, mesh: Mesh) -> T:
        if self._latest is None or self._latest[0] is not mesh:
            self._shared.begin()
            self._latest = mesh, self._make(mesh, self._shared)
        return self._latest[1]
