"""What is kept of a replica on disk: its record, and where its files are."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from plait.agent.acts import Phase
from plait.agent.shim.spec import Account, ShimSpec
from plait.codec import Codec, CodecError
from plait.envoy.names import LOG_BOUND_FILE
from plait.identity.files import private_directory, read_private, write_private
from plait.model.catalog import Replica
from plait.model.names import Identity, ReplicaKey
from plait.model.telemetry import OWN_FILE

MESH = "PLAIT_MESH"
"""Environment variable of every process of a mesh: the absolute path of its state directory."""
REPLICA = "PLAIT_REPLICA"
"""And of every process of a replica: its short id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One replica as it was made: enough for another agent to take it up.  `replica.serving` means nothing here."""

    replica: Replica
    revision: str
    trust_domain: str
    restarts: int = 0
    """Of replicas under this key that were lost, and that this one replaces."""
    terms: str = ""
    """By what terms of the machine it was made: one made by others is rolled over."""
    shim: ShimSpec

    @property
    def key(self) -> ReplicaKey:
        return self.replica.key

    @property
    def identity(self) -> str:
        """Its SPIFFE ID."""
        return Identity(self.trust_domain, self.key.workload.namespace, self.replica.service_account).uri

    @property
    def envoy(self) -> Account | None:
        """Whom its Envoy runs as; None: as the agent."""
        return self.shim.confinement.envoy if self.shim.confinement else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShimStatus:
    """What a shim tells (see `shim.shell`)."""

    phase: Phase
    message: str
    restarts: int
    envoy_restarts: int
    exit_code: int | None
    over: bool
    shim_pid: int | None
    app_pid: int | None
    envoy_pid: int | None


_ID = re.compile("[0-9a-f]{8}")
RECORD = Codec[Record](Record, lenient=True)
STATUS = Codec[ShimStatus](ShimStatus, lenient=True)


def replica_id(key: ReplicaKey) -> str:
    """Eight hex digits for a replica: Unix sockets have to have short paths."""
    return hashlib.sha256(str(key).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class ReplicaFiles:
    """Where one replica's files are, below a mesh's state directory."""

    state: Path
    id: str

    @staticmethod
    def of(state: Path, key: ReplicaKey) -> ReplicaFiles:
        return ReplicaFiles(state, replica_id(key))

    @staticmethod
    def all(state: Path) -> tuple[ReplicaFiles, ...]:
        """Those of every replica that there is a directory of."""
        folder = state / "replicas"
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        return tuple(ReplicaFiles(state, name) for name in names if _ID.fullmatch(name))

    @property
    def spread(self) -> float:
        """A part of one that is another for most replicas: what all do every so often, they need not do at once."""
        return int(self.id, 16) / 16.0 ** len(self.id)

    @property
    def directory(self) -> Path:
        return self.state / "replicas" / self.id

    @property
    def record(self) -> Path:
        return self.directory / "replica.json"

    @property
    def bootstrap(self) -> Path:
        return self.directory / "bootstrap.json"

    @property
    def log_bound(self) -> Path:
        return self.directory / LOG_BOUND_FILE

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets"

    @property
    def status(self) -> Path:
        return self.directory / "status.json"

    @property
    def app_log(self) -> Path:
        return self.directory / "app.log"

    @property
    def envoy_log(self) -> Path:
        return self.directory / "envoy.log"

    @property
    def access_log(self) -> Path:
        """Its Envoy's access log, where one is asked for in a file; only Envoy's to write."""
        return self.directory / OWN_FILE

    @property
    def shim_log(self) -> Path:
        """What the shim itself has to complain about; normally nothing."""
        return self.directory / "shim.log"

    @property
    def socket(self) -> Path:
        return self.state / "run" / f"{self.id}.shim"

    @property
    def own(self) -> Path:
        """A directory that is its Envoy's, for sockets."""
        return self.state / "run" / self.id

    @property
    def admin(self) -> Path:
        return self.own / "admin"

    @property
    def stats(self) -> Path:
        """Where its Envoy's metrics are told, beside its port of its own for them."""
        return self.own / "stats"

    @property
    def passwd(self) -> Path:
        """What is laid over /etc/passwd of a shut-in replica."""
        return self.directory / "passwd"

    @property
    def group(self) -> Path:
        return self.directory / "group"

    def write(self, record: Record) -> None:
        private_directory(self.directory)
        write_private(self.record, RECORD.encode(record))

    def read(self) -> Record | None:
        """The record; None when there is none that can be read."""
        try:
            return RECORD.decode(read_private(self.record))
        except (FileNotFoundError, CodecError):
            return None

    def last_status(self) -> ShimStatus | None:
        """What the shim wrote down last; None when it never did."""
        try:
            return STATUS.decode(self.status.read_bytes())
        except (FileNotFoundError, CodecError):
            return None

    def write_bootstrap(
        self, bootstrap: dict[str, object], log_bound: dict[str, object], envoy: Account | None
    ) -> None:
        """Its Envoy's configuration, directory and empty log; `envoy`: whose they are to be (None: ours)."""
        owner = envoy.uid if envoy else None
        write_private(self.bootstrap, json.dumps(bootstrap).encode(), owner=owner)
        write_private(self.log_bound, json.dumps(log_bound).encode(), owner=owner)
        write_private(self.access_log, b"", owner=owner)
        self.own.mkdir(mode=0o700, exist_ok=True)
        if envoy is not None:
            os.chown(self.own, envoy.uid, envoy.gid, follow_symlinks=False)

    def remove(self) -> None:
        """Removes everything; what is not ours in there, and so its directory, stays."""
        self.socket.unlink(missing_ok=True)
        for folder in (self.own, self.secrets, self.directory):
            if folder.is_symlink() or not folder.is_dir():
                continue
            for path in folder.iterdir():
                if path.is_symlink() or not path.is_dir():
                    path.unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()
