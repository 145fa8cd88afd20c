"""Regular expressions as Envoy reads them: RE2, of bytes.  Refused is only what RE2 surely refuses; Envoy has the last word."""

from __future__ import annotations

import re

_GROUP = re.compile(r"\?(?:P?<\w+>|[imsU]*(?:-[imsU]+)?:|[imsU]+(?:-[imsU]+)?\)|-[imsU]+\))")
_REPEAT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_MOST_REPEATS = 1000
"""Of one thing, by all repetitions around it together."""

_CHARACTER = re.compile(
    r"\\(?:x(?P<hex>[0-9A-Fa-f]{2})|x\{0*(?P<long>[0-9A-Fa-f]{1,2})\}|(?P<octal>[0-7]{2,3}|0)"
    r"|(?P<control>[afnrtv])|(?P<sign>[\x00-/:-@\[-`{-\x7f]))"
)
"""An escape that stands for one byte."""
_CONTROLS = dict(zip("afnrtv", "\a\f\n\r\t\v", strict=True))
_PROPERTY = re.compile(
    r"\\[pP](?:[CLMNPSZ]|\{\^?(?:[CLMNPSZ]|C[cfos]|L[lmotu]|M[cen]|N[dlo]|P[cdefios]|S[ckmo]|Z[lps]"
    r"|Yi|[A-Z][A-Za-z_]{2,})\})"
)
"""A category or a script of Unicode; not every name of that form is one of a script."""
_NAMED_CLASS = re.compile(
    r"\[:\^?(?:alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]"
)
_SETS = "dDsSwW"
_PLACES = "bBAzC"
"""Escapes that stand outside of classes alone."""


def refusal(pattern: str) -> str:
    """Why RE2 refuses a pattern; "" when it may take it."""
    index = 0
    repeatable, repeated = False, False
    last = 1  # how often what stands last is repeated
    most = [1]  # the same of whatever is repeated most, in each group that is open
    while index < len(pattern):
        character = pattern[index]
        problem = ""
        if character in "\\[":
            index, problem = (_class if character == "[" else _escape)(pattern, index)
            repeatable, repeated, last = True, False, 1
        elif character == "(":
            index, opened, problem = _open(pattern, index)
            most += [1] * opened
            repeatable, repeated, last = False, False, 1
        elif character == ")":
            last = most.pop()
            index, repeatable, repeated = index + 1, True, False
            if not most:
                return "a ) too many"
        elif character == "|":
            index, repeatable, repeated, last = index + 1, False, False, 1
        elif character in "*+?" or _REPEAT.match(pattern, index):
            index, times, problem = _repeat(pattern, index, repeatable=repeatable, repeated=repeated)
            repeated, last = True, last * times
        else:
            index, repeatable, repeated, last = index + 1, True, False, 1
        if problem:
            return problem
        if last > _MOST_REPEATS:
            return f"more than {_MOST_REPEATS} repetitions inside each other"
        most[-1] = max(most[-1], last)
    return "a ( that is not closed" if len(most) > 1 else ""


def _escape(pattern: str, index: int) -> tuple[int, str]:
    """Behind an escape that stands outside of a class."""
    following = pattern[index + 1 : index + 2]
    if not following:
        return index + 1, "a \\ at the end"
    if following == "Q":
        end = pattern.find("\\E", index + 2)
        return (len(pattern) if end < 0 else end + 2), ""
    if following in _SETS + _PLACES:
        return index + 2, ""
    if following in "pP":
        return _property(pattern, index)
    if (following in "123456789" or following == "k") and _character(pattern, index) is None:
        return index + 2, "RE2 has no references back to groups"
    end, _, problem = _byte(pattern, index)
    return end, problem


def _property(pattern: str, index: int) -> tuple[int, str]:
    found = _PROPERTY.match(pattern, index)
    return (found.end(), "") if found else (index, f"{pattern[index : index + 8]!r} is no class of Unicode")


def _byte(pattern: str, index: int) -> tuple[int, int, str]:
    """Behind an escape, and the byte that it stands for."""
    found = _character(pattern, index)
    if found is None:
        return index, 0, f"RE2 has no escape {pattern[index : index + 2]!r}"
    end, value = found
    return end, value, "" if value < 256 else f"{pattern[index:end]!r} is no byte"


def _character(pattern: str, index: int) -> tuple[int, int] | None:
    found = _CHARACTER.match(pattern, index)
    if found is None:
        return None
    digits = found["hex"] or found["long"]
    if digits:
        return found.end(), int(digits, 16)
    if found["octal"]:
        return found.end(), int(found["octal"], 8)
    return found.end(), ord(_CONTROLS[found["control"]] if found["control"] else found["sign"])


def _class(pattern: str, index: int) -> tuple[int, str]:
    start = index
    index += 2 if pattern.startswith("[^", index) else 1
    first = True
    while index < len(pattern):
        if pattern[index] == "]" and not first:
            return index + 1, ""
        first = False
        index, problem = _member(pattern, index)
        if problem:
            return start, problem
    return index, "a [ that is not closed"


def _member(pattern: str, index: int) -> tuple[int, str]:
    """Behind one member of a class: a set, a letter or a range."""
    if pattern.startswith("[:", index) and pattern.find(":]", index + 2) > 0:
        found = _NAMED_CLASS.match(pattern, index)
        return (found.end(), "") if found else (index, f"RE2 has no class {pattern[index : index + 10]!r}")
    if pattern[index] == "\\" and pattern[index + 1 : index + 2] in tuple(_SETS):
        return index + 2, ""
    if pattern[index] == "\\" and pattern[index + 1 : index + 2] in ("p", "P"):
        return _property(pattern, index)
    start = index
    index, low, problem = _letter(pattern, index)
    if problem or pattern[index : index + 1] != "-" or pattern[index + 1 : index + 2] in ("]", ""):
        return index, problem
    index, high, problem = _letter(pattern, index + 1)
    backwards = max(low, high) < 128 and high < low
    return index, problem or (f"the range {pattern[start:index]!r} goes backwards" if backwards else "")


def _letter(pattern: str, index: int) -> tuple[int, int, str]:
    if pattern[index] != "\\":
        return index + 1, ord(pattern[index]), ""
    return _byte(pattern, index)


def _open(pattern: str, index: int) -> tuple[int, int, str]:
    if not pattern.startswith("(?", index):
        return index + 1, 1, ""
    if pattern.startswith(("(?=", "(?!", "(?<=", "(?<!"), index):
        return index, 0, "RE2 can't look ahead or behind"
    found = _GROUP.match(pattern, index + 1)
    if found is None:
        return index, 0, f"RE2 has no {pattern[index : index + 4]!r}"
    return found.end(), 0 if found.group().endswith(")") else 1, ""


def _repeat(pattern: str, index: int, *, repeatable: bool, repeated: bool) -> tuple[int, int, str]:
    """Behind a repetition, and how many times it stands for at most, as far as that is counted."""
    found = _REPEAT.match(pattern, index)
    end = found.end() if found else index + 1
    text = pattern[index:end]
    times = 1
    if not repeatable:
        return end, times, f"nothing stands before {text!r} to repeat"
    if repeated:
        return end, times, f"{text!r} repeats a repetition"
    if found is not None:
        least, most = int(found[1][:9]), int((found[2] or found[1])[:9])
        if max(least, most) > _MOST_REPEATS or most < least:
            return end, times, f"{text!r} is no range of at most {_MOST_REPEATS} repetitions"
        times = max(most, 1)
    if pattern.startswith("?", end):  # not greedy
        end += 1
    return end, times, ""
