"""The bytes of a file into the documents it states, or all that keeps it from being read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from plait.model.change import Located, Stated, Unreadable
from plait.model.document import Document
from plait.model.finding import Finding, Place, Severity
from plait.model.names import ObjectRef, is_dns_label, is_dns_subdomain
from plait.sources.files import yaml
from plait.sources.files.lines import Lines

MOST_BYTES = 32 * 1024 * 1024
"""Of one file."""

DEFAULT_NAMESPACE = "default"

CLUSTER_SCOPED = frozenset(
    {
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("gateway.networking.k8s.io", "GatewayClass"),
        ("networking.k8s.io", "IngressClass"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "StorageClass"),
    }
)
"""Kinds without a namespace that folders of YAML commonly hold; whatever else there is has one."""

_MACHINE_WRITTEN = frozenset({"resourceVersion", "managedFields", "generation", "uid"})
_SHOWN = 80


def parse(file: str, data: bytes) -> Stated | Unreadable:
    """What a file says: every document of it, or every error of its text when there is one.

    Never raises for anything that the bytes may hold.
    """
    text = _decode(file, data)
    if isinstance(text, Finding):
        return Unreadable(file, (text,))
    found = _File(file)
    for document in yaml.documents(text):
        if isinstance(document, tuple):
            for problem in document:
                found.error(problem.line, problem.code, problem.message)
        else:
            for value, line, lines in _items(document):
                found.read(value, line, lines)
    if found.findings:
        return Unreadable(file, tuple(found.findings))
    return Stated(file, tuple(found.documents))


def digest(value: Mapping[str, Any]) -> str:
    """A hash of what an object says: neither layout, nor comments, nor what an API server writes by itself."""
    metadata = value.get("metadata")
    if isinstance(metadata, Mapping):
        metadata = {key: inner for key, inner in metadata.items() if key not in _MACHINE_WRITTEN}
    said = {key: inner for key, inner in value.items() if key != "status"} | {"metadata": metadata}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class _File:
    file: str
    documents: list[Located] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def error(self, line: int, code: str, message: str) -> None:
        self.findings.append(Finding(Severity.ERROR, code, message, place=Place(self.file, line)))

    def read(self, value: Any, line: int, lines: Lines) -> None:
        if not isinstance(value, dict):
            self.error(line, "document.type", "expected an API object with apiVersion, kind and metadata")
            return
        before = len(self.findings)
        place = Located(_NOBODY, self.file, line, lines)
        api_version = self._text(place, value, "apiVersion")
        kind = self._text(place, value, "kind")
        metadata = value.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            self.error(place.place("metadata").line, "document.type", "metadata must be an object")
            return
        metadata = metadata or {}
        name = self._text(place, metadata, "name", "metadata.")
        namespace = self._namespace(place, metadata)
        group, slash, version = api_version.rpartition("/")
        if api_version and (not is_dns_label(version) or (slash and not is_dns_subdomain(group))):
            line = place.place("apiVersion").line
            self.error(line, "document.name", f"{api_version[:_SHOWN]!r} is not GROUP/VERSION")
        if kind and not (kind.isascii() and kind.isalnum() and len(kind) <= 63):
            self.error(place.place("kind").line, "document.name", f"{kind[:_SHOWN]!r} is no kind")
        if name and not _valid_name(group, name):
            line = place.place("metadata.name").line
            message = f"{name[:_SHOWN]!r} is no name: lower case letters, digits, - and . between them"
            self.error(line, "document.name", message)
        if len(self.findings) > before:
            return
        if (group, kind) in CLUSTER_SCOPED:
            namespace = ""
        ref = ObjectRef(group, kind, namespace, name)
        document = Document(ref, api_version, digest(value), value)
        self.documents.append(Located(document, self.file, line, lines))

    def _text(self, place: Located, value: dict[str, Any], key: str, around: str = "") -> str:
        text = value.get(key)
        if isinstance(text, str) and text:
            return text
        line = place.place(around + key).line
        if text is None or text == "":
            hint = "; generateName is not enough here" if "generateName" in value else ""
            self.error(line, "document.required", f"{around}{key} is missing{hint}")
        else:
            self.error(line, "document.type", f"{around}{key} must be a string; put it in quotes")
        return ""

    def _namespace(self, place: Located, metadata: dict[str, Any]) -> str:
        namespace = metadata.get("namespace")
        if namespace is None or namespace == "":
            return DEFAULT_NAMESPACE
        if isinstance(namespace, str) and is_dns_label(namespace):
            return namespace
        line = place.place("metadata.namespace").line
        if not isinstance(namespace, str):
            self.error(line, "document.type", "metadata.namespace must be a string; put it in quotes")
            return ""
        message = f"{namespace[:_SHOWN]!r} is no namespace: lower case letters, digits and -, 63 at most"
        self.error(line, "document.name", message)
        return namespace


_NOBODY = Document(ObjectRef("", "", "", ""), "", "", {})


def _decode(file: str, data: bytes) -> str | Finding:
    if len(data) > MOST_BYTES:
        message = f"a file may have {MOST_BYTES // 1024**2} MiB, this one has more"
        return Finding(Severity.ERROR, "file.too-large", message, place=Place(file, 1))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        message = f"not UTF-8{' but UTF-16' if utf16 else ''}: save it as UTF-8"
        return Finding(Severity.ERROR, "file.encoding", message, place=Place(file, line))


def _items(document: yaml.Parsed) -> Iterator[tuple[Any, int, Lines]]:
    """The document itself, or the items of the List that it is; Lists in Lists too."""
    waiting = [(document.value, document.line, document.lines)]
    while waiting:
        value, line, lines = waiting.pop()
        if _is_list(value):
            below = lines.below("items")
            waiting += [
                (item, below.get(f"[{index}]", line), below.below(index))
                for index, item in reversed(list(enumerate(value["items"])))
            ]
        else:
            yield value, line, lines


def _is_list(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("items"), list):
        return False
    kind, metadata = value.get("kind"), value.get("metadata")
    named = isinstance(metadata, dict) and "name" in metadata
    return isinstance(kind, str) and kind.endswith("List") and not named


def _valid_name(group: str, name: str) -> bool:
    if group == "rbac.authorization.k8s.io":  # its names hold colons
        return len(name) <= 253 and not set(name) & {"/", "%"}
    return is_dns_subdomain(name)
