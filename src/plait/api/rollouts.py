"""What the API says of rollouts."""

from __future__ import annotations

from dataclasses import dataclass

from plait.model.rollout import Strategy
from plait.rollout.status import Phase

_RUNNING = frozenset(phase for phase in Phase if phase.runs)
_OVER = frozenset({Phase.PROMOTING, Phase.FINALISING})
"""The analysis is, and what was tried takes over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckView:
    """A look at one metric: what it says (plait.rollout.status.Finding), the number, and all of it in plain words."""

    metric: str
    finding: str
    text: str
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryView:
    """A Canary and where it stands; `phase` in Flagger's words, weights in percent, times in RFC 3339, "" for none.

    `promoted` and `applied` are revisions: what serves, and what was tried last.  `total` is the last of the
    steps' weights, or how many iterations there are; `step` is how far it has come of that.
    """

    namespace: str
    name: str
    target: str
    host: str
    strategy: str
    phase: str
    since: str
    weight: int = 0
    mirrored: int = 0
    matched: bool = False
    """Whether what the analysis' matches catch goes to the new version."""
    step: int = 0
    total: int = 0
    failed_checks: int = 0
    threshold: int = 0
    paused: bool = False
    suspended: bool = False
    message: str = ""
    """What it waits for, or why it ended."""
    gate: str = ""
    """The gate that it waits at: what `plait canary approve` opens."""
    promoted: str = ""
    applied: str = ""
    checks: tuple[CheckView, ...] = ()
    due: str = ""
    """When it is looked at next."""

    @property
    def key(self) -> str:
        """NAMESPACE/NAME."""
        return f"{self.namespace}/{self.name}"

    @property
    def runs(self) -> bool:
        """Whether a new version is on its way."""
        return self.phase in _RUNNING

    @property
    def share(self) -> str:
        """What goes to the new version."""
        parts = (
            f"{self.weight} %" if self.weight or not (self.matched or self.mirrored) else "",
            "what matches" if self.matched else "",
            f"copies of {self.mirrored} %" if self.mirrored else "",
        )
        return ", ".join(part for part in parts if part)

    @property
    def goal(self) -> str:
        """How far the analysis has to go; "" when it is over."""
        if self.phase in _OVER:
            return ""
        by_weight = self.strategy == Strategy.CANARY
        return f"up to {self.total} %" if by_weight else f"look {self.step} of {self.total}"

    @property
    def progress(self) -> str:
        """How far it has come: the phase, while it runs what goes to the new version, and whether it is held."""
        parts = [self.phase]
        if self.runs:
            parts.append(self.share)
            parts.append(self.goal)
        parts.append("paused" if self.paused else "")
        parts.append("suspended" if self.suspended else "")
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryEvent:
    """Something that happened to a rollout; `severity` is info, warn or error."""

    at: str
    severity: str
    text: str
    phase: str
    weight: int = 0
    failed_checks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """The answer of GET /v1/canaries."""

    canaries: tuple[CanaryView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryHistory:
    """The answer of GET /v1/canaries/{namespace}/{name}/history, the oldest first."""

    events: tuple[CanaryEvent, ...]
