"""Load: what wrk and h2load are told, and what they say of it.

Each connection has one request under way at a time, so that connections are also the requests that wait.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from statistics import quantiles

from bench.control_plane.plane import BenchError
from bench.data_plane.server import GRPC_PATH, SERVED

_PATIENCE = 30.0
"""Seconds that a generator may take beyond those that it was told."""
_FACTORS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}
_MESSAGE_BYTES = (SERVED / GRPC_PATH).stat().st_size
_LOGGED = "---"
"""Stands between what h2load says and what it has written down of each request."""


class Protocol(StrEnum):
    HTTP = "HTTP/1.1"
    GRPC = "gRPC"
    TCP = "TCP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where load goes: a HOST:PORT to connect to, the authority to ask for, and what runs the generator there."""

    place: str
    authority: str
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run: requests answered, how many a second, and half and 99 of a hundred within so many ms."""

    requests: int
    rps: float
    p50: float
    p99: float


def run(protocol: Protocol, target: Target, connections: int, seconds: int, core: int) -> Outcome:
    """So many seconds of load; BenchError when a single request fails."""
    script, parse = _wrk(target, connections, seconds), of_wrk
    if protocol is Protocol.GRPC:
        script, parse = _h2load(target, connections, seconds), of_h2load
    command = (*target.prefix, "taskset", "--cpu-list", str(core), "sh", "-c", script)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=seconds + _PATIENCE)
        except subprocess.TimeoutExpired:
            raise BenchError(f"the load does not end: {shlex.join(command)}") from None
        finally:
            process.terminate()
    if process.returncode:
        raise BenchError(f"{shlex.join(command)} ended with {process.returncode}:\n{said[-2000:]}")
    return parse(said)


def _wrk(target: Target, connections: int, seconds: int) -> str:
    options = ("-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", f"Host: {target.authority}")
    return f"exec {shlex.join(('wrk', *options, f'http://{target.place}/'))}"


def _h2load(target: Target, connections: int, seconds: int) -> str:
    """Without percentiles of its own, it writes down each request; those are told behind what it says."""
    message = str(SERVED / GRPC_PATH)
    options = (
        *("-t1", "-c", str(connections), "-m1", "-D", str(seconds), "-d", message),
        *("-H", "content-type: application/grpc", "-H", "te: trailers", "--connect-to", target.place),
        f"http://{target.authority}/{GRPC_PATH}",
    )
    return (
        f'log=$(mktemp) && h2load --log-file="$log" {shlex.join(options)}; code=$?; '
        f'echo {_LOGGED}; cut -f 3 "$log"; rm "$log"; exit $code'
    )


def of_wrk(said: str) -> Outcome:
    """What wrk prints with --latency."""
    for trouble in (r"Socket errors: .*", r"Non-2xx or 3xx responses: \d+"):
        if found := re.search(trouble, said):
            raise BenchError(f"wrk: {found[0]}")
    requests = _one(r"(\d+) requests in", said)
    return Outcome(
        requests=int(requests),
        rps=float(_one(r"Requests/sec:\s+([\d.]+)", said)),
        p50=_milliseconds(_one(r"^\s+50%\s+(\S+)\s*$", said)),
        p99=_milliseconds(_one(r"^\s+99%\s+(\S+)\s*$", said)),
    )


def of_h2load(said: str) -> Outcome:
    """What h2load prints, and behind it a line of microseconds for each request.

    What a proxy refuses has status 200 too, since gRPC tells its own status elsewhere, but no message.
    """
    summary, _, logged = said.partition(f"\n{_LOGGED}\n")
    total = int(_one(r"requests: (\d+) total", summary))
    trouble = re.findall(r"[1-9]\d* (?:failed|errored|timeout|[345]xx)", summary)
    if trouble or not total:
        raise BenchError(f"h2load: {', '.join(trouble) or 'no request was answered'}")
    if (messages := int(_one(r"\((\d+)\) data$", summary)) // _MESSAGE_BYTES) < total:
        raise BenchError(f"h2load: {total} answers had {messages} messages; a proxy has answered by itself")
    took = [int(line) / 1e3 for line in logged.split()]
    if len(took) < 2:
        raise BenchError(f"h2load has logged no requests:\n{said[-2000:]}")
    cuts = quantiles(took, n=100)
    rps = float(_one(r"finished in \S+, ([\d.]+) req/s", summary))
    return Outcome(requests=total, rps=rps, p50=cuts[49], p99=cuts[98])


def _milliseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if not found:
        raise BenchError(f"wrk tells a latency of {text!r}")
    return float(found[1]) * _FACTORS[found[2]]


def _one(pattern: str, said: str) -> str:
    found = re.search(pattern, said, re.MULTILINE)
    if not found:
        raise BenchError(f"the load generator does not say {pattern!r}:\n{said[-2000:]}")
    return found[1]
