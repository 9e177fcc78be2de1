"""One scenario, one seed, one result (DESIGN section 8)."""

import gc
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from holdfast.core.history import ManagerView
from holdfast.core.model import InstanceStatus
from holdfast.sim.actions import perform
from holdfast.sim.cast import step
from holdfast.sim.events import Event
from holdfast.sim.scenario import Scenario, Step
from holdfast.sim.world import LIVE_BOUND_S, World
from holdfast.store import keys
from holdfast.store.codec import decode

PHASE_S = 3.0
"""After a skip the last up to this many seconds are simulated, so that faults meet every phase of the periodic work."""
MAX_VIOLATIONS = 20
LOOK_S = 0.05
"""How often `Simulation.until` looks."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run leaves behind."""

    events: list[Event]
    final: dict[str, dict[str, dict[str, Any]]]
    violations: list[str]
    simulated_s: float
    skipped_s: float = 0.0
    """Part of `simulated_s` that was passed over because nothing but beats had happened for long."""
    notes: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The public form: one JSON object, the same bytes for the same scenario and seed."""
        document = {"events": self.events, "final": self.final, "violations": self.violations}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def run(scenario: Scenario, *, seed: int = 0, skip_quiet: bool = False) -> Result:
    """Simulate the scenario to its end. `skip_quiet` passes over calm stretches (docs/simulator.md). Never raises for what
    the simulated cluster does: a crash of a daemon is a violation."""
    with _quiet():
        return _run(scenario, seed, skip_quiet)


def _run(scenario: Scenario, seed: int, skip_quiet: bool) -> Result:
    """In a function of its own, so that nothing holds the world any more when the silence ends."""
    runner = _Runner(scenario, seed, skip_quiet)
    runner.go()
    result = runner.result()
    runner.world.loop.wind_down()
    return result


@contextmanager
def simulation(scenario: Scenario, *, seed: int = 0) -> Iterator["Simulation"]:
    """The scenario's cluster at t = 0, for a program that says what happens next; its own timeline is left out."""
    with _quiet():
        steered = Simulation(scenario, seed)
        steered.world.start()
        try:
            yield steered
        finally:
            steered.world.loop.wind_down()
            del steered.world  # thrown away while nobody listens to its tasks' complaints


class Simulation:
    """Made by `simulation`. Between two calls the simulated world stands still and can be looked at."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.world = World(scenario, seed)

    def do(self, verb: str, **fields: Any) -> None:
        """A verb of a timeline, now. `one_way`, `from_` and `for_` stand for the names that Python cannot spell."""
        perform(self.world, step(self.world.log.now(), verb, **fields))

    def advance(self, seconds: float) -> None:
        """Let so much time pass. Raises what the simulated daemons and the simulator itself raised."""
        self.world.loop.run_until(self.world.loop.time() + seconds)
        if self.world.loop.failures:
            raise self.world.loop.failures[0]

    def until(self, condition: Callable[[], bool], within: float) -> float:
        """Let time pass until the condition holds; gives the seconds it took. Raises TimeoutError after `within` seconds."""
        began = self.world.loop.time()
        while not condition():
            if self.world.loop.time() - began >= within:
                raise TimeoutError(f"not within {within:g} simulated seconds")
            self.advance(LOOK_S)
        return self.world.loop.time() - began

    @property
    def violations(self) -> list[str]:
        """Broken invariants so far."""
        return list(self.world.checks.violations)


class _Runner:
    def __init__(self, scenario: Scenario, seed: int, skip_quiet: bool) -> None:
        self._scenario = scenario
        self._skip = skip_quiet
        self.world = World(scenario, seed)
        self._done_at = 0.0
        """Scenario time of the last action."""
        self._judged = False

    def go(self) -> None:
        self.world.start()
        for line in self._scenario.timeline:
            if line.at > self._scenario.until or self._broken():
                break
            self._advance(line.at)
            self._perform(line)
            self._done_at, self._judged = line.at, False
        if not self._broken():
            self._advance(self._scenario.until)

    def _perform(self, line: Step) -> None:
        """A mistake of the simulator is told like any crash, with all that happened before."""
        try:
            perform(self.world, line)
        except Exception as error:
            self.world.loop.failures.append(error)

    def _advance(self, until: float) -> None:
        """Run to that scenario time, with a look at LIVE-1 on the way."""
        due = self._done_at + LIVE_BOUND_S
        if not self._judged and due <= until:
            self._run_to(due)
            if not self.world.pending and not self._judged:
                self._judge()
        self._run_to(until)

    def _judge(self) -> None:
        self._judged = True
        self.world.checks.alive()
        self.world.checks.affinity_kept()
        self.world.checks.copies_at_home()

    def _run_to(self, until: float) -> None:
        """Run to that scenario time."""
        world = self.world
        end = until - world.log.skipped_s
        world.loop.run_until(end, self._stop)
        while world.loop.time() < end and not self._broken():
            # Stopped early: nothing has happened for long. What follows is the same again, so leave it out.
            if not self._judged and not world.pending:
                self._judge()
            left = end - world.loop.time()
            skipped = max(0.0, left - world.random.uniform(0.0, PHASE_S))
            world.log.skipped_s += skipped
            end -= skipped
            world.loop.run_until(end, self._broken)
            if world.loop.time() >= end - 1e-9:
                break

    def _stop(self) -> bool:
        return self._broken() or (self._skip and self.world.calm())

    def _broken(self) -> bool:
        return bool(self.world.loop.failures) or len(self.world.checks.violations) >= MAX_VIOLATIONS

    def result(self) -> Result:
        world = self.world
        violations = list(world.checks.violations)
        violations += [f"CRASH: {error!r}" for error in world.loop.failures]
        log = world.log
        result = Result(log.events, final(world), violations, log.now(), log.skipped_s)
        return result


def final(world: World) -> dict[str, dict[str, dict[str, Any]]]:
    """How everything stands now."""
    entry = world.store.cluster.get(keys.MANAGER_VIEW)
    view = decode(entry.value, ManagerView, keys.MANAGER_VIEW) if entry else None
    nodes = {
        name: {
            "state": str(view.nodes.get(name, "never-seen")) if view else "never-seen",
            "power": "on" if machine.powered else "off",
            "claims": world.history.claims.get(name, []),
        }
        for name, machine in world.machines.items()
    }
    return {"instances": {name: _instance(world, name) for name in sorted(world.history.instances)}, "nodes": nodes}


def _instance(world: World, name: str) -> dict[str, str]:
    spec, placement = world.history.instances[name], world.history.placements.get(name)
    where = world.executors(name)
    node = where[0] if where else placement.node if placement else ""
    if spec.desired.value != "started":
        return {"state": spec.desired.value, "node": node}
    if where:
        return {"state": "started", "node": node}
    entry = world.store.cluster.get(keys.status(name))
    status = decode(entry.value, InstanceStatus, entry.key) if entry else None
    failed = status is not None and placement is not None and status.epoch == placement.epoch and status.failures > 0
    return {"state": "failed" if failed else "waiting", "node": node}


@contextmanager
def _quiet() -> Iterator[None]:
    """Simulated daemons say what simulated faults do to them; nobody wants to read that. And the dead are not to be mourned:
    tasks of dead processes are thrown away while they wait, which Python would complain about."""
    before = structlog.get_config()
    hook = sys.unraisablehook
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.unraisablehook = lambda _unraisable: None
    gc.disable()
    gc.freeze()  # what is there already is not searched for garbage afterwards
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        gc.enable()
        sys.unraisablehook = hook
        structlog.configure(**before)
