"""Doing a campaign: strike, wait until every service answers, undo, wait until the cluster is whole, strike again."""

import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from holdfast.errors import HoldfastError
from holdfast.lab import kernel
from holdfast.lab.campaign.alphabet import Until
from holdfast.lab.campaign.cast import Blow, Cast, choose, volume_name
from holdfast.lab.campaign.clients import Clients
from holdfast.lab.campaign.disks import DISKS, make_disk
from holdfast.lab.campaign.health import Health, services_missing
from holdfast.lab.campaign.plan import Step
from holdfast.lab.campaign.record import TOGETHER, Outcome, Turn
from holdfast.lab.campaign.report import Teller
from holdfast.lab.client import LabClient
from holdfast.lab.demo import stage, story
from holdfast.lab.demo.talk import Cluster
from holdfast.lab.watcher import Watcher, read_report

ANSWER_S = 90.0
"""Every service answers within so long while a fault is in force that the cluster tolerates: LIVE-1."""
WHOLE_S = 120.0
"""Everything is as before within so long after a fault was undone: LIVE-1."""
LOOK_S = 0.1
OFF_S = 60.0
PATIENCE_S = 20.0
"""For an answer of the API when nothing is wrong with the cluster."""
Answer = TypeVar("Answer")


class Broken(HoldfastError):
    """The campaign cannot go on: the cluster did not become whole, or a client ended."""


@dataclass(frozen=True, slots=True)
class _Before:
    """How things were before a fault."""

    fence_epochs: dict[str, int]
    sessions: dict[str, str]
    boots: dict[str, int]

    def is_over(self, node: dict[str, Any]) -> bool:
        """The node was claimed. One that carried nothing needs no claim when its watchdog has started it anew: it is up in
        another session."""
        name = node["id"]
        anew = bool(node["state"] == "up" and node["session"] != self.sessions[name])
        return anew or int(node["fence_epoch"]) > self.fence_epochs[name]


class Campaign:
    """One campaign in a lab that runs. `perform` leaves the lab as it is; whoever calls it decides what becomes of it."""

    def __init__(self, lab: LabClient, seed: int, tell: Teller) -> None:
        self._lab, self._seed, self._tell = lab, seed, tell
        self._cluster = Cluster(lab)
        self._health = Health(lab, self._cluster)
        self._watcher = Watcher(lab)
        self._volumes: list[str] = []
        """Instances, in the order of the numbers that a fault has for them."""
        self._began = 0.0
        self._acked = 0
        """Writes acknowledged up to the end of the last turn."""
        self._violations_seen = 0
        self._evidence: Path | None = None

    def perform(self, steps: Iterable[Step], wanted: int, volumes: int) -> Outcome:
        """Do `wanted` of the steps. What is lost or violated stands in the outcome, whatever ends it; HoldfastError if it
        cannot begin. KeyboardInterrupt ends the faults; a second one ends all."""
        outcome = Outcome(self._seed, wanted, clock_offsets=self._lab.options.clock_offsets)
        with ExitStack() as ending:
            ending.callback(self._cluster.close)
            self._set_up(ending, volumes)
            self._began = kernel.boottime()
            try:
                for step in steps:
                    if step.number > wanted:
                        break
                    self._turn(step, outcome)
            except KeyboardInterrupt:
                outcome.interrupt()
            except (HoldfastError, OSError, subprocess.SubprocessError) as error:
                outcome.violations.append(str(error))
            outcome.seconds = kernel.boottime() - self._began
            self._tell.step("reading back every write that was acknowledged")
            outcome.readbacks = self._clients.stop()
            try:
                report = self._watcher.stop()
            except HoldfastError as error:
                outcome.violations.append(str(error))
                report = read_report(self._watcher.path)
        outcome.looks, outcome.samples, outcome.longest_gap_s = report.looks, report.samples, report.longest_gap_s
        outcome.violations += [_twice(v) for v in report.violations[self._violations_seen :]]
        outcome.returned = self._health.returned
        if outcome.found:
            outcome.evidence = str(self._keep(outcome.found))
        return outcome

    def _set_up(self, ending: ExitStack, volumes: int) -> None:
        self._tell.step(f"creating {volumes + DISKS} volumes")
        for host in self._lab.status():
            if host["faults"] or host["power"] != "on":
                self._lab.heal(host["name"])
        names = [volume_name(number + 1) for number in range(volumes)]
        addresses = {name: stage.make_volume(self._lab, self._cluster, name) for name in names}
        disks = [make_disk(self._lab, self._cluster, f"disk{number + 1}") for number in range(DISKS)]
        self._volumes = [f"nfs/{name}" for name in names] + [f"iscsi/{disk.name}" for disk in disks]
        if missing := self._wait(self._health.missing, WHOLE_S):
            raise HoldfastError(f"the cluster is not whole: still waiting for {missing}", "See `holdfast lab status`.")
        self._tell.step("clients begin to ask, and a watcher reads the processes of all nodes")
        ending.enter_context(self._watcher)
        file = f"campaign-{self._seed}-{time.time_ns()}"
        self._clients = Clients(self._lab, stage.authority(self._lab), addresses, file, disks)
        ending.callback(self._clients.kill)
        self._clients.wait_first()

    # --- one fault ----------------------------------------------------------------------------------------------------

    def _turn(self, step: Step, outcome: Outcome) -> None:
        time.sleep(step.pause_s)
        drawn = [planned for planned in (step.first, step.second) if planned is not None]
        casts = self._answered(lambda: [choose(one, self._lab, self._cluster, self._volumes) for one in drawn])
        before = self._answered(self._before)
        offset = story.wall_offset(time.time(), kernel.boottime())
        turn = Turn(
            number=step.number,
            kind=TOGETHER if step.second else step.first.kind.name,
            text=" + ".join(one.name for one in casts),
            victim=" + ".join(one.victim for one in casts),
            since=outcome.turns[-1].whole if outcome.turns else self._began,
            began=kernel.boottime(),
            outage=step.first.kind.outage,
        )
        outcome.turns.append(turn)
        self._tell.step(f"{step.number}/{outcome.wanted} {turn.text}: {turn.victim}")
        main = next((one for one in casts if not one.planned.kind.light), casts[0])
        self._cluster.avoid = set(main.nodes) if not main.planned.kind.light else set()
        self._cluster.close()
        try:
            for one, at in zip(casts, (0.0, step.after_s), strict=False):
                time.sleep(max(0.0, turn.began + at - kernel.boottime()))
                self._strike(one, turn)
            self._in_force(turn, main, before)
        finally:
            self._undo(casts)
        turn.undone = kernel.boottime()
        self._become_whole(turn, before, {node for one in casts for node in one.nodes})
        turn.stalls = self._clients.stalls(turn.began)
        turn.acked, self._acked = self._clients.acked - self._acked, self._clients.acked
        turn.proofs = self._proofs(turn.began, offset)
        self._look_for_twice(turn)
        self._tell.turn(turn)
        if not turn.whole:
            raise Broken(f"the campaign ended with fault {turn.number}")

    def _before(self) -> _Before:
        status, hosts = self._cluster.get("/status"), self._lab.status()
        return _Before(
            {node["id"]: node["fence_epoch"] for node in status["nodes"]},
            {node["id"]: node["session"] for node in status["nodes"]},
            {host["name"]: host["boots"] for host in hosts},
        )

    def _strike(self, cast: Cast, turn: Turn) -> None:
        for blow in cast.strikes(self._lab.nodes):
            try:
                self._blow(blow, cast)
            except HoldfastError as error:  # the first of two may have taken away what the second is for
                turn.missed = error.message

    def _blow(self, blow: Blow, cast: Cast) -> None:
        if blow.how == "move":
            self._cluster.post(f"/instances/{cast.instance}/move", {"node": cast.target})
        elif blow.how == "maintenance":
            self._cluster.post(f"/nodes/{cast.nodes[0]}/maintenance", {"bring_back": False})
        else:
            self._lab.fail(blow.node, blow.how, **blow.details)

    def _in_force(self, turn: Turn, main: Cast, before: _Before) -> None:
        """Wait as long as the fault lasts."""
        kind = main.planned.kind
        struck = kernel.boottime()
        if kind.until is Until.DRAWN:
            self._wait(lambda: "the drawn time" if kernel.boottime() < struck + main.planned.seconds else "", WHOLE_S)
            return
        if kind.until is Until.OFF:
            self._wait_off(main)
            return
        alone = turn.kind != TOGETHER
        reached_at = 0.0

        def missing() -> str:
            nonlocal reached_at
            if self._bystanders(before, main.nodes):
                return ""  # more is out than the cluster tolerates: no more is asked of it
            missing = self._not_reached(main, before, alone)
            reached_at = 0.0 if missing else reached_at or kernel.boottime()
            return missing or self._silent(max(struck, reached_at))

        if late := self._wait(missing, ANSWER_S):
            self._violated(turn, f"LIVE-1: {ANSWER_S:g} s after {turn.text} still waiting for {late}")

    def _not_reached(self, main: Cast, before: _Before, alone: bool) -> str:
        """What has still to happen while the fault is in force, by the word of the API."""
        try:
            status: dict[str, Any] = self._cluster.get("/status")
        except HoldfastError as error:
            return error.message
        nodes = {node["id"]: node for node in status["nodes"]}
        match main.planned.kind.until:
            case Until.CLAIMED:
                left = [n for n in main.nodes if not before.is_over(nodes[n])]
                if left:
                    return f"the claim of {', '.join(left)} ({nodes[left[0]]['state']}: {nodes[left[0]]['note']})"
            case Until.ELECTED:
                if status["manager"]["node"] in ("", *main.nodes):
                    return "another manager to lead"
            case Until.EMPTIED:
                if carried := nodes[main.nodes[0]]["instances"]:
                    return f"{', '.join(carried)} to leave {main.nodes[0]}"
            case Until.MOVED:
                if alone and stage.instance(status, main.instance)["node"] != main.target:
                    return f"{main.instance} to move to {main.target}"
        return services_missing(status, main.nodes)

    def _silent(self, since: float) -> str:
        if why := self._clients.ended():
            raise Broken(f"a client ended: {why}")
        client = self._clients.silent(since)
        return f"{client} to answer its client" if client else ""

    def _undo(self, casts: list[Cast]) -> None:
        for one in casts:
            if any(strike.how == "shutdown" for strike in one.planned.kind.strikes):
                self._wait_off(one)  # what shuts down goes off by itself: it must not be healed before
        self._cluster.avoid = set()
        for node in sorted({blow.node for one in casts for blow in one.strikes(self._lab.nodes) if blow.node}):
            self._lab.heal(node)
        for one in casts:
            if one.planned.kind.until is Until.EMPTIED:
                path = f"/nodes/{one.nodes[0]}/maintenance"
                with suppress(HoldfastError):  # a node that stays in maintenance will not be whole
                    self._answered(lambda path=path: self._cluster.delete(path))  # type: ignore[misc]

    def _wait_off(self, cast: Cast) -> None:
        with suppress(HoldfastError):
            self._lab.wait_power(cast.nodes[0], "off", OFF_S)

    def _become_whole(self, turn: Turn, before: _Before, victims: set[str]) -> None:
        whole_at = 0.0

        def missing() -> str:
            nonlocal whole_at
            missing = self._health.missing() if not whole_at else ""
            if missing:
                return missing
            whole_at = whole_at or kernel.boottime()
            volume = self._clients.no_opens(turn.undone)
            return self._silent(whole_at) or (f"{volume} to open a new file" if volume else "")

        late = self._wait(missing, WHOLE_S)
        turn.bystanders = self._bystanders(before, victims)
        if late:
            self._violated(turn, f"LIVE-1: {WHOLE_S:g} s after {turn.text} was undone still waiting for {late}")
        else:
            turn.whole = kernel.boottime()

    def _bystanders(self, before: _Before, victims: Iterable[str]) -> list[str]:
        spared = {*victims, "client"}
        hosts = [host for host in self._lab.status() if host["name"] not in spared]
        return [h["name"] for h in hosts if h["power"] != "on" or h["boots"] != before.boots[h["name"]]]

    # --- what was seen ------------------------------------------------------------------------------------------------

    def _proofs(self, since: float, offset: float) -> list[str]:
        with suppress(HoldfastError):
            status = self._cluster.get("/status")
            incidents = [*status["recent_incidents"][::-1], *status["open_incidents"]]
            recent = [i for i in incidents if story.boottime_of(i["wall"], offset) >= since - story.BEFORE_S]
            return [incident["proof"] for incident in recent if incident["proof"]]
        return []

    def _look_for_twice(self, turn: Turn) -> None:
        found = read_report(self._watcher.path).violations
        for violation in found[self._violations_seen :]:
            self._violated(turn, _twice(violation))
        self._violations_seen = len(found)

    def _violated(self, turn: Turn, text: str) -> None:
        turn.violations.append(text)
        self._keep([text], f"fault-{turn.number}")

    def _keep(self, why: list[str], name: str = "end") -> Path:
        if self._evidence is None:
            self._evidence = Path(tempfile.mkdtemp(prefix="holdfast-campaign-"))
        self._health.dump(self._evidence / name, why, self._watcher.path)
        return self._evidence

    def _answered(self, question: Callable[[], Answer]) -> Answer:
        """The answer to a question that nobody may be able to answer at this moment. Raises HoldfastError."""
        end = kernel.boottime() + PATIENCE_S
        while True:
            try:
                return question()
            except HoldfastError:
                if kernel.boottime() > end:
                    raise
            time.sleep(LOOK_S)

    def _wait(self, missing: Callable[[], str], bound_s: float) -> str:
        """Wait until nothing is missing; what still is after the bound."""
        end = kernel.boottime() + bound_s
        while (late := missing()) and kernel.boottime() < end:
            time.sleep(LOOK_S)
        return late


def _twice(violation: Any) -> str:
    where = ", ".join(f"{e['host']} (process {e['pid']})" for e in violation.executors)
    return f"INV-1: {violation.instance} is executed by {where} at {violation.boottime:.3f}"


def offsets(seed: int, nodes: int) -> dict[str, float]:
    """A node whose clock is ahead, as the seed has it: clocks cannot be set later."""
    chance = random.Random(seed ^ 0x0FF5E7)  # noqa: S311 - to be repeated, not to be secret
    return {f"n{chance.randrange(nodes) + 1}": float(chance.randrange(60, 86400))}
