"""A path as Envoy sees it when policies look at it: see _PATHS in envoy/listeners/parts."""

from __future__ import annotations

import re

from plait.explain.request import UnknownError

_KNOWN = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/\\-]|%[0-9A-Fa-f]{2})*\Z")
"""Letters of which it is known what becomes of them; others are escaped by rules that are not repeated here."""
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]\Z")


def without_query(path: str) -> str:
    """Of a path as it was sent, what comes before its query or fragment."""
    return re.split(r"[?#]", path, maxsplit=1)[0]


def normalised(path: str) -> str:
    """A path without its query, normalised: escaped slashes, escaped letters, dots, doubled slashes, in this order.

    UnknownError when it has letters of which it is not known what Envoy makes of them.
    """
    if not _KNOWN.match(path):
        raise UnknownError(f"it is not known how Envoy normalises the path {path!r}")
    slashes = re.sub(r"%2[fF]", "/", re.sub(r"%5[cC]", r"\\", path)).replace("\\", "/")
    unescaped = _ESCAPED.sub(_letter, slashes)
    return re.sub("/+", "/", _without_dots(unescaped))


def _letter(found: re.Match[str]) -> str:
    letter = chr(int(found[1], 16))
    return letter if _UNRESERVED.match(letter) else found[0]


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4; an empty segment is one like others."""
    *folders, last = path[1:].split("/")
    kept: list[str] = []
    for one in (*folders, last):
        if one == "..":
            kept = kept[:-1]
        elif one != ".":
            kept.append(one)
    if last in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
