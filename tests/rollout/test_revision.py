"""What makes a version of a workload another one."""

from dataclasses import replace

import pytest

from plait.model.catalog import Process, Workload
from plait.rollout.revision import revision
from tests.rollout.canaries import ORIGIN

WORKLOAD = Workload(
    namespace="bistro",
    name="reservations",
    process=Process(command=("python", "app.py"), env=(("VERSION", "v1"),), working_dir="apps"),
    origin=ORIGIN,
)


@pytest.mark.parametrize(
    "process",
    [
        replace(WORKLOAD.process, command=("python", "other.py")),
        replace(WORKLOAD.process, command=("python app.py",)),
        replace(WORKLOAD.process, env=(("VERSION", "v2"),)),
        replace(WORKLOAD.process, env=()),
        replace(WORKLOAD.process, working_dir="others"),
    ],
)
def test_another_program_is_another_revision(process: Process) -> None:
    assert revision(replace(WORKLOAD, process=process)) != revision(WORKLOAD)


def test_more_replicas_of_the_same_are_the_same_revision() -> None:
    other = replace(
        WORKLOAD, replicas=9, labels=(("app", "a"),), process=replace(WORKLOAD.process, grace_seconds=1)
    )
    assert revision(other) == revision(WORKLOAD)
