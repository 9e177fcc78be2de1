"""Two nodes' S3 drivers with real Swift servers, on a loopback interface of their own."""

import asyncio
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from holdfast.agent.cgroup import Cgroup
from holdfast.agent.runner import CgroupRunner
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.core.model import InstanceSpec, ServiceAddress
from holdfast.services.s3.client import NoAnswer, S3Client
from holdfast.services.s3.config import AccessKey, S3Cluster, S3User, instance_id, instance_specs, new_cluster
from holdfast.services.s3.driver import PROGRAM, S3Driver
from holdfast.services.s3.probe import S3Probe
from holdfast.services.s3.records import Records
from holdfast.services.s3.users import lock, new_key, new_owner
from holdfast.services.storage import MARKER

T = TypeVar("T")

HANG_S = 90.0
SECRET = bytes(32)
GATEWAY = "10.99.3.1"
NAMES = tuple(f"10.99.1.{number}" for number in (1, 2))
OBJECTS = tuple(f"10.99.2.{number}" for number in (1, 2))
LATER = "10.99.2.3"
PORT = 8080
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def yes() -> bool:
    return True


class Steps:
    def step(self, name: str) -> None:
        """Nobody looks."""


@contextmanager
def network() -> Iterator[None]:
    """This thread and what it starts are in a new network namespace: nothing of the machine's own is touched."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert _libc.unshare(_CLONE_NEWNET) == 0
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=20)
        for address in (GATEWAY, *NAMES, *OBJECTS, LATER):
            subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True, timeout=20)
        yield
    finally:
        assert _libc.setns(before, _CLONE_NEWNET) == 0
        os.close(before)


@contextmanager
def directory() -> Iterator[Path]:
    """Not in /tmp, which may be a file system without extended attributes."""
    path = Path(tempfile.mkdtemp(prefix="hft-s3-driver-", dir="/var/tmp"))
    try:
        (path / "shared").mkdir()
        (path / "shared" / MARKER).touch()
        (path / "shared/s3/main").mkdir(parents=True)
        yield path
    finally:
        shutil.rmtree(path)


@asynccontextmanager
async def runner(name: str, base: Path) -> AsyncIterator[CgroupRunner]:
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = Path(next(left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")))
    group = Cgroup(root / f"hft-s3-driver-{name}-{os.getpid()}")
    config = NodeConfig(
        name, "t", {"management": GATEWAY}, (), cgroup=str(group.path), log_dir=str(base / name / "log")
    )
    made = CgroupRunner(config)
    try:
        yield made
    finally:
        group.kill()
        await asyncio.wait_for(group.wait_empty(), HANG_S)
        await asyncio.sleep(0.01)  # let it reap what was killed
        made.close()
        group.remove()


def storage(ip: str) -> ServiceAddress:
    return ServiceAddress(ip, "storage")


def make_cluster() -> S3Cluster:
    return new_cluster(
        "main",
        "s3.holdfast.test",
        {"n1": ServiceAddress(GATEWAY, "public")},
        [storage(ip) for ip in NAMES],
        [storage(ip) for ip in OBJECTS],
        hash_prefix="prefix",
        hash_suffix="suffix",
        probe=AccessKey("HFPROBE", lock("probe's secret", SECRET)),
        gateway_port=PORT,
    )


@dataclass
class Bench:
    """A cluster's record and users, as the store would have them, and the nodes that read them."""

    nodes: dict[str, S3Driver]
    base: Path
    cluster: S3Cluster = field(default_factory=make_cluster)
    users: dict[str, S3User] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    """Part → node on which it runs."""

    @property
    def records(self) -> Records:
        return Records(lambda: {"main": self.cluster}, lambda _: self.users, lambda: SECRET)

    def instance(self, part: str) -> InstanceSpec:
        specs = {spec.id: spec for spec in instance_specs(self.cluster, ha=True)}
        return specs[instance_id("main", part)]

    @property
    def parts(self) -> list[str]:
        return [*self.cluster.servers, "gw-n1"]

    async def start(self, part: str, node: str) -> None:
        await self.nodes[node].start(self.instance(part), yes, Steps())
        self.where[part] = node

    async def start_all(self, node: str) -> None:
        await asyncio.gather(*(self.start(part, node) for part in self.parts))

    async def stop(self, part: str) -> None:
        await self.nodes[self.where.pop(part)].stop(self.instance(part), 0.0)

    async def tick(self) -> None:
        """What the agent does each second."""
        for part, node in self.where.items():
            await self.nodes[node].tick(self.instance(part))

    async def health(self, part: str) -> str:
        return await S3Probe(self.records, SystemClock()).check(self.instance(part), timeout=HANG_S)

    def add_user(self, name: str) -> S3Client:
        key, secret = new_key(SECRET)
        self.users[name] = S3User(name, new_owner(), (key,))
        return S3Client(f"http://{GATEWAY}:{PORT}", key.id, secret, timeout_s=30.0, path_style=True)


async def eventually(
    work: Callable[[], Awaitable[None]], *errors: type[BaseException], patience_s: float = HANG_S
) -> None:
    """Repeat it as a client does, until it succeeds. After that time the last failure is raised."""
    passing: tuple[type[BaseException], ...] = (NoAnswer, AssertionError, *errors)
    clock = SystemClock()
    until = clock.now() + patience_s
    while True:
        try:
            return await work()
        except passing:
            if clock.now() > until:
                raise
            await asyncio.sleep(0.1)


async def insist(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Make a request as applications do: what was answered with 503 is asked again. (A slow machine is slow to answer.)"""
    found: list[T] = []

    async def ask() -> None:
        found.append(await asyncio.to_thread(call, *arguments, **named))

    await eventually(ask)
    return found[0]


@asynccontextmanager
async def bench(base: Path, program: Sequence[str] = (sys.executable, "-m", PROGRAM)) -> AsyncIterator[Bench]:
    """`base`: a directory with the shared storage in `shared`. Call it in a network of its own."""
    async with runner("a", base) as a, runner("b", base) as b:
        made = Bench({}, base)
        for name, its in (("a", a), ("b", b)):
            run_dir = str(base / name / "run")
            shared = str(base / "shared")
            made.nodes[name] = S3Driver(its, SystemClock(), made.records, shared, run_dir, program=program)
        yield made
