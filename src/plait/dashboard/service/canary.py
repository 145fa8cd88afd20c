"""The rollout of a service's workload, where there is one."""

from __future__ import annotations

from nicegui import ui

from plait.api.rollouts import CanaryView
from plait.dashboard import parts
from plait.dashboard.service.looked import Looked

_TONES = {"Succeeded": parts.GOOD, "Failed": parts.BAD, "Waiting": parts.WARN, "WaitingPromotion": parts.WARN}


class CanarySection:
    """Where it stands, and the way to all of it."""

    def __init__(self) -> None:
        with parts.panel("Canary") as panel:
            self._box = ui.html("", sanitize=False).classes("svc-canary")
        assert panel.actions is not None
        with panel.actions:
            self._link = ui.link("All of it", "/canaries")

    def show(self, looked: Looked) -> None:
        if looked.canary is not None:
            self._box.set_content(told(looked.canary))
            self._link.props["href"] = to_canary(looked.canary)


def to_canary(canary: CanaryView) -> str:
    return parts.to(f"/canaries/{canary.key}")


def told(canary: CanaryView) -> str:
    """HTML of where it stands."""
    tone = _TONES.get(canary.phase, parts.INFO)
    checks = "".join(f"<li>{parts.escaped(one.text)}</li>" for one in canary.checks)
    return (
        f'<div class="row"><span class="badge {tone}">{parts.escaped(canary.phase)}</span>'
        f"<b>{parts.escaped(canary.share)}</b>&nbsp;to the new version"
        f'<span class="muted">{parts.escaped(canary.goal)}</span></div>'
        f'<div class="svc-to-bar"><i style="width: {canary.weight}%"></i></div>'
        f"<p>{parts.escaped(canary.message)}</p>" + (f"<ul>{checks}</ul>" if checks else "")
    )
