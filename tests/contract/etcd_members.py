"""Real etcd members on loopback for tests, started by the production command line and ended by their process ids."""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.bootstrap.pki import Authority, create_authority, issue_node
from holdfast.config import NodeConfig, Tls
from holdfast.store.etcd.unit import EtcdMember, etcd_unit

_counter = itertools.count(1)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where members keep their data. A disk that others write to makes etcd wait for seconds at each step of an election: a
member whose fdatasync takes longer than the election time-out finds no leader for minutes."""


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@dataclass
class Member:
    """One member: its place, its process (None while it is not running)."""

    config: NodeConfig
    peer_url: str
    client_url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    extra: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.config.id

    def start(self, initial: Sequence[tuple[str, str]], *, new: bool = True) -> None:
        member = EtcdMember(self.name, self.peer_url, self.client_url, tuple(initial), new)
        unit = etcd_unit(self.config, member)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*unit.argv, *self.extra], stdout=log, stderr=log, env={**os.environ, **unit.env}
            )

    def freeze(self) -> None:
        """SIGSTOP; returns once every thread stands still."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        while any(_state(task) != "T" for task in tasks.iterdir()):
            time.sleep(0.001)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, also of a stopped process; nothing happens if it does not run."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
                self.process.send_signal(signal.SIGCONT)
            self.process.wait()
            self.process = None


def _state(task: Path) -> str:
    return (task / "stat").read_text().rsplit(")", 1)[1].split()[0]


@dataclass
class Members:
    """A cluster on 127.0.0.1, 127.0.0.2, …"""

    root: Path
    secure: bool = True
    extra: tuple[str, ...] = ()
    members: list[Member] = field(default_factory=list)
    name: str = ""
    ca: Authority | None = None

    def __post_init__(self) -> None:
        self.name = self.name or f"test-{os.getpid()}-{next(_counter)}"
        self.root.mkdir(parents=True, exist_ok=True)
        self._data = Path(tempfile.mkdtemp(prefix=f"holdfast-{self.name}-", dir=MEMORY))
        weakref.finalize(self, shutil.rmtree, self._data, ignore_errors=True)
        if self.secure and self.ca is None:
            self.ca = create_authority(self.name)

    def add(self, count: int = 1) -> list[Member]:
        """Make places for members without starting them."""
        added = []
        for _ in range(count):
            index = len(self.members) + 1
            host = f"127.0.0.{index}"
            scheme = "https" if self.secure else "http"
            config = NodeConfig(
                id=f"n{index}",
                cluster=self.name,
                addresses={"management": host},
                endpoints=(),
                tls=self.credentials(f"n{index}", [host]),
                state_dir=str(self._data / f"n{index}"),
            )
            Path(config.state_dir).mkdir(mode=0o700, exist_ok=True)
            urls = [f"{scheme}://{host}:{free_port(host)}" for _ in range(2)]
            added.append(Member(config, urls[0], urls[1], self.root / f"n{index}.log", extra=self.extra))
            self.members.append(added[-1])
        return added

    def start(self) -> None:
        """Start all members as a new cluster."""
        initial = [(member.name, member.peer_url) for member in self.members]
        for member in self.members:
            member.start(initial)

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(member.client_url for member in self.members)

    @property
    def tls(self) -> Tls | None:
        return self.credentials("client", []) if self.secure else None

    def credentials(self, name: str, addresses: Sequence[str], ca: Authority | None = None) -> Tls:
        """Certificate files of the cluster's authority, or of another one."""
        tls = Tls(*(str(self.root / f"{name}.{part}") for part in ("ca", "crt", "key")))
        if self.ca is not None:
            cert, key = issue_node(ca or self.ca, name, addresses)
            for path, content in ((tls.ca, self.ca.cert_pem), (tls.cert, cert), (tls.key, key)):
                Path(path).write_bytes(content)
        return tls

    def named(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    def stop(self) -> None:
        for member in self.members:
            member.kill()


@contextlib.contextmanager
def running(root: Path, count: int = 1, *, secure: bool = True, extra: tuple[str, ...] = ()) -> Iterator[Members]:
    """A started cluster of `count` members."""
    cluster = Members(root, secure=secure, extra=extra)
    cluster.add(count)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
