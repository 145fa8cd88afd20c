"""Regular expressions as Envoy reads them: RE2.  Refused is only what RE2 surely refuses; Envoy has the last word."""

from __future__ import annotations

import re

_GROUP = re.compile(r"\?(?:P?<\w+>|[imsU]*(?:-[imsU]+)?:|[imsU]+(?:-[imsU]+)?\)|-[imsU]+\))")
_REPEAT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_MOST_REPEATS = 1000


def refusal(pattern: str) -> str:
    """Why RE2 refuses a pattern; "" when it may take it."""
    index, depth = 0, 0
    repeatable, repeated = False, False
    while index < len(pattern):
        character = pattern[index]
        if character == "\\":
            index, problem = _escape(pattern, index)
            repeatable, repeated = True, False
        elif character == "[":
            index, problem = _class(pattern, index)
            repeatable, repeated = True, False
        elif character == "(":
            index, opened, problem = _open(pattern, index)
            depth += opened
            repeatable, repeated = False, False
        elif character == ")":
            depth -= 1
            problem = "a ) too many" if depth < 0 else ""
            index, repeatable, repeated = index + 1, True, False
        elif character == "|":
            index, problem, repeatable, repeated = index + 1, "", False, False
        elif character in "*+?" or _REPEAT.match(pattern, index):
            index, problem = _repeat(pattern, index, repeatable=repeatable, repeated=repeated)
            repeated = True
        else:
            index, problem, repeatable, repeated = index + 1, "", True, False
        if problem:
            return problem
    return "a ( that is not closed" if depth else ""


def _escape(pattern: str, index: int) -> tuple[int, str]:
    following = pattern[index + 1 : index + 2]
    if not following:
        return index + 1, "a \\ at the end"
    octal = following in "1234567" and pattern[index + 2 : index + 3] in tuple("01234567")
    if (following in "123456789" and not octal) or following == "k":
        return index + 2, "RE2 has no references back to groups"
    if following == "Q":
        end = pattern.find("\\E", index + 2)
        return (len(pattern) if end < 0 else end + 2), ""
    return index + 2, ""


def _class(pattern: str, index: int) -> tuple[int, str]:
    index += 2 if pattern.startswith("[^", index) else 1
    first = True
    while index < len(pattern):
        if pattern[index] == "]" and not first:
            return index + 1, ""
        if pattern.startswith("[:", index) and (end := pattern.find(":]", index)) > 0:
            index = end + 2
        else:
            index += 2 if pattern[index] == "\\" else 1
        first = False
    return index, "a [ that is not closed"


def _open(pattern: str, index: int) -> tuple[int, int, str]:
    if not pattern.startswith("(?", index):
        return index + 1, 1, ""
    if pattern.startswith(("(?=", "(?!", "(?<=", "(?<!"), index):
        return index, 0, "RE2 can't look ahead or behind"
    found = _GROUP.match(pattern, index + 1)
    if found is None:
        return index, 0, f"RE2 has no {pattern[index : index + 4]!r}"
    return found.end(), 0 if found.group().endswith(")") else 1, ""


def _repeat(pattern: str, index: int, *, repeatable: bool, repeated: bool) -> tuple[int, str]:
    found = _REPEAT.match(pattern, index)
    end = found.end() if found else index + 1
    text = pattern[index:end]
    if not repeatable:
        return end, f"nothing stands before {text!r} to repeat"
    if repeated:
        return end, f"{text!r} repeats a repetition"
    if found is not None:
        least, most = int(found[1][:9]), int((found[2] or found[1])[:9])
        if max(least, most) > _MOST_REPEATS or most < least:
            return end, f"{text!r} is no range of at most {_MOST_REPEATS} repetitions"
    if pattern.startswith("?", end):  # not greedy
        end += 1
    return end, ""
