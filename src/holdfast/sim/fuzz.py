"""Random scenarios, each a pure function of its seed: a cluster, instances with rules, hours of calm with faults in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from holdfast.core.model import Exclusivity, Role, ShutdownPolicy
from holdfast.core.policy import RuleKind, RuleSpec, Scope
from holdfast.core.timing import PROFILES, profile
from holdfast.errors import InvalidInput
from holdfast.sim.cast import LONGEST_S, Cast, step
from holdfast.sim.episodes import play
from holdfast.sim.fields import INSTANCE_FIELDS
from holdfast.sim.losses import with_loss
from holdfast.sim.scenario import DETECTION
from holdfast.sim.setup import KINDS, ClusterSetup, InstanceSetup, NodeSetup, Scenario, Step, instance_setup

SETTLE_S = 60.0
"""The cluster is left in peace for so long in the beginning."""
CALM_S = 90.0
"""And for at least so long after each group of episodes, so that LIVE-1 can be checked."""
PER_HOUR = (6, 10)
"""Groups of episodes in an hour, fewest and most."""
PROTECTION = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 1.0), (0.6, 0.6), (0.5, 1.0))
"""Share of nodes with a fence device, and with a watchdog. Without fence devices it is time that proves most."""
TOGETHER = (0.7, 0.25, 0.05)
"""How often a group has one episode, two or three that overlap."""
DATAGRAMS = 1 / 32
"""Share of the scenarios in which real beacons send datagrams: they take twenty times as long."""
NODES = (3, 4, 5, 5, 5, 6, 7)
"""Numbers of nodes where none is asked for."""
LIMITED = 0.15
"""The part of the scenarios in which nodes have slots …"""
RACKED = 0.2
"""… in which they stand in racks …"""
EXPORTED = 0.25
"""… in which there is a group of nodes with volumes that need nothing, as those of an iSCSI target group …"""
GATEWAYS = 0.3
"""… and in which there is an S3 or a backup cluster, or both: servers that are spread, and a gateway for each node."""

S3, BACKUP = ("s3/main", Role.S3), ("backup/archive", Role.BACKUP)
_PLAIN = {field.name: field.default for field in INSTANCE_FIELDS}


@dataclass(frozen=True, slots=True)
class Shape:
    """What all scenarios of a campaign have in common."""

    hours: float = 1.0
    """Simulated hours of each."""
    nodes: int = 0
    """Number of nodes; 0: three to seven."""
    detection: str = ""
    """`model` or `datagrams` (holdfast.sim.detection); empty: the model, and each so many seeds datagrams."""

    def __post_init__(self) -> None:
        if not 0 < self.hours <= 24 * 30:
            raise InvalidInput(f"{self.hours:g} simulated hours per seed cannot be", "Choose more than 0, at most 720.")
        if self.detection not in ("", *DETECTION):
            raise InvalidInput(f"there is no detection {self.detection!r}", f"Choose one of: {', '.join(DETECTION)}.")
        if self.nodes and not 2 <= self.nodes <= 64:
            raise InvalidInput(f"a cluster of {self.nodes} nodes is not simulated", "Choose 2 to 64.")


def generate(seed: int, shape: Shape | None = None) -> Scenario:
    """The scenario of that seed: equal on any machine and under any hash seed."""
    shape = shape or Shape()
    random = Random(f"holdfast fuzz {seed}")  # noqa: S311 - to be repeatable is its purpose
    nodes = _limited(seed, _nodes(random, shape.nodes or random.choice(NODES)))
    instances = _instances(random, nodes)
    gateways = _gateways(seed, nodes)
    name = random.choice(sorted(PROFILES))
    cast = Cast(
        random,
        profile(name),
        tuple(nodes),
        tuple(node.name for node in nodes.values() if node.power_fencing),
        (*instances, *gateways),
        tuple(i for i in instances if i.startswith("vm/")) or tuple(instances),
    )
    detection = "datagrams" if random.random() < DATAGRAMS else "model"
    scenario = Scenario(
        name=f"fuzz seed {seed}",
        nodes=nodes,
        instances={**instances, **_exported(seed, nodes), **gateways},
        rules=_racked(seed, nodes, tuple(_rules(random, nodes, instances))),
        timeline=tuple(sorted(_timeline(cast, shape.hours * 3600), key=lambda step: step.at)),
        until=round(shape.hours * 3600, 3),
        profile=name,
        cluster=ClusterSetup(
            shutdown_policy=random.choice(tuple(ShutdownPolicy)),
            dead_node_power_on=random.random() < 0.85,
            management=random.choice((3, 3, 5)),
        ),
        simulation={"detection": shape.detection or detection},
    )
    return with_loss(scenario, seed)


# --- the cluster --------------------------------------------------------------------------------------------------------


def _nodes(random: Random, count: int) -> dict[str, NodeSetup]:
    """All have fence devices and watchdogs, or only one of the two, or it is mixed (some nodes may have neither)."""
    fencing, watchdogs = random.choice(PROTECTION)
    management = random.choice((3, count))
    narrow = random.random() < 0.25
    nodes = {}
    for number in range(count):
        name = f"node{number + 1}"
        roles = [role for role in Role if role is not Role.MANAGEMENT or number < management]
        if narrow and random.random() < 0.4:
            roles.remove(random.choice((Role.COMPUTE, Role.STORAGE, Role.S3)))
        nodes[name] = NodeSetup(
            name,
            roles=tuple(roles),
            power_fencing=random.random() < fencing,
            watchdog=random.random() < watchdogs,
        )
    return nodes


def _limited(seed: int, nodes: dict[str, NodeSetup]) -> dict[str, NodeSetup]:
    """In some scenarios nodes carry only so many virtual machines. Drawn apart from all else, which stays what it was."""
    random = Random(f"holdfast fuzz slots {seed}")  # noqa: S311
    if random.random() >= LIMITED:
        return nodes
    slots = {name: {"vm": random.randint(1, 4)} for name in nodes if random.random() < 0.7}
    return {name: replace(node, slots=slots.get(name, {})) for name, node in nodes.items()}


def _racked(seed: int, nodes: dict[str, NodeSetup], rules: tuple[RuleSpec, ...]) -> tuple[RuleSpec, ...]:
    """In some scenarios the nodes stand in racks, and rules of anti-affinity are about these. Drawn apart, too."""
    random = Random(f"holdfast fuzz racks {seed}")  # noqa: S311
    if random.random() >= RACKED:
        return rules
    for name, node in nodes.items():
        rack = random.choice(("a", "a", "b", "b", "c", ""))
        nodes[name] = replace(node, labels={"rack": rack} if rack else {})
    return tuple(
        replace(rule, by=Scope.DOMAIN) if rule.kind is RuleKind.ANTI_AFFINITY and random.random() < 0.8 else rule
        for rule in rules
    )


def _exported(seed: int, nodes: Mapping[str, NodeSetup]) -> dict[str, InstanceSetup]:
    """In some scenarios there are volumes that are counted, so that the manager evens them out by itself. Drawn apart, too;
    only the faults of their nodes hit them."""
    random = Random(f"holdfast fuzz exports {seed}")  # noqa: S311
    able = [name for name, node in nodes.items() if Role.STORAGE in node.roles]
    if random.random() >= EXPORTED or len(able) < 2:
        return {}
    group = tuple(sorted(random.sample(able, random.randint(2, min(4, len(able))))))
    volumes = [f"iscsi/export-{number + 1}" for number in range(random.randint(2, 6))]
    return {name: instance_setup(name, {**_PLAIN, "nodes": group}) for name in volumes}


def _gateways(seed: int, nodes: Mapping[str, NodeSetup]) -> dict[str, InstanceSetup]:
    """In some scenarios there are clusters of S3 and backup gateways. Drawn apart, too; episodes may choose any of it."""
    random = Random(f"holdfast fuzz gateways {seed}")  # noqa: S311
    if random.random() >= GATEWAYS:
        return {}
    found: dict[str, InstanceSetup] = {}
    for service, role in random.choice(((S3,), (BACKUP,), (S3, BACKUP))):
        able = [name for name, node in nodes.items() if role in node.roles]
        if not able:
            continue
        group = tuple(sorted(random.sample(able, random.randint(min(2, len(able)), len(able)))))
        fields = {**_PLAIN, "nodes": group, "ha": random.random() < 0.85, "memory": random.choice((0, 0, 128))}
        parts = [f"gw-{node}" for node in group]
        if role is Role.S3:
            parts += [f"ns-{number + 1}" for number in range(random.randint(1, 4))]
            parts += [f"os-{number + 1}" for number in range(random.randint(1, 6))]
            parts += ["bg"]
        found |= {f"{service}/{part}": instance_setup(f"{service}/{part}", fields) for part in parts}
    return found


def _instances(random: Random, nodes: Mapping[str, NodeSetup]) -> dict[str, InstanceSetup]:
    kinds = [kind for kind, (exclusivity, _) in KINDS.items() if exclusivity is Exclusivity.STRICT]
    names = [f"{random.choice(('vm', 'vm', *kinds))}/{number + 1}" for number in range(random.randint(3, 8))]
    if random.random() < 0.7:
        names.append("panel/admin")
    tight = random.random() < 0.2
    return {name: _instance(random, name, nodes, tight) for name in names}


def _instance(random: Random, name: str, nodes: Mapping[str, NodeSetup], tight: bool) -> InstanceSetup:
    able = [node.name for node in nodes.values() if KINDS[name.split("/", maxsplit=1)[0]][1] in node.roles]
    values: dict[str, Any] = {
        **_PLAIN,
        "node": random.choice((*able, "", "")),
        "state": random.choice(("started",) * 12 + ("stopped", "disabled", "ignored")),
        "cpu": random.choice((0.0, 0.5, 1.0)),
        "memory": random.choice((512, 3072, 5120) if tight else (0, 256, 512)),
        "priority": random.choice((500, 500, 100, 900)),
        "max_restarts": random.choice((0, 1, 1, 3)),
        "max_relocations": random.choice((0, 1, 1, 3)),
        "failback": random.random() < 0.6,
        "ha": random.random() < 0.9,
        "preemptible": random.random() < (0.5 if tight else 0.1),
    }
    if values["state"] == "ignored" and not values["node"]:
        values["state"] = "started"  # nobody would ever place it
    return instance_setup(name, values)


def _rules(
    random: Random, nodes: Mapping[str, NodeSetup], instances: Mapping[str, InstanceSetup]
) -> Iterator[RuleSpec]:
    """A few that can be met together: each instance is in one rule among instances at most, and strict ones are modest. An
    instance whose place at the beginning breaks one moves, as it does for an operator."""
    free = [name for name in instances if not name.startswith("panel/")]
    random.shuffle(free)
    for number in range(random.randint(0, 3)):
        kind = random.choice(tuple(RuleKind))
        strict = random.random() < 0.6
        if kind is RuleKind.NODE_AFFINITY:
            chosen, names = [random.choice(list(instances))], list(nodes)
            wanted = {node: random.randint(0, 2) for node in names if random.random() < 0.7} or dict.fromkeys(names, 1)
            yield RuleSpec(f"rule-{number + 1}", kind, tuple(chosen), wanted, strict)
        elif len(free) >= 2:
            size = min(len(free), random.choice((2, 2, 3)), len(nodes) - 1)
            chosen, free = free[:size], free[size:]
            if len(chosen) >= 2 and kind is RuleKind.START_ORDER:
                yield RuleSpec(f"rule-{number + 1}", kind, tuple(chosen[1:]), {}, strict, tuple(chosen[:1]))
            elif len(chosen) >= 2:
                yield RuleSpec(f"rule-{number + 1}", kind, tuple(chosen), {}, strict)


# --- the faults ---------------------------------------------------------------------------------------------------------


def _timeline(cast: Cast, until: float) -> Iterator[Step]:
    """Groups of episodes, each within a share of the time of its own, with calm before the next."""
    random = cast.random
    room = until - SETTLE_S
    longest = 2 * LONGEST_S + CALM_S
    groups = min(round(random.randint(*PER_HOUR) * until / 3600), int(room / longest))
    share = room / max(1, groups)
    for group in range(groups):
        at = SETTLE_S + group * share + random.uniform(0.0, share - longest)
        steps: list[Step] = []
        for _ in range(random.choices((1, 2, 3), TOGETHER)[0]):
            steps += play(cast, at + random.uniform(0.0, 20.0))
        yield from steps
        yield from _mending(cast, steps)


def _mending(cast: Cast, steps: list[Step]) -> Iterator[Step]:
    """Operators see to it that every node the group touched is on (fencing leaves some off), and end quarantines."""
    end = max(step.at for step in steps)
    touched = {step.args[key] for step in steps for key in ("node", "from", "to") if step.args.get(key)}
    for node in cast.nodes:
        if node in touched:
            yield step(end + 5.0, "power-on", node=node)
            if cast.random.random() < 0.5:
                yield step(end + 6.0, "return-node", node=node)
