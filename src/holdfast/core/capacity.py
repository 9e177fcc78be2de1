"""What each node can still carry, and who may be where: made from a view once, then changed and restored in no time.

Amounts are whole numbers (MiB, millionths of a core), so that taking something and giving it back leaves exactly what was
there, in whatever order. What does not change while instances are placed (a node is up, open, has a role, stands on a list)
is asked of each node once per class of instance and kept as a mask.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from holdfast.core.counts import Counts
from holdfast.core.groups import Group
from holdfast.core.model import InstanceSpec
from holdfast.core.rules import NO_RULES, Rules
from holdfast.core.timing import Timing
from holdfast.core.view import NodeView

Mask = npt.NDArray[np.bool_]
Amounts = npt.NDArray[np.int64]

MICRO = 1_000_000
"""Cores are counted in millionths."""
NO_LIMIT = 1 << 40
"""Slots of a node that does not limit the kind: more than there can be instances."""


def refusal(spec: InstanceSpec, node: NodeView, timing: Timing, now: float, *, staying: bool = False) -> str:
    """Why this node may not carry the instance, whatever else it carries; "" if it may. Hard rules (INV-4). `staying`: it
    runs there already."""
    if not node.up(timing, now):
        return f"is {node.state(timing, now)}"
    closed = node.drain_reason if staying else node.closed_reason
    if closed:
        return closed
    if spec.role not in node.spec.roles:
        return f"does not have the role {spec.role}"
    if spec.nodes and node.id not in spec.nodes:
        return "is not one of its nodes"
    networks = reached_by(spec)
    if networks and not any(network in node.spec.addresses for network in networks):
        return f"is not on the network {', '.join(networks)}"
    if lost_networks(spec, node):
        return f"lost the network {', '.join(networks)}"
    return ""


def reached_by(spec: InstanceSpec) -> tuple[str, ...]:
    """Networks of which one must be left to its node, or it runs for nobody. Empty: it needs none."""
    return (spec.address.network,) if spec.address is not None else spec.networks


def lost_networks(spec: InstanceSpec, node: NodeView) -> bool:
    """No client reaches it there."""
    joined = [network for network in reached_by(spec) if network in node.spec.addresses]
    return bool(joined) and all(network in node.lost_networks for network in joined)


@dataclass(frozen=True, slots=True)
class Amount:
    """What an instance needs, or what a node has left."""

    memory_mib: int = 0
    micro_cores: int = 0
    slots: Mapping[str, int] = field(default_factory=dict)
    """Kind → instances. Of what is left only the kinds that some node limits, with NO_LIMIT where this one does not."""

    @staticmethod
    def of(spec: InstanceSpec) -> "Amount":
        return Amount(spec.memory_mib, round(spec.cpu * MICRO), {spec.kind: 1})

    def __add__(self, other: "Amount") -> "Amount":
        slots = {kind: self.slots.get(kind, 0) + other.slots.get(kind, 0) for kind in (*self.slots, *other.slots)}
        return Amount(self.memory_mib + other.memory_mib, self.micro_cores + other.micro_cores, slots)

    def __sub__(self, other: "Amount") -> "Amount":
        slots = {kind: free - other.slots.get(kind, 0) for kind, free in self.slots.items()}
        return Amount(self.memory_mib - other.memory_mib, self.micro_cores - other.micro_cores, slots)

    def lacks(self, need: "Amount", slots: Mapping[str, int]) -> str:
        """Why this is too little; "" if it is enough. What needs no memory or no cores lacks none, however little there is.
        `slots`: how many the node has in all."""
        if need.memory_mib and need.memory_mib > self.memory_mib:
            return f"has only {self.memory_mib} MiB of memory left, {need.memory_mib} MiB are needed"
        if need.micro_cores and need.micro_cores > self.micro_cores:
            return f"has only {_cores(self.micro_cores)} cores left, {_cores(need.micro_cores)} are needed"
        for kind, count in need.slots.items():
            if count > self.slots.get(kind, NO_LIMIT):
                return _no_slot(kind, slots[kind])
        return ""


NOTHING = Amount()


def _no_slot(kind: str, of: int) -> str:
    if not of:
        return f"has no slot for {kind}"
    return f"has all its {of} slots for {kind} taken" if of > 1 else f"has its only slot for {kind} taken"


def _cores(micro: int) -> str:
    return f"{round(micro / MICRO, 3):g}"


class Fleet:
    """The nodes of one view at one moment. Its arrays are made when somebody first asks for them: most decisions need none.

    Nodes stand in the order of their names, so that the first of several equals is the one with the lowest name.
    """

    def __init__(
        self,
        nodes: Mapping[str, NodeView],
        specs: Collection[InstanceSpec],
        where: dict[str, frozenset[str]],
        timing: Timing,
        now: float,
        rules: Rules = NO_RULES,
    ) -> None:
        self.nodes = nodes
        self.timing = timing
        self.now = now
        self.rules = rules
        self.where = where
        """Instance → every node that may execute it; instances that are nowhere may be left out. Changed by `place`."""
        self.version = 0
        """Grows with each change."""
        self.failed: frozenset[str] = frozenset()
        """Nodes that are taken for dead, beyond what the view knows."""
        self._specs = specs
        self._arrays: _Arrays | None = None
        self._undo: list[tuple[InstanceSpec | None, str, frozenset[str]]] = []

    @property
    def arrays(self) -> "_Arrays":
        if self._arrays is None:
            self._arrays = _Arrays(self.nodes, self._specs, self.where, self.timing, self.now)
        return self._arrays

    def left(self, node: str) -> Amount:
        arrays = self.arrays
        number = arrays.index[node]
        slots = {kind: int(free[number]) for kind, free in arrays.slots.items()}
        return Amount(int(arrays.memory[number]), int(arrays.cores[number]), slots)

    def refusal(self, spec: InstanceSpec, node: NodeView, *, staying: bool = False) -> str:
        """The same as the function, in this fleet."""
        return "has failed" if node.id in self.failed else refusal(spec, node, self.timing, self.now, staying=staying)

    # --- changes --------------------------------------------------------------------------------------------------------

    def place(self, spec: InstanceSpec, node: str) -> None:
        """It may execute there, too, from now on."""
        here = self.where.get(spec.id, frozenset())
        if node in here:
            return
        self.where[spec.id] = here | {node}
        self._undo.append((spec, node, here))
        self.version += 1
        if self._arrays is not None:
            self._arrays.take(spec, node, 1)

    def remove(self, spec: InstanceSpec, node: str) -> None:
        """It no longer executes there."""
        here = self.where.get(spec.id, frozenset())
        if node not in here:
            return
        self._set(spec.id, here - {node})
        self._undo.append((spec, node, here))
        self.version += 1
        if self._arrays is not None:
            self._arrays.take(spec, node, -1)

    def fail(self, node: str) -> None:
        """It is dead. What ran there is still to be removed."""
        if node in self.failed:
            return
        self._undo.append((None, node, self.failed))
        self.failed |= {node}
        self.version += 1
        self.arrays.alive[self.arrays.index[node]] = False

    def mark(self) -> int:
        """This moment, for `restore`."""
        return len(self._undo)

    def restore(self, mark: int) -> None:
        """Take back every change since then."""
        while len(self._undo) > mark:
            spec, node, before = self._undo.pop()
            if spec is None:
                self.failed = before
                self.arrays.alive[self.arrays.index[node]] = True
                continue
            placed = node not in before
            self._set(spec.id, before)
            if self._arrays is not None:
                self._arrays.take(spec, node, -1 if placed else 1)
        self.version += 1

    def _set(self, instance: str, nodes: frozenset[str]) -> None:
        if nodes:
            self.where[instance] = nodes
        else:
            self.where.pop(instance, None)


class _Arrays:
    """One number per node, in the order of their names."""

    def __init__(
        self,
        nodes: Mapping[str, NodeView],
        specs: Collection[InstanceSpec],
        where: Mapping[str, frozenset[str]],
        timing: Timing,
        now: float,
    ) -> None:
        self.names = sorted(nodes)
        self.index = {name: number for number, name in enumerate(self.names)}
        self._views = [nodes[name] for name in self.names]
        self._timing = timing
        self._now = now
        self._specs = specs
        self._where = where
        self._counts: Counts | None = None
        self._masks: dict[object, Mask] = {}
        self._preferences: dict[tuple[int, ...], Amounts] = {}
        memory = [view.memory_mib for view in self._views]
        cores = [round(view.cpu * MICRO) for view in self._views]
        count = [0] * len(memory)
        limited = sorted({kind for view in self._views for kind in view.spec.slots})
        slots = {kind: [view.spec.slots.get(kind, NO_LIMIT) for view in self._views] for kind in limited}
        for spec in specs:
            for node in where.get(spec.id, ()):
                number = self.index[node]
                memory[number] -= spec.memory_mib
                cores[number] -= round(spec.cpu * MICRO)
                count[number] += 1
                if spec.kind in slots:
                    slots[spec.kind][number] -= 1
        self.memory: Amounts = np.array(memory, np.int64)
        """MiB that are free; below 0 where more is placed than there is."""
        self.cores: Amounts = np.array(cores, np.int64)
        """Millionths of a core that are free."""
        self.slots = {kind: np.array(free, np.int64) for kind, free in slots.items()}
        """Kind that some node limits → instances of it that still may come, below 0 where there are too many."""
        self.count: Amounts = np.array(count, np.int64)
        """Instances that may execute there."""
        self.well: Mask = np.array([view.well(timing, now) for view in self._views], np.bool_)
        self.alive: Mask = np.ones(len(memory), np.bool_)

    @property
    def counts(self) -> Counts:
        """Instances by spread set and kind. Made when somebody first asks: where it is weighed, few choices come to that."""
        if self._counts is None:
            self._counts = Counts(self._specs, self._where, self.index)
        return self._counts

    @property
    def free(self) -> tuple[Amounts, ...]:
        """What is free of each resource: memory, cores, slots of each kind that some node limits."""
        return (self.memory, self.cores, *self.slots.values())

    def vector(self, amount: Amount) -> tuple[int, ...]:
        """The same amount as one number for each resource, in the order of `free`."""
        return (amount.memory_mib, amount.micro_cores, *(amount.slots.get(kind, 0) for kind in self.slots))

    def take(self, spec: InstanceSpec, node: str, times: int) -> None:
        number = self.index[node]
        self.memory[number] -= times * spec.memory_mib
        self.cores[number] -= times * round(spec.cpu * MICRO)
        self.count[number] += times
        if spec.kind in self.slots:
            self.slots[spec.kind][number] -= times
        if self._counts is not None:
            self._counts.take(spec, number, times)

    def eligible(self, spec: InstanceSpec) -> Mask:
        """Nodes that do not refuse it (`refusal`), whatever they carry. Not to be written to, as all masks here."""
        if spec.nodes:
            key: object = (spec.role, spec.nodes, reached_by(spec))
            if key not in self._masks:
                self._masks[key] = self._capable(spec) & self._listed(spec.nodes)
            return self._masks[key]
        return self._capable(spec)

    def permitted(self, group: Group) -> Mask:
        """Nodes that stand on every list which the group keeps to."""
        lists = tuple(group.permitted.values())
        if lists not in self._masks:
            masks = [self._listed(nodes) for nodes in lists]
            self._masks[lists] = np.logical_and.reduce(masks) if masks else np.ones(len(self.names), np.bool_)
        return self._masks[lists]

    def preference(self, group: Group) -> Amounts:
        """How much node affinity prefers each node."""
        key = tuple(
            map(id, group.preferred)
        )  # all whom a rule names share its mapping, which lives as long as the rules
        if key not in self._preferences:
            self._preferences[key] = np.array([group.preference(name) for name in self.names], np.int64)
        return self._preferences[key]

    def numbers(self, amounts: Mapping[str, int]) -> Amounts:
        """An array of what is given for some nodes; 0 for the others."""
        made = np.zeros(len(self.names), np.int64)
        for name, amount in amounts.items():
            made[self.index[name]] = amount
        return made

    def among(self, names: Iterable[str]) -> Mask:
        mask = np.zeros(len(self.names), np.bool_)
        for name in names:
            if name in self.index:
                mask[self.index[name]] = True
        return mask

    def _listed(self, names: Collection[str]) -> Mask:
        key = frozenset(names)
        if key not in self._masks:
            self._masks[key] = self.among(key)
        return self._masks[key]

    def _capable(self, spec: InstanceSpec) -> Mask:
        key = (spec.role, reached_by(spec))
        if key not in self._masks:
            some = _anybody(spec)
            good = [not refusal(some, view, self._timing, self._now) for view in self._views]
            self._masks[key] = np.array(good, np.bool_)
        return self._masks[key]


def _anybody(spec: InstanceSpec) -> InstanceSpec:
    """An instance of the same role and networks that may run on any node."""
    return InstanceSpec(spec.id, spec.kind, spec.service, spec.exclusivity, spec.role, networks=reached_by(spec))
