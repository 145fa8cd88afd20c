"""What the load generators print is read as it is meant, and whatever went wrong is an error."""

import pytest

from bench.control_plane.plane import BenchError
from bench.data_plane.load import of_h2load, of_wrk

WRK = """\
Running 2s test @ http://127.0.0.1:18081/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   174.81us   94.88us   3.12ms   95.79%
    Req/Sec   171.82k     9.05k  178.57k    85.00%
  Latency Distribution
     50%  960.00us
     75%    1.24ms
     90%  250.00ms
     99%    1.27s
  340893 requests in 2.00s, 354.69MB read
Requests/sec: 170385.42
Transfer/sec:    177.28MB
"""
H2LOAD = """\
starting benchmark...
spawning thread #0: 32 total client(s). Timing-based test with 0s of warm-up time and 2s of main duration.
progress: 100% of clients started

finished in 2.00s, 123263.00 req/s, 6.35MB/s
requests: 246526 total, 246558 started, 246526 done, 246526 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 246530 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 12.70MB (13319860) total, 1.65MB (1730354) headers (space savings 96.19%), 4.47MB (4683994) data
                     min         max         mean         sd        +/- sd
time for request:       42us      3.59ms       136us        58us    96.62%
---
"""
LOGGED = "\n".join(str(micros) for micros in range(1000, 0, -1))


def test_wrk_tells_requests_and_latencies_in_any_unit() -> None:
    outcome = of_wrk(WRK.replace("1.27s", "1.27s "))  # it fills up what is short
    assert outcome.requests == 340893
    assert outcome.rps == pytest.approx(170385.42)
    assert (outcome.p50, outcome.p99) == pytest.approx((0.96, 1270))


@pytest.mark.parametrize(
    "line", ["Non-2xx or 3xx responses: 7", "Socket errors: connect 0, read 3, write 0, timeout 0"]
)
def test_a_request_that_fails_in_wrk_is_an_error(line: str) -> None:
    with pytest.raises(BenchError, match=line):
        of_wrk(WRK.replace("Transfer/sec", f"  {line}\nTransfer/sec"))


def test_h2load_tells_requests_and_its_log_tells_latencies() -> None:
    outcome = of_h2load(H2LOAD + LOGGED)
    assert outcome.requests == 246526
    assert outcome.rps == pytest.approx(123263)
    assert (outcome.p50, outcome.p99) == pytest.approx((0.5, 0.99), abs=0.01)


@pytest.mark.parametrize(
    ("well", "badly"),
    [("0 failed", "20 failed"), ("0 errored", "1 errored"), ("0 timeout", "10 timeout"), ("0 5xx", "30 5xx")],
)
def test_a_request_that_fails_in_h2load_is_an_error(well: str, badly: str) -> None:
    with pytest.raises(BenchError, match=badly):
        of_h2load(H2LOAD.replace(well, badly) + LOGGED)


def test_a_refusal_of_grpc_is_an_error_though_its_status_is_200() -> None:
    with pytest.raises(BenchError, match="246526 answers had 246525 messages"):
        of_h2load(H2LOAD.replace("(4683994) data", "(4683993) data") + LOGGED)


@pytest.mark.parametrize("said", ["", "Requests/sec: 1\n", WRK.replace("99%", "98%")])
def test_what_is_not_said_is_an_error(said: str) -> None:
    with pytest.raises(BenchError, match="does not say"):
        of_wrk(said)
    with pytest.raises(BenchError, match="does not say"):
        of_h2load(said)


def test_a_log_without_requests_is_an_error() -> None:
    with pytest.raises(BenchError, match="no requests"):
        of_h2load(H2LOAD)
