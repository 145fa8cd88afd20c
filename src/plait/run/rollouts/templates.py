"""What a MetricTemplate asks: a query in which words stand for what is tried, and the queries of the mesh's own store.

The words are Flagger's, and so is what they mean in its queries.  There `target` is what runs the new version, and
`target` with `-primary` behind it what serves; with us the new version runs as TARGET-canary beside TARGET.  So the
words become these names, and a query that was written for Flagger asks of the same version here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from plait.model.names import service_host
from plait.model.rollout import Canary, Metric, Version, canary_key
from plait.telemetry.queries import Signals, Where

_WORD = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_VERSIONED = re.compile(r"(\{\{-?\s*)target(\s*-?\}\})-(primary|canary)\b")
_VARIABLE = re.compile(r"variables\.(\w+)")
_SPACE = re.compile(r"\s+")
_SHOWN = 80
_KEYS = ("service", "workload", "namespace", "version")


class TemplateError(Exception):
    """A query that can't be asked; the message says why."""


class Asked(StrEnum):
    """What the mesh's own store can be asked for; as GET /v1/traffic has it."""

    REQUESTS = "requests"
    RATE = "rate"
    ERROR_SHARE = "error_share"
    P50 = "p50"
    P90 = "p90"
    P99 = "p99"

    def of(self, signals: Signals) -> float | None:
        """The value; None: there were too few requests to tell."""
        found: float | None = getattr(signals, f"{self}_ms" if self.startswith("p") else self)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnQuery:
    """What is asked of the mesh's own store, and of whose traffic."""

    asked: Asked
    where: Where


def rendered(query: str, canary: Canary, metric: Metric) -> str:
    """A query with what its words stand for.  TemplateError for words that stand for nothing."""
    variables = dict(metric.variables)
    words = {
        "name": canary.name,
        "namespace": canary.namespace,
        "target": canary_key(canary.target).name,
        "primary": canary.target.name,
        "service": canary.service,
        "ingress": canary.target.name,
        "interval": _interval(metric.window),
    }

    def meant(found: re.Match[str]) -> str:
        word = found[1]
        if variable := _VARIABLE.fullmatch(word):
            if variable[1] not in variables:
                raise TemplateError(f"its query asks for {word}, which templateVariables do not give")
            return variables[variable[1]]
        if word not in words:
            raise TemplateError(f"{word[:_SHOWN]!r} stands for nothing in its query")
        return words[word]

    return _SPACE.sub(" ", _WORD.sub(meant, _VERSIONED.sub(_version, query))).strip()


def own_query(text: str, namespace: str) -> OwnQuery:
    """A query of the mesh's own store: `p99 service=menu workload=menu-canary`.  TemplateError.

    Names without a namespace are of `namespace`.
    """
    name, *said = text.split() or [""]
    if name not in set(Asked):
        raise TemplateError(f"the mesh has no query {name[:_SHOWN]!r}: there are {', '.join(Asked)}")
    keys: dict[str, str] = {}
    for one in said:
        key, equals, value = one.partition("=")
        if not equals or not value or key not in _KEYS or key in keys:
            raise TemplateError(
                f"{one[:_SHOWN]!r} is not understood: write each of {', '.join(_KEYS)} once, as KEY=NAME"
            )
        keys[key] = value
    if not keys:
        raise TemplateError(f"of whose traffic? write one or more of {', '.join(_KEYS)}, as KEY=NAME")
    service, home = keys.get("service", ""), keys.get("namespace", namespace)
    return OwnQuery(
        asked=Asked(name),
        where=Where(
            service=service_host(home, service) if service and "." not in service else service,
            destination_workload=keys.get("workload", ""),
            destination_namespace=home if "workload" in keys or "namespace" in keys else "",
            destination_version=keys.get("version", ""),
        ),
    )


def _version(found: re.Match[str]) -> str:
    word = "primary" if found[3] == Version.PRIMARY else "target"
    return f"{found[1]}{word}{found[2]}"


def _interval(seconds: float) -> str:
    """As PromQL and Go write a duration."""
    return f"{seconds:.0f}s" if seconds == round(seconds) else f"{1000 * seconds:.0f}ms"
