"""The acceptance run's world: a cluster whose storage nodes are emulated machines with LIO, and clients that write on."""

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from holdfast.lab import LabClient, LabOptions, cgroups
from holdfast.lab.bringup import cluster_status, holdfast, wait_nodes_up
from holdfast.lab.guest import GuestError
from holdfast.lab.guest.iscsi import GuestIscsiClient
from holdfast.lab.kernel import boottime
from holdfast.lab.layout import CLIENT, cgroup_name, netns_prefix
from holdfast.services.iscsi.engine import Account

HERE = Path(__file__).parent
STORAGE = ("n4", "n5")
GROUP = "g1"
CLIENT_IQN, WATCH_IQN = "iqn.2026-01.test.holdfast:client", "iqn.2026-01.test.holdfast:watch"
USER, SECRET, MUTUAL_USER, MUTUAL_SECRET = "acceptance", "secret-of-the-clients", "storage", "secret-of-the-target"
CHAP_FILE = "/root/chap"
VOLUMES = {"files": 1, "disk": 2, "linux": 3}
"""Volume → LUN: a file on the shared storage (fileio), a block device that both storage nodes see (iblock), and a file whose
client is Linux's own, with multipathd."""
LINUX = "linux"
LINUX_ADDRESS = "10.78.0.210"
LINUX_IQN = "iqn.2026-01.test.holdfast:linux"
SIZE_MIB = 64
DEVICE = "/dev/disk/by-id/virtio-disk"
BOUND_S = 240.0
"""Catches a hang: an emulated node takes up to a minute to come back."""
PATIENCE_S = 600


class Failed(Exception):
    """The acceptance is not given."""


def say(text: str) -> None:
    print(f"test-lio: {text}", flush=True)


class Watch:
    """What `lio_path_watch.py` says, as it says it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.states: dict[int, dict[str, str]] = {}
        self.doubled: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            self.changes.append(said)
            if "doubled" in said:
                self.doubled.append(said)
            else:
                self.states[said["lun"]] = said["states"]


class Writes(Protocol):
    """A client that writes to one volume, from the first fault to the last."""

    def last(self) -> float:
        """When a write was acknowledged last (CLOCK_BOOTTIME, s); 0: none yet."""
        ...

    def stall(self, since: float) -> float:
        """Longest time without an acknowledgement that ended after `since`, in seconds."""
        ...

    def stop(self) -> dict[str, Any]:
        """End it; what it found when it read everything back."""
        ...


@dataclass
class Writer:
    """`holdfast.services.iscsi.journal` on one volume, in the lab's client host."""

    process: "subprocess.Popen[str]"
    log: Path

    def acked(self) -> list[float]:
        """When each write was acknowledged (CLOCK_BOOTTIME, s)."""
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line)["acked"] for line in lines if line.endswith("\n") and '"n":' in line]

    def last(self) -> float:
        """See Writes."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 4096))
                whole = file.read().decode().split("\n")[1:-1]
        except FileNotFoundError:
            return 0.0
        return max((json.loads(line)["acked"] for line in whole if '"n":' in line), default=0.0)

    def stall(self, since: float) -> float:
        """See Writes."""
        times = [t for t in self.acked() if t >= since - 5]
        gaps = [b - a for a, b in itertools.pairwise(times) if b >= since]
        return max(gaps, default=0.0)

    def stop(self) -> dict[str, Any]:
        """See Writes."""
        self.process.send_signal(signal.SIGTERM)
        out, error = self.process.communicate(timeout=120)
        said = out.strip().splitlines()
        return dict(json.loads(said[-1])) if said else {"error": error.strip()}


@dataclass
class LinuxWriter:
    """The kernel's initiator with multipathd, in an emulated machine."""

    guest: GuestIscsiClient

    def last(self) -> float:
        """See Writes. It is told every 0.2 s, if there was one."""
        said = [event for event in self.guest.events() if event.get("run") == LINUX and "stall" in event]
        return float(said[-1]["host_t"]) if said else 0.0

    def stall(self, since: float) -> float:
        """See Writes. Shorter ones than 0.2 s are not told."""
        return max((lasted for ended, lasted in self.guest.stalls(0.2, LINUX) if ended >= since), default=0.0)

    def stop(self) -> dict[str, Any]:
        """See Writes."""
        try:
            return dict(self.guest.stop_writing(LINUX, 120))
        except GuestError as error:
            return {"error": str(error), "logs": self.guest.logs()}


@dataclass
class World:
    lab: LabClient
    linux: GuestIscsiClient
    booted: "Future[None]"
    """It has, in the background."""
    watch: Watch = field(init=False)
    writers: dict[str, Writes] = field(default_factory=dict)

    # --- as an operator

    def do(self, *words: str, stdin: str = "") -> str:
        return holdfast(self.lab, "n1", *words, stdin=stdin, timeout=BOUND_S)

    def instance(self, volume: str) -> dict[str, Any]:
        status = cluster_status(self.lab) or {"instances": []}
        return next((i for i in status["instances"] if i["id"] == f"iscsi/{volume}"), {})

    def active(self, volume: str) -> str:
        """The node that serves the volume; "" if none is known to."""
        found = self.instance(volume)
        return str(found["node"]) if found.get("state") == "running" and found.get("healthy") else ""

    def until(self, condition: Callable[[], Any], what: str, bound: float = BOUND_S) -> float:
        """Seconds it took. Raises Failed."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > bound:
                raise Failed(f"not within {bound:g} s: {what}")
            time.sleep(0.3)
        return time.monotonic() - began

    # --- what is set up

    def serve(self, loop: str) -> None:
        """Group, volumes, ACL, CHAP, clients."""
        for node in ("n1", "n2", "n3"):  # the node that serves the API looks how large a device is
            self.lab.exec(node, ["mkdir", "-p", str(Path(DEVICE).parent)], check=True)
            self.lab.exec(node, ["ln", "-sf", loop, DEVICE], check=True)
        say(self.create_group())
        for volume in ("files", LINUX):
            self.do("iscsi", "volume", "create", volume, "--size", f"{SIZE_MIB}MiB")
        self.do("iscsi", "volume", "create", "disk", "--device", DEVICE)
        chap = ["--user", USER, "--secret-file", "/root/s1", "--mutual-user", MUTUAL_USER]
        self.lab.exec("n1", ["sh", "-c", f"echo {SECRET} >/root/s1; echo {MUTUAL_SECRET} >/root/s2"], check=True)
        self.do("iscsi", "target-group", "chap", "set", GROUP, *chap, "--mutual-secret-file", "/root/s2")
        self.do("iscsi", "target-group", "acl", "add", GROUP, CLIENT_IQN, WATCH_IQN, LINUX_IQN)
        for volume, lun in VOLUMES.items():
            self.do("iscsi", "volume", "attach", volume, GROUP, "--lun", str(lun), "--timeout", "120")
        accounts = "\\n".join((USER, SECRET, MUTUAL_USER, MUTUAL_SECRET))
        self.lab.exec("client", ["sh", "-c", f"printf '{accounts}\\n' >{CHAP_FILE}"], check=True)

    def create_group(self) -> str:
        """As soon as both nodes have said which engines they have."""
        words = ("iscsi", "target-group", "create", GROUP, "--nodes", ",".join(STORAGE), "--engine", "lio")
        self.until(lambda: self.lab.exec("n1", ["holdfast", *words]).returncode == 0, "both nodes report LIO", 60)
        return self.do("iscsi", "target-group", "show", GROUP)

    @property
    def portals(self) -> dict[str, str]:
        return {node: f"{self.lab.host(node).address('public')}:3260" for node in STORAGE}

    @property
    def iqn(self) -> str:
        return str(json.loads(self.do("iscsi", "target-group", "show", GROUP, "--json"))["group"]["iqn"])

    def start_clients(self) -> None:
        iqn = self.iqn
        words = [w for node, portal in self.portals.items() for w in ("--portal", f"{node}={portal}")]
        words += [w for lun in VOLUMES.values() for w in ("--lun", str(lun))]
        program = [sys.executable, str(HERE / "lio_path_watch.py"), "--target", iqn, "--chap", CHAP_FILE]
        self.watch = Watch(
            self.lab.popen("client", [*program, "--initiator", WATCH_IQN, *words], stdout=subprocess.PIPE, text=True)
        )
        for volume, lun in VOLUMES.items():
            if volume == LINUX:
                continue
            name = f"journal-{volume}.jsonl"
            program = [sys.executable, "-m", "holdfast.services.iscsi.journal", "--target", iqn, "--lun", str(lun)]
            program += [w for portal in self.portals.values() for w in ("--portal", portal)]
            program += ["--initiator", CLIENT_IQN, "--chap", CHAP_FILE, "--out", f"/root/{name}", "--blocks", "1024"]
            pipe = subprocess.PIPE
            process = self.lab.popen(
                "client", [*program, "--patience", str(PATIENCE_S)], stdout=pipe, stderr=pipe, text=True
            )
            self.writers[volume] = Writer(process, self.lab.host("client").disk / "upper/root" / name)

        self.booted.result()
        chap, mutual = Account(USER, SECRET), Account(MUTUAL_USER, MUTUAL_SECRET)
        self.linux.login(self.portals.values(), iqn, LINUX_IQN, engine="lio", chap=chap, mutual=mutual)
        wwid = json.loads(self.do("iscsi", "volume", "show", LINUX, "--json"))["wwid"]
        self.until(lambda: self._has_disk(wwid), f"Linux has the disk {wwid}")
        self.linux.write(wwid, name=LINUX)
        self.writers[LINUX] = LinuxWriter(self.linux)

    def _has_disk(self, wwid: str) -> bool:
        try:
            return "there" in self.linux.run(f"test -b /dev/mapper/3{wwid} && echo there", check=False)
        except GuestError:  # it is slow: all three machines are emulated
            return False

    # --- between faults

    def settled(self) -> bool:
        """Every volume has one serving path and a standby one, and is written to."""
        for volume, lun in VOLUMES.items():
            active = self.active(volume)
            states = self.watch.states.get(lun, {})
            if not active or states != {node: "optimized" if node == active else "standby" for node in STORAGE}:
                return False
        now = boottime()
        return all(now - writer.last() < 2 for writer in self.writers.values())

    def settle(self) -> float:
        """Wait for all nodes and all paths; seconds."""
        began = time.monotonic()
        wait_nodes_up(self.lab, self.lab.nodes, BOUND_S)
        self.until(self.settled, "every path is back")
        return time.monotonic() - began


def _boot(lab: LabClient, linux: GuestIscsiClient) -> None:
    """Beside the nodes, which else leave it next to nothing of the processors."""
    group = cgroups.cpu_group(cgroup_name(lab.name))
    if group is not None:
        (group / "machines" / "tasks").write_text("0")  # this thread, and what it starts
    linux.start()


@contextmanager
def cluster(logs: Path | None = None) -> Iterator[World]:
    """Three management nodes and two emulated storage nodes; taken down at the end."""
    lab = LabClient("lio")
    options = LabOptions(nodes=5, emulated=list(STORAGE), shared_disks={"disk": SIZE_MIB})
    began = time.monotonic()
    loop = ""
    linux = GuestIscsiClient(f"/run/netns/{netns_prefix(lab.name)}{CLIENT}", LINUX_ADDRESS)
    try:
        lab.up(options, lambda step: say(f"{time.monotonic() - began:5.1f} s  {step}"))
        say(f"{time.monotonic() - began:5.1f} s  the cluster is up")
        disk = lab.layout.shared_disk("disk")
        loop = subprocess.run(
            ["losetup", "--find", "--show", "--read-only", str(disk)], check=True, capture_output=True, text=True
        ).stdout.strip()
        with ThreadPoolExecutor(1) as pool:
            world = World(lab, linux, pool.submit(_boot, lab, linux))
            world.serve(loop)
            world.start_clients()
        yield world
    finally:
        linux.kill()
        if loop:
            subprocess.run(["losetup", "--detach", loop], check=False)
        lab.down(save_logs=logs)
