"""Made-up clusters for bench/planner.py: unequal nodes, unequal instances, a legal placement that nobody tidied up."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from holdfast.core.model import Exclusivity, InstanceSpec, Role
from holdfast.core.policy import RuleKind, RuleSpec
from holdfast.core.view import View
from holdfast.sim.setup import InstanceSetup, NodeSetup
from holdfast.sim.still import view_of

NODE_SIZES = (3, 4, 5)
INSTANCE_GIB = (1, 1, 2, 2, 4, 8)
CORES_PER_GIB = 0.25
PRIORITIES = (100, 500, 500, 900)


@dataclass(frozen=True)
class World:
    nodes: dict[str, NodeSetup]
    instances: dict[str, InstanceSetup]
    rules: tuple[RuleSpec, ...] = ()

    @property
    def view(self) -> View:
        return view_of(self.nodes, self.instances, self.rules)

    @property
    def fullest(self) -> str:
        used = dict.fromkeys(self.nodes, 0)
        for setup in self.instances.values():
            used[setup.node] += setup.spec.memory_mib
        return max(sorted(used), key=lambda name: used[name])


def make(nodes: int, instances: int, load: float, *, ruled: bool, seed: int = 1) -> World:
    """`load`: how much of all memory is in use. `ruled`: of twenty instances one pair must be apart, one together."""
    chance = random.Random(seed)
    needs = {f"vm/{number:05}": chance.choice(INSTANCE_GIB) * 1024 for number in range(instances)}
    sizes = [NODE_SIZES[number % len(NODE_SIZES)] for number in range(nodes)]
    unit = sum(needs.values()) / load / sum(sizes)
    memory = {f"node{number:04}": max(int(size * unit), 8 * 1024) for number, size in enumerate(sizes)}
    setups = {name: NodeSetup(name, mib / 1024 * CORES_PER_GIB, mib, (Role.COMPUTE,)) for name, mib in memory.items()}
    rules = tuple(_rules(list(needs))) if ruled else ()
    homes = _homes(needs, memory, rules, chance)
    made = {name: InstanceSetup(_spec(name, mib, chance), homes[name]) for name, mib in needs.items()}
    return World(setups, made, rules)


def _spec(name: str, memory_mib: int, chance: random.Random) -> InstanceSpec:
    cpu = memory_mib / 1024 * CORES_PER_GIB
    priority = chance.choice(PRIORITIES)
    return InstanceSpec(
        name, "vm", name, Exclusivity.STRICT, Role.COMPUTE, cpu=cpu, memory_mib=memory_mib, priority=priority
    )


def _rules(names: list[str]) -> Iterator[RuleSpec]:
    for start in range(0, len(names) - 3, 20):
        yield RuleSpec(f"apart-{start:05}", RuleKind.ANTI_AFFINITY, tuple(names[start : start + 2]))
        yield RuleSpec(f"together-{start:05}", RuleKind.AFFINITY, tuple(names[start + 2 : start + 4]))


def _homes(
    needs: Mapping[str, int], memory: Mapping[str, int], rules: tuple[RuleSpec, ...], chance: random.Random
) -> dict[str, str]:
    free = dict(memory)
    nodes = list(memory)
    pairs = {rule.instances[1]: rule for rule in rules}
    homes: dict[str, str] = {}
    for name, need in needs.items():
        rule = pairs.get(name)
        mate = homes[rule.instances[0]] if rule else ""
        apart = mate if rule and rule.kind is RuleKind.ANTI_AFFINITY else ""
        tries = [chance.choice(nodes) for _ in range(4)]
        fitting = [node for node in tries if free[node] >= need and node != apart]
        node = fitting[0] if fitting else max((node for node in nodes if node != apart), key=lambda name: free[name])
        if mate and not apart:
            node = mate
        homes[name] = node
        free[node] -= need
    return homes
