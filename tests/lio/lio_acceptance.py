"""Faults under load against storage nodes with LIO: no acknowledged write is lost, torn or stale; never do two paths serve.

The clients write from the first fault to the last, so that each failback (A→B→A) is read back with what both nodes wrote.
"""

import json
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lio_world import STORAGE, VOLUMES, Failed, World, cluster, say

from holdfast.errors import HoldfastError
from holdfast.lab import cgroups
from holdfast.lab.kernel import boottime

FROZEN_S = 15.0
"""Longer than an agent may be silent, shorter than T_wait."""
AGENT = "/run/holdfast-lab/holdfast-agent.pid"
STATES = "cat /sys/kernel/config/target/core/*_1000/*/alua/tg*/alua_access_state"
STANDBY = "2"


@dataclass
class Row:
    """What one fault did."""

    fault: str
    node: str
    stalls: dict[str, float] = field(default_factory=dict)
    """Volume → longest time without an acknowledged write, in seconds."""
    claim: str = ""
    resets: int = 0
    redundant_s: float = 0.0
    """From the fault's end until every path was back."""


def other(node: str) -> str:
    return next(name for name in STORAGE if name != node)


class Acceptance:
    def __init__(self, world: World) -> None:
        self.world, self.lab = world, world.lab
        self.rows: list[Row] = []

    # --- what is done ---------------------------------------------------------------------------------------------------

    def power_loss(self, node: str) -> None:
        self.lab.fail(node, "power")
        self._moved_from(node)

    def link_loss(self, node: str) -> None:
        """With power fencing: it is switched off."""
        self.lab.fail(node, "network")
        self._moved_from(node)

    def link_loss_without_fencing(self, node: str) -> None:
        """It must step down by itself, without a reset, and be standby when the link heals."""
        boots = self._boots(node)
        self.lab.fail(node, "bmc", mode="unreachable")
        self.lab.fail(node, "network")
        self._moved_from(node)
        states = self._inside(node, STATES).split()
        if self._boots(node) == boots and (len(states) != len(VOLUMES) or set(states) != {STANDBY}):
            raise Failed(f"the cut node {node} has paths in the states {states}")

    def freeze(self, node: str) -> None:
        self.lab.fail(node, "freeze")
        self._moved_from(node)

    def freeze_and_thaw_without_fencing(self, node: str) -> None:
        """Nobody may be sure that it is dead, and it is not: when it goes on, its time is over."""
        self.lab.fail(node, "bmc", mode="unreachable")
        self.lab.fail(node, "freeze")
        time.sleep(FROZEN_S)
        cgroups.freeze(Path(self.lab.state(node)["cgroup"]), on=False)
        self._serve_again()

    def agent_killed_in_a_pause(self, node: str) -> None:
        """What it left in the kernel is adopted by the next one. (An emulated processor starts that too late for F.)"""
        before, boots = {volume: self._placed(volume) for volume in VOLUMES}, self._boots(node)
        self.world.do("ha", "pause", "--reason", "an agent is replaced")
        adopted = self._adopted(node)
        self._inside(node, f"kill -KILL $(cat {AGENT})")
        self.world.until(lambda: self._adopted(node) > adopted, "the next agent adopts the paths")
        self.world.do("ha", "resume")
        self._serve_again()
        after = {volume: self._placed(volume) for volume in VOLUMES}
        if before != after or self._boots(node) != boots:
            raise Failed(f"{node} or its paths did not stay as they were: {before}, then {after}")

    def agent_hangs_without_fencing(self, node: str) -> None:
        """The guard has no process to kill: only the reset by the watchdog ends the kernel's path."""
        fired = self._fired(node)
        self.lab.fail(node, "bmc", mode="unreachable")
        self._inside(node, f"kill -STOP $(cat {AGENT})")
        self.world.until(lambda: self._fired(node) > fired, "the watchdog fires")
        self._moved_from(node)

    def maintenance(self, node: str) -> None:
        self.world.do("node", "maintenance", "enter", node)
        self._moved_from(node)
        self.world.do("node", "maintenance", "exit", node)

    def moves(self, node: str) -> None:
        """A→B→A."""
        for target in (other(node), node):
            for volume in VOLUMES:
                if self.world.active(volume) != target:
                    self.world.do("service", "move", f"iscsi/{volume}", "--to", target)
            self._serve_again()

    # --- steps ----------------------------------------------------------------------------------------------------------

    def step(self, fault: Callable[[str], None], text: str) -> None:
        """Do it to the node that serves `files`, heal, wait for every path, write down what clients felt."""
        world = self.world
        node = world.active("files")
        boots, known = self._boots(node), self._claims()
        began = boottime()
        row = Row(text, node)
        fault(node)
        self.lab.heal(node)
        row.redundant_s = world.settle()
        row.stalls = {volume: writer.stall(began) for volume, writer in world.writers.items()}
        row.resets = self._boots(node) - boots
        row.claim = ",".join(sorted(proof for _, proof in self._claims() - known))
        self.rows.append(row)
        say(
            f"{text} of {node}: {_stalls(row)}, claim {row.claim or 'none'}, boots {row.resets}, "
            f"all paths after {row.redundant_s:.0f} s"
        )
        if world.watch.doubled:
            raise Failed(f"two paths served at once: {world.watch.doubled}")

    def all(self, chosen: Container[str] = ()) -> None:
        for fault, text in (
            (self.moves, "planned moves, there and back"),
            (self.agent_killed_in_a_pause, "agent killed during a pause"),
            (self.power_loss, "power loss"),
            (self.link_loss, "link loss"),
            (self.maintenance, "maintenance"),
            (self.freeze, "freeze, thawed when it is off"),
            (self.link_loss_without_fencing, "link loss, no power fencing"),
            (self.freeze_and_thaw_without_fencing, f"freeze of {FROZEN_S:.0f} s, no power fencing"),
            (self.agent_hangs_without_fencing, "agent hangs, no power fencing"),
        ):
            if not chosen or fault.__name__ in chosen:
                self.step(fault, text)

    # --- looks ----------------------------------------------------------------------------------------------------------

    def _moved_from(self, node: str) -> None:
        """Each volume was seen on the other node; a node that is back may soon get some again."""
        left = set(VOLUMES)

        def gone() -> bool:
            left.difference_update([volume for volume in left if self.world.active(volume) == other(node)])
            return not left

        self.world.until(gone, f"{other(node)} serves")

    def _serve_again(self) -> None:
        self.world.until(self.world.settled, "every path is back")

    def _adopted(self, node: str) -> int:
        """How often agents of that node have said that they adopt something."""
        return self.lab.log_file(node, "holdfast-agent").read_text().count("event=adopted")

    def _placed(self, volume: str) -> tuple[str, int]:
        found = self.world.instance(volume)
        return found["node"], found["epoch"]

    def _boots(self, node: str) -> int:
        return int(self.lab.state(node)["boots"])

    def _fired(self, node: str) -> int:
        return sum(1 for e in self.lab.events() if e["kind"] == "watchdog-fired" and e["node"] == node)

    def _inside(self, node: str, command: str) -> str:
        return self.lab.exec(node, ["sh", "-c", command], 60).stdout.strip()

    def _claims(self) -> set[tuple[str, str]]:
        """Incident and proof, of those that had one. An incident may go on through several faults."""
        return {(found["id"], found["proof"]) for found in self._incidents() if found["proof"]}

    def _incidents(self) -> list[dict[str, Any]]:
        return list(json.loads(self.world.do("incident", "list", "--json")))


def _stalls(row: Row) -> str:
    return ", ".join(f"{volume} stalled {seconds:.1f} s" for volume, seconds in row.stalls.items())


def table(rows: list[Row]) -> str:
    heads = "".join(f" {volume:>6} |" for volume in VOLUMES)
    lines = [
        f"| {'longest stall in s':34} |{heads} claim | boots | all paths after |",
        "|---|---:|---:|---:|---|---:|---:|",
    ]
    for row in rows:
        stalls = "".join(f" {row.stalls[volume]:6.1f} |" for volume in VOLUMES)
        claim = f" {row.claim or '–':5} | {row.resets:5} | {row.redundant_s:13.0f} s |"
        lines.append(f"| {row.fault:34} |{stalls}{claim}")
    return "\n".join(lines)


def read_back(world: World) -> list[str]:
    """End the writers; what is wrong with what they read."""
    problems = []
    for volume, writer in world.writers.items():
        found = writer.stop()
        say(f"{volume}: {json.dumps(found)}")
        if "error" in found or found["lost"] or found["torn"] or found["stale"] or found.get("errors"):
            problems.append(f"{volume}: {found}")
    return problems


def accept(chosen: Container[str] = (), logs: Path | None = None) -> int:
    """0: everything was kept. `chosen`: names of faults (methods of Acceptance); none: all of them."""
    began = time.monotonic()
    try:
        with cluster(logs) as world:
            world.settle()
            say(f"{time.monotonic() - began:.0f} s: both volumes are written to, over {len(STORAGE)} paths each")
            acceptance = Acceptance(world)
            try:
                acceptance.all(chosen)
            finally:
                print(table(acceptance.rows), flush=True)
            problems = read_back(world)
    except (Failed, HoldfastError) as failure:
        problems = [str(failure)]
    for problem in problems:
        say(f"FAILED: {problem}")
    say(f"cluster: {'failed' if problems else 'all kept'}, {time.monotonic() - began:.0f} s")
    return 1 if problems else 0
