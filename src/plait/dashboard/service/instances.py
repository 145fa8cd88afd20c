"""The replicas behind a service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from plait.api import figures
from plait.api.services import InstanceView
from plait.dashboard import parts
from plait.dashboard.elements.grid import Cell, Column, Grid, Row
from plait.dashboard.service.looked import Looked

_TONES = {"ready": parts.GOOD, "starting": parts.WARN, "draining": parts.WARN, "failed": parts.BAD}
_SOON = 3600.0
"""Seconds: a certificate that ends so soon should have been renewed."""
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
        _ = self._grid.show(instance_rows(looked.view.instances, datetime.now(UTC)))


def instance_rows(instances: Sequence[InstanceView], now: datetime) -> list[Row]:
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


def certificate(expires: str | None, now: datetime) -> Cell:
    """Until when it is good."""
    if expires is None:
        return Cell("none", tone="faint")
    ends = datetime.fromisoformat(expires)
    left = (ends - now).total_seconds()
    if left <= 0:
        return Cell("ended", tone=parts.BAD, title=expires, sort=ends.timestamp())
    hours = left / 3600
    text = (
        f"{hours / 24:.0f} days left"
        if hours >= 72
        else f"{hours:.0f} h left"
        if hours >= 1
        else "< 1 h left"
    )
    return Cell(text, tone=parts.WARN if left < _SOON else parts.PLAIN, title=expires, sort=ends.timestamp())
