"""Namespaces for the NFS tests: some nodes, a client, a switch between them, one shared directory. All ends with `close`."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from holdfast.agent.cgroup import Cgroup
from holdfast.config import NodeConfig
from holdfast.core.model import InstanceSpec, ServiceAddress
from holdfast.services.nfs.config import AccessRule, instance_spec, new_volume
from holdfast.services.storage import MARKER

HANG_S = 60.0
ADDRESS = "10.78.0.101"
ADDRESS_6 = "fd78::101"
EVERYBODY = (AccessRule("*", "rw", "none"),)


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def until(condition: Callable[[], Any], what: str, limit: float = HANG_S) -> Any:
    end = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < end, f"it never came: {what}"
        time.sleep(0.01)
    return value


class Host:
    """A network namespace on the switch."""

    def __init__(self, world: "World", name: str, number: int) -> None:
        self.world, self.name, self.number = world, name, number
        self.netns = f"{world.prefix}-{name}"
        self.port = f"p-{name}"
        self.addresses = (f"10.78.0.{number}", f"fd78::{number}")
        ip("netns", "add", self.netns)
        ip("-n", self.netns, "link", "set", "lo", "up")
        ip("link", "add", "eth0", "netns", self.netns, "type", "veth", "peer", self.port, "netns", world.switch)
        ip("-n", world.switch, "link", "set", self.port, "master", "br0", "up")
        ip("-n", self.netns, "link", "set", "eth0", "up")
        ip("-n", self.netns, "addr", "add", f"{self.addresses[0]}/24", "dev", "eth0")
        ip("-n", self.netns, "addr", "add", f"{self.addresses[1]}/64", "dev", "eth0", "nodad")

    def run(self, *argv: str, **options: Any) -> "subprocess.Popen[str]":
        # Not `ip netns exec`: that mounts another /sys, without the control groups.
        return subprocess.Popen(["nsenter", f"--net=/run/netns/{self.netns}", *argv], text=True, **options)

    def link(self, state: str) -> None:
        """The switch's side of the cable."""
        ip("-n", self.world.switch, "link", "set", self.port, state)


class Node(Host):
    """A host that can carry volumes."""

    def __init__(self, world: "World", name: str, number: int) -> None:
        super().__init__(world, name, number)
        self.group = Cgroup(world.group.path / name)
        self.config = NodeConfig(
            name,
            "test",
            {"management": self.addresses[0], "public": self.addresses[0]},
            (),
            run_dir=str(world.directory / name / "run"),
            log_dir=str(world.directory / name / "log"),
            cgroup=str(self.group.path),
        )
        self.process = self._boot()

    def _boot(self) -> "subprocess.Popen[str]":
        program = str(Path(__file__).with_name("nfs_node.py"))
        arguments = (msgspec.json.encode(self.config).decode(), str(self.world.shared))
        errors = (self.world.directory / f"{self.name}.err").open("a")
        process = self.run(
            sys.executable, program, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        errors.close()
        assert process.stdout is not None and process.stdout.readline()
        return process

    def ask(self, order: str, instance: InstanceSpec) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": order, "instance": msgspec.to_builtins(instance)}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "error" not in answer, f"{self.name} {order}: {answer['error']}"
        return answer

    def power_off(self) -> None:
        """The cable first, so that no reset of dying sockets reaches anybody; then everything dies at once."""
        self.link("down")
        self.process.kill()
        self.group.kill()
        self.process.wait()
        until(lambda: not self.group.populated(), f"processes of {self.name} gone")

    def log(self, instance: InstanceSpec) -> str:
        return "".join(path.read_text() for path in Path(self.config.log_dir).rglob("*.log"))


class World:
    def __init__(self, nodes: int = 2) -> None:
        self.prefix = f"hft-nfs{os.getpid()}"
        self.switch = f"{self.prefix}-sw"
        self.directory = Path(tempfile.mkdtemp(prefix="hft-nfs-", dir="/var/tmp"))
        self.shared = self.directory / "shared"
        self.shared.mkdir()
        (self.shared / MARKER).touch()
        mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        root = Path(next(left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")))
        self.group = Cgroup(root / self.prefix)
        self.nodes: list[Node] = []
        self.clients: list[subprocess.Popen[str]] = []
        try:
            ip("netns", "add", self.switch)
            ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
            ip("-n", self.switch, "link", "set", "br0", "up")
            self.client = Host(self, "c", 200)
            for number in range(nodes):
                self.nodes.append(Node(self, f"n{number + 1}", 11 + number))
        except BaseException:
            self.close()
            raise

    def volume(self, name: str, address: str = ADDRESS, access: tuple[AccessRule, ...] = EVERYBODY) -> InstanceSpec:
        made = new_volume(name, str(self.shared), access=access)
        return instance_spec(made, ServiceAddress(address, "public"), [node.name for node in self.nodes])

    def journal(self, instance: InstanceSpec, *more: str, file: str = "journal") -> "subprocess.Popen[str]":
        """The user-space journal client, running; wait for its first record with `acked`."""
        assert instance.address is not None
        arguments = ["--host", instance.address.ip, "--volume", instance.service, "--file", file]
        arguments += ["--out", str(self.directory / f"{file}.jsonl"), *more]
        process = self.client.run(
            sys.executable, "-m", "holdfast.services.nfs.journal", *arguments, stdout=subprocess.PIPE
        )
        self.clients.append(process)
        return process

    def acked(self, file: str = "journal") -> list[dict[str, Any]]:
        """What the journal client logged so far."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.directory / f"{file}.jsonl").read_text().splitlines(keepends=True)
            return [json.loads(line) for line in lines if line.endswith("\n")]
        return []

    def finish(self, process: "subprocess.Popen[str]") -> dict[str, Any]:
        """End the journal client (the namespace's exec is replaced by it, so it is the process) and read its summary."""
        process.terminate()
        output, _ = process.communicate(timeout=HANG_S)
        summary: dict[str, Any] = json.loads(output)
        return summary

    def client_check(self, instance: InstanceSpec, path: str) -> bool:
        """Whether the server refuses the lock on the file to somebody else."""
        assert instance.address is not None
        program = (
            "import asyncio, sys; from holdfast.services.nfs.journal import lock_is_held\n"
            "print(asyncio.run(lock_is_held(sys.argv[1], 2049, sys.argv[2])))"
        )
        process = self.client.run(sys.executable, "-c", program, instance.address.ip, path, stdout=subprocess.PIPE)
        output, _ = process.communicate(timeout=HANG_S)
        return output.strip() == "True"

    def close(self) -> None:
        for process in [*self.clients, *(node.process for node in self.nodes)]:
            if process.poll() is None:
                process.kill()
            process.communicate()
        if self.group.path.exists():
            self.group.kill()
            until(lambda: not self.group.populated(), "processes gone")
            for directory, _, _ in os.walk(self.group.path, topdown=False):
                Path(directory).rmdir()
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, timeout=20).stdout
        for line in listed.splitlines():
            if line.split()[0].startswith(f"{self.prefix}-"):
                ip("netns", "del", line.split()[0])
        shutil.rmtree(self.directory, ignore_errors=True)
