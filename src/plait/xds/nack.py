"""Which resources of a rejected response Envoy's message speaks of: best effort, from the text alone.

Envoy 1.40 words a rejection in three ways (all seen, none promised): a list of those that it could not add,
the text form of the first message that broke a constraint, or a sentence that mentions the name somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_LISTED = re.compile(r"Error adding/updating (?:cluster|listener)\(s\) ")
_CONSTRAINT = "Proto constraint validation failed"
_FIRST_NAME = re.compile(r'^(?:cluster_)?name: "((?:[^"\\]|\\.)*)"', re.MULTILINE)


def culprits(names: Collection[str], message: str) -> tuple[str, ...]:
    """Those of the names that the message blames, sorted; none when it names none of them."""
    listed = _LISTED.search(message)
    if listed is not None:
        rest = message[listed.end() :]
        blamed = {name for name in names if re.search(rf"(?:^|\n|, ){re.escape(name)}: ", rest)}
        if blamed:
            return tuple(sorted(blamed))
    if _CONSTRAINT in message:
        first = _FIRST_NAME.search(message)
        if first is not None and first[1] in names:
            return (first[1],)
    return _mentioned(names, message)


def _mentioned(names: Collection[str], message: str) -> tuple[str, ...]:
    """Names that stand in the message as a whole: `a` is mentioned in "route a." but not in "a.b" or "a|b"."""
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if name)
    if not longest_first:
        return ()
    whole = re.compile(rf"(?<![\w|:/-])(?<![\w|]\.)(?:{longest_first})(?![.:/]?[\w|-])")
    return tuple(sorted(set(whole.findall(message))))
