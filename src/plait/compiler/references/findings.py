"""How a Finding on what an object refers to is made."""

from __future__ import annotations

from plait.model.finding import Finding, Severity
from plait.model.names import Origin


def error(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.ERROR, code, message, origin.ref, origin.field)


def info(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.INFO, code, message, origin.ref, origin.field)


def warning(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.WARNING, code, message, origin.ref, origin.field)
