"""How long clients of S3 wait when a node fails: `bench/s3.py stalls`. Needs root.

A lab with four nodes and power fencing. n2 to n4 carry an S3 cluster with three name and three object servers; n1 to n3
manage. One client through all runs: twelve lanes of objects in six buckets, a request of each lane every second, which finds
the gateways by DNS and reads everything back at the end. In each run another node fails; what is measured is the longest
wait of any request, its repetitions included, and when the last one that was held up was served.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from failover import say, wait
from failover_report import Run
from s3_cluster import DOMAIN, KEYS_FILE, NAME, S3Lab

from holdfast.errors import HoldfastError
from holdfast.lab import kernel
from holdfast.lab.client import LabClient
from holdfast.lab.demo import stage, story
from holdfast.lab.demo.clients import ClientProcess
from holdfast.lab.demo.talk import Cluster, Silent, wait_for_nodes
from holdfast.lab.options import LabOptions

NODES = ("n2", "n3", "n4")
SERVERS, BUCKETS, LANES, INTERVAL_S = 3, 6, 12, 1.0
CALM_S = 3.0
HELD_UP_S = 0.5
MOST_FAILURES = 3
PREFIX = f"s3/{NAME}/"

Strike = Callable[[LabClient, str], float]
FAULTS: dict[str, Strike | None] = {
    "maintenance": None,
    "power": lambda lab, node: lab.fail(node, "power"),
    "link": lambda lab, node: lab.fail(node, "network", silent=True),
    "freeze": lambda lab, node: lab.fail(node, "freeze"),
}
"""None: an operator empties the node."""


class ObjectClient(ClientProcess):
    """The journal of S3 objects."""

    def __init__(self, lab: LabClient) -> None:
        self.acked: list[tuple[str, float, float]] = []
        """(lane, sent first, acknowledged)."""
        self.wrong: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        argv = ["-m", "holdfast.services.s3.journal", "--endpoint", f"http://{DOMAIN}", "--keys", KEYS_FILE]
        argv += ["--buckets", str(BUCKETS), "--threads", str(LANES), "--interval", str(INTERVAL_S)]
        super().__init__(lab, [*argv, "--patience", "600", "--out", "/proc/self/fd/1"])

    def take(self, line: dict[str, Any]) -> None:
        if "wrong" in line:
            self.wrong.append(line)
        elif "lane" in line:
            self.acked.append((line["lane"], line["sent"], line["acked"]))
        elif "repeats" not in line:
            self.summary = line

    def all_since(self, moment: float) -> bool:
        """Every lane has an acknowledged request that was sent after `moment`."""
        return len({lane for lane, sent, _ in list(self.acked) if sent > moment}) == LANES

    def held_up(self, since: float) -> list[tuple[float, float]]:
        """(seconds, acknowledged) of the requests acknowledged after `since` that took long."""
        return [
            (acked - sent, acked) for _, sent, acked in list(self.acked) if acked > since and acked - sent > HELD_UP_S
        ]


@dataclass
class StallBench:
    """One lab and what is measured in it."""

    lab: LabClient
    client: ObjectClient | None = None
    runs: list[Run] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def prepare(self, profile: str) -> None:
        self.lab.up(LabOptions(nodes=4, profile=profile), say)
        self.cluster = Cluster(self.lab)
        S3Lab(self.lab).create(NODES, SERVERS)
        wait_for_nodes(self.lab, self.cluster)
        client = self.client = ObjectClient(self.lab)
        wait(lambda: client.all_since(0.0) or not client.running, "the client's first writes")

    def measure(self, fault: str, number: int) -> str:
        """One run, in a sentence. One that fails is kept in `failures`; raises HoldfastError at the third."""
        try:
            return self._measure(fault, NODES[number % len(NODES)]).sentence()
        except HoldfastError as error:
            self.failures.append(f"{fault}: {error}")
            if len(self.failures) == MOST_FAILURES:
                raise
            for node in self.lab.nodes:
                self.lab.heal(node)
            return str(error)

    def _measure(self, fault: str, node: str) -> Run:
        assert self.client is not None
        client = self.client
        self.cluster.avoid.clear()
        self.cluster.close()
        self._whole()
        calm = kernel.boottime()
        wait(lambda: client.all_since(calm + CALM_S), "calm seconds")
        run = Run(service=f"s3-{fault}", node=node, load=os.getloadavg()[0])
        run.manager_led = stage.leader(self.cluster) == node
        strike = FAULTS[fault]
        self.cluster.avoid = {node}
        self.cluster.close()
        at = kernel.boottime()
        if strike is None:
            self.cluster.post(f"/nodes/{node}/maintenance", {"bring_back": False})
            wait(lambda: not self._carried(node), f"{node} to be empty")
        else:
            at = strike(self.lab, node)
            wait(lambda: not self._carried(node), f"the servers of {node} to be elsewhere")
        self._served_again(run, at)
        self._steps(run, at)
        self.lab.heal(node)
        if strike is None:
            self.cluster.delete(f"/nodes/{node}/maintenance")
        self.runs.append(run)
        return run

    def _whole(self) -> None:
        """Nodes die often here: those that were put into quarantine return; and every node carries as much as the others."""

        def back() -> bool:
            try:
                for node in self.cluster.get("/status")["nodes"]:
                    if node["state"] == "quarantined":
                        self.cluster.post(f"/nodes/{node['id']}/return", {})
                nodes = self.cluster.get("/status")["nodes"]
            except Silent:
                return False
            return all(node["state"] == "up" for node in nodes)

        wait(back, "every node to be up")
        wait_for_nodes(self.lab, self.cluster)
        wait(lambda: all(self._carried(node) for node in NODES), "servers on every node")
        wait_for_nodes(self.lab, self.cluster)

    def _carried(self, node: str) -> list[str]:
        """Servers that are there, or nowhere yet. (A node that was fenced is soon back, and its gateway with it.)"""
        try:
            status = self.cluster.get("/status")
        except Silent:
            return [node]
        mine = [i for i in status["instances"] if i["id"].startswith((f"{PREFIX}ns-", f"{PREFIX}os-"))]
        return [i["id"] for i in mine if i["node"] == node or not i["healthy"] or i["moving_to"]]

    def _served_again(self, run: Run, since: float) -> None:
        client = self.client
        assert client is not None
        settled = kernel.boottime()
        wait(lambda: client.all_since(settled), "all lanes to be served again")
        held = client.held_up(since)
        run.outage_s["requests"] = max((seconds for seconds, _ in held), default=0.0)
        run.steps_ms["last answer to a request that was held up"] = (
            max((at - since for _, at in held), default=0.0) * 1000
        )

    def _steps(self, run: Run, at: float) -> None:
        status = self.cluster.get("/status")
        offset = story.wall_offset(time.time(), kernel.boottime())
        incident = story.incident_of(status, run.node, at, offset)
        if incident is None:
            return
        run.proof = str(incident["proof"] or "")
        for step in story.steps_of(incident, offset):
            if step.instance == "":
                run.steps_ms.setdefault(step.name, (step.at - at) * 1000)

    def end(self) -> dict[str, Any]:
        """End the client; what it found when it read everything back."""
        if self.client is None:
            return {}
        self.client.stop()
        return self.client.summary or {"error": self.client.complaint()}
