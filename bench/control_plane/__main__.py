"""`python -m bench.control_plane --services 100 --proxies 300 --scenario route`: one size, to look at closely."""

from __future__ import annotations

import argparse
import asyncio
import sys
from itertools import groupby
from pathlib import Path

from bench.control_plane import Size, measured
from bench.control_plane.mesh import ENVOYS
from bench.control_plane.scenarios import SCENARIOS
from bench.records import Record


def table(records: list[Record]) -> str:
    """A line for each record: the median, and between which values it lies."""
    lines = []
    for case, group in groupby(records, key=lambda record: record.case):
        lines.append(f"\n{case}")
        for record in group:
            least, most = record.spread
            spread = f"   {least:,.1f} to {most:,.1f} in {len(record.values)}" if least != most else ""
            lines.append(f"  {record.metric:<20} {record.median:>14,.1f} {record.unit:<3}{spread}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.control_plane")
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--proxies", type=int, default=300, help="simulated and real")
    parser.add_argument("--envoys", type=int, default=ENVOYS, help="so many of the proxies are real")
    parser.add_argument("--repetitions", type=int, default=10, help="of each single change")
    parser.add_argument("--seconds", type=int, default=5, help="of flapping")
    parser.add_argument(
        "--scenario", action="append", choices=list(SCENARIOS), help="only this; again for another"
    )
    parser.add_argument("--profile", type=Path, help="where cProfile writes what the control plane did")
    chosen = parser.parse_args()
    size = Size(
        services=chosen.services,
        proxies=chosen.proxies,
        repetitions=chosen.repetitions,
        seconds=chosen.seconds,
        envoys=chosen.envoys,
    )
    records = asyncio.run(
        measured(
            size,
            lambda line: print(line, file=sys.stderr),
            scenarios=chosen.scenario or list(SCENARIOS),
            profile=chosen.profile,
        )
    )
    print(f"{size.services} services, {size.proxies} proxies", table(records))


if __name__ == "__main__":
    main()
