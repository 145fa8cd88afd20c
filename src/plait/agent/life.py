"""The life of one replica as a state machine: no process, no socket, no clock.  The shim is its shell.

Theory of operation
-------------------
A replica is two children, Envoy and the application, and one course that both follow:

    RUN ──stop──> DRAIN ──idle, or late──> STOP_APP ──exited──> STOP_ENVOY ──exited──> SWEEP ──empty──> OVER
     └──────────────────── the job has ended ──────────────────────^

Events come in with the time at which they happened, actions come out (`acts`).  The shell carries actions out
and answers those that ask something with one event each.  `next_at` says when it has to hand in a Tick if
nothing else happens before.  During RUN each child goes its own small round:

    Envoy:        DOWN ──its time──> STARTING ──checked: ready──> READY ──exited──> DOWN
    application:  HELD ──Envoy READY──> RUNNING ──exited──> WAITING ──its time──> HELD
                                           └──── by its restart policy ────> ENDED

The application is only ever started while Envoy is READY: HELD is where it waits for that.  When Envoy dies
beside a running application, the application keeps running, and the replica is not ready until Envoy is back.
An application that could not be started at all is tried again under every restart policy: it never ran.

TRANSITIONS at the end says which event means what in which course.  An event without an entry there is a late
answer to a question that no longer matters, and is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from plait.agent.acts import (
    Action,
    AppExited,
    AppUnstartable,
    CheckEnvoy,
    CheckIdle,
    DrainEnvoy,
    EnvoyChecked,
    EnvoyExited,
    Event,
    IdleChecked,
    KillAll,
    KillAsked,
    KillStrays,
    Leave,
    NoneLeft,
    Phase,
    Probe,
    Probed,
    SignalApp,
    SignalEnvoy,
    StartApp,
    StartEnvoy,
    Status,
    StopAsked,
    Tick,
)
from plait.model.catalog import Restart

FAILURES_TO_BE_UNREADY = 3
"""So many probes in a row must fail before an application that was ready is not; one success makes it ready."""
FIRST_DELAY = 0.05
GROWTH = 1.5
"""The first questions follow each other quickly, each wait half as long again as the last, up to the interval."""
ENVOY_CHECK_INTERVAL = 0.5
IDLE_CHECK_INTERVAL = 0.1
SWEEP_INTERVAL = 0.05
UNASKED_READY = 1.0
"""A service whose readiness nobody asks for counts as ready once it has run this long: one that only crashes never
is, and no roll takes it for a good one.  A job is ready as soon as it runs.
"""
LISTEN_GRACE = 2.0
"""How long an application may listen only on ports that it did not declare before that is called wrong."""
APP_BACKOFF = (0.1, 30.0)
"""First and longest wait before an application is started again; doubled each time."""
APP_SETTLED = 60.0
"""An application that ran this long begins its back-off afresh."""
ENVOY_BACKOFF = (0.1, 5.0)
"""As above, for Envoy, whose first restart comes at once."""
ENVOY_SETTLED = 5.0
DRAIN_SHARE = 0.75
"""The part of the grace that requests under way may take to finish; the rest is left to the application's own end."""
WORTH_TELLING = 5.0
"""A wait at least this long before the next start is part of the message."""
ENVOY_GRACE = 5.0
"""How long Envoy may take to exit once it was told to; nothing goes through it any more by then."""


class Course(StrEnum):
    RUN = "run"
    DRAIN = "drain"
    STOP_APP = "stop-app"
    STOP_ENVOY = "stop-envoy"
    SWEEP = "sweep"
    OVER = "over"


class Envoy(StrEnum):
    DOWN = "down"
    STARTING = "starting"
    READY = "ready"


class App(StrEnum):
    HELD = "held"
    RUNNING = "running"
    WAITING = "waiting"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the life has to know of a workload; times in seconds.  `probed`: its readiness is asked for."""

    restart: Restart = Restart.ALWAYS
    grace: float = 30.0
    probed: bool = True
    interval: float = 1.0


def backoff(times: int, bounds: tuple[float, float]) -> float:
    """How long to wait after the n-th exit in a row (counted from one), in seconds."""
    first, longest = bounds
    return min(first * 2.0 ** min(times - 1, 30), longest)


@dataclass(slots=True)
class Life:
    """One replica's life.  It begins with the first Tick."""

    terms: Terms
    course: Course = Course.RUN
    envoy: Envoy = Envoy.DOWN
    app: App = App.HELD
    ready: bool = False
    """What the probes say; to serve takes a ready Envoy as well."""
    restarts: int = 0
    envoy_restarts: int = 0
    exit_code: int | None = None
    _envoy_exits: int = 0
    _envoy_since: float = 0.0
    _envoy_at: float | None = float("-inf")
    _envoy_detail: str = "Envoy is starting"
    _check_at: float | None = None
    _check_wait: float = FIRST_DELAY
    _app_exits: int = 0
    _app_since: float = 0.0
    _app_at: float | None = None
    _app_detail: str = ""
    _elsewhere: str = ""
    _failures: int = 0
    _probe_wait: float = FIRST_DELAY
    _probe_at: float | None = None
    _deadline: float | None = None
    _app_until: float | None = None
    """When the application is killed at the latest: its grace counts from the first word of stopping."""
    _actions: list[Action] = field(default_factory=list)

    def receive(self, event: Event, now: float) -> list[Action]:
        """What has to be done because of an event; `now` in seconds of a clock that only goes forward."""
        transition = self.TRANSITIONS[self.course].get(type(event))
        if transition is not None:
            transition(self, event, now)
        actions, self._actions = self._actions, []
        return actions

    @property
    def next_at(self) -> float | None:
        """When a Tick is due, by the clock of `receive`; None when only an event can change anything."""
        times = (self._envoy_at, self._check_at, self._app_at, self._probe_at, self._deadline)
        return min((time for time in times if time is not None), default=None)

    def status(self) -> Status:
        phase, message = self._told()
        return Status(
            phase=phase,
            message=message,
            restarts=self.restarts,
            envoy_restarts=self.envoy_restarts,
            exit_code=self.exit_code,
            over=self.course is Course.OVER,
        )

    def _told(self) -> tuple[Phase, str]:
        match self.course, self.app, self.envoy:
            case _, App.ENDED, _:
                return Phase.ENDED, self._app_detail
            case Course.OVER, _, _:
                return Phase.STOPPED, ""
            case ((Course.DRAIN | Course.STOP_APP | Course.STOP_ENVOY | Course.SWEEP), _, _):
                return Phase.DRAINING, ""
            case _, App.WAITING, _:
                return Phase.FAILED, self._app_detail
            case _, _, Envoy.DOWN if self._envoy_exits > 1:
                return Phase.FAILED, self._envoy_detail
            case _, _, (Envoy.DOWN | Envoy.STARTING):
                return Phase.STARTING, self._envoy_detail
            case _ if self._elsewhere:
                return Phase.FAILED, self._elsewhere
            case _, App.RUNNING, _ if self.ready:
                return Phase.READY, ""
            case _:
                return Phase.STARTING, self._app_detail

    # RUN

    def _run_tick(self, _: Tick, now: float) -> None:
        if _due(self._envoy_at, now):
            self.envoy, self._envoy_at, self._envoy_since = Envoy.STARTING, None, now
            self._check_wait = FIRST_DELAY
            self._check_at = now + self._check_wait
            self._actions.append(StartEnvoy())
        elif _due(self._check_at, now):
            self._check_at = None
            self._actions.append(CheckEnvoy())
        if _due(self._app_at, now):
            self.app, self._app_at = App.HELD, None
            self._start_app(now)
        elif _due(self._probe_at, now):
            self._probe_at = None
            if self.terms.probed:
                self._actions.append(Probe(inspect=not self.ready))
            else:
                self.ready = True

    def _run_envoy_checked(self, event: EnvoyChecked, now: float) -> None:
        if self.envoy is not Envoy.STARTING:
            return
        if event.ready:
            self.envoy, self._envoy_detail, self._check_at = Envoy.READY, "", None
            self._start_app(now)
        else:
            self._envoy_detail = f"Envoy is not ready: {event.detail}"
            self._check_wait = min(self._check_wait * GROWTH, ENVOY_CHECK_INTERVAL)
            self._check_at = now + self._check_wait

    def _run_envoy_exited(self, event: EnvoyExited, now: float) -> None:
        if self.envoy is Envoy.DOWN:
            return
        self._envoy_exits = 1 if now - self._envoy_since >= ENVOY_SETTLED else self._envoy_exits + 1
        self._envoy_detail = f"Envoy {event.detail}"
        self.envoy_restarts += 1
        self.envoy, self._check_at = Envoy.DOWN, None
        again = self._envoy_exits - 1
        self._envoy_at = now + (backoff(again, ENVOY_BACKOFF) if again else 0.0)

    def _start_app(self, now: float) -> None:
        """Starts a held application, if Envoy is there for it."""
        if self.app is not App.HELD or self.envoy is not Envoy.READY:
            return
        self.app, self._app_since, self._app_detail, self._elsewhere = App.RUNNING, now, "", ""
        self._failures, self._probe_wait = 0, FIRST_DELAY
        self.ready = not self.terms.probed and self.terms.restart is not Restart.ALWAYS
        first = FIRST_DELAY if self.terms.probed else UNASKED_READY
        self._probe_at = None if self.ready else now + first
        self._actions.append(StartApp())

    def _run_app_unstartable(self, event: AppUnstartable, now: float) -> None:
        if self.app is App.RUNNING:
            self._wait_for_app(event.detail, now)

    def _run_app_exited(self, event: AppExited, now: float) -> None:
        if self.app is not App.RUNNING:
            return
        self.exit_code = event.code
        self._actions.append(KillStrays())
        restart = self.terms.restart
        if restart is Restart.NEVER or (restart is Restart.ON_FAILURE and event.code == 0):
            self._app_gone()
            self.app, self._app_detail = App.ENDED, event.detail
            self._stop_envoy(now)
            return
        self.restarts += 1
        self._wait_for_app(event.detail, now)

    def _wait_for_app(self, detail: str, now: float) -> None:
        self._app_exits = 1 if now - self._app_since >= APP_SETTLED else self._app_exits + 1
        self._app_gone()
        self.app, self._app_detail = App.WAITING, detail
        pause = backoff(self._app_exits, APP_BACKOFF)
        self._app_at = now + pause
        if pause >= WORTH_TELLING:
            self._app_detail += f"; it is started again in {pause:.0f} s"

    def _app_gone(self) -> None:
        self.ready, self._elsewhere, self._probe_at, self._app_at = False, "", None, None

    def _run_probed(self, event: Probed, now: float) -> None:
        if self.app is not App.RUNNING or not self.terms.probed:
            return
        self._probe_wait = min(self._probe_wait * GROWTH, self.terms.interval)
        bad_place = event.elsewhere and (event.ready or now - self._app_since >= LISTEN_GRACE)
        self._elsewhere = event.elsewhere if bad_place else ""
        if event.ready and not bad_place:
            self.ready, self._failures, self._app_detail = True, 0, ""
            self._probe_wait = self.terms.interval
        else:
            self._failures += 1
            self.ready = self.ready and self._failures < FAILURES_TO_BE_UNREADY
            self._app_detail = f"not ready: {event.detail}"
        self._probe_at = now + self._probe_wait

    # Stopping

    def _run_stop(self, event: StopAsked, now: float) -> None:
        self._envoy_at = self._check_at = self._app_at = self._probe_at = None
        self._app_until = now + self.terms.grace
        drain = min(event.drain, self.terms.grace * DRAIN_SHARE)
        if self.envoy is Envoy.READY and self.app is App.RUNNING and drain > 0:
            self.course = Course.DRAIN
            self._deadline = now + drain
            self._check_at = now + IDLE_CHECK_INTERVAL
            self._actions.append(DrainEnvoy())
        else:
            self._stop_app(now)

    def _drain_stop(self, event: StopAsked, now: float) -> None:
        """Asked again, perhaps by somebody in more of a hurry."""
        self._deadline = min(self._deadline or now, now + event.drain)

    def _drain_tick(self, _: Tick, now: float) -> None:
        if _due(self._deadline, now):
            self._stop_app(now)
        elif _due(self._check_at, now):
            self._check_at = None
            self._actions.append(CheckIdle())

    def _drain_idle(self, event: IdleChecked, now: float) -> None:
        if event.active:
            self._check_at = now + IDLE_CHECK_INTERVAL
        else:
            self._stop_app(now)

    def _drain_envoy_exited(self, _: EnvoyExited, now: float) -> None:
        self.envoy = Envoy.DOWN
        self._stop_app(now)

    def _stop_app(self, now: float) -> None:
        if self.app is App.RUNNING:
            self.course, self._check_at = Course.STOP_APP, None
            self._deadline = self._app_until
            self._actions.append(SignalApp(kill=False))
        else:
            self._stop_envoy(now)

    def _stopping_app_exited(self, event: AppExited, now: float) -> None:
        self.exit_code = event.code
        self._app_gone()
        self.app = App.HELD
        self._actions.append(KillStrays())
        self._stop_envoy(now)

    def _stopping_app_unstartable(self, _: AppUnstartable, now: float) -> None:
        self._app_gone()
        self.app = App.HELD
        self._stop_envoy(now)

    def _stop_app_tick(self, _: Tick, now: float) -> None:
        if _due(self._deadline, now):
            self._deadline = None
            self._actions.append(SignalApp(kill=True))

    def _stop_app_envoy_exited(self, _: EnvoyExited, __: float) -> None:
        self.envoy = Envoy.DOWN

    def _stop_envoy(self, now: float) -> None:
        self._envoy_at = self._check_at = None
        if self.envoy is Envoy.DOWN:
            self._sweep(now)
            return
        self.course = Course.STOP_ENVOY
        self._deadline = now + ENVOY_GRACE
        self._actions.append(SignalEnvoy(kill=False))

    def _stop_envoy_tick(self, _: Tick, now: float) -> None:
        if _due(self._deadline, now):
            self._deadline = None
            self._actions.append(SignalEnvoy(kill=True))

    def _stop_envoy_envoy_exited(self, _: EnvoyExited, now: float) -> None:
        self.envoy = Envoy.DOWN
        self._sweep(now)

    def _kill(self, _: KillAsked, now: float) -> None:
        if self.app is App.RUNNING:
            self._app_gone()
        self._envoy_at = self._check_at = None
        self._sweep(now)

    def _sweep(self, now: float) -> None:
        self.course, self._deadline = Course.SWEEP, now + SWEEP_INTERVAL
        self._actions.append(KillAll())

    def _sweep_app_exited(self, event: AppExited, _: float) -> None:
        if self.app is App.RUNNING:
            self.app, self.exit_code = App.HELD, event.code

    def _sweep_tick(self, _: Tick, now: float) -> None:
        if _due(self._deadline, now):
            self._sweep(now)

    def _sweep_none_left(self, _: NoneLeft, __: float) -> None:
        self.course, self._deadline, self.envoy = Course.OVER, None, Envoy.DOWN
        if self.app is App.RUNNING:
            self.app = App.HELD
        self._actions.append(Leave())

    TRANSITIONS: ClassVar[Mapping[Course, Mapping[type[Event], Callable[[Any, Any, float], None]]]] = {
        Course.RUN: {
            Tick: _run_tick,
            EnvoyChecked: _run_envoy_checked,
            EnvoyExited: _run_envoy_exited,
            AppUnstartable: _run_app_unstartable,
            AppExited: _run_app_exited,
            Probed: _run_probed,
            StopAsked: _run_stop,
            KillAsked: _kill,
        },
        Course.DRAIN: {
            Tick: _drain_tick,
            IdleChecked: _drain_idle,
            EnvoyExited: _drain_envoy_exited,
            AppExited: _stopping_app_exited,
            AppUnstartable: _stopping_app_unstartable,
            StopAsked: _drain_stop,
            KillAsked: _kill,
        },
        Course.STOP_APP: {
            Tick: _stop_app_tick,
            EnvoyExited: _stop_app_envoy_exited,
            AppExited: _stopping_app_exited,
            AppUnstartable: _stopping_app_unstartable,
            KillAsked: _kill,
        },
        Course.STOP_ENVOY: {
            Tick: _stop_envoy_tick,
            EnvoyExited: _stop_envoy_envoy_exited,
            KillAsked: _kill,
        },
        Course.SWEEP: {
            Tick: _sweep_tick,
            AppExited: _sweep_app_exited,
            NoneLeft: _sweep_none_left,
        },
        Course.OVER: {},
    }


def _due(time: float | None, now: float) -> bool:
    return time is not None and time <= now
