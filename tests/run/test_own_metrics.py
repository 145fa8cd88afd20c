"""The control plane's own metrics: names and units, and what counts them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from plait.link.messages import Signed, SignRequest
from plait.link.server import Link
from plait.run.intake import STRANGER, Intake
from plait.run.own_metrics import OwnMetrics
from plait.run.registry import Registry
from plait.xds.server import Server
from tests.link.meshes import replica_key


def samples(metrics: OwnMetrics) -> dict[str, float]:
    return {
        f"{one.name}{sorted(one.labels.items()) if one.labels else ''}": one.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for one in family.samples
    }


async def test_what_happens_is_counted_and_what_is_known_is_told(tmp_path: Path) -> None:
    metrics = OwnMetrics()
    nobody: Any = SimpleNamespace()
    intake = Intake(Registry.load(tmp_path / "registry.jsonl"), nobody)
    intake.taken, intake.refused = 5, Counter({STRANGER: 2})
    hub: Any = SimpleNamespace()
    server, link = Server(lambda *_: None), Link(hub, trust_domain="cluster.local")
    metrics.watch(server, link, intake, lambda: Counter({"error": 3}))

    metrics.signed(SignRequest(csr="", replica=replica_key()), Signed(chain="x"))
    metrics.signed(SignRequest(csr=""), Signed(error="no"))
    metrics.joined(Signed(error="no"))
    metrics.rejections.labels("Cluster").inc()
    metrics.rebuild_seconds.observe(0.03)
    found = samples(metrics)
    assert found["plait_certificates_signed_total[('of', 'replica')]"] == 1
    assert found["plait_certificates_signed_total[('of', 'agent')]"] == 0
    assert found["plait_certificates_refused_total[('of', 'agent')]"] == 1
    assert found["plait_joins_total[('outcome', 'accepted')]"] == 0
    assert found["plait_joins_total[('outcome', 'refused')]"] == 1
    assert found["plait_rebuild_seconds_count"] == 1
    assert found["plait_rebuild_seconds_bucket[('le', '0.02')]"] == 0
    assert found["plait_rebuild_seconds_bucket[('le', '0.05')]"] == 1
    assert found["plait_xds_rejections_total[('type', 'Cluster')]"] == 1
    assert found["plait_telemetry_reports_taken_total"] == 5
    assert found[f"plait_telemetry_reports_refused_total[('reason', '{STRANGER}')]"] == 2
    assert found["plait_findings[('severity', 'error')]"] == 3
    assert found["plait_findings[('severity', 'warning')]"] == 0
    assert (found["plait_proxies_connected"], found["plait_proxies_behind"]) == (0, 0)
    assert found["plait_agents_connected"] == 0
    assert found["plait_process_resident_memory_bytes"] > 1_000_000
    assert all(name.startswith("plait_") for name in found)


def test_every_metric_is_in_the_guide() -> None:
    metrics = OwnMetrics()
    intake: Any = SimpleNamespace(taken=0, refused=Counter())
    link: Any = SimpleNamespace(connected=tuple)
    metrics.watch(Server(lambda *_: None), link, intake, Counter)
    guide = (Path(__file__).parents[2] / "docs" / "cli-output.md").read_text()
    families = [line.split()[2] for line in metrics.text().decode().splitlines() if line.startswith("# TYPE")]
    said = set(re.findall(r"`(plait_\w+)`", guide))
    told = {name for name in families if not name.endswith("_created") and "process" not in name}
    assert told == {name for name in said if "process" not in name}
    assert {name for name in said if "process" in name} <= set(families)


def test_two_of_them_share_nothing() -> None:
    one, other = OwnMetrics(), OwnMetrics()
    one.joined(Signed())
    assert samples(one)["plait_joins_total[('outcome', 'accepted')]"] == 1
    assert samples(other)["plait_joins_total[('outcome', 'accepted')]"] == 0
