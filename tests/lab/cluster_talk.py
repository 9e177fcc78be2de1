"""What the cluster tests say to a cluster in the lab: as an operator, as a client, and as one who looks from outside."""

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.core.timing import profile
from holdfast.errors import HoldfastError
from holdfast.lab import LabClient
from holdfast.lab.demo import talk

PYTHON = sys.executable
NFS_FIRST, NFS_LAST = "10.78.0.101", "10.78.0.150"
PANEL = "10.77.0.100"
VOLUME, ADDRESS = "nfs/vol1", NFS_FIRST
FAST = profile("fast")
"""The timing of the clusters in the lab."""
HANG_S = 90.0
"""Bound that only catches a hang; what is measured is printed, not judged."""
STEP_S = 10.0
"""More than a look at a cluster takes."""

POLL_PANEL = """
import json, signal, socket, ssl, sys, time
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
while not stopping:
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        with socket.create_connection((sys.argv[1], 8443), 0.25) as raw, context.wrap_socket(raw) as link:
            link.settimeout(0.25)
            link.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
            answer = b""
            while chunk := link.recv(4096): answer += chunk
        node = json.loads(answer.partition(b"\\r\\n\\r\\n")[2])["node"]
        print(json.dumps({"at": time.clock_gettime(time.CLOCK_BOOTTIME), "node": node}), flush=True)
    except (OSError, ValueError, KeyError):
        pass
    time.sleep(max(0.0, 0.02 - (time.clock_gettime(time.CLOCK_BOOTTIME) - began)))
"""


class Background:
    """A client that runs in the lab's client host until it is stopped, and says what it sees in lines of JSON."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.said.append(line)

    def join(self) -> None:
        self._reader.join(HANG_S)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.said) if line.startswith("{") and line.endswith("}\n")]

    def stop(self) -> dict[str, Any]:
        """Ask it to end; returns the last line it printed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.join()
        return self.lines()[-1] if self.lines() else {}


@dataclass
class Cluster:
    """An operator's and a client's view of the cluster in a lab."""

    lab: LabClient
    running: list[Background] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = talk.Cluster(self.lab)

    # --- as an operator

    def ask(self, node: str, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return self.lab.exec(node, ["holdfast", *words], HANG_S, stdin=stdin)

    def do(self, *words: str, node: str = "") -> str:
        """A command that must succeed."""
        done = self.ask(node or self.speaker(), *words)
        assert done.returncode == 0, f"holdfast {' '.join(words)}: {done.stdout} {done.stderr}"
        return done.stdout

    def refused(self, *words: str) -> str:
        """A command that must be refused with a clear error and no traceback; returns the words."""
        done = self.ask(self.speaker(), *words)
        assert done.returncode in (1, 2), f"holdfast {' '.join(words)} ended with {done.returncode}: {done.stdout}"
        assert "Traceback" not in done.stderr + done.stdout
        return " ".join((done.stderr + done.stdout).split())

    def speaker(self) -> str:
        """A management node whose API answers."""
        self.status()
        return self.api.node

    def status(self) -> dict[str, Any]:
        """The picture that the first management node that answers has of the cluster."""
        end = time.monotonic() + HANG_S
        while time.monotonic() < end:
            with suppress(HoldfastError):
                try:
                    return dict(self.api.get("/status"))
                finally:
                    self.api.close()  # another node may be the first to answer then
            time.sleep(0.3)
        raise AssertionError("no management node answers")

    def node_state(self, node: str) -> str:
        return next(str(n["state"]) for n in self.status()["nodes"] if n["id"] == node)

    def up(self, nodes: Collection[str]) -> bool:
        """These are up. One that died so often in this lab that it is quarantined is returned, as by an operator who has
        mended it."""
        states = {node["id"]: node["state"] for node in self.status()["nodes"]}
        for node in nodes:
            if states[node] == "quarantined":
                print(f"{node} was quarantined, and is returned")
                self.do("node", "return", node)
        return all(states[node] == "up" for node in nodes)

    def wait_up(self, *nodes: str) -> None:
        self.until(lambda: self.up(nodes), f"{', '.join(nodes)} up")

    def instance(self, instance: str) -> dict[str, Any]:
        return next((i for i in self.status()["instances"] if i["id"] == instance), {})

    def where(self, instance: str) -> str:
        """The node on which the instance runs and answers; "" while it does not."""
        found = self.instance(instance)
        return str(found["node"]) if found.get("state") == "running" and found.get("healthy") else ""

    def home(self, instance: str) -> str:
        """The node on which it runs, as soon as who is asked knows of one: management nodes differ by moments."""
        while not (node := self.where(instance)):
            self.until(lambda: self.where(instance), f"{instance} runs")
        return node

    def incidents(self, node: str) -> list[dict[str, Any]]:
        """Newest last."""
        found = json.loads(self.do("incident", "list", "--json"))
        return sorted((i for i in found if i["node"] == node), key=lambda i: i["wall"])

    def until(self, condition: Callable[[], Any], what: str, bound: float = HANG_S) -> float:
        """Wait; returns the seconds it took. Time in which this machine stood still is no waiting."""
        began = last = time.monotonic()
        waited = 0.0
        while not condition():
            now = time.monotonic()
            waited, last = waited + min(now - last, STEP_S), now
            assert waited < bound, (
                f"not within {bound:g} s ({now - began:.0f} s by the clock): {what}\n{self.picture()}"
            )
            time.sleep(0.2)
        return time.monotonic() - began

    def picture(self) -> str:
        """For whoever reads why a test failed."""
        with suppress(HoldfastError, AssertionError):
            return self.ask(self.speaker(), "status").stdout
        return "no management node answers"

    def place(self, instance: str, node: str) -> None:
        """Move the instance there, unless it is there."""
        if self.where(instance) != node:
            self.do("service", "move", instance, "--to", node)
        self.until(lambda: self.where(instance) == node, f"{instance} on {node}")

    # --- from outside

    def pids(self, node: str, name: str) -> list[int]:
        """Processes of the node whose command line holds `name`, read from the machine's process table."""
        found = []
        for group in (self.lab.cgroup / node).rglob("cgroup.procs"):
            for pid in group.read_text().split():
                try:
                    if name in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
                        found.append(int(pid))
                except OSError:
                    continue
        return sorted(found)

    def boots(self, node: str) -> int:
        return int(self.lab.state(node)["boots"])

    # --- as a client

    def poll_panel(self) -> Background:
        """Polls /healthz through the panel's address each 20 ms, each time on a new connection."""
        return self._background([PYTHON, "-c", POLL_PANEL, PANEL])

    def journal(self, volume: str, address: str, opens_s: float = 0.0) -> Background:
        """Numbered stable writes each 20 ms under a lock; a new file each `opens_s` seconds. One at a time per volume: they
        share a name, because a server that starts waits for every name it knew, and one that is not used again never comes.
        """
        argv = [PYTHON, "-m", "holdfast.services.nfs.journal", "--host", address, "--volume", volume]
        argv += ["--out", "/dev/stdout", "--opens", str(opens_s)]
        client = self._background(argv)
        self.until(
            lambda: len(client.lines()) > 20 or client.process.poll() is not None, "the journal client writes", 30
        )
        assert client.process.poll() is None, client.said
        return client

    def _background(self, argv: list[str]) -> Background:
        client = Background(self.lab.popen("client", argv, stdout=subprocess.PIPE, text=True))
        self.running.append(client)
        return client

    def end(self) -> None:
        for client in self.running:
            if client.process.poll() is None:
                client.process.kill()
                client.process.wait()
            client.join()
        self.running.clear()


def longest_gap(panel: Background, since: float) -> float:
    """Seconds between two answers of the panel, the longest after `since` (CLOCK_BOOTTIME)."""
    times = [line["at"] for line in panel.lines()]
    before = [at for at in times if at <= since][-1:]
    after = before + [at for at in times if at > since]
    return max((b - a for a, b in itertools.pairwise(after)), default=float("inf"))


def nothing_lost(summary: dict[str, object]) -> None:
    assert summary.get("acked"), summary
    assert (summary["lost"], summary["torn"], summary["lock_kept"]) == (0, 0, True), summary


def serve_volumes(cluster: Cluster) -> None:
    """The NFS cluster and its first volume."""
    nodes = ",".join(cluster.lab.nodes)
    cluster.do("nfs", "create-cluster", "--nodes", nodes, "--addresses", f"{NFS_FIRST}-{NFS_LAST}")
    cluster.do("nfs", "create", "vol1", "--address", ADDRESS)
