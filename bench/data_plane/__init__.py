"""What a request costs in the proxies between two workloads, and how it compares.

Every contender stands on the loopback (but for Plait's transparent mode, see `plait_pair`) between one load
generator and one fast server.  Those two share a core that is not counted; all proxies have another, with one
worker each.  All contenders of a protocol stand at once and take turns, so that what else the machine does meets
all of them.  CPU is what their processes have used from before the first to after the last connection of a run, by
requests answered; opening the connections is part of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import words
from bench.control_plane.plane import BenchError
from bench.data_plane import haproxy, hop, istio, plait_pair
from bench.data_plane.ground import Contender, Standing, direct, ground
from bench.data_plane.load import Protocol, run
from bench.data_plane.processes import Cores, cpu, memory
from bench.records import Record

Say = Callable[[str], None]

PART = "data plane"
CONTENDERS: dict[str, Contender] = {
    "direct": Contender(case="direct", stand=direct),
    "hop": Contender(case="one Envoy hop", stand=hop.stand),
    "plait": Contender(case=words.PLAIT, stand=plait_pair.explicit, protocols=(Protocol.HTTP, Protocol.GRPC)),
    "plait-unobserved": Contender(
        case=words.UNOBSERVED,
        stand=partial(plait_pair.explicit, observed=False),
        protocols=(Protocol.HTTP, Protocol.GRPC),
    ),
    "plait-transparent": Contender(
        case=f"{words.PLAIT}, transparent (with links and redirection)",
        stand=plait_pair.transparent,
        missing=plait_pair.missing,
    ),
    "istio": Contender(case=words.ISTIO, stand=istio.stand),
    "istio-log": Contender(case=f"{words.ISTIO}, with a file log", stand=partial(istio.stand, file_log=True)),
    "haproxy": Contender(case="HAProxy pair with mTLS", stand=haproxy.stand),
}
_PROGRAMS = {"wrk": "wrk", "h2load": "nghttp2-client", "nghttpd": "nghttp2-server", "haproxy": "haproxy"}
_WARM_UP = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured of whom, how often, and for how long each time."""

    protocols: tuple[Protocol, ...] = tuple(Protocol)
    connections: tuple[int, ...] = (1, 32, 256)
    contenders: Collection[str] = tuple(CONTENDERS)
    rounds: int = 3
    seconds: int = 3


FULL = Plan()
QUICK = Plan(protocols=(Protocol.HTTP,), connections=(32,), rounds=2, seconds=2)


def measure(quick: bool, say: Say) -> Iterator[Record]:  # noqa: FBT001 - the form of every part of the benchmark
    """Every contender; what is under way is said a line at a time."""
    return measured(QUICK if quick else FULL, say)


def measured(plan: Plan, say: Say) -> Iterator[Record]:
    """The records of each protocol and number of connections as soon as its last round is over."""
    lacking = [package for program, package in _PROGRAMS.items() if not shutil.which(program)]
    if lacking:
        raise BenchError(f"the data plane is measured with more programs: apt install {' '.join(lacking)}")
    cores = Cores.of_this_machine()
    for protocol in plan.protocols:
        with tempfile.TemporaryDirectory(prefix="plait-data-") as folder, ExitStack() as stack:
            here = stack.enter_context(ground(protocol, cores, Path(folder)))
            standing = {}
            for contender in _contenders(plan, protocol, say):
                say(f"{protocol}: start {contender.case}")
                standing[contender.case] = stack.enter_context(contender.stand(here))
            for connections in plan.connections:
                yield from _rounds(plan, protocol, connections, standing, cores, say)


def _contenders(plan: Plan, protocol: Protocol, say: Say) -> Iterator[Contender]:
    """Those that can be measured here."""
    for name, contender in CONTENDERS.items():
        if name in plan.contenders and protocol in contender.protocols:
            lack = contender.missing()
            if lack:
                say(f"{protocol}: not measured: {contender.case}: {lack}")
            else:
                yield contender


def _rounds(  # noqa: PLR0913, PLR0917 - all that a figure follows from
    plan: Plan,
    protocol: Protocol,
    connections: int,
    standing: Mapping[str, Standing],
    cores: Cores,
    say: Say,
) -> Iterator[Record]:
    setting = f"{protocol}, {connections} connection{'s' * (connections != 1)}"
    found: dict[str, list[dict[tuple[str, str], float]]] = {case: [] for case in standing}
    for case, one in standing.items():
        _run(protocol, one, connections, _WARM_UP, cores, case)
    for number in range(1, plan.rounds + 1):
        say(f"{setting}: round {number} of {plan.rounds}")
        for case, one in standing.items():
            found[case].append(_run(protocol, one, connections, plan.seconds, cores, case))
    for case, runs in found.items():
        for metric, unit in runs[0]:
            values = tuple(figures[metric, unit] for figures in runs)
            yield Record(part=PART, case=case, setting=setting, metric=metric, unit=unit, values=values)


def _run(  # noqa: PLR0913, PLR0917 - all that a figure follows from
    protocol: Protocol, one: Standing, connections: int, seconds: int, cores: Cores, case: str
) -> dict[tuple[str, str], float]:
    """The figures of one run, by their names and units."""
    before = cpu(one.proxies)
    try:
        outcome = run(protocol, one.target, connections, seconds, cores.load)
    except BenchError as error:
        raise BenchError(f"{case}, {protocol}, {connections} connections: {error}") from None
    used = cpu(one.proxies) - before
    for log in one.logs:
        os.truncate(log, 0)
    return {
        ("CPU a request", "µs"): used / outcome.requests * 1e6,
        ("rps", "/s"): outcome.rps,
        ("p50", "ms"): outcome.p50,
        ("p99", "ms"): outcome.p99,
        ("memory", "MB"): memory(one.proxies),
    }
