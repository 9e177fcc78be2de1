"""How long a volume's client waits when the node with its active path fails: `bench/iscsi.py stalls`. Needs root.

A lab with four nodes and power fencing, all of them in one target group, and one client for all runs: a block of 4 KiB each
20 ms through the project's own multipath client, which reads everything back at the end. For each run the active path is
moved to the node whose manager leads, as in bench/failover.py.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from failover import say, wait
from failover_report import Run

from holdfast.errors import HoldfastError
from holdfast.lab import kernel
from holdfast.lab.client import LabClient, LabError
from holdfast.lab.demo import stage, story
from holdfast.lab.demo.clients import ClientProcess, longest_stall
from holdfast.lab.demo.talk import Cluster, Silent, wait_for_nodes
from holdfast.lab.options import LabOptions
from holdfast.services.iscsi.engine import PORT

GROUP, VOLUME, LUN = "bench", "bench", 1
INSTANCE = f"iscsi/{VOLUME}"
INITIATOR = "iqn.2026-01.test.holdfast:bench"
SIZE_BYTES = 16 << 20
INTERVAL_S = 0.02
CALM_S = 2.0
MOST_FAILURES = 3

Strike = Callable[[LabClient, str], float]
"""Does the fault to a node; CLOCK_BOOTTIME just before."""
FAULTS: dict[str, Strike | None] = {
    "move": None,
    "power": lambda lab, node: lab.fail(node, "power"),
    "link": lambda lab, node: lab.fail(node, "network", silent=True),
    "client-link": lambda lab, node: lab.fail(node, "network", network="public", silent=True),
    "freeze": lambda lab, node: lab.fail(node, "freeze"),
}
"""None: an operator moves the active path to another node."""


class BlockClient(ClientProcess):
    """Writes to the volume, through all portals, until it is stopped."""

    def __init__(self, lab: LabClient, iqn: str, portals: list[str]) -> None:
        self.acked: list[float] = []
        self.wrong: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        argv = ["-m", "holdfast.services.iscsi.journal", "--target", iqn, "--lun", str(LUN), "--initiator", INITIATOR]
        argv += [word for portal in portals for word in ("--portal", portal)]
        super().__init__(lab, [*argv, "--interval", str(INTERVAL_S), "--out", "/proc/self/fd/1"])

    def take(self, line: dict[str, Any]) -> None:
        if "wrong" in line:
            self.wrong.append(line)
        elif "n" in line:
            self.acked.append(line["acked"])
        else:
            self.summary = line

    def wrote_since(self, moment: float) -> bool:
        return bool(self.acked) and self.acked[-1] > moment


@dataclass
class StallBench:
    """One lab and what is measured in it."""

    lab: LabClient
    client: BlockClient | None = None
    runs: list[Run] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Runs after which the volume did not serve in time, or the cluster did not become whole."""

    def prepare(self, profile: str) -> None:
        self.lab.up(LabOptions(nodes=4, profile=profile), say)
        self.cluster = Cluster(self.lab)
        self._group()
        self.cluster.post("/iscsi/volumes", {"name": VOLUME, "size_bytes": SIZE_BYTES})
        self.cluster.post(f"/iscsi/volumes/{VOLUME}/attach", {"group": GROUP, "lun": LUN})
        wait_for_nodes(self.lab, self.cluster)
        iqn = self.cluster.get(f"/iscsi/target-groups/{GROUP}")["group"]["iqn"]
        portals = [f"{self.lab.host(node).address('public')}:{PORT}" for node in self.lab.nodes]
        client = self.client = BlockClient(self.lab, iqn, portals)
        wait(lambda: bool(client.acked) or not client.running, "the client's first write")

    def _group(self) -> None:
        """A node says only some time after it is up which engines it has."""
        wish = {"name": GROUP, "nodes": self.lab.nodes, "initiators": [INITIATOR]}

        def made() -> bool:
            try:
                self.cluster.post("/iscsi/target-groups", wish)
            except LabError as error:
                refused.append(str(error))
                return False
            return True

        refused: list[str] = []
        try:
            wait(made, "the target group")
        except LabError as error:
            raise LabError(f"{error.message}: {refused[-1] if refused else ''}", error.advice) from error

    def measure(self, fault: str) -> str:
        """One run, in a sentence. One that fails is kept in `failures`; raises HoldfastError at the third."""
        try:
            return self._measure(fault).sentence()
        except HoldfastError as error:
            self.failures.append(f"{fault}: {error}")
            if len(self.failures) == MOST_FAILURES:
                raise
            for node in self.lab.nodes:
                self.lab.heal(node)
            return str(error)

    def _measure(self, fault: str) -> Run:
        assert self.client is not None
        self.cluster.avoid.clear()
        self.cluster.close()
        self._whole()
        node = stage.leader(self.cluster)
        stage.gather(self.lab, self.cluster, node, [INSTANCE])
        since = kernel.boottime()
        wait(lambda: self.client is not None and self.client.wrote_since(since + CALM_S), "two calm seconds")
        run = Run(service=f"iscsi-{fault}", node=node, manager_led=True, load=os.getloadavg()[0])
        run.store_led = stage.store_leader(self.lab, self.cluster) == node
        strike = FAULTS[fault]
        if strike is None:
            self._move(run)
        else:
            self._strike(run, strike)
        self.runs.append(run)
        return run

    def _whole(self) -> None:
        """Nodes die often here: those that were put into quarantine for it return."""

        def back() -> bool:
            try:
                nodes = self.cluster.get("/status")["nodes"]
                for node in nodes:
                    if node["state"] == "quarantined":
                        self.cluster.post(f"/nodes/{node['id']}/return", {})
            except Silent:
                return False
            return all(node["state"] == "up" for node in nodes)

        wait(back, "every node to be up")
        wait_for_nodes(self.lab, self.cluster)

    def _move(self, run: Run) -> None:
        other = next(node for node in self.lab.nodes if node != run.node)
        asked = kernel.boottime()
        self.cluster.post(f"/instances/{INSTANCE}/move", {"node": other})
        run.steps_ms["the API has answered"] = (kernel.boottime() - asked) * 1000
        wait(lambda: self._healthy_on() == other, f"the active path to be on {other}")
        self._served_again(run, asked)

    def _strike(self, run: Run, strike: Strike) -> None:
        self.cluster.avoid = {run.node}
        self.cluster.close()
        at = strike(self.lab, run.node)
        wait(lambda: self._healthy_on() not in ("", run.node), "the active path to be elsewhere")
        self._served_again(run, at)
        self._steps(run, at)
        self.lab.heal(run.node)

    def _healthy_on(self) -> str:
        """The node with the active path, if a probe has read through it."""
        try:
            found = stage.instance(self.cluster.get("/status"), INSTANCE)
        except Silent:
            return ""
        return str(found["node"]) if found["healthy"] and not found["moving_to"] else ""

    def _served_again(self, run: Run, since: float) -> None:
        client = self.client
        assert client is not None
        settled = kernel.boottime()
        wait(lambda: client.wrote_since(settled), "the client to be served again")
        wait(lambda: client.wrote_since(settled + CALM_S), "two calm seconds afterwards")
        stall = longest_stall(list(client.acked), since, kernel.boottime())
        run.outage_s["blocks"] = stall.seconds
        run.steps_ms["first answer to the client"] = (stall.ended - since) * 1000

    def _steps(self, run: Run, at: float) -> None:
        """Of the incident, if there was one: a node that only its clients cannot reach is not dead."""
        status = self.cluster.get("/status")
        offset = story.wall_offset(time.time(), kernel.boottime())
        incident = story.incident_of(status, run.node, at, offset)
        if incident is None:
            return
        run.proof = str(incident["proof"] or "")
        for step in story.steps_of(incident, offset):
            if step.instance in ("", INSTANCE):
                run.steps_ms.setdefault(step.name, (step.at - at) * 1000)

    def end(self) -> dict[str, Any]:
        """End the client; what it found when it read everything back."""
        if self.client is None:
            return {}
        self.client.stop()
        return self.client.summary or {"error": self.client.complaint()}
