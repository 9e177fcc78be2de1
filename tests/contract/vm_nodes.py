"""Two nodes for virtual machines on one machine: each with its own libvirt daemons, control group, files and certificate, in
one network namespace with one bridge. Needs root."""

import asyncio
import ctypes
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.agent.cgroup import Cgroup
from holdfast.agent.runner import CgroupRunner
from holdfast.bootstrap.certificates import revocations
from holdfast.bootstrap.pki import Authority, create_authority, issue_node
from holdfast.clock import SystemClock
from holdfast.config import NodeConfig
from holdfast.core.model import InstanceSpec
from holdfast.lab.guest import VM, VM_COMMAND_LINE, VM_WITH_AGENT, build
from holdfast.services.storage import MARKER
from holdfast.services.vm.config import Disk, VmConfig, instance_spec, new_config
from holdfast.services.vm.driver import VmDriver
from holdfast.services.vm.files import Place

HANG_S = 120.0
"""A guest boots in 3 s on an idle machine; two cores may have thirty processes waiting for them."""
BRIDGE = "br-guests"
ADDRESSES = {"n1": "10.99.0.1", "n2": "10.99.0.2"}
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def yes() -> bool:
    return True


class Steps:
    def __init__(self) -> None:
        self.names: list[str] = []

    def step(self, name: str) -> None:
        self.names.append(name)


@contextmanager
def network() -> Iterator[None]:
    """This thread and what it starts are in a new network namespace: nothing of the machine's own is touched."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert _libc.unshare(_CLONE_NEWNET) == 0
    commands = [f"addr add {address}/32 dev lo" for address in ADDRESSES.values()]
    commands += [f"link add {BRIDGE} type bridge forward_delay 0", f"addr add 10.98.0.1/24 dev {BRIDGE}"]
    try:
        for command in ("link set lo up", *commands, f"link set {BRIDGE} up"):
            subprocess.run(["ip", *command.split()], check=True, timeout=20)
        yield
    finally:
        assert _libc.setns(before, _CLONE_NEWNET) == 0
        os.close(before)


@dataclass
class VmNode:
    name: str
    runner: CgroupRunner
    place: Place
    drivers: list[VmDriver] = field(default_factory=list)
    """Of each run of the node's agent."""

    @property
    def driver(self) -> VmDriver:
        return self.drivers[-1]

    def restart_agent(self) -> VmDriver:
        """The driver of the next run of this node's agent."""
        made = VmDriver(self.place, self.runner, SystemClock(), address_of=lambda node: ADDRESSES[node])
        self.drivers.append(made)
        return made

    def qemu_pid(self, name: str) -> int:
        return int((self.place.base / "run/qemu" / f"{name}.pid").read_text())

    def has_qemu(self, name: str) -> bool:
        try:
            return Path(f"/proc/{self.qemu_pid(name)}").exists()
        except (FileNotFoundError, ValueError):
            return False

    def pid(self, daemon: str) -> int:
        return int((self.place.base / f"run/{daemon}.pid").read_text())

    def virsh(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """As somebody at this node's shell would."""
        uri = f"qemu+unix:///system?mode=legacy&socket={self.place.socket}"
        return subprocess.run(["virsh", "-c", uri, *argv], capture_output=True, text=True, timeout=HANG_S)


@dataclass
class Bench:
    directory: Path
    authority: Authority
    nodes: dict[str, VmNode] = field(default_factory=dict)
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(101))

    def machine(self, name: str, *, settings: str = "", **more: Any) -> InstanceSpec:
        """A machine with a disk of its own; `settings` are its guest's (vm.c), `more` are fields of VmConfig."""
        image = build(recipe=VM_WITH_AGENT if more.get("heartbeat") == "agent" else VM)
        shared = self.directory / "shared"
        for source in (image.kernel, image.initrd):
            if not (shared / source.name).exists():
                shutil.copy(source, shared)
        disk = shared / f"{name}.raw"
        with disk.open("wb") as file:
            file.truncate(8 << 20)
        number = next(self.numbers)
        config: VmConfig = new_config(
            "test",
            name,
            [Disk(str(disk), "raw")],
            [BRIDGE],
            kernel=str(shared / image.kernel.name),
            initrd=str(shared / image.initrd.name),
            cmdline=f"{VM_COMMAND_LINE} hvm.name={name} hvm.ip=10.98.0.{number}/24 hvm.period_ms=100 {settings}",
            **{"heartbeat": "port", "hang_s": 4.0, **more},
        )
        self.numbers_of[name] = number
        return instance_spec(name, config, cpu=1, memory_mib=96)

    numbers_of: dict[str, int] = field(default_factory=dict)

    async def ask(self, instance: InstanceSpec, path: str = "/", timeout: float = 2.0) -> dict[str, Any] | None:
        """The guest's own word, or None. (A small request on this thread: the namespace is the thread's.)"""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(f"10.98.0.{self.numbers_of[instance.service]}", 80)
                writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                found: dict[str, Any] = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        except (OSError, ValueError, TimeoutError):
            return None
        finally:
            if writer is not None:
                writer.close()
        return found

    async def answers(self, instance: InstanceSpec, path: str = "/", timeout: float = 0.5) -> dict[str, Any]:
        """Wait until the guest answers; its word."""
        found: list[dict[str, Any]] = []

        async def answered() -> bool:
            word = await self.ask(instance, path, timeout)
            found.extend([word] if word else [])
            return bool(found)

        await until(answered)
        return found[-1]

    async def tell(self, instance: InstanceSpec, path: str) -> dict[str, Any]:
        """Have the guest do something: it has heard it when this returns, however slow it is. Its word from before."""
        return await self.answers(instance, path, timeout=HANG_S)


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """Not in /tmp, which may be a file system without direct I/O."""
    directory = Path(tempfile.mkdtemp(prefix="hft-vm-", dir="/var/tmp"))
    (directory / "shared").mkdir()
    (directory / "shared" / MARKER).touch()
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = Path(next(left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")))
    group = Cgroup(root / f"hft-vm-{os.getpid()}")
    authority = create_authority("t")
    made = Bench(directory, authority)
    (directory / "ca.crt").write_bytes(authority.cert_pem)
    (directory / "crl.pem").write_bytes(revocations(authority, []))
    for name, address in ADDRESSES.items():
        cert, key = issue_node(authority, name, [address])
        (directory / f"{name}.crt").write_bytes(cert)
        (directory / f"{name}.key").write_bytes(key)
        here = directory / name
        config = NodeConfig(
            name, "t", {"management": address}, (), cgroup=str(group.path / name), log_dir=f"{here}/log"
        )
        runner = CgroupRunner(config)
        pki = [str(directory / file) for file in ("ca.crt", f"{name}.crt", f"{name}.key", "crl.pem")]
        place = Place(name, here / "run", here / "log", config.groups, str(directory / "shared"), address, *pki)
        made.nodes[name] = VmNode(name, runner, place)
        made.nodes[name].restart_agent()
    try:
        yield made
    finally:
        for node in made.nodes.values():
            for driver in node.drivers:
                await driver.close()
        group.kill()
        await asyncio.wait_for(group.wait_empty(), HANG_S)
        await asyncio.sleep(0.01)  # let them reap what was killed
        for node in made.nodes.values():
            node.runner.close()
        group.remove()
        shutil.rmtree(directory)


async def until(condition: Callable[[], Awaitable[bool]], limit_s: float = HANG_S) -> None:
    async with asyncio.timeout(limit_s):
        while not await condition():  # noqa: ASYNC110 - a machine's state, seen only by asking
            await asyncio.sleep(0.05)
