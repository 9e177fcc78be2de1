"""In some random scenarios the whole store is lost, and restored from a backup: steps beside those of the episodes.

Drawn apart from all else, so that the scenarios of other seeds stay what they are. Around the loss nodes stand still, are
cut off or lose their power; a node may have been added since the backup; and the same backup may be restored once more.
Every fault ends.

What is not generated: that all who knew a node are gone for good with their disks, and that node stands still and goes on
after T_wait (docs/safety.md, limits). So one node that keeps no store is spared while another one is late.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from holdfast.core.timing import Timing
from holdfast.sim.cast import step
from holdfast.sim.setup import Scenario, Step

LOST = 0.08
"""The part of the scenarios in which it happens; in those without a node to tell of a late one, none is late."""
LATE = 0.6
AGAIN = 0.35
"""How often the same backup is restored a second time."""
FRESH = 0.3
FAULTS = (("freeze", "thaw"), ("freeze", "thaw"), ("network-off", "network-on"), ("power-off", "power-on"),
          ("agent-stop", "agent-start"))  # fmt: skip
LAST_S = 600.0
"""It is over so long before the end, where there is time for that."""
KNOWN_AFTER_S = 15.0
"""Everybody knows a node that was added so long ago."""


def with_loss(scenario: Scenario, seed: int) -> Scenario:
    """The scenario of that seed, perhaps with the loss of its store."""
    random = Random(f"holdfast fuzz loss {seed}")  # noqa: S311
    if random.random() >= LOST or scenario.until < 2 * LAST_S:
        return scenario
    at = random.uniform(120.0, scenario.until - LAST_S)
    late = _late(scenario, random)
    steps = [*scenario.timeline, *_steps(random, scenario, at, late)]
    nodes = {name: replace(node, joined=False) if name == late else node for name, node in scenario.nodes.items()}
    instances = {
        name: replace(setup, node="") if setup.node == late else setup for name, setup in scenario.instances.items()
    }
    timeline = tuple(sorted(steps, key=lambda one: one.at))
    return replace(scenario, nodes=nodes, instances=instances, timeline=timeline)


def _late(scenario: Scenario, random: Random) -> str:
    """A node that is added only shortly before the loss; "" if none can be. It keeps no store, somebody else neither, and
    nothing at the beginning needs it."""
    free = [name for name in scenario.nodes if name not in scenario.management]
    named = {node for setup in scenario.instances.values() for node in (*setup.spec.nodes, setup.spec.home)}
    named |= {node for rule in scenario.rules for node in rule.nodes}
    able = [name for name in free if name not in named]
    return random.choice(able) if len(free) > 1 and able and random.random() < LATE else ""


def _steps(random: Random, scenario: Scenario, at: float, late: str) -> Iterator[Step]:
    """One loss or two, each with a restore and faults around it."""
    added = at - random.uniform(KNOWN_AFTER_S, 200.0)
    oldest = added if late else at
    backup = max(0.0, oldest - random.choice((0.0, 0.0, 60.0, 300.0, 1e6)))
    if late:
        yield step(max(1.0, added), "add-node", node=late)
    yield from _moves(random, scenario, backup, at, late)
    yield from _loss(random, scenario, at, backup, late)
    if random.random() < AGAIN:
        yield from _loss(random, scenario, at + random.uniform(20.0, 250.0), backup, late)


def _moves(random: Random, scenario: Scenario, backup: float, at: float, late: str) -> Iterator[Step]:
    """What the backup does not know."""
    names = [name for name, setup in scenario.instances.items() if not setup.spec.home]
    for name in random.sample(names, min(len(names), random.randint(0, 3))):
        to = late if late and random.random() < 0.5 else random.choice(list(scenario.nodes))
        yield step(random.uniform(max(backup, at - 80.0), at), "relocate", instance=name, to=to)


def _loss(random: Random, scenario: Scenario, at: float, backup: float, late: str) -> Iterator[Step]:
    end = at + random.uniform(30.0, 280.0)
    spared = next((name for name in scenario.nodes if late not in ("", name) and name not in scenario.management), "")
    touched = random.sample(list(scenario.nodes), random.randint(0, min(3, len(scenario.nodes))))
    for node in [name for name in touched if name != spared]:
        begin, back = random.choice(FAULTS)
        yield step(at + random.uniform(-2.0, 2.0) * scenario.timing.F, begin, node=node)
        yield step(_back(random, scenario.timing, at, end), back, node=node)
    yield step(at, "store-lost")
    where = random.choice([name for name in scenario.nodes if name not in (late, spared)])
    delay = random.uniform(0.0, 40.0)
    yield step(at + delay, "store-restore", node=where, backup=backup, fresh=random.random() < FRESH)
    for node in scenario.nodes:  # operators see to it that everything is on in the end
        yield step(end + 30.0, "thaw", node=node)
        yield step(end + 31.0, "power-on", node=node)
        yield step(end + 32.0, "agent-start", node=node)


def _back(random: Random, timing: Timing, at: float, end: float) -> float:
    """Often around a number of the protocol."""
    if random.random() < 0.5:
        return at + random.choice((timing.F, timing.B, timing.T_wait, 2 * timing.T_wait)) + random.uniform(-2.0, 8.0)
    return random.uniform(at + 3 * timing.F, end)
