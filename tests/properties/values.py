"""Values that a field may have, those at the edges and hard ones among them: each is valid where it is meant to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]

LONG = "n" + "0" * 61 + "n"
"""The longest label of DNS."""
NAMESPACES = ("bistro", "kitchens", "istio-system", LONG)
SERVICES = ("web", "db", LONG)
SUBSETS = ("v1", "v2", LONG)
PORTS = (1, 80, 443, 8080, 9000, 65535)

one_of = st.sampled_from

LETTERS = st.characters(
    codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="#%?@/"
)
"""Whatever may stand in a path or an authority, without blanks and signs that mean something there."""
_LINE = st.characters(codec="utf-8", exclude_characters="\0\r\n")
TEXTS = st.text(_LINE, max_size=20)
"""One line of anything."""
WRITTEN = st.text(_LINE, min_size=1, max_size=20)

TOKENS = one_of(
    ("x-user", "X-User", "x", "x-" + "a" * 200, "!#$&'*+-.^_`|~", "cookie", "accept", "9")
) | st.from_regex(r"\A[!#$%&'*+\-.^_`|~A-Za-z0-9]{1,12}\Z")
"""Names of headers, cookies and methods."""
_RESERVED = ("host", "uri", "scheme", "method", "authority")
HEADERS = TOKENS.map(lambda name: f"x-{name}" if name.lower() in _RESERVED else name)
"""Names of headers that may be changed, and be matched as such."""
COMMANDS = one_of(
    (
        "%REQ(x-user)%",
        "%REQ(:path):10%",
        "%REQ(x-user?:authority)%",
        "%RESPONSE_CODE%",
        "%PROTOCOL%",
        "%START_TIME%",
        "%DOWNSTREAM_REMOTE_ADDRESS%",
        "%UPSTREAM_HOST%",
        "%%",
        "100 %%",
    )
)
HEADER_VALUES = (
    COMMANDS
    | one_of(("", "🙂 é", "a" * 16384, "é" * 8192, "a, b", '"', "\\", "\t", "\u2028", "{{}}"))
    | st.lists(COMMANDS | TEXTS.map(lambda text: text.replace("%", "%%")), max_size=3).map("".join)
)

PATHS = one_of(
    (
        "/",
        "/a",
        "/a/",
        "/a//b",
        "/%2F",
        "/%2e%2e/",
        "/a%20b",
        "/é🙂",
        "/*",
        "/a;b=c",
        "/a?b=c",
        "/" + "a" * 3000,
        "//",
        "/\\1",
    )
) | st.lists(st.text(LETTERS, min_size=1, max_size=8), max_size=3).map(lambda parts: "/" + "/".join(parts))
AUTHORITIES = one_of(
    (
        "web",
        "web:80",
        "web.bistro.svc.cluster.local:65535",
        "[::1]:80",
        "10.0.0.1",
        "é.example",
        "a" * 300,
        "UPPER",
    )
)
_REGEXES = (
    ".*",
    "/a.*",
    "(?i)/A",
    "/(a+)/(b*)/(?:c|d)",
    r"/\d{1,1000}",
    r"\Q(\E",
    r"[[:alpha:]]+",
    r"[^/]+\.(jpg|png)",
    r"(?P<name>a)|b",
    r"\p{Greek}+",
    "é🙂?",
    "a{2,}?",
    r"^/\x{e9}$",
    "[]a]",
    r"[\]]",
    "|",
    "()",
    "%",
)
WRITTEN_REGEXES = one_of(_REGEXES)
"""Such as RE2 takes."""
REGEXES = one_of((*_REGEXES, "", "*"))
"""Those of a test that may be of presence."""
REWRITES = one_of(
    (
        ("/(a+)/(b*)", r"/\2/\1"),
        ("a", ""),
        ("(?:a)|(b)", r"\1\\\0"),
        (r"\((a)[(]", r"\1"),
        ("(?P<n>é)", r"🙂\1"),
        (r"\Q(\E(.)", r"\1"),
        ("/" + "(a)" * 9, r"/\9"),
        ("%2F", "/"),
    )
)
"""(pattern, what comes in its place)"""

TIMES = one_of(
    ("0.001s", "1ms", "0.0015s", "1s", "1.5s", "250ms", "1h30m", "8760h", "0.999999999s", "86400s")
)
"""From a millisecond to a year."""
WHOLE_TIMES = one_of(("1s", "1.5s", "60s", "8760h"))
ANY_TIMES = TIMES | one_of(("0s", "0.0001s", "0.000000001s"))
COUNTS = one_of((0, 1, 2, 100, 2**31 - 1))
PERCENTS = one_of((0, 100, 0.0001, 50, 12.5, 99.9999, 0.00001, 33.333333333))
SHARES = one_of((0, 1, 50, 100))
PORT_NUMBERS = one_of(PORTS)
NAMESPACE_NAMES = one_of(NAMESPACES)

EXPORTS = one_of(
    (["*"], ["."], ["~"], ["kitchens"], [".", "kitchens"], ["bistro", LONG], ["istio-system"], [])
)


def tests(values: Strategy, regexes: Strategy) -> Strategy:
    """A test of a text: exact, prefix or regex."""
    return st.one_of(
        *(st.fixed_dictionaries({kind: values}) for kind in ("exact", "prefix")),
        st.fixed_dictionaries({"regex": regexes}),
    )


def hosts_of(namespace: str) -> Strategy:
    """Hosts of services, by their short names as well where that is enough."""
    full = [f"{name}.{place}.svc.cluster.local" for name in SERVICES for place in NAMESPACES]
    return one_of(SERVICES) | one_of((*full, f"WEB.{namespace}.svc.cluster.local", "gone"))


def labels() -> Strategy:
    """Labels that workloads carry, or may."""
    return st.fixed_dictionaries(
        {},
        optional={
            "app": one_of(SERVICES),
            "version": one_of(("v1", "v2", "")),
            "topology.istio.io/locality": one_of(("us.a.1", "us.b", "eu")),
            "example.com/tier": one_of(("a" * 63, "A.b_c-9")),
        },
    )


def some(strategy: Strategy, most: int = 2, least: int = 1) -> Strategy:
    """A short list without anything twice."""
    return st.lists(strategy, min_size=least, max_size=most, unique_by=repr)


def optional(needed: Mapping[str, Strategy] | None = None, /, **fields: Strategy) -> Strategy:
    """An object with some fields, and perhaps others."""
    return st.fixed_dictionaries(dict(needed or {}), optional=fields)


def document(
    api_version: str, kind: str, name: str, namespace: str, spec: Strategy, **metadata: Strategy
) -> Strategy:
    """A whole object; without a namespace when that is ""."""
    named = {"name": st.just(name)} | ({"namespace": st.just(namespace)} if namespace else {})
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just(api_version),
            "kind": st.just(kind),
            "metadata": st.fixed_dictionaries(named | metadata),
            "spec": spec,
        }
    )
