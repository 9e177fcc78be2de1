"""The watcher tells a machine that migrates from one that runs twice. The machines are real QEMUs; none boots anything."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_talk import until

from holdfast.lab.executors import may_receive, writes
from holdfast.lab.watcher import Sampler

pytestmark = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs QEMU")

NAME, INSTANCE = "web-1", "vm/web-1"


class Qemu:
    """One QEMU of the machine, and its monitor."""

    def __init__(self, directory: Path, node: str, *more: str, locking: str = "on") -> None:
        self.node, self.monitor = node, directory / f"{node}.qmp"
        disk = f"driver=file,filename={directory / 'disk'},node-name=disk,locking={locking}"
        self.process = subprocess.Popen(
            [
                *("qemu-system-x86_64", "-name", f"guest={NAME},debug-threads=on", "-machine", "q35,accel=tcg"),
                *("-m", "32", "-nodefaults", "-no-user-config", "-display", "none", "-blockdev", disk),
                *("-device", "virtio-blk-pci,drive=disk", "-qmp", f"unix:{self.monitor},server=on,wait=off", *more),
            ],
            stderr=subprocess.DEVNULL,
        )
        (directory / "hosts" / node).mkdir(parents=True)
        (directory / "hosts" / node / "cgroup.procs").write_text(f"{self.process.pid}\n")

    def ask(self, command: str, **arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as link:
            until(lambda: link.connect_ex(str(self.monitor)) == 0, "the monitor answers")
            lines = link.makefile("rw")
            answer: dict[str, Any] = {}
            for words in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(words) + "\n")
                lines.flush()
                answer = {}
                while "return" not in answer:
                    answer = json.loads(lines.readline())
                    assert "error" not in answer, answer
        return answer["return"]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class World:
    """A directory that looks like a lab's control group, with machines in it, and the watcher's sampler."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "disk").write_bytes(bytes(1 << 20))
        (directory / "hosts").mkdir()
        self.sampler = Sampler(directory / "hosts")
        self.machines: list[Qemu] = []
        self.now = 0.0

    def start(self, node: str, *more: str, locking: str = "on") -> Qemu:
        self.machines.append(Qemu(self.directory, node, *more, locking=locking))
        return self.machines[-1]

    def together(self) -> set[str]:
        """Nodes that execute the machine at the same time, as the watcher finds them."""
        self.now += 0.05
        found = self.sampler.sample(self.now).get(INSTANCE, [])
        return {executor.host for executor in self.sampler.together(found)}

    def migrate(self, source: Qemu, target: Qemu) -> None:
        """Samples all the way: at no sample there are two."""
        uri = f"unix:{self.directory / target.node}.mig"
        target.ask("migrate-incoming", uri=uri)
        source.ask("migrate", uri=uri)

        def handed_over() -> bool:
            assert len(self.together()) < 2
            return self.together() == {target.node}

        until(handed_over, "the machine runs on the target")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for machine in world.machines:
        machine.end()


def test_a_second_start_is_a_doubled_executor_at_once(world: World) -> None:
    """Whether or not its own lock keeps it from the disk."""
    first = world.start("n1")
    until(lambda: world.together() == {"n1"} and writes(first.process.pid), "the first runs")
    world.start("n2", locking="off")
    until(lambda: world.together() == {"n1", "n2"}, "both are seen")


def test_a_migration_is_none_there_and_back(world: World) -> None:
    first = world.start("n1")
    until(lambda: writes(first.process.pid), "the first runs")
    second = world.start("n2", "-incoming", "defer")
    until(lambda: second.ask("query-status")["status"] == "inmigrate", "the second waits")
    assert world.together() == {"n1"}
    world.migrate(first, second)
    assert first.ask("query-status")["status"] == "postmigrate", "the first is still there"
    third = world.start("n3", "-incoming", "defer")
    until(lambda: third.ask("query-status")["status"] == "inmigrate", "the third waits")
    world.migrate(second, third)


def test_what_came_by_migration_counts_as_much_as_what_was_started(world: World) -> None:
    first = world.start("n1")
    until(lambda: writes(first.process.pid), "the first runs")
    second = world.start("n2", "-incoming", "defer")
    until(lambda: second.ask("query-status")["status"] == "inmigrate", "the second waits")
    world.migrate(first, second)
    first.end()
    until(lambda: world.together() == {"n2"}, "only the second is left")
    world.start("n3", locking="off")
    until(lambda: world.together() == {"n2", "n3"}, "both are seen")


def test_only_one_that_was_started_to_receive_may_wait() -> None:
    assert may_receive(["qemu-system-x86_64", "-incoming", "defer"])
    assert not may_receive(["qemu-system-x86_64", "-S"])
