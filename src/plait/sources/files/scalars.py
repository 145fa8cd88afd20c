"""What a plain scalar of YAML means: as kubectl reads it, so that a file says the same here and there.

That is YAML 1.1's booleans (yes, no, on, off) with the numbers of Go's parser and without dates: see
sigs.k8s.io/yaml.  Quoted scalars are strings and never come here.
"""

from __future__ import annotations

import math
import re
from typing import Any

Scalar = str | int | float | bool | None

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INTEGER = re.compile(
    r"[-+]?(?:(?P<hex>0[xX][0-9a-fA-F]+)|(?P<binary>0[bB][01]+)|(?P<octal>0[oO]?[0-7]+)|(?P<decimal>0|[1-9][0-9]*))\Z"
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_BASES = {"hex": 16, "binary": 2, "octal": 8, "decimal": 10}
_LONGEST_NUMBER = 64
"""Longer runs of digits stay strings: no field takes such a number."""


def resolve(text: str) -> Scalar:
    """The value of a plain scalar."""
    if text in _WORDS:
        value: Scalar = _WORDS[text]
        return value
    if text[0] not in "+-.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    digits = text.replace("_", "") if text[0] != "." else text
    found = _INTEGER.match(digits)
    if found is not None and found.lastgroup is not None:
        return int(digits.lower().replace("0o", "0"), _BASES[found.lastgroup])
    if _FLOAT.match(digits):
        value = float(digits)
        return value if math.isfinite(value) else text
    return text
