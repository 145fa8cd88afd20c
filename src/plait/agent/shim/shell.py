"""The shell around a replica's life: signals, children, timers and sockets become events, actions become acts."""

# pathlib would cost the shim memory.
# ruff: noqa: PTH105, PTH118, PTH123

from __future__ import annotations

import collections
import contextlib
import json
import os
import selectors
import signal
import socket
import time
from typing import Any

from plait.agent import acts
from plait.agent.life import Life, Terms
from plait.agent.shim import listening, logs, processes
from plait.agent.shim.admin import Admin
from plait.agent.shim.control import Connection, Door
from plait.agent.shim.exchange import Exchanges
from plait.agent.shim.outside import Outside
from plait.agent.shim.probing import Probing
from plait.agent.shim.quarters import Quarters
from plait.agent.shim.room import RoomError
from plait.agent.shim.spawn import NOT_RUNNABLE, Program, SpawnError, spawn
from plait.agent.shim.spec import ShimSpec

_LOG_INTERVAL = 2.0
_LOG_HURRY = 0.2
"""Seconds between two looks at the logs, and while one of them fills up quickly."""
_STRAY_ROUNDS = 20
_STRAY_PAUSE = 0.005


def dispatch(selector: selectors.BaseSelector, timeout: float) -> None:
    """Calls whoever registered for what has happened, but nobody whom an earlier call of the round has closed.

    An application that exits cancels the probe whose answer may stand in the same round.
    """
    for key, mask in selector.select(timeout):
        now = selector.get_map().get(key.fd)
        if now is not None and now.fileobj is key.fileobj and mask & now.events:
            now.data(mask & now.events)


class Shim:
    """One replica's shell.  Everything happens in `run`, one thing after the other.

    `quarters`: where its children live, if the replica is shut in; `outside`: what its processes are called there.
    """

    def __init__(
        self,
        spec: ShimSpec,
        *,
        umask: int,
        quarters: Quarters | None = None,
        outside: Outside | None = None,
    ) -> None:
        self._spec = spec
        self._umask = umask
        self._quarters = quarters
        self._outside = outside or Outside()
        self._unstarted = False
        self._selector = selectors.DefaultSelector()
        self._exchanges = Exchanges(self._selector)
        self._events: collections.deque[acts.Event] = collections.deque([acts.Tick()])
        self._left = False
        self._status: dict[str, Any] = {}
        self._written: dict[str, Any] = {}
        self._envoy: int | None = None
        self._app: int | None = None
        self._pids: dict[str, int | None] = {"app_pid": None, "envoy_pid": None}
        self._commands: dict[int, Connection] = {}
        self._app_log = os.path.join(spec.directory, "app.log")
        self._envoy_log = os.path.join(spec.directory, "envoy.log")
        self._log_from = {self._app_log: 0, self._envoy_log: 0}
        self._bounded = (self._app_log, self._envoy_log, os.path.join(spec.directory, "access.log"))
        self._logs_at = 0.0
        probe, app = spec.app.probe, spec.app
        tell = self._events.append
        self._admin = Admin(spec.envoy, self._exchanges, tell)
        self._probing = probe and Probing(
            app, probe, self._exchanges, tell, command=self._as_app(probe.command, words=False)
        )
        interval = probe.interval if probe else 1.0
        self._life = Life(
            Terms(restart=app.restart, grace=app.grace, probed=probe is not None, interval=interval)
        )
        self._bell = self._hang_bell()
        self._door = Door(self._selector, spec.socket, self)

    def run(self) -> None:
        """Returns when the replica is over."""
        self._settle()
        while not self._left:
            dispatch(self._selector, self._patience())
            self._expire()
            self._events.append(acts.Tick())
            self._settle()
        self._door.close()

    # What control.Service asks for

    def stop(self, drain_seconds: float) -> None:
        self._events.append(acts.StopAsked(drain_seconds))

    def kill(self) -> None:
        self._events.append(acts.KillAsked())

    def execute(self, argv: tuple[str, ...], files: list[int], connection: Connection) -> None:
        try:
            pid = spawn(self._as_app(argv, words=False), files)
        except SpawnError as error:
            connection.answer({"exit": error.code, "error": str(error)})
        else:
            self._commands[pid] = connection

    def abandoned(self, connection: Connection) -> None:
        for pid, whose in self._commands.items():
            if whose is connection:
                _signal_group(pid, kill=True)

    # The loop

    def _hang_bell(self) -> tuple[socket.socket, socket.socket]:
        """Signals become bytes on a socket, which the selector sees."""
        heard, rung = socket.socketpair()
        heard.setblocking(False)
        rung.setblocking(False)
        signal.set_wakeup_fd(rung.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._selector.register(heard, selectors.EVENT_READ, self._ring)
        return heard, rung

    def _ring(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            if signal.SIGTERM in self._bell[0].recv(1 << 12):
                self.stop(self._spec.app.grace)
        self._reap()

    def _patience(self) -> float:
        """How long nothing has to be done unless something happens, in seconds."""
        times = (
            self._logs_at,
            self._life.next_at,
            self._exchanges.next_at,
            self._probing.next_at if self._probing else None,
        )
        return max(0.0, min(moment for moment in times if moment is not None) - time.monotonic())

    def _expire(self) -> None:
        now = time.monotonic()
        self._exchanges.expire(now)
        if self._probing:
            self._probing.expire(now)
        if self._logs_at <= now:
            filled = [logs.bound(path) for path in self._bounded]
            self._logs_at = time.monotonic() + (_LOG_HURRY if any(filled) else _LOG_INTERVAL)

    def _settle(self) -> None:
        """Hands every event to the life, does what it orders, and tells what came of it."""
        while self._events:
            event = self._events.popleft()
            for action in self._life.receive(event, time.monotonic()):
                self._act(action)
        self._tell()

    def _act(self, action: acts.Action) -> None:  # noqa: C901 - an arm an action
        match action:
            case acts.StartEnvoy():
                self._start_envoy()
            case acts.CheckEnvoy():
                self._admin.check()
            case acts.StartApp():
                self._start_app()
            case acts.Probe(inspect=inspect):
                self._probe(inspect=inspect)
            case acts.DrainEnvoy():
                self._admin.drain()
            case acts.CheckIdle():
                self._admin.idle()
            case acts.SignalApp(kill=kill):
                _signal_group(self._app, kill=kill)
            case acts.SignalEnvoy(kill=kill):
                _signal_group(self._envoy, kill=kill)
            case acts.KillStrays():
                self._kill_strays()
            case acts.KillAll():
                self._kill_all()
            case acts.Leave():
                self._left = True

    # Children

    def _start_envoy(self) -> None:
        envoy, shut = self._spec.envoy, self._quarters.envoy if self._quarters else None
        program = Program(command=envoy.command, env=envoy.env, directory=self._spec.directory, shut=shut)
        try:
            self._envoy = self._spawn(program, self._envoy_log)
            self._pids["envoy_pid"] = self._outside.of(self._envoy)
        except SpawnError as error:
            self._events.append(acts.EnvoyExited(error.code, f"was not started: {error}"))

    def _start_app(self) -> None:
        again, self._unstarted = self._unstarted, True
        try:
            if again and self._quarters:  # what it lacked may be there by now
                self._quarters.renew()
            self._app = self._spawn(self._as_app(self._spec.app.command, words=True), self._app_log)
            self._pids["app_pid"] = self._outside.of(self._app)
            self._unstarted = False
        except (SpawnError, RoomError) as error:
            self._events.append(acts.AppUnstartable(str(error)))

    def _spawn(self, program: Program, log: str) -> int:
        nowhere = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            file = logs.open_log(log)
        except OSError as error:
            os.close(nowhere)
            raise SpawnError(f"cannot write {log}: {error.strerror}", NOT_RUNNABLE) from error
        try:
            self._log_from[log] = os.fstat(file).st_size
            return spawn(program, (nowhere, file, file))
        finally:
            os.close(file)
            os.close(nowhere)

    def _as_app(self, command: tuple[str, ...], *, words: bool) -> Program:
        """A command in the application's place: its user, its directory, its environment, its room."""
        app, quarters = self._spec.app, self._quarters
        return Program(
            command=command,
            env=app.env,
            directory=app.directory,
            user="" if quarters else app.user,
            umask=self._umask,
            shut=quarters.app(words=words) if quarters else None,
        )

    def _probe(self, *, inspect: bool) -> None:
        if self._probing and self._app is not None:
            self._probing.begin(self._app, inspect=inspect)

    def _reap(self) -> bool:
        """Takes note of every child that has exited, adopted ones among them; whether any is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._exited(pid, status)

    def _exited(self, pid: int, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        if pid == self._envoy:
            self._envoy = self._pids["envoy_pid"] = None
            self._admin.cancel()
            self._events.append(
                acts.EnvoyExited(code, _ending(code, logs.last_line(self._tail(self._envoy_log))))
            )
        elif pid == self._app:
            self._app = self._pids["app_pid"] = None
            if self._probing:
                self._probing.cancel()
            self._events.append(acts.AppExited(code, self._app_ending(code)))
        elif pid in self._commands:
            self._commands.pop(pid).answer({"exit": code})
        elif self._probing:
            self._probing.reaped(pid, code)

    def _tail(self, log: str) -> str:
        return logs.tail(log, self._log_from[log])

    def _app_ending(self, code: int) -> str:
        """How the application ended, with its last words, and what to do about the most usual of them."""
        said = self._tail(self._app_log)
        ending = _ending(code, logs.last_line(said) if code else "")
        app = self._spec.app
        if code and app.exactly and app.ports and "address already in use" in said.lower():
            ending += f" ({listening.must_listen(app.ports, app.ports[0])}, not on all addresses)"
        return ending

    def _kill_strays(self) -> None:
        """Ends what the application left behind, so that its next start finds its ports free."""
        for _ in range(_STRAY_ROUNDS):
            known = {self._envoy, self._app, self._probing and self._probing.command, *self._commands}
            strays = [pid for pid in processes.children(os.getpid()) if pid not in known]
            if not strays:
                return
            for pid in strays:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_STRAY_PAUSE)  # what is killed is gone in less, and its own children are ours next
            self._reap()

    def _kill_all(self) -> None:
        """Ends every child; the children of those are ours, and ended, the next time around."""
        for pid in (self._envoy, self._app):
            _signal_group(pid, kill=True)
        for pid in processes.children(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not self._reap():
            self._events.append(acts.NoneLeft())

    # What is told

    def _tell(self) -> None:
        status = self._life.status()
        told = {
            "phase": status.phase,
            "message": status.message,
            "restarts": status.restarts,
            "envoy_restarts": status.envoy_restarts,
            "exit_code": status.exit_code,
            "over": status.over,
            "shim_pid": self._outside.own,
            **self._pids,
        }
        if told != self._status:
            self._status = told
            self._door.tell(told)
        if told != self._written and _write(os.path.join(self._spec.directory, "status.json"), told):
            self._written = told


def _write(path: str, status: dict[str, Any]) -> bool:
    """Replaces the status on disk; False when it can't be done now: a full disk must not end the replica."""
    try:
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(status, file)
            file.flush()
            if status["phase"] == acts.Phase.ENDED:  # the one thing that must not be forgotten
                os.fsync(file.fileno())
        os.replace(path + ".new", path)
    except OSError:
        return False
    return True


def _ending(code: int, words: str) -> str:
    if code > 128:
        try:
            how = f"was ended by signal {code - 128} ({signal.Signals(code - 128).name})"
        except ValueError:
            how = f"exited with code {code}"
    else:
        how = f"exited with code {code}"
    return f"{how}: {words}" if words else how


def _signal_group(pid: int | None, *, kill: bool) -> None:
    """Signals a child and its process group, which each child of ours leads."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL if kill else signal.SIGTERM)
