"""Which line each field stands on: kept beside a document as it was nested, and looked up when someone asks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Union

from plait.model.document import child

Branch = dict[str | int, tuple[int, "Tree"]]
"""A mapping's keys or a list's indexes, each with its line and what is nested below it."""

Tree = Union[Branch, None]  # noqa: UP007  a forward reference can't be joined by |

_STEP = re.compile(r'\["(?P<quoted>.*?)"\](?=[.\[]|\Z)|\[(?P<index>\d+)\]|\.?(?P<plain>[^.\[]+)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Lines(Mapping[str, int]):
    """Field path -> line, without ever holding the paths: there may be as many as a document has characters."""

    tree: Tree
    offset: int = 0
    """Lines of the file before the text that was parsed."""

    def __getitem__(self, path: str) -> int:
        tree, line = self.tree, -1
        for step in _STEP.finditer(path):
            quoted, index, plain = step.group("quoted", "index", "plain")
            key: str | int = int(index) if index is not None else plain if quoted is None else quoted
            if tree is None or key not in tree:
                raise KeyError(path)
            line, tree = tree[key]
        if line < 0:
            raise KeyError(path)
        return line + self.offset

    def __iter__(self) -> Iterator[str]:
        yield from _paths(self.tree, "")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def below(self, key: str | int) -> Lines:
        """The lines of what is nested below a key or an index."""
        return Lines(self.tree[key][1] if self.tree and key in self.tree else None, self.offset)


def _paths(tree: Tree, path: str) -> Iterator[str]:
    for key, (_, inner) in (tree or {}).items():
        where = child(path, key)
        yield where
        yield from _paths(inner, where)
