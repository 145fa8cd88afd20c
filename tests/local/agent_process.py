"""An agent in a process of its own, to be killed: it runs two replicas of `web` from the state directory given."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from plait.identity.authority import Authority
from plait.local.machine import Machine
from tests.local.machines import TRUST_DOMAIN, Plane, site, web, wishes


async def main(state: Path, work: Path) -> None:
    machine = Machine(site(state))
    plane = Plane(Authority.open(state / "ca", trust_domain=TRUST_DOMAIN, now=time.time()), machine=machine)
    await machine.adopt()
    plane.reports = {report.replica.key: report for report in machine.hello()}
    await machine.deliver(wishes(web("daemon", work=work, replicas=2)))
    await machine.run(plane)


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
