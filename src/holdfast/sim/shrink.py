"""Make a scenario that breaks an invariant as small as it gets while it still breaks it.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002) over the
timeline, then instances, rules and nodes, then rounder times; again from the start as long as that helped. The seed stays.
Each candidate is read back from its own text before it is run, so that the file replays exactly what was tried.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from holdfast.core.policy import RuleKind, RuleSpec
from holdfast.errors import InvalidInput
from holdfast.sim.scenario import loads
from holdfast.sim.setup import InstanceSetup, Scenario, Step
from holdfast.sim.writing import dump

T = TypeVar("T")

MAX_RUNS = 400
AFTER_VIOLATION_S = 1.0
"""A shrunk scenario goes on for so long after its violation."""
ROUNDINGS_S = (60.0, 10.0, 1.0, 0.1)
"""Times are rounded to the coarsest of these that keeps the violation."""
GAPS_S = (5.0, 30.0, 60.0, 150.0)
"""Waits between steps are shortened to the least of these that keeps the violation."""
_NAMED = re.compile(r"(?P<invariant>CRASH: \w+|[^\s:]+)( at (?P<at>[0-9.]+) s)?")


@dataclass(frozen=True, slots=True)
class Violation:
    """What a text of `Result.violations` names: INV-1, LIVE-1, the kind of a crash …, and when."""

    invariant: str
    at: float | None
    text: str


def parse_violation(text: str) -> Violation:
    found = _NAMED.match(text)
    assert found is not None, "a violation begins with the name of its invariant"
    at = found["at"]
    return Violation(found["invariant"], float(at) if at else None, text)


Find = Callable[[Scenario], Sequence[str]]
"""Runs a scenario and returns its violations; raises nothing."""
Tell = Callable[[str], None]


class OutOfRuns(Exception):
    """The bound of runs is reached: what was found so far must do."""


@dataclass
class Shrinker:
    """One reduction. `scenario` is always the smallest found so far that still breaks the invariant."""

    scenario: Scenario
    invariant: str
    find: Find
    tell: Tell
    max_runs: int = MAX_RUNS
    runs: int = 0
    violation: Violation | None = None

    def run(self) -> Scenario:
        """The smallest scenario found within the bound of runs, or until Ctrl-C."""
        try:
            while self._round():
                pass
        except (OutOfRuns, KeyboardInterrupt):
            self.tell(f"stopped after {self.runs} runs")
        return self.scenario

    def _round(self) -> bool:
        """All reductions once; whether one of them helped."""
        before = self.scenario
        self._stop_early()
        self._minimise("steps", self.scenario.timeline, without_steps)
        self._minimise("instances", tuple(before.instances), without_instances)
        self._minimise("rules", tuple(rule.id for rule in before.rules), without_rules)
        self._minimise("nodes", tuple(before.nodes), without_nodes)
        self._round_times()
        return self.scenario != before

    # --- trying

    def _try(self, candidate: Scenario | None) -> bool:
        """Take the candidate if it still breaks the invariant."""
        if candidate is None or candidate == self.scenario:
            return False
        try:
            candidate = loads(dump(candidate), candidate.name)
        except InvalidInput:  # e.g. an `add` went whose instance is named later
            return False
        if self.runs >= self.max_runs:
            raise OutOfRuns
        self.runs += 1
        found = [v for v in map(parse_violation, self.find(candidate)) if v.invariant == self.invariant]
        if not found:
            return False
        self.scenario, self.violation = candidate, found[0]
        self.tell(f"run {self.runs}: {size(candidate)}")
        return True

    def _minimise(
        self, what: str, items: Sequence[T], without: Callable[[Scenario, Sequence[T]], Scenario | None]
    ) -> None:
        """Remove as many of the items as possible: large parts first, single ones last."""
        self.tell(f"{len(items)} {what} …")
        left, part = list(items), len(items)
        while left and part >= 1:
            position = 0
            while position < len(left):
                gone = left[position : position + part]
                if self._try(without(self.scenario, gone)):
                    del left[position : position + part]
                else:
                    position += part
            part = min(part, len(left)) // 2

    # --- the time

    def _stop_early(self) -> None:
        """End it right after its violation; by halves where that does not do (or no time is known)."""
        if self.violation is not None and self.violation.at is not None:
            self._try(ended_at(self.scenario, self.violation.at + AFTER_VIOLATION_S))
        step = self.scenario.until / 2
        while step > 10.0:
            if not self._try(ended_at(self.scenario, self.scenario.until - step)):
                step /= 2
        for gap in GAPS_S:
            if self._try(hastened(self.scenario, gap)):
                break

    def _round_times(self) -> None:
        for unit in ROUNDINGS_S:
            if self._try(rounded(self.scenario, unit)):
                break
        for index in range(len(self.scenario.timeline)):
            for unit in ROUNDINGS_S:
                if self._try(rounded(self.scenario, unit, only=index)):
                    break


# --- smaller scenarios ---------------------------------------------------------------------------------------------------


def without_steps(scenario: Scenario, gone: Sequence[Step]) -> Scenario:
    return replace(scenario, timeline=tuple(step for step in scenario.timeline if step not in gone))


def without_instances(scenario: Scenario, gone: Sequence[str]) -> Scenario:
    """Without these, what happens to them, and their part in rules."""
    return replace(
        scenario,
        instances={name: setup for name, setup in scenario.instances.items() if name not in gone},
        rules=_rules_of(scenario, [name for name in scenario.instances if name not in gone]),
        timeline=tuple(step for step in scenario.timeline if step.args.get("instance") not in gone),
    )


def _rules_of(scenario: Scenario, instances: Sequence[str]) -> tuple[RuleSpec, ...]:
    kept = []
    for rule in scenario.rules:
        left = tuple(name for name in rule.instances if name in instances)
        after = tuple(name for name in rule.after if name in instances)
        pairs = rule.kind in (RuleKind.AFFINITY, RuleKind.ANTI_AFFINITY)
        if len(left) >= (2 if pairs else 1) and bool(after) is bool(rule.after):
            kept.append(replace(rule, instances=left, after=after))
    return tuple(kept)


def without_rules(scenario: Scenario, gone: Sequence[str]) -> Scenario:
    return replace(scenario, rules=tuple(rule for rule in scenario.rules if rule.id not in gone))


def without_nodes(scenario: Scenario, gone: Sequence[str]) -> Scenario | None:
    """Without these and what happens to them; what began on them is placed by the manager. None if no node is left."""
    nodes = {name: node for name, node in scenario.nodes.items() if name not in gone}
    if not nodes:
        return None
    copies = [name for name, setup in scenario.instances.items() if setup.spec.home in gone]
    scenario = without_instances(scenario, copies) if copies else scenario
    rules = []
    for rule in scenario.rules:
        left = {node: priority for node, priority in rule.nodes.items() if node not in gone}
        if left or not rule.nodes:
            rules.append(replace(rule, nodes=left))
    return replace(
        scenario,
        nodes=nodes,
        instances={name: _instance_without(setup, gone) for name, setup in scenario.instances.items()},
        rules=tuple(rules),
        timeline=tuple(_steps_without(scenario.timeline, gone)),
    )


def _instance_without(setup: InstanceSetup, gone: Sequence[str]) -> InstanceSetup:
    listed = tuple(node for node in setup.spec.nodes if node not in gone)
    return InstanceSetup(replace(setup.spec, nodes=listed), "" if setup.node in gone else setup.node)


def _steps_without(steps: Iterable[Step], gone: Sequence[str]) -> Iterator[Step]:
    for step in steps:
        if any(step.args.get(key) in gone for key in ("node", "from", "to", "home")):
            continue
        named = step.args.get("nodes", ())
        left = tuple(node for node in named if node not in gone)
        if named and not left:
            continue
        yield replace(step, args={**step.args, "nodes": left}) if named else step


def ended_at(scenario: Scenario, until: float) -> Scenario:
    """What would come later does not happen."""
    until = round(until, 3)
    if until >= scenario.until:
        return scenario
    return replace(scenario, until=until, timeline=tuple(step for step in scenario.timeline if step.at <= until))


def hastened(scenario: Scenario, gap: float) -> Scenario:
    """No wait between two steps is longer than `gap`."""
    saved, last, steps = 0.0, 0.0, []
    for step in scenario.timeline:
        saved += max(0.0, step.at - last - gap)
        last = step.at
        steps.append(replace(step, at=round(step.at - saved, 3)))
    return replace(scenario, timeline=tuple(steps), until=round(scenario.until - saved, 3))


def rounded(scenario: Scenario, unit: float, *, only: int = -1) -> Scenario:
    """Times (and lengths) of all steps, or of one, to multiples of `unit`; order is kept. `until` never shrinks."""

    def near(seconds: float) -> float:
        return round(round(seconds / unit) * unit, 3)

    def nearer(step: Step) -> Step:
        length = step.args.get("for")
        args = {**step.args, "for": near(length) or unit} if length else step.args
        return replace(step, at=near(step.at), args=args)

    steps = [nearer(step) if only in (-1, index) else step for index, step in enumerate(scenario.timeline)]
    if any(one.at > other.at for one, other in pairwise(steps)):
        return scenario
    until = max(scenario.until, steps[-1].at if steps else 0.0)
    return replace(scenario, timeline=tuple(steps), until=until)


def size(scenario: Scenario) -> str:
    """In a few words."""
    return (
        f"{len(scenario.nodes)} nodes, {len(scenario.instances)} instances, {len(scenario.rules)} rules, "
        f"{len(scenario.timeline)} steps, {scenario.until:g} s"
    )
