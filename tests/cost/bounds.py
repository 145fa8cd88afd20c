"""The bounds beside what was measured: kept in bounds.toml, for people to read."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from math import ceil
from pathlib import Path

from tests.cost.measures import PARTS, SERVICES

Costs = Mapping[str, Mapping[str, int]]
"""Part -> name -> number."""

FILE = Path(__file__).with_name("bounds.toml")
RECORD = "make bounds"

_TRUE = 0.8
"""A bound of which less than this part is used is true no more."""

_HEAD = f"""\
# What things may cost: each number is the most that may be measured.  For a mesh of {SERVICES} services, three
# replicas each, in ten namespaces (bench/meshes.py), after one change; written by `{RECORD}`.  A number that got
# worse needs a reason in the commit that records it, and so does one that got better: what is measured must not
# be less than four fifths of its bound.
#
# calls: of our own named functions.  hashes: of frozen values, each of those that it holds counted as well.
# pushes: responses on xDS streams, each of some resources.
"""


def measured() -> Costs:
    """Everything, in a process that has made nothing before."""
    root = FILE.parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.cost.measures"], cwd=root, check=True, stdout=subprocess.PIPE
    )
    found: Costs = json.loads(done.stdout)
    return found


def load() -> Costs:
    return tomllib.loads(FILE.read_text())


def save(bounds: Costs) -> None:
    sections = [_HEAD]
    for part in PARTS:
        lines = [f"{name} = {bound}" for name, bound in bounds[part.name].items()]
        sections.append("\n".join((f"# {part.measure.__doc__}", f"[{part.name}]", *lines, "")))
    FILE.write_text("\n".join(sections))


def renewed(costs: Costs, bounds: Costs) -> Costs:
    """The bounds to record: what was measured, and a margin where there is one, unless the old bound holds."""
    return {
        part.name: {
            name: old
            if part.margin and (old := bounds.get(part.name, {}).get(name)) and not problem(name, cost, old)
            else ceil(cost * (1 + part.margin))
            for name, cost in costs[part.name].items()
        }
        for part in PARTS
    }


def differing(costs: Costs, bounds: Costs) -> dict[str, tuple[int | None, int | None]]:
    """The number now and the number before, by name, where they differ."""
    now, before = _flat(costs), _flat(bounds)
    names = dict.fromkeys((*now, *before))
    return {name: (now.get(name), before.get(name)) for name in names if now.get(name) != before.get(name)}


def problems(costs: Costs, bounds: Costs) -> list[str]:
    return [
        text for name, (now, bound) in differing(costs, bounds).items() if (text := problem(name, now, bound))
    ]


def problem(name: str, now: int | None, bound: int | None) -> str | None:
    """What is wrong with a number beside its bound, and what to do then."""
    if now is None:
        return f"{name} has a bound and is measured no more: take it out with `{RECORD}`"
    if bound is None:
        return f"{name} is {now} and has no bound: record it with `{RECORD}`"
    if now > bound:
        return (
            f"{name} is {now}, more than its bound of {bound}: make it cheaper; or, if it is worth that, record it "
            f"with `{RECORD}` and say why in the commit"
        )
    if now < bound * _TRUE:
        return f"{name} is {now}, much less than its bound of {bound}: keep it so, record it with `{RECORD}`"
    return None


def _flat(costs: Costs) -> dict[str, int]:
    return {f"{part}.{name}": number for part, numbers in costs.items() for name, number in numbers.items()}
