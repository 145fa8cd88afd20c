"""Broken documents of every sort: each is told with file and line, and the sound ones beside them are read."""

from collections.abc import Callable

import pytest

from plait import dialects
from plait.model.finding import Severity
from plait.model.reading import Fact
from plait.sources.files.parse import parse
from plait.sources.store import Store

SOUND = "apiVersion: v1\nkind: Namespace\nmetadata: {name: sound}\n"

VIRTUAL_SERVICE = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: broken
spec:
  hosts:
  - web
  http:
  - match:
    - uri:
        prefix: /api
    route:
    - destination:
        host: web
    timeout: 1s
"""
WORKLOAD = """apiVersion: plait.dev/v1alpha1
kind: Workload
metadata:
  name: broken
  labels:
    app: web
spec:
  command: [web]
  replicas: 1
  ports:
  - name: http
    port: 8080
  readiness:
    tcp: 8080
"""
POLICY = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: broken
spec:
  selector:
    matchLabels:
      app: web
  rules:
  - from:
    - source:
        namespaces: [a]
"""
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (one + 1, one + 1, b",".join([b"*%c" % one] * 9)) for one in b"abcdefghijklmn"
)


def with_(text: str, old: str, new: str) -> bytes:
    assert text.count(old) == 1
    return text.replace(old, new).encode()


BROKEN: dict[str, tuple[bytes, int, str]] = {
    # text that is no YAML
    "wrong indentation": (with_(VIRTUAL_SERVICE, "    route:", "   route:"), 12, "yaml.syntax"),
    "a tab": (with_(VIRTUAL_SERVICE, "    route:", "\troute:"), 12, "yaml.tab"),
    "a quote that is not closed": (with_(WORKLOAD, "app: web", "app: 'web"), 6, "yaml.syntax"),
    "a bracket that is not closed": (with_(WORKLOAD, "[web]", "[web"), 9, "yaml.syntax"),
    "a colon too many": (with_(WORKLOAD, "tcp: 8080", "tcp: 80: 80"), 14, "yaml.syntax"),
    "a key twice": (
        with_(WORKLOAD, "  replicas: 1\n", "  replicas: 1\n  replicas: 2\n"),
        10,
        "yaml.duplicate-key",
    ),
    "a key that is no string": (with_(WORKLOAD, "    app: web", "    yes: web"), 6, "yaml.key"),
    "an alias of nothing": (with_(WORKLOAD, "[web]", "*web"), 8, "yaml.alias"),
    "a cycle": (with_(WORKLOAD, "[web]", "&web [*web]"), 8, "yaml.cycle"),
    "a bomb": (BOMB, 6, "yaml.bomb"),
    "an object of Python": (with_(WORKLOAD, "[web]", "!!python/name:os.system"), 8, "yaml.tag"),
    "nested without end": (b"a:\n " + b"[" * 5000, 2, "yaml.depth"),
    "a NUL": (with_(WORKLOAD, "[web]", "\0"), 8, "yaml.character"),
    "not UTF-8": (WORKLOAD.encode().replace(b"app: web", b"app: w\xe9b"), 6, "file.encoding"),
    "UTF-16": (WORKLOAD.encode("utf-16"), 1, "file.encoding"),
    "5 MB": (with_(WORKLOAD, "[web]", "[" + "x" * 5_000_000 + "]"), 1, "document.too-large"),
    "binary": (bytes(range(128, 256)), 1, "file.encoding"),
    # YAML that is no object
    "a text": (b"hello\n", 1, "document.type"),
    "a list": (b"\n- a: 1\n", 2, "document.type"),
    "no kind": (with_(WORKLOAD, "kind: Workload\n", ""), 1, "document.required"),
    "no name": (with_(WORKLOAD, "  name: broken\n", ""), 3, "document.required"),
    "a name that is a number": (with_(WORKLOAD, "name: broken", "name: 5"), 4, "document.type"),
    "a name that is none": (with_(WORKLOAD, "name: broken", "name: Not A Name"), 4, "document.name"),
    "a version that is none": (with_(WORKLOAD, "plait.dev/v1alpha1", "plait/dev/v1"), 1, "document.name"),
    # objects that say what can't be
    "a version that nobody serves": (with_(WORKLOAD, "v1alpha1", "v2"), 1, "kind.version"),
    "the group of nobody": (with_(WORKLOAD, "plait.dev/v1alpha1", "v1"), 1, "kind.group"),
    "a kind that is refused": (with_(VIRTUAL_SERVICE, "VirtualService", "EnvoyFilter"), 2, "kind.refused"),
    "an unknown field": (with_(VIRTUAL_SERVICE, "    timeout: 1s", "    timeuot: 1s"), 15, "field.unknown"),
    "an unknown field of metadata": (with_(WORKLOAD, "  labels:", "  lables:"), 5, "field.unknown"),
    "a text for a list": (with_(WORKLOAD, "[web]", "web"), 8, "field.type"),
    "a text for a number": (with_(WORKLOAD, "replicas: 1", "replicas: one"), 9, "field.type"),
    "a list for an object": (with_(VIRTUAL_SERVICE, "prefix: /api", "- prefix: /api"), 10, "field.type"),
    "a number out of range": (with_(WORKLOAD, "    port: 8080", "    port: 80800"), 12, "field.range"),
    "a duration that is none": (with_(VIRTUAL_SERVICE, "1s", "1 second"), 15, "field.duration"),
    "a label that is none": (with_(WORKLOAD, "app: web", "app: the web"), 6, "label.invalid"),
    "a port of the sidecar": (with_(WORKLOAD, "    port: 8080", "    port: 15001"), 12, "port.reserved"),
    "two ways to be ready": (
        with_(WORKLOAD, "tcp: 8080", "tcp: 8080\n    command: [x]"),
        13,
        "readiness.one-way",
    ),
    "a regex that is none": (with_(VIRTUAL_SERVICE, "prefix: /api", "regex: /api("), 11, "regex.invalid"),
    "an empty host": (with_(VIRTUAL_SERVICE, "- web", "- ''"), 7, "field.required"),
    "a host twice": (with_(VIRTUAL_SERVICE, "  - web\n", "  - web\n  - web\n"), 8, "host.duplicate"),
    "a host with a port": (with_(VIRTUAL_SERVICE, "host: web", "host: web:80"), 14, "host.invalid"),
    "a rule to nowhere": (
        with_(VIRTUAL_SERVICE, "    - destination:\n        host: web", "      []"),
        12,
        "route.no-destination",
    ),
    "an empty source": (with_(POLICY, "namespaces: [a]", "{}"), 11, "policy.empty"),
    "a selector that is misspelt": (with_(POLICY, "matchLabels", "matchlabels"), 7, "field.unknown"),
    "an action that is none": (with_(POLICY, "  rules:", "  action: MAYBE\n  rules:"), 9, "field.choice"),
    "an object twice": ((WORKLOAD + "---\n" + WORKLOAD).encode(), 16, "document.duplicate"),
}


def test_there_are_at_least_thirty() -> None:
    assert len(BROKEN) >= 30


@pytest.mark.parametrize("name", BROKEN)
def test_it_is_told_with_file_and_line_and_hides_nothing_else(name: str) -> None:
    data, line, code = BROKEN[name]
    store = Store()
    store.apply(parse("broken.yaml", data))
    store.apply(parse("sound.yaml", SOUND.encode()))
    found = list(store.findings())
    facts: list[Fact] = []
    for located in store.documents():
        reading = dialects.read(located.document)
        facts += reading.facts
        found += reading.findings
    place: Callable[..., object] = store.place
    told = [
        (finding.code, str(finding.place or place(finding.ref, finding.field)))
        for finding in found
        if finding.severity is Severity.ERROR
    ]
    assert (code, f"broken.yaml:{line}") in told
    assert all(finding.message for finding in found)
    assert any(getattr(fact, "name", "") == "sound" for fact in facts)


@pytest.mark.parametrize("name", BROKEN)
def test_what_was_said_before_stays_in_force_when_a_text_breaks(name: str) -> None:
    data, _, code = BROKEN[name]
    store = Store()
    store.apply(parse("broken.yaml", WORKLOAD.encode()))
    store.apply(parse("broken.yaml", data))
    assert store.documents()
    if code.startswith(("yaml.", "file.")):
        assert store.documents()[0].document.value["spec"]["replicas"] == 1
