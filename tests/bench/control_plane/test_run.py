"""A small real run: the control plane, its agent, simulated proxies and an Envoy, from start to end."""

from bench.control_plane import Size, measured
from bench.control_plane.scenarios import p99


async def test_changes_reach_everyone_whom_they_concern() -> None:
    size = Size(services=4, proxies=8, repetitions=2, seconds=1, envoys=1)
    said: list[str] = []
    records = await measured(size, said.append, scenarios=("route", "endpoint", "policy", "reconnecting"))
    found = {(record.case, record.metric): record for record in records}
    assert {record.setting for record in records} == {"4 services, 8 proxies"}

    assert found["cold start", "proxies touched"].values == (7,)
    assert found["one route changed", "proxies touched"].values == (7, 7)
    assert found["one endpoint changed", "proxies touched"].values == (7, 7)
    assert found["one policy changed", "proxies touched"].values == (3, 3)
    assert found["all proxies reconnecting", "handshakes"].values == (7,)
    for case in ("one route changed", "one endpoint changed", "one policy changed"):
        assert found[case, "pushes"].values == found[case, "proxies touched"].values
        last, first = found[case, "last ACK"], found[case, "first ACK"]
        assert all(0 < early <= late < 10_000 for early, late in zip(first.values, last.values, strict=True))
    sent_at_start = found["cold start", "bytes"].median
    assert 0 < found["all proxies reconnecting", "bytes"].median < sent_at_start / 100
    assert said[-1] == "4 services, 8 proxies: reconnecting"


def test_ninety_nine_of_a_hundred() -> None:
    assert p99([3.0]) == 3.0
    assert p99([float(number) for number in range(1, 101)]) == 99.0
