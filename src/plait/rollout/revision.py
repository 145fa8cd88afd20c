"""What makes a version of a workload another one."""

from __future__ import annotations

from hashlib import blake2b

from plait.model.catalog import Workload


def revision(workload: Workload) -> str:
    """A hash of what is run, in which environment and folder: ports, labels and replicas change without a rollout."""
    process = workload.process
    run = (process.command, process.env, process.working_dir)
    return blake2b(repr(run).encode(), digest_size=8).hexdigest()
