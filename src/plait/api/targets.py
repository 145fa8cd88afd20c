"""What a user means by NAMESPACE/WORKLOAD or NAMESPACE/WORKLOAD/NUMBER."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plait.api.views import ReplicaState, WorkloadStatus
from plait.model.names import ReplicaKey, WorkloadKey


class NotFound(Exception):  # noqa: N818 - the answer to a name
    """Nothing of that name is known; the message says what is."""


class NotReady(Exception):  # noqa: N818 - the answer to a name
    """It is known, but does not run at the moment."""


@dataclass(frozen=True, slots=True)
class Target:
    """A workload, or one replica of it."""

    workload: WorkloadKey
    number: int | None = None

    def __str__(self) -> str:
        return str(self.workload) if self.number is None else f"{self.workload}/{self.number}"

    @staticmethod
    def parse(text: str) -> Target:
        """ValueError when the text names neither."""
        match text.split("/"):
            case [namespace, name] if namespace and name:
                return Target(WorkloadKey(namespace, name))
            case [namespace, name, number] if namespace and name and number.isascii() and number.isdigit():
                return Target(WorkloadKey(namespace, name), int(number))
            case _:
                raise ValueError(
                    f"{text!r} names no workload: write NAMESPACE/WORKLOAD or NAMESPACE/WORKLOAD/NUMBER"
                )


def replicas(target: Target, workloads: Sequence[WorkloadStatus]) -> tuple[ReplicaKey, ...]:
    """Every replica that a target means, lowest number first; NotFound when there is none."""
    return tuple(_key(workload) for workload in _named(target, workloads))


def running_replica(target: Target, workloads: Sequence[WorkloadStatus]) -> ReplicaKey:
    """The replica to run a command in: the one named, or the first that is ready.  NotFound, NotReady."""
    found = _named(target, workloads)
    if target.number is None:
        found = [workload for workload in found if workload.state is ReplicaState.READY]
        if not found:
            raise NotReady(f"no replica of {target} is ready")
    elif found[0].state is ReplicaState.ENDED:
        raise NotReady(f"{target} has ended")
    return _key(found[0])


def _named(target: Target, workloads: Sequence[WorkloadStatus]) -> list[WorkloadStatus]:
    def asked_for(workload: WorkloadStatus) -> bool:
        same = WorkloadKey(workload.namespace, workload.name) == target.workload
        return same and target.number in (None, workload.replica)

    found = sorted(filter(asked_for, workloads), key=lambda workload: workload.replica)
    if not found:
        known = sorted({f"{workload.namespace}/{workload.name}" for workload in workloads})
        raise NotFound(f"no replica of {target} runs here; known: {', '.join(known) or 'none'}")
    return found


def _key(workload: WorkloadStatus) -> ReplicaKey:
    return ReplicaKey(WorkloadKey(workload.namespace, workload.name), workload.replica)
