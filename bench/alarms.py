#!/usr/bin/env python3
"""What alarms cost the leading manager of a large cluster, beside its work.

    .venv/bin/python bench/alarms.py --nodes 1000 --instances 20000

A desk of alarms over a store in memory is looked at for a while of simulated seconds; the figures are processor time of this
process per such second, so a busy machine changes them little. *Calm*: everything is well, and the manager gives it a new
view each two seconds as it does when nothing happens. *Failures*: a view each 0.1 s, a tenth of the nodes dead, what ran
there waiting. *Site*: the same with nine nodes of ten. *Judging*: `core.alarm.judge` alone.
"""

import argparse
import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import structlog

from holdfast.clock import ManualClock
from holdfast.core.alarm import judge
from holdfast.core.alarm_model import Facts, FenceTest, NodeReport
from holdfast.core.history import ManagerView
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    NodeSpec,
    Placement,
    Proof,
    Role,
    WatchdogAttestation,
)
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, View
from holdfast.manager.alarms import AlarmDesk
from holdfast.manager.commit import EventLog
from holdfast.ports import Compare, Op, PowerFence, PowerReading, Put, TxnResult
from holdfast.store import keys
from holdfast.store.codec import encode
from holdfast.store.measured import MeasuredStore
from holdfast.store.memory import MemoryStore
from holdfast.store.memory_cluster import MemoryCluster
from holdfast.store.mirror import Mirror

NOW = 10_000.0
DOG = WatchdogAttestation("/dev/watchdog", "bench", 5)
BMC = (FenceDeviceSpec("bmc", "redfish"),)
GATEWAYS = 0.02
"""Part of the instances that are gateways, ten of a cluster."""
CALM_VIEW_S, BUSY_VIEW_S = 2.0, 0.1
"""How often the manager decides."""


def make_view(nodes: int, instances: int, *, dead: int = 0, revision: int = 1) -> View:
    """The first `dead` nodes were claimed; what is placed there does not run."""
    return View(
        profile("default"),
        revision,
        {f"n{number:04}": _node(f"n{number:04}", number < dead) for number in range(nodes)},
        {one.id: one for one in (_instance(number, nodes, instances, dead) for number in range(instances))},
    )


def _node(name: str, dead: bool) -> NodeView:
    fence = Fence(2, Proof.POWER_OFF) if dead else Fence(1)
    beat = Beat(f"s-{name}", f"b-{name}", f"m-{name}", 1, 1, BeatPhase.ACTIVE, DOG, 64, 262144)
    spec = NodeSpec(name, (Role.COMPUTE,), {"management": "10.0.0.1", "storage": "10.1.0.1"}, fence_devices=BMC)
    return NodeView(spec, fence, 5, beat, 50, NOW + 1e6)


def _instance(number: int, nodes: int, instances: int, dead: int) -> InstanceView:
    home = number % nodes
    gateway = number < instances * GATEWAYS
    kind, name = ("s3", f"s3/c{number // 10}/gw-{number % 10}") if gateway else ("vm", f"vm/m{number:05}")
    exclusivity = Exclusivity.EVERYWHERE if gateway else Exclusivity.STRICT
    spec = InstanceSpec(name, kind, name.split("/")[1], exclusivity, Role.COMPUTE, cpu=1, memory_mib=1024)
    node = f"n{home:04}"
    status = InstanceStatus(node, f"s-{node}", 10, InstanceState.RUNNING, healthy=True) if home >= dead else None
    return InstanceView(spec, 7, placement=Placement(node, 10, 1), placement_revision=70, status=status)


class Devices:
    """Port PowerFences: all of them say that the power is on."""

    def open(self, device: FenceDeviceSpec) -> PowerFence:
        return _On()


class _On:
    async def read(self, *, timeout: float) -> PowerReading:
        return PowerReading("on")

    async def off(self, *, timeout: float) -> None: ...

    async def on(self, *, timeout: float) -> None: ...

    async def close(self) -> None: ...


class Desk:
    """One desk over a store in memory; stands for the election, too."""

    term = 1

    def __init__(self, nodes: int) -> None:
        self.clock = ManualClock(NOW)
        self.cluster = MemoryCluster(self.clock)
        self.store = MeasuredStore(MemoryStore(self.cluster, self.clock), self.clock)
        self.mirror = Mirror(self.store)
        election: Any = self
        self.desk = AlarmDesk(self.mirror, self.clock, election, "n0001", self.store, Devices())
        for number in range(nodes):
            name = f"n{number:04}"
            report = NodeReport(
                f"s-{name}", self.clock.wall(), "2099-01-01T00:00:00+00:00", "2099-01-01T00:00:00+00:00"
            )
            self.cluster.txn([], [Put(keys.report(name), encode(report))], ())

    async def commit(self, compare: Sequence[Compare], ops: Sequence[Op], *, timeout: float | None = None) -> TxnResult:
        return await self.store.txn(compare, ops)

    def blind(self) -> bool:
        return False

    async def run(self, views: Sequence[View], waiting: dict[str, str], *, each_s: float, seconds: int) -> float:
        """Processor seconds per simulated second; the first ten are not counted: what begins then is raised."""
        self.desk.begin_term(EventLog(1, self.clock))
        tasks = [asyncio.create_task(self.mirror.run()), asyncio.create_task(self.desk.run())]
        await self.mirror.ready.wait()
        spent, turns = 0.0, 0
        said = ManagerView("n0001", 1, waiting=waiting)
        for second in range(seconds + 10):
            for _ in range(max(1, round(1 / each_s))):
                if turns * each_s <= second:
                    self.desk.observe(replace(views[turns % len(views)], revision=turns), said)
                    turns += 1
            began = time.process_time()
            await self.clock.advance(1.0)
            while self.mirror.revision != self.cluster.list("").revision:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
            if second >= 10:
                spent += time.process_time() - began
        self.desk.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return spent / seconds


def judging(view: View, waiting: dict[str, str]) -> float:
    """Processor seconds of one judgement, the median of nine."""
    facts = Facts(
        wall="2026-01-01T00:00:00Z",
        waiting=waiting,
        members=(),
        latency_s=0.01,
        offsets_s=dict.fromkeys(view.nodes, 0.0),
        fence_tests={name: (FenceTest("bmc", True, "on"),) for name in view.nodes},
        reports={
            name: NodeReport("s", "2026-01-01T00:00:00Z", "2099-01-01T00:00:00+00:00", "2099-01-01T00:00:00+00:00")
            for name in view.nodes
        },
    )
    spent = []
    for _ in range(9):
        began = time.process_time()
        judge(view, facts, NOW)
        spent.append(time.process_time() - began)
    return median(spent)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--instances", type=int, default=20000)
    parser.add_argument("--seconds", type=int, default=60, help="simulated ones of each case")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    size = (asked.nodes, asked.instances)
    print("| nodes × instances | case | judging once, ms | desk, ms per second |")
    print("|---|---|--:|--:|")
    cases = (
        ("calm", 0, CALM_VIEW_S),
        ("failures", asked.nodes // 10, BUSY_VIEW_S),
        ("site", asked.nodes * 9 // 10, BUSY_VIEW_S),
    )
    for case, dead, each_s in cases:
        views = [make_view(*size, dead=dead), make_view(*size, dead=dead)]
        waiting = {one.id: "no room" for one in views[0].instances.values() if one.status is None}
        once = judging(views[0], waiting)
        desk = await Desk(asked.nodes).run(views, waiting, each_s=each_s, seconds=asked.seconds)
        print(f"| {asked.nodes:,} × {asked.instances:,} | {case} | {once * 1000:.1f} | {desk * 1000:.1f} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
