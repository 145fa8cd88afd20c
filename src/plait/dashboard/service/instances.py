"""The replicas behind a service."""

from __future__ import annotations

import time
from collections.abc import Sequence

from plait.api import figures
from plait.api.services import InstanceView
from plait.dashboard import parts
from plait.dashboard.elements.grid import Cell, Column, Grid, Row
from plait.dashboard.proxies import certificate
from plait.dashboard.service.looked import Looked

_TONES = {"ready": parts.GOOD, "starting": parts.WARN, "draining": parts.WARN, "failed": parts.BAD}
_COLUMNS = (
    Column("node", "Instance"),
    Column("version", "Version"),
    Column("state", "State"),
    Column("address", "Address"),
    Column("restarts", "Restarts", end=True),
    Column("certificate", "Certificate"),
    Column("ejected", "Avoided by"),
)


class InstancesSection:
    def __init__(self) -> None:
        with parts.panel("Instances", flush=True):
            self._grid = Grid(_COLUMNS, empty="Nobody stands behind this service.", label="Instances")

    def show(self, looked: Looked) -> None:
        _ = self._grid.show(instance_rows(looked.view.instances, time.time()))


def instance_rows(instances: Sequence[InstanceView], now: float) -> list[Row]:
    """A row for each, with the way to its proxy."""
    return [
        Row(
            one.node,
            (
                Cell(one.node, href=parts.to(f"/proxies/{one.node}"), sub=one.message),
                Cell(one.version or figures.NOTHING),
                Cell(one.state, tone=_TONES.get(one.state, parts.IDLE), badge=True),
                Cell(one.address or figures.NOTHING, tone="mono"),
                Cell(str(one.restarts), tone=parts.WARN if one.restarts else parts.PLAIN, sort=one.restarts),
                certificate(one.certificate_expires, now),
                Cell(", ".join(one.ejected_by) or "nobody", tone=parts.BAD if one.ejected_by else "faint"),
            ),
        )
        for one in instances
    ]
