"""The simulated cluster: machines, networks, store and clients' view of it, set up as a scenario says."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from random import Random
from typing import Any

from holdfast.core.feasibility import validate_rule
from holdfast.core.model import (
    ClusterSpec,
    Fence,
    FenceDeviceSpec,
    Goal,
    InstanceSpec,
    ManagementSpec,
    NetworkSpec,
    NodeSpec,
    Placement,
    Role,
    ServiceAddress,
    ServiceSpec,
)
from holdfast.core.policy import ComputeSpec, RuleSpec
from holdfast.errors import StoreFull, StoreUnavailable
from holdfast.net.memory import MemoryNetwork
from holdfast.ports import Change, Op, Put
from holdfast.sim import daemons
from holdfast.sim.checks import Checks
from holdfast.sim.clock import NodeClock
from holdfast.sim.detection import Hearing
from holdfast.sim.events import EventLog
from holdfast.sim.excuses import Excuses
from holdfast.sim.history import History
from holdfast.sim.loop import Life, VirtualLoop, spawn
from holdfast.sim.machine import Machine
from holdfast.sim.network import NETWORKS, Network
from holdfast.sim.premises import Premises
from holdfast.sim.scenario import InstanceSetup, NodeSetup, Scenario
from holdfast.sim.store import StoreService
from holdfast.sim.trouble import Trouble
from holdfast.store import keys
from holdfast.store.codec import encode

LIVE_BOUND_S = 150.0
"""When nothing was done for so long every instance that may run must run (LIVE-1): T_wait, a boot, a start that hangs, the
slow pace of retries."""
SETTLED_S = 16.0
"""Longer than F and G of any profile: enough when every node works, or is known to be out."""
CALM_S = 8.0
"""Beyond T_wait: with this margin every time-out below the hour is over."""
BACKUP_S = 60.0
"""Between two copies of the store that an operator could restore."""
PREFIX = {network: f"10.{77 + number}.0" for number, network in enumerate(NETWORKS)}
PANEL_ADDRESS = f"{PREFIX['management']}.250"


class World:
    """Everything of one run. Made by `run.run`; changed by `actions`."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.timing = scenario.timing
        self.loop = VirtualLoop()  # type: ignore[abstract]
        self.random = Random(seed)  # noqa: S311 – repeatable is what it has to be
        self.log = EventLog(self.loop)
        self.network = Network(self.loop, self.random)
        self.managers = scenario.management
        self.machines: dict[str, Machine] = {}
        self.clones: list[Machine] = []
        """Machines beside those of the same name; also those that were replaced."""
        self.network.up = self._up
        self.store = StoreService(self.loop, self.random, self.network, self.managers)
        self.true_clock = NodeClock(self.loop)
        self.addresses = MemoryNetwork(self.true_clock, {name: (f"{net}.0/24",) for name, net in PREFIX.items()})
        self.trouble = Trouble()
        self.checks = Checks(self)
        self.premises = Premises(self)
        self.history = History(self)
        self.excuses = Excuses(self)
        self.models_detection = scenario.simulation.get("detection") == "model"
        self.hearing = Hearing(self)
        self.sockets: dict[tuple[str, int], daemons.SimBus] = {}
        self.hosts: dict[str, tuple[str, str]] = {}
        """Address of a node → (node, network)."""
        self.run_numbers: defaultdict[str, int] = defaultdict(int)
        self._calm_after_s = self.timing.T_wait + CALM_S
        self._look_at = 0.0
        self.pending = 0
        """Faults that will end by themselves."""
        self._graves: list[object] = []
        for number, (name, node) in enumerate(scenario.nodes.items()):
            rate = 1.0 + self.random.uniform(-self.timing.rho, self.timing.rho)
            self.machines[name] = Machine(
                self, name, node.roles, node.cpu, node.memory_mib, node.power_fencing, node.watchdog, rate
            )
            for network, prefix in PREFIX.items():
                self.hosts[f"{prefix}.{11 + number}"] = (name, network)
        asyncio._set_running_loop(self.loop)
        try:
            self._plant()
        finally:
            asyncio._set_running_loop(None)

    # --- setting up

    def _plant(self) -> None:
        """What an operator's commands have left in the store before the scenario begins."""
        cluster = self.scenario.cluster
        values: dict[str, object] = {
            keys.CLUSTER: ClusterSpec(
                "sim",
                "sim",
                self.scenario.profile,
                tuple(NetworkSpec(name, (f"{prefix}.0/24",)) for name, prefix in PREFIX.items()),
                dead_node_power_on=cluster.dead_node_power_on,
                shutdown_policy=cluster.shutdown_policy,
            ),
            keys.MANAGEMENT: ManagementSpec(self.managers, PANEL_ADDRESS),
        }
        for node in self.scenario.nodes.values():
            if node.joined:
                values.update(self.node_records(node))
        for rule in self._accepted_rules({spec.id: spec for spec in values.values() if isinstance(spec, NodeSpec)}):
            values[keys.rule(rule.id)] = rule
        for instance in self.scenario.instances.values():
            values.update(self.instance_records(instance))
        if cluster.rebalance != "off":
            nodes = tuple(name for name, node in self.scenario.nodes.items() if Role.COMPUTE in node.roles)
            values[keys.COMPUTE] = ComputeSpec(
                nodes, tolerate=cluster.tolerate, reserve_memory_mib=0, rebalance=cluster.rebalance
            )
        self.store.cluster.on_commit = self._committed
        self.write(values)

    def _accepted_rules(self, nodes: dict[str, NodeSpec]) -> list[RuleSpec]:
        """Laid down one after another, as an operator would; what contradicts the earlier ones is refused with a reason."""
        specs = {name: setup.spec for name, setup in self.scenario.instances.items()}
        accepted: list[RuleSpec] = []
        for rule in self.scenario.rules:
            reasons = validate_rule(rule, accepted, specs, nodes)
            if reasons:
                self.log.say("rule-refused", f"rule {rule.id}: {'; '.join(reasons)}")
            else:
                accepted.append(rule)
        return accepted

    def addresses_of(self, node: str) -> dict[str, str]:
        """Network → the node's own address on it."""
        return {network: host for host, (name, network) in self.hosts.items() if name == node}

    def node_records(self, node: NodeSetup) -> dict[str, object]:
        """What `holdfast node add` writes."""
        name, rack = node.name, node.labels.get("rack", "")
        devices = (FenceDeviceSpec("bmc", "sim", {"node": name}),) if node.power_fencing else ()
        spec = NodeSpec(name, node.roles, self.addresses_of(name), rack, node.labels, devices, node.slots)
        return {keys.node_spec(name): spec, keys.fence(name): Fence(1)}

    def instance_records(self, setup: InstanceSetup) -> dict[str, object]:
        """The records of a new instance, and its placement where a node is named."""
        spec = setup.spec
        if spec.kind == "panel":
            spec = replace(spec, address=ServiceAddress(PANEL_ADDRESS, "management"))
        if spec.home:
            spec = replace(spec, networks=("public",))
        records: dict[str, object] = {
            keys.instance(spec.id): spec,
            keys.service(spec.kind, spec.service): ServiceSpec(spec.kind, spec.service),
        }
        if setup.node:
            goal = Goal.RUN if spec.desired.value in ("started", "ignored") else Goal.STOP
            fence = self.history.fence_epoch(setup.node)
            records[keys.placement(spec.id)] = Placement(setup.node, 1, fence, goal, "where its creator wanted it")
        return records

    def write(self, values: dict[str, object]) -> None:
        """As an operator, without any fault."""
        ops: list[Op] = [Put(key, encode(value)) for key, value in values.items()]
        try:
            if self.store.lost:
                raise StoreUnavailable("the store is lost", "Restore it from a backup.")
            self.store.cluster.txn([], ops, [])
        except (StoreFull, StoreUnavailable) as error:
            self.log.say("operator-refused", str(error))

    def start(self) -> None:
        """t = 0: what is on has been on for a long time, its daemons start now."""
        self.checks.begun = True
        for machine in self.machines.values():
            if self.scenario.nodes[machine.name].on:
                machine.powered = True
        self.store.start()
        self._save()
        for machine in self.machines.values():
            if machine.powered:
                machine.booting = True
                self.loop.hardware(self.random.uniform(0.0, 0.3), machine.boot)
        for machine in self.machines.values():
            machine.booting = False

    def _save(self) -> None:
        """An operator's timer saves the store now and then."""
        self.store.save_backup(self.log.now())
        self.loop.hardware(BACKUP_S, self._save)

    def restore_store(self) -> None:
        """An operator restores the oldest copy over the running cluster. Epochs begin anew with it."""
        self.store.restore_backup()
        self.checks.forget_epochs()
        self.premises.forget_term()
        self.history.reload(self.store.cluster.list("").entries)
        self.log.say("store-restored", "an old copy, over the running cluster")

    def _committed(self, changes: tuple[Change, ...]) -> None:
        self.store.notify(news=self.history.committed(changes))

    # --- processes

    def spawn(self, life: Life | None, part: Coroutine[Any, Any, Any]) -> None:
        task = spawn(self.loop, life, part)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self.loop.failures.append(task.exception())  # type: ignore[arg-type]

    def start_agent(self, machine: Machine) -> None:
        machine.agent = daemons.AgentRun(self, machine)
        self.refresh()

    def start_manager(self, machine: Machine) -> None:
        daemons.start_manager(self, machine)

    def bury(self, life: Life) -> None:
        """The process ends without running another line. Its tasks are kept, so that nothing is cleaned up either."""
        life.alive = False
        self.loop.drop(life)
        self._graves.append(asyncio.all_tasks(self.loop))
        for address, bus in list(self.sockets.items()):
            if bus.life is life:
                del self.sockets[address]

    # --- the network

    def _up(self, node: str) -> bool:
        return any(each.powered and not each.booting and not each.frozen for each in self.named(node))

    def refresh(self) -> None:
        """Power, processes or network have changed."""
        self.store.refresh()
        if self.models_detection:
            self.hearing.refresh()

    def kernel_refuses(self, asker: str) -> Callable[[str], bool]:
        """What RefusalProbe does: a node without an agent still answers that nobody listens."""

        def refuses(address: str) -> bool:
            node, network = self.hosts[address]
            return self.network.both(asker, node, network)

        return refuses

    def later(self, delay_s: float, action: Callable[[], object]) -> None:
        """A fault ends by itself; counts as something that happens."""
        self.pending += 1

        def done() -> None:
            self.pending -= 1
            action()
            self.refresh()

        self.loop.hardware(delay_s, done)

    def calm(self) -> bool:
        """Nothing but beats has happened for longer than any time-out of the protocol, and all is as it should be; or
        nothing has happened for so long that nothing will."""
        now = self.loop.time()
        quiet_s = now - self.log.busy_at
        if quiet_s <= SETTLED_S or self.pending or now < self._look_at:
            return False
        self._look_at = now + 1.0
        if quiet_s <= self._calm_after_s and not all(map(self.excuses.settled, self.machines.values())):
            return False
        return quiet_s > LIVE_BOUND_S or not self.checks.missing()

    def next_run(self, instance: str) -> int:
        """Number of an execution that begins now."""
        self.run_numbers[instance] += 1
        return self.run_numbers[instance]

    def executors(self, instance: str) -> list[str]:
        """Machines on which the instance lives."""
        return [machine.name for machine in self.everything() if instance in machine.live]

    def everything(self) -> list[Machine]:
        """All machines, clones included."""
        return [*self.machines.values(), *self.clones]

    def named(self, node: str) -> list[Machine]:
        """All machines of that name."""
        return [self.machines[node], *(clone for clone in self.clones if clone.name == node)]

    def clone(self, node: str, *, empty: bool = False) -> None:
        """Boot other hardware with the node's disk, beside the machine or in the place of one that is off. `empty`: with a
        new disk, in the place of a machine that is off for good."""
        old = self.machines[node]
        if empty:
            old.power_off()
        twin = Machine(
            self, node, old.roles, old.cpu, old.memory_mib, old.has_bmc, old.has_watchdog, old.rate,
            identity=f"{node}-copy-{len(self.named(node))}",
        )  # fmt: skip
        twin.known_nodes = None if empty else old.known_nodes
        if not old.powered:
            self.machines[node] = twin
        self.clones.append(twin if old.powered else old)
        twin.power_on()

    def specs(self) -> dict[str, InstanceSpec]:
        """All instances there are."""
        return self.history.instances
