"""The life of a replica as tables, and as random walks through a world that answers it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.agent import acts, life
from plait.agent.life import Course, Envoy, Life, Terms, backoff
from plait.model.catalog import Restart

Told = acts.Event | float
"""An event, or seconds that pass until a Tick."""


def play(terms: Terms, *script: Told) -> tuple[Life, list[str]]:
    """Plays a script from time zero; the names of all actions."""
    now, one, names = 0.0, Life(terms), []
    for told in script:
        if isinstance(told, float):
            now += told
            told = acts.Tick()  # noqa: PLW2901 - the two are one thing here
        names += [type(action).__name__ for action in one.receive(told, now)]
    return one, names


TICK = acts.Tick()
UP = acts.EnvoyChecked(ready=True)
STARTED = (TICK, UP)
READY = acts.Probed(ready=True)


def exited(code: int = 1) -> acts.AppExited:
    return acts.AppExited(code, f"exited with code {code}")


@pytest.mark.parametrize(
    ("script", "phase", "actions"),
    [
        ((TICK,), "starting", ["StartEnvoy"]),
        ((TICK, 0.05), "starting", ["StartEnvoy", "CheckEnvoy"]),
        ((TICK, acts.EnvoyChecked(ready=False)), "starting", ["StartEnvoy"]),
        (STARTED, "starting", ["StartEnvoy", "StartApp"]),
        ((*STARTED, READY), "ready", ["StartEnvoy", "StartApp"]),
        ((*STARTED, READY, exited()), "failed", ["StartEnvoy", "StartApp", "KillStrays"]),
        ((*STARTED, exited(), 0.1), "starting", ["StartEnvoy", "StartApp", "KillStrays", "StartApp"]),
        ((*STARTED, acts.AppUnstartable("no")), "failed", ["StartEnvoy", "StartApp"]),
        ((*STARTED, READY, acts.EnvoyExited(9)), "starting", ["StartEnvoy", "StartApp"]),
        (
            (*STARTED, READY, acts.EnvoyExited(9), 0.0, UP),
            "ready",
            ["StartEnvoy", "StartApp", "StartEnvoy"],
        ),
        # the application crashed while Envoy was away: it waits for Envoy
        (
            (*STARTED, acts.EnvoyExited(9), exited(), 0.2),
            "starting",
            ["StartEnvoy", "StartApp", "KillStrays", "StartEnvoy"],
        ),
        (
            (*STARTED, acts.EnvoyExited(9), exited(), 0.2, UP),
            "starting",
            ["StartEnvoy", "StartApp", "KillStrays", "StartEnvoy", "StartApp"],
        ),
    ],
)
def test_what_runs(script: tuple[Told, ...], phase: str, actions: list[str]) -> None:
    one, names = play(Terms(), *script)
    assert (one.status().phase, names) == (phase, actions)


@pytest.mark.parametrize(
    ("script", "phase", "actions"),
    [
        # before Envoy is there, there is nothing to drain
        ((TICK, acts.StopAsked(5)), "draining", ["StartEnvoy", "SignalEnvoy"]),
        ((acts.StopAsked(5),), "draining", ["KillAll"]),
        ((acts.StopAsked(5), acts.NoneLeft()), "stopped", ["KillAll", "Leave"]),
        ((*STARTED, acts.StopAsked(5)), "draining", ["StartEnvoy", "StartApp", "DrainEnvoy"]),
        ((*STARTED, acts.StopAsked(0)), "draining", ["StartEnvoy", "StartApp", "SignalApp"]),
        (
            (*STARTED, acts.StopAsked(5), 0.1, acts.IdleChecked(2)),
            "draining",
            ["StartEnvoy", "StartApp", "DrainEnvoy", "CheckIdle"],
        ),
        (
            (*STARTED, acts.StopAsked(5), 0.1, acts.IdleChecked(0)),
            "draining",
            ["StartEnvoy", "StartApp", "DrainEnvoy", "CheckIdle", "SignalApp"],
        ),
        (
            (*STARTED, acts.StopAsked(5), 5.0),
            "draining",
            ["StartEnvoy", "StartApp", "DrainEnvoy", "SignalApp"],
        ),
        (
            (*STARTED, acts.StopAsked(5), acts.StopAsked(1), 1.0),
            "draining",
            ["StartEnvoy", "StartApp", "DrainEnvoy", "SignalApp"],
        ),
        (
            (*STARTED, acts.StopAsked(0), 30.0),
            "draining",
            ["StartEnvoy", "StartApp", "SignalApp", "SignalApp"],
        ),
        (
            (*STARTED, acts.StopAsked(5), exited(0), acts.EnvoyExited(0), acts.NoneLeft()),
            "stopped",
            ["StartEnvoy", "StartApp", "DrainEnvoy", "KillStrays", "SignalEnvoy", "KillAll", "Leave"],
        ),
        # it never came to run after all
        (
            (*STARTED, acts.StopAsked(5), acts.AppUnstartable("no")),
            "draining",
            ["StartEnvoy", "StartApp", "DrainEnvoy", "SignalEnvoy"],
        ),
        ((*STARTED, acts.KillAsked()), "draining", ["StartEnvoy", "StartApp", "KillAll"]),
    ],
)
def test_how_it_stops(script: tuple[Told, ...], phase: str, actions: list[str]) -> None:
    one, names = play(Terms(grace=30), *script)
    assert (one.status().phase, names) == (phase, actions)


@pytest.mark.parametrize(
    ("restart", "code", "phase"),
    [
        (Restart.ALWAYS, 0, "failed"),
        (Restart.ALWAYS, 1, "failed"),
        (Restart.ON_FAILURE, 0, "ended"),
        (Restart.ON_FAILURE, 1, "failed"),
        (Restart.NEVER, 0, "ended"),
        (Restart.NEVER, 1, "ended"),
    ],
)
def test_restart_policies(restart: Restart, code: int, phase: str) -> None:
    one, names = play(Terms(restart=restart), *STARTED, exited(code))
    assert (one.status().phase, one.status().exit_code) == (phase, code)
    assert ("SignalEnvoy" in names) == (phase == "ended")


def test_readiness_is_lost_after_three_failures_and_won_by_one_success() -> None:
    bad = acts.Probed(ready=False, detail="503")
    one, _ = play(Terms(), *STARTED, READY, bad, bad)
    assert one.status().phase == "ready"
    one.receive(bad, 9.0)
    assert (one.status().phase, one.status().message) == ("starting", "not ready: 503")
    one.receive(READY, 10.0)
    assert (one.status().phase, one.status().message) == ("ready", "")


def test_probes_come_quickly_at_first_and_then_at_the_interval() -> None:
    one, _ = play(Terms(interval=1.0), *STARTED)
    now, waits = 0.0, []
    for _ in range(12):
        due = one.next_at
        assert due is not None
        waits.append(round(due - now, 3))
        now = due
        assert acts.Probe(inspect=True) in one.receive(TICK, now)
        one.receive(acts.Probed(ready=False), now)
    assert waits[:3] == [0.05, 0.075, 0.113]
    assert waits[-1] == 1.0
    one.receive(READY, now)
    assert one.next_at == now + 1.0


def test_listening_elsewhere_is_wrong_only_after_a_while_or_when_it_answers() -> None:
    lost = acts.Probed(ready=False, detail="refused", elsewhere="listens on X")
    one, _ = play(Terms(), *STARTED, 0.1, lost)
    assert one.status().phase == "starting"
    one.receive(lost, life.LISTEN_GRACE)
    assert (one.status().phase, one.status().message) == ("failed", "listens on X")
    everywhere, _ = play(Terms(), *STARTED, 0.1, acts.Probed(ready=True, elsewhere="listens on 0.0.0.0"))
    assert everywhere.status().phase == "failed"


def test_without_a_probe_a_job_that_runs_is_ready() -> None:
    one, _ = play(Terms(probed=False, restart=Restart.NEVER), *STARTED)
    assert (one.status().phase, one.next_at) == ("ready", None)


def test_the_application_backs_off_and_begins_afresh_after_a_good_while() -> None:
    one, _ = play(Terms(), *STARTED)
    now, waits = 0.0, []
    for ran in (1.0, 1.0, 1.0, life.APP_SETTLED, 1.0):
        now += ran
        one.receive(exited(), now)
        due = one._app_at
        assert due is not None
        waits.append(round(due - now, 3))
        now = due
        one.receive(TICK, now)
    assert waits == [0.1, 0.2, 0.4, 0.1, 0.2]
    assert backoff(1000, life.APP_BACKOFF) == 30.0


def test_envoy_comes_back_at_once_and_then_backs_off() -> None:
    one, now, waits = Life(Terms()), 0.0, []
    for ran in (0.1, 0.1, 0.1, life.ENVOY_SETTLED):
        one.receive(TICK, now)
        now += ran
        one.receive(acts.EnvoyExited(1, "exited"), now)
        due = one._envoy_at
        assert due is not None
        waits.append(round(due - now, 3))
        now = due
    assert waits == [0.0, 0.1, 0.2, 0.0]


@dataclass
class World:
    """Two children that do as the actions say, or misbehave as they are told."""

    one: Life
    now: float = 0.0
    envoy: bool = False
    envoy_ready: bool = False
    app: bool = False
    stubborn: bool = False
    left: bool = False
    codes: list[int] = field(default_factory=list)

    def tell(self, event: acts.Event) -> None:
        """Hands in an event and does what comes of it, answers included."""
        events = [event]
        while events:
            told = events.pop(0)
            match told:
                case acts.EnvoyExited():
                    self.envoy = self.envoy_ready = False
                case acts.AppExited(code=code):
                    self.app = False
                    self.codes.append(code)
                case acts.AppUnstartable():
                    self.app = False
                case acts.EnvoyChecked(ready=True):
                    self.envoy_ready = self.envoy
                case _:
                    pass
            for action in self.one.receive(told, self.now):
                assert not self.left
                events += self.do(action)

    def do(self, action: acts.Action) -> list[acts.Event]:
        match action:
            case acts.StartEnvoy():
                assert not self.envoy
                assert self.one.course is Course.RUN
                self.envoy = True
            case acts.StartApp():
                assert not self.app
                assert self.envoy_ready, "the application never starts before Envoy serves"
                assert self.one.course is Course.RUN
                self.app = True
            case acts.SignalApp(kill=kill) if self.app and (kill or not self.stubborn):
                return [acts.AppExited(137 if kill else 143)]
            case acts.SignalEnvoy(kill=kill) if self.envoy and (kill or not self.stubborn):
                return [acts.EnvoyExited(137 if kill else 0)]
            case acts.KillAll():
                ended: list[acts.Event] = [acts.AppExited(137)] if self.app else []
                self.envoy = False
                return [*ended, acts.NoneLeft()]
            case acts.Leave():
                self.left = True
            case _:
                pass
        return []

    def wait(self) -> None:
        due = self.one.next_at
        if due is not None:
            self.now = max(self.now, due)
        self.tell(TICK)


STEPS = st.sampled_from(
    [
        "wait",
        "wait",
        "up",
        "up",
        "not up",
        "crash",
        "end",
        "envoy",
        "probe",
        "bad",
        "busy",
        "idle",
        "unstartable",
    ]
)


@given(
    st.builds(Terms, restart=st.sampled_from(Restart), probed=st.booleans()),
    st.sampled_from(["well-behaved", "stubborn"]),
    st.lists(STEPS, max_size=40),
    st.sampled_from(["stop", "hurry", "kill"]),
    st.lists(STEPS, max_size=8),
)
def test_whatever_happens_it_ends_with_nothing_running(
    terms: Terms, manner: str, before: list[str], end: str, after: list[str]
) -> None:
    world = World(Life(terms), stubborn=manner == "stubborn")
    world.tell(TICK)
    for step in before:
        happen(world, step)
    ended = world.one.status().phase == "ended"
    stop: dict[str, acts.Event] = {
        "stop": acts.StopAsked(5),
        "hurry": acts.StopAsked(0),
        "kill": acts.KillAsked(),
    }
    world.tell(stop[end])
    for step in after:
        happen(world, step)
    for _ in range(20):
        world.wait()
    assert world.left
    assert not world.app
    assert not world.envoy
    status = world.one.status()
    assert status.over
    assert status.exit_code == (world.codes[-1] if world.codes else None)
    assert status.phase == ("ended" if ended else "stopped")
    assert not world.one.receive(TICK, world.now + 1000)


def happen(world: World, step: str) -> None:
    """One step of a walk, as far as it can happen in this world at all."""
    events: dict[str, acts.Event] = {
        "up": acts.EnvoyChecked(ready=True),
        "not up": acts.EnvoyChecked(ready=False, detail="no"),
        "probe": acts.Probed(ready=True),
        "bad": acts.Probed(ready=False, detail="no"),
        "busy": acts.IdleChecked(3),
        "idle": acts.IdleChecked(0),
    }
    match step:
        case "wait":
            world.wait()
        case "crash" if world.app:
            world.tell(acts.AppExited(1, "exited with code 1"))
        case "end" if world.app:
            world.tell(acts.AppExited(0, "exited with code 0"))
        case "unstartable" if world.app:
            world.tell(acts.AppUnstartable("command not found"))
        case "envoy" if world.envoy:
            world.tell(acts.EnvoyExited(139, "was ended by signal 11"))
        case "up" | "not up" if not world.envoy:
            pass  # nobody is there to be asked
        case _ if step in events:
            world.tell(events[step])
    phase = world.one.status().phase
    serving = world.app and world.one.envoy is Envoy.READY and world.one.ready
    assert phase != "ready" or serving


@pytest.mark.parametrize("drained_after", [0.5, 4.0, 100.0])
def test_draining_and_stopping_together_end_within_the_grace(drained_after: float) -> None:
    grace, now = 10.0, 0.0
    one = Life(Terms(grace=grace))
    for event in (*STARTED, READY, acts.StopAsked(grace)):
        one.receive(event, now)
    told_at = killed_at = None
    while killed_at is None and (due := one.next_at) is not None:
        now = max(now, due)
        for action in one.receive(TICK, now):
            match action:
                case acts.CheckIdle():
                    one.receive(acts.IdleChecked(0 if now >= drained_after else 1), now)
                case acts.SignalApp(kill=False):
                    told_at = now
                case acts.SignalApp(kill=True):
                    killed_at = now
        if told_at is None and one.course is Course.STOP_APP:
            told_at = now
    assert told_at == pytest.approx(min(drained_after, grace * life.DRAIN_SHARE), abs=0.2)
    assert killed_at == pytest.approx(grace)


def test_a_long_pause_before_the_next_start_is_told() -> None:
    crashes = [told for times in range(7) for told in (exited(), backoff(times + 1, life.APP_BACKOFF))]
    one, _ = play(Terms(), *STARTED, *crashes, exited())
    assert one.status().message == "exited with code 1; it is started again in 13 s"


@pytest.mark.parametrize(
    ("restart", "seconds", "phase"),
    [
        (Restart.ALWAYS, life.UNASKED_READY * 0.9, "starting"),
        (Restart.ALWAYS, life.UNASKED_READY, "ready"),
        (Restart.ON_FAILURE, 0.0, "ready"),
    ],
)
def test_a_service_that_nobody_probes_is_ready_once_it_has_not_crashed_for_a_moment(
    restart: Restart, seconds: float, phase: str
) -> None:
    one, _ = play(Terms(restart=restart, probed=False), *STARTED, seconds)
    assert one.status().phase == phase
