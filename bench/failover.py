#!/usr/bin/env python3
"""How long clients go without an answer when a node loses its power, or the panel's process is killed.

    sudo .venv/bin/python bench/failover.py --runs 10 --service all --out build/failover.json

Brings up a lab of its own with power fencing. For each run: the service is moved to the node whose manager leads (the hard
case: the decider dies too), that node loses its power, a client outside measures, the node is switched on again and the
cluster becomes whole. Prints min/median/max of the client's outage and of every step of the incident.
"""

import argparse
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE
from typing import Any

from failover_report import Run, markdown, summarise
from failover_trace import write_trace

from holdfast.config import ETCD_CLIENT_PORT
from holdfast.errors import HoldfastError
from holdfast.lab import kernel, processes
from holdfast.lab.bringup import MANAGEMENT_NODES
from holdfast.lab.client import LabClient, LabError
from holdfast.lab.demo import stage, story
from holdfast.lab.demo.clients import PanelClient, VolumeClient, longest_stall, wait_first
from holdfast.lab.demo.talk import Cluster, Silent, wait_for_nodes
from holdfast.lab.layout import PANEL_ADDRESS
from holdfast.lab.options import LabOptions
from holdfast.store import keys

CALM_S = 2.0
RECOVERY_S = 90.0
ANSWERED_S = 0.3
"""A client is served again when its last answer is younger than this."""
NFS = f"nfs/{stage.VOLUME}"
SERVICES = ("panel", "nfs", "panel-crash")


@dataclass
class Bench:
    """One lab and what is measured in it."""

    lab: LabClient
    where: str
    moment: str
    trace: Path | None
    client: VolumeClient | None = None
    fenced_alive: int = 0
    """So many healthy nodes were switched off through their BMC."""
    volume_address: str = ""
    authority: str = ""
    runs: list[Run] = field(default_factory=list)

    def prepare(self, profile: str) -> None:
        self.lab.up(LabOptions(nodes=4, profile=profile), say)
        self.cluster = Cluster(self.lab)
        self.authority = stage.authority(self.lab)
        self.volume_address = stage.make_volume(self.lab, self.cluster)

    def measure(self, service: str) -> Run:
        """One run. Raises HoldfastError if the service does not come back."""
        self.cluster.avoid.clear()
        self.cluster.close()
        try:
            wait_for_nodes(self.lab, self.cluster, 40)
        except LabError as error:
            say(str(error))
            self._mend()
            wait_for_nodes(self.lab, self.cluster)
        instance = NFS if service == "nfs" else stage.PANEL
        node = self._node_for(instance)
        stage.gather(self.lab, self.cluster, node, [instance])
        run = Run(
            service=service,
            node=node,
            manager_led=stage.leader(self.cluster) == node,
            store_led=stage.store_leader(self.lab, self.cluster) == node,
            load=os.getloadavg()[0],
        )
        with ExitStack() as ending:
            if service == "nfs":
                self._measure_volume(run)
            else:
                self._measure_panel(run, ending)
        self.runs.append(run)
        if service != "panel-crash":
            self.lab.heal(node)
        return run

    def _mend(self) -> None:
        """On an overloaded machine a healthy node can be silent for so long that it is fenced: count it, and go on."""
        wrongly = [e for e in self.lab.events() if e["kind"] == "power-off" and e.get("detail") == "bmc"]
        self.fenced_alive = len(wrongly)
        for host in self.lab.status():
            if host["power"] == "off":
                say(f"{host['name']} was switched off though nothing was wrong with it")
                self.lab.heal(host["name"])

    def _node_for(self, instance: str) -> str:
        if self.where == "stay":
            return str(stage.instance(self.cluster.get("/status"), instance)["node"])
        leader = stage.leader(self.cluster)
        if self.where == "leader":
            return leader
        members: list[str] = self.cluster.get("/status")["management"]["nodes"]
        return next(node for node in members if node != leader)

    # --- what is measured ---------------------------------------------------------------------------------------------

    def _measure_panel(self, run: Run, ending: ExitStack) -> None:
        client = PanelClient(self.lab, PANEL_ADDRESS, self.authority)
        ending.callback(client.kill)
        wait_first(client, None)
        if run.service == "panel-crash":
            self._crash(run, client)
            return
        fault = self._cut_power(run)
        self._await_incident(run, fault, lambda: client.answers)
        self._note(run, fault, client.answers, "client")
        if self.trace:
            write_trace(self.lab, fault, self.trace / f"panel-{len(self.runs)}.txt", run)

    def _measure_volume(self, run: Run) -> None:
        """All runs have one client, which keeps its lock from the first power loss to the last."""
        if self.client is None:
            self.client = VolumeClient(self.lab, self.volume_address, stage.VOLUME)
            wait_first(None, self.client)
        client, begun = self.client, kernel.boottime()
        wait(lambda: client.opens_freely(begun), "the grace period after the volume's move")
        fault = self._cut_power(run)
        closed = self._await_incident(run, fault, lambda: client.writes)
        wait(lambda: client.opened_after(closed) > 0, "a new open")
        self._note(run, fault, client.writes, "writes")
        run.outage_s["opens"] = longest_stall(client.open_times(), fault, kernel.boottime()).seconds
        if self.trace:
            write_trace(self.lab, fault, self.trace / f"nfs-{len(self.runs)}.txt", run)

    def end(self) -> dict[str, Any]:
        """End the volume's client; what it found when it read everything back."""
        if self.client is None:
            return {}
        self.client.stop()
        return self.client.summary

    def _crash(self, run: Run, client: PanelClient) -> None:
        """kill -9 of the panel's process; the agent starts it again in place."""
        group = self.lab.cgroup / run.node
        before = set(processes.find(group, "panel"))
        time.sleep(CALM_S)
        fault = self.lab.fail(run.node, "kill", unit="panel")
        wait(lambda: client.answers[-1] > fault + 0.1, "the panel")
        time.sleep(CALM_S)
        self._note(run, fault, client.answers, "client")
        fresh = set(processes.find(group, "panel")) - before
        if fresh:
            spawned = min(started_at(pid) for pid in fresh)
            run.steps_ms["process started again"] = (spawned - fault) * 1000
            run.outage_s["without its start"] = max(0.0, spawned - fault)
        if self.trace:
            write_trace(self.lab, fault, self.trace / f"panel-crash-{len(self.runs)}.txt", run)

    def _cut_power(self, run: Run) -> float:
        time.sleep(CALM_S)
        if self.moment == "beat":
            await_beat(self.lab, run.node)
        self.cluster.avoid = {run.node}
        self.cluster.close()
        return self.lab.fail(run.node, "power")

    def _await_incident(self, run: Run, fault: float, answers: Callable[[], list[float]]) -> float:
        """Wait until the incident is closed and the client is served; returns when it was closed. Looks at the API only
        after the client has its answers again, so that looking does not slow it down."""
        wait(lambda: self._served(fault, answers()), "the client to be served again")
        offset = story.wall_offset(time.time(), kernel.boottime())
        found: dict[str, object] = {}

        def closed() -> bool:
            try:
                status = self.cluster.get("/status")
            except Silent:
                return False
            incident = story.incident_of(status, run.node, fault, offset)
            if incident is None or incident["state"] != "closed":
                return False
            found.update(incident=incident, elected=story.elected_at(status, fault, offset))
            return True

        wait(closed, "the incident to close")
        run.proof = str(found["incident"]["proof"])  # type: ignore[index]
        steps = story.steps_of(found["incident"], offset)  # type: ignore[arg-type]
        wanted = NFS if run.service == "nfs" else stage.PANEL
        for step in steps:
            if step.instance in ("", wanted):
                run.steps_ms.setdefault(step.name, (step.at - fault) * 1000)
        elected: tuple[float, str] | None = found["elected"]  # type: ignore[assignment]
        if elected is not None:
            run.steps_ms["manager elected"] = (elected[0] - fault) * 1000
        return steps[-1].at

    def _served(self, fault: float, answers: list[float]) -> bool:
        """There was a gap after the fault, and it is over."""
        return longest_stall(answers, fault, kernel.boottime()).seconds > ANSWERED_S and (
            answers[-1] > kernel.boottime() - ANSWERED_S
        )

    def _note(self, run: Run, fault: float, answers: list[float], name: str) -> None:
        stall = longest_stall(list(answers), fault, kernel.boottime())
        run.outage_s[name] = stall.seconds
        run.steps_ms["first answer to the client"] = (stall.ended - fault) * 1000


def await_beat(lab: LabClient, node: str) -> None:
    """Return just after a beat of this node was committed: the worst moment to die, for its last word is at its freshest."""
    member = next(name for name in lab.nodes[:MANAGEMENT_NODES] if name != node)
    endpoint = f"https://{lab.host(member).address('management')}:{ETCD_CLIENT_PORT}"
    words = [*stage.etcdctl(endpoint), "watch", f"/holdfast/{keys.beat(node)}"]
    watch = lab.popen(member, words, stdout=PIPE, text=True)
    try:
        assert watch.stdout is not None
        puts = (line for line in watch.stdout if line.startswith("PUT"))
        for _ in range(2):  # the first may have been under way when the watch began
            next(puts)
    finally:
        watch.kill()
        watch.communicate()


def started_at(pid: int) -> float:
    """When a process began, in CLOCK_BOOTTIME seconds (resolution 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def wait(reached: Callable[[], bool], what: str) -> None:
    """Raises LabError after RECOVERY_S."""
    end = kernel.boottime() + RECOVERY_S
    pause = threading.Event()
    while not reached():
        if kernel.boottime() > end:
            raise LabError(f"after {RECOVERY_S:g} s still waiting for {what}", "Run with --trace and --keep.")
        pause.wait(0.05)


def say(text: str) -> None:
    print(f"{text} …", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--service", choices=(*SERVICES, "all"), default="panel")
    parser.add_argument(
        "--where",
        choices=("leader", "other", "stay"),
        default="leader",
        help="node that dies: the one that leads (default), another management node, or wherever the service is",
    )
    parser.add_argument(
        "--moment", choices=("any", "beat"), default="any", help="beat: it dies just after a beat of it was committed"
    )
    parser.add_argument("--profile", default="default", help="timing profile of the cluster")
    parser.add_argument("--lab", default="bench", help="name of the lab")
    parser.add_argument("--out", type=Path, help="write every run as JSON")
    parser.add_argument("--trace", type=Path, help="directory for the nodes' merged logs around each fault")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    services = SERVICES if options.service == "all" else (options.service,)
    lab = LabClient(options.lab)
    bench = Bench(lab, options.where, options.moment, options.trace)
    failed, journal = "", {}
    try:
        bench.prepare(options.profile)
        for service in services:
            for number in range(options.runs):
                run = bench.measure(service)
                say(f"{service} {number + 1}/{options.runs}: {run.sentence()}")
        journal = bench.end()
    except HoldfastError as error:
        failed = str(error)
    finally:
        lab.down(save_logs=options.trace / "logs" if options.trace else None)
    about = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "command": "bench/failover.py " + " ".join(sys.argv[1:]),
    }
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(
            json.dumps(
                about
                | {
                    "journal": journal,
                    "fenced_alive": bench.fenced_alive,
                    "runs": [run.as_json() for run in bench.runs],
                },
                indent=1,
            )
            + "\n"
        )
    print(markdown(about, summarise(bench.runs)))
    if bench.fenced_alive:
        print(f"\n{bench.fenced_alive} healthy nodes were too slow for the detection and were switched off.")
    if journal:
        kept = "kept" if journal.get("lock_kept") else "LOST"
        print(f"\nThe NFS client: {journal.get('acked')} records acknowledged, {journal.get('lost')} lost, ", end="")
        print(f"{journal.get('torn')} torn, its lock {kept} through all of it.")
    if failed:
        sys.exit(f"Error: {failed}")


if __name__ == "__main__":
    main()
