"""`python -m bench.data_plane --quick --protocol grpc --connections 32 --contender plait`: some of it, at once."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from itertools import groupby

from bench.control_plane.plane import BenchError
from bench.data_plane import CONTENDERS, FULL, QUICK, Plan, measured
from bench.data_plane.load import Protocol
from bench.records import Record


def table(records: Sequence[Record]) -> str:
    """A line for each case of a setting: the median of each metric."""
    heads = [f"{record.metric} ({record.unit})" for record in records if record.case == records[0].case]
    lines = [f"\n{records[0].setting:<52}" + "".join(f"{head:>20}" for head in heads)]
    for case, group in groupby(records, key=lambda record: record.case):
        lines.append(f"{case:<52}" + "".join(f"{record.median:>20,.2f}" for record in group))
    return "\n".join(lines)


def plan() -> Plan:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.data_plane")
    parser.add_argument("--quick", action="store_true", help="HTTP/1.1 at 32 connections, two short rounds")
    parser.add_argument(
        "--protocol", action="append", choices=[one.name.lower() for one in Protocol], help="only this"
    )
    parser.add_argument("--connections", action="append", type=int, help="only so many; again for others")
    parser.add_argument("--contender", nargs="+", choices=list(CONTENDERS), help="only these")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of each run")
    chosen = parser.parse_args()
    base = QUICK if chosen.quick else FULL
    return Plan(
        protocols=tuple(Protocol[one.upper()] for one in chosen.protocol or ()) or base.protocols,
        connections=tuple(chosen.connections or base.connections),
        contenders=chosen.contender or base.contenders,
        rounds=chosen.rounds or base.rounds,
        seconds=chosen.seconds or base.seconds,
    )


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        records = measured(plan(), lambda line: print(line, file=sys.stderr))
        for _, group in groupby(records, key=lambda record: record.setting):
            print(table(list(group)), flush=True)
    except BenchError as error:
        sys.exit(f"python -m bench.data_plane: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
