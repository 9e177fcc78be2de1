"""Five unequal nodes with a dozen machines, and those who look at them from outside: a client that asks every machine
over HTTP, and the guests' own journals on their disks."""

import itertools
import json
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster_talk import PYTHON, Background, Cluster

from holdfast.lab import LabClient, LabOptions, kernel
from holdfast.lab.client import LabError
from holdfast.lab.executors import may_receive
from holdfast.lab.guest.image import VM, VM_COMMAND_LINE, build
from holdfast.lab.processes import command_line

RESERVE_MIB = 512
SIZES = {"n1": (2, 2560), "n2": (2, 2304), "n3": (3, 2560), "n4": (4, 3072), "n5": (4, 3584)}
"""Cores and MiB. The large ones are not among the first three, which carry the store: two of those must live."""
OPTIONS = LabOptions(nodes=5, sizes=SIZES)
PERIOD_S = 0.4
HEARTBEAT_LIMIT_S = 30
"""More than a guest is silent for that has to wait for its share of the processor."""
GUESTS_S = 240.0
"""Bound that only catches a hang: a dozen guests may boot on two processors that others use too."""
DISK_BYTES = 4 << 20

COMMANDS = """
import json, sys
from holdfast.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as end:
        if end.code:
            raise
"""
"""Several commands of an operator in one process, which takes as long to start as a command to run."""

ASK_MACHINES = """
import asyncio, json, sys, time
machines, period, patience = json.loads(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
now = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
async def look(address):
    reader, writer = await asyncio.open_connection(address, 80)
    try:
        writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
        return json.loads((await reader.read()).partition(b"\\r\\n\\r\\n")[2])
    finally:
        writer.close()
async def follow(name, address):
    while True:
        asked = now()
        try:
            async with asyncio.timeout(patience):
                said = await look(address)
            print(json.dumps(said | {"vm": name, "asked": asked, "at": now()}), flush=True)
        except (OSError, ValueError, TimeoutError):
            pass
        await asyncio.sleep(max(0.0, asked + period - now()))
async def main():
    await asyncio.gather(*(follow(*machine) for machine in machines.items()))
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Machine:
    name: str
    memory_mib: int
    priority: int
    ip: str
    cpu: float = 0.25

    @property
    def id(self) -> str:
        return f"vm/{self.name}"

    @property
    def preemptible(self) -> bool:
        return self.priority <= 400


_KINDS = (
    # name, MiB, priority
    ("db-1", 768, 900),
    ("db-2", 640, 850),
    ("mail", 512, 800),
    ("shop", 512, 700),
    ("web-1", 384, 600),
    ("web-2", 384, 550),
    ("wiki", 256, 500),
    ("chat", 256, 400),
    ("build-1", 256, 300),
    ("build-2", 192, 200),
    ("test-1", 192, 100),
    ("test-2", 128, 50),
)
MACHINES = {name: Machine(name, mib, priority, f"10.78.0.{20 + n}") for n, (name, mib, priority) in enumerate(_KINDS)}


class Asking:
    """What a client outside the cluster heard of machines that it asks again and again."""

    def __init__(self, background: Background) -> None:
        self.background = background
        self.heard: dict[str, list[dict[str, Any]]] = {name: [] for name in MACHINES}
        self._read = 0

    def look(self) -> "Asking":
        lines = self.background.said
        while self._read < len(lines) and lines[self._read].endswith("\n"):
            line = json.loads(lines[self._read])
            self.heard[line["vm"]].append(line)
            self._read += 1
        return self

    def first_since(self, name: str, since: float) -> dict[str, Any] | None:
        """The first answer to a question asked after `since` (CLOCK_BOOTTIME)."""
        return next((line for line in self.look().heard[name] if line["asked"] > since), None)

    def last(self, name: str) -> dict[str, Any]:
        return self.look().heard[name][-1]

    def silence(self, name: str, since: float) -> float:
        """Seconds between two answers, the longest that ended after `since`."""
        times = [line["at"] for line in self.look().heard[name]]
        return max((b - a for a, b in itertools.pairwise(times) if b > since), default=0.0)

    def check_disks(self) -> None:
        """No machine ever lost a record that it said was on its disk, saw another writer, or failed to write."""
        for name, lines in self.look().heard.items():
            for before, line in itertools.pairwise(lines):
                known = before["n"]
                assert line["n"] >= known, f"{name} went back from record {known}: {line}"
                if line["boot"] != before["boot"]:
                    assert line["n0"] >= known, f"{name} found {line['n0']} on its disk after {known}: {line}"
            for line in lines[-1:]:
                assert (line["split"], line["werr"]) == (0, 0), line


@dataclass
class Machines(Cluster):
    """The cluster with its machines."""

    asking: Asking = field(init=False)

    # --- bring up

    def create(self) -> None:
        """As an operator does, with the command line."""
        words = ["--nodes", ",".join(self.lab.nodes), "--tolerate", "2", "--reserve-memory", f"{RESERVE_MIB}MiB"]
        self.do("compute", "create-cluster", *words, "--bridge", "public=br-public")
        shared = self.lab.layout.shared_dir / "guests"
        shared.mkdir()
        image = build(recipe=VM)
        shutil.copy(image.kernel, shared / "kernel")
        shutil.copy(image.initrd, shared / "initrd")
        for machine in MACHINES.values():
            self.empty_disk(machine.name)
        commands = [["vm", "create", machine.name, *_create(machine), "--no-wait"] for machine in MACHINES.values()]
        done = self.lab.exec(self.speaker(), [PYTHON, "-c", COMMANDS, json.dumps(commands)], GUESTS_S)
        assert done.returncode == 0, done.stderr

    def empty_disk(self, name: str) -> str:
        """Its path on the nodes."""
        with Path(self.lab.layout.shared_dir / "guests" / f"{name}.raw").open("wb") as disk:
            disk.truncate(DISK_BYTES)
        return f"/shared/guests/{name}.raw"

    def until(self, condition: Callable[[], Any], what: str, bound: float = GUESTS_S) -> float:
        return super().until(condition, what, bound)

    def start_asking(self) -> None:
        addresses = json.dumps({machine.name: machine.ip for machine in MACHINES.values()})
        self.asking = Asking(self._background([PYTHON, "-c", ASK_MACHINES, addresses, str(PERIOD_S), "0.5"]))

    # --- as one who looks

    def places(self) -> dict[str, str]:
        """Machine → the node that is to run it, by the cluster's word; "" where none is. Whether its guest has booted there
        is another question (`answer_since`)."""
        instances = {i["id"]: i for i in self.status()["instances"]}
        return {name: _placed(instances.get(m.id, {})) for name, m in MACHINES.items()}

    def waiting(self) -> dict[str, str]:
        """Machine → why it does not run."""
        found = {str(i["id"]).removeprefix("vm/"): str(i["waiting"]) for i in self.status()["instances"]}
        return {name: found[name] for name in MACHINES if found.get(name)}

    def load(self) -> dict[str, int]:
        """Node → MiB of its machines."""
        used = dict.fromkeys(self.lab.nodes, 0)
        for name, node in self.places().items():
            if node:
                used[node] += MACHINES[name].memory_mib
        return used

    def on(self, node: str) -> list[str]:
        return [name for name, place in self.places().items() if place == node]

    def settled(self) -> None:
        """Every node takes machines, every machine answers, and nothing is being recovered."""
        self.wait_up()
        self.wait_all()
        self.until(lambda: not self.status()["open_incidents"], "nothing is being recovered")

    def have(self, wanted: dict[str, str]) -> None:
        """These machines on these nodes, migrated live unless they are there already."""
        for name, node in wanted.items():
            if self.places()[name] != node:
                self.do("vm", "migrate", name, "--to", node, "--no-wait")
        self.until(lambda: all(self.where(f"vm/{name}") == node for name, node in wanted.items()), f"{wanted}")
        self.wait_all()

    def check_room(self) -> None:
        for node, used in self.load().items():
            assert used <= SIZES[node][1] - RESERVE_MIB, f"{used} MiB of machines on {node}"

    def answer_since(self, names: Iterable[str], since: float) -> Callable[[], bool]:
        """Whether each has answered a question that was asked after `since`."""
        wanted = list(names)
        return lambda: all(self.asking.first_since(name, since) is not None for name in wanted)

    def wait_all(self, names: Iterable[str] = MACHINES) -> None:
        wanted, since = list(names), kernel.boottime()
        self.until(self.answer_since(wanted, since), f"{', '.join(wanted)} answer")

    def what_if(self, node: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.do("what-if", "--fail", node, "--json"))
        return found

    def qemus(self, node: str, name: str) -> list[int]:
        """Processes of the machine, from the machine's process table."""
        return [pid for pid in self.pids(node, f"guest={name},") if command_line(pid)[0].endswith("qemu-system-x86_64")]

    def receiving(self, node: str, name: str) -> bool:
        return any(may_receive(command_line(pid)) for pid in self.qemus(node, name))

    # --- as a client and as an operator

    def http(self, name: str, path: str) -> None:
        """Tell the guest something; it may not live to answer."""
        url = f"http://{MACHINES[name].ip}{path}"
        self.lab.exec("client", ["busybox", "wget", "-q", "-O", "-", url])

    def begin_migration(self, name: str, to: str, avoid: str = "") -> "subprocess.Popen[str]":
        """Asked for on a node that is not `avoid`, which is to die."""
        speaker = next(n for n in self.lab.nodes[:3] if n not in (avoid, to))
        words = ["holdfast", "vm", "migrate", name, "--to", to, "--no-wait"]
        return self.lab.popen(speaker, words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def heal(self) -> None:
        """Everything that was done to the nodes is undone, and those that were off boot. A machine that a failed test left
        off is started: the next test is not to fail for it."""
        for node in self.lab.nodes:
            self.lab.heal(node)
        desired = {i["id"]: i["desired"] for i in self.status()["instances"]}
        for name, machine in MACHINES.items():
            if desired.get(machine.id, "started") != "started":
                self.do("vm", "start", name, "--no-wait", "--force")

    def wait_up(self) -> None:
        """Every node takes machines again."""
        for node in self.lab.nodes:
            self.until(lambda node=node: self._up(node), f"{node} is up")  # type: ignore[misc]

    def _up(self, node: str) -> bool:
        state = self.node_state(node)
        if state == "quarantined":  # it dies often here
            self.do("node", "return", node)
        return state == "up"


def _create(machine: Machine) -> list[str]:
    line = f"{VM_COMMAND_LINE} hvm.name={machine.name} hvm.ip={machine.ip}/24 hvm.period_ms=400"
    return [
        *("--cpu", str(machine.cpu), "--memory", f"{machine.memory_mib}MiB", "--priority", str(machine.priority)),
        *("--disk", f"/shared/guests/{machine.name}.raw", "--network", "public"),
        *("--kernel", "/shared/guests/kernel", "--initrd", "/shared/guests/initrd", "--cmdline", line),
        *(["--preemptible"] if machine.preemptible else []),
        *("--heartbeat", "port", "--hang-after", str(HEARTBEAT_LIMIT_S)),
    ]


def _placed(instance: dict[str, Any]) -> str:
    return str(instance["node"]) if instance.get("goal") == "run" and instance["desired"] == "started" else ""


def bring_up(lab: LabClient) -> Machines:
    """Raises LabError, AssertionError."""
    try:
        lab.up(OPTIONS)
        machines = Machines(lab)
        machines.create()
        machines.start_asking()
        machines.wait_all()
    except LabError as error:
        raise AssertionError(str(error)) from error
    return machines
