"""Doing faults to the hosts of a lab, and undoing them."""

import signal
import threading
from collections.abc import Callable
from typing import Any

from holdfast.errors import InvalidInput, NotFound
from holdfast.lab import cgroups, kernel, processes
from holdfast.lab.bmc import BmcMode, RedfishBmc
from holdfast.lab.eventlog import EventLog
from holdfast.lab.fault import HOWS, Fault
from holdfast.lab.host import Host
from holdfast.lab.layout import NETWORKS, network
from holdfast.lab.network import Rule, Switch

STALL_STOP_S, STALL_RUN_S = 0.4, 0.1


class Faults:
    """Applies and heals. Every fault that lasts is remembered until the node is healed."""

    def __init__(self, hosts: dict[str, Host], bmcs: dict[str, RedfishBmc], switch: Switch, events: EventLog) -> None:
        self._hosts, self._bmcs, self._switch, self._events = hosts, bmcs, switch, events
        self._lock = threading.Lock()
        self._active: dict[str, list[str]] = {name: [] for name in hosts}
        self._stalls: dict[str, processes.DutyCycle] = {}
        self._apply: dict[str, Callable[[Host, Fault], None]] = {
            "power": lambda host, _: void(host.power_off("lab fail")),
            "network": self._network,
            "freeze": lambda host, _: host.while_on(lambda: cgroups.freeze(host.cgroup, True)),
            "agent": lambda host, _: self._signal(host, "holdfast-agent", signal.SIGSTOP),
            "agent-kill": lambda host, _: self._signal(host, "holdfast-agent", signal.SIGKILL),
            "guard": lambda host, _: self._signal(host, "holdfast-guard", signal.SIGKILL),
            "hang": lambda host, fault: self._signal(host, fault.unit, signal.SIGSTOP),
            "kill": lambda host, fault: self._signal(host, fault.unit, signal.SIGKILL),
            "shutdown": lambda host, _: host.while_on(host.shut_down),
            "storage": lambda host, _: host.lose_shared(True),
            "bmc": self._bmc,
            "slow-disk": self._slow_disk,
        }
        assert self._apply.keys() == HOWS.keys()

    def active(self, node: str) -> list[str]:
        return list(self._active[node])

    def host(self, node: str) -> Host:
        if node not in self._hosts:
            raise NotFound(f"the lab has no host `{node}`", "Hosts: " + ", ".join(self._hosts))
        return self._hosts[node]

    def fail(self, fault: Fault) -> float:
        """Do it; returns the boottime just before it began. Raises InvalidInput, NotFound, HoldfastError."""
        host = self.host(fault.node)
        if fault.how not in self._apply:
            raise InvalidInput(f"`{fault.how}` is not a fault", "Faults: " + ", ".join(HOWS))
        began = kernel.boottime()
        self._apply[fault.how](host, fault)
        with self._lock:
            self._active[fault.node].append(fault.describe())
        return self._events.write("fault", fault.node, fault.describe(), at=began)

    def heal(self, node: str) -> float:
        """Undo every fault on the node; it ends switched on, thawed, continued, plugged, with storage and BMC."""
        host = self.host(node)
        stall = self._stalls.pop(node, None)
        if stall is not None:
            stall.end()
        for owner in (o for o in self._switch.owners() if node in o.split(">")):
            self._switch.set_rules(owner, [])
        host.cut_networks({n.name for n in NETWORKS}, cut=False)
        host.lose_shared(False)
        if node in self._bmcs:
            self._bmcs[node].mode = BmcMode.NORMAL
            self._switch.set_bmc(host.layout.bmc_address, reachable=True)
        if host.on:
            host.while_on(lambda: cgroups.freeze(host.cgroup, False))
            processes.send(list(cgroups.processes(host.cgroup)), signal.SIGCONT)
        else:
            host.power_on("lab heal")
        with self._lock:
            self._active[node].clear()
        return self._events.write("healed", node)

    # --- one function per fault that needs more than a line

    def _network(self, host: Host, fault: Fault) -> None:
        wanted = {fault.network} if fault.network else {n.name for n in NETWORKS}
        for name in wanted:
            network(name)
        if not 1 <= fault.loss <= 100:
            raise InvalidInput(f"{fault.loss} % is no loss", "Choose 1 to 100.")
        if not (fault.to or fault.silent or fault.loss < 100):
            host.cut_networks(wanted, cut=True)
            return
        rules: list[Rule] = []
        for source in (p for p in host.layout.ports if p.network.name in wanted):
            if fault.to:
                others = self.host(fault.to).layout.ports
                rules += [Rule(source.name, p.name, fault.loss) for p in others if p.network == source.network]
            else:
                rules += [Rule(source.name, "", fault.loss), Rule("", source.name, fault.loss)]
        owner = f"{fault.node}>{fault.to}"
        self._switch.set_rules(owner, [*self._switch.rules(owner), *rules])

    def _signal(self, host: Host, name: str, number: signal.Signals) -> None:
        if not name:
            raise InvalidInput(
                "this fault needs to know whom it strikes", "Add --unit NAME, e.g. --unit holdfast-panel."
            )

        def strike() -> None:
            pids = processes.find(host.cgroup, name)
            if not pids:
                raise NotFound(f"no process of `{name}` runs on {host.layout.name}", "See `holdfast lab status`.")
            processes.send(pids, number)

        host.while_on(strike)

    def _bmc(self, host: Host, fault: Fault) -> None:
        if fault.node not in self._bmcs:
            raise NotFound(f"{fault.node} has no BMC", "Only nodes have one.")
        if fault.mode not in list(BmcMode):
            raise InvalidInput(f"`{fault.mode}` is not a BMC fault", "Modes: " + ", ".join(BmcMode))
        mode = BmcMode(fault.mode)
        self._bmcs[fault.node].mode = mode
        self._switch.set_bmc(host.layout.bmc_address, reachable=mode is not BmcMode.UNREACHABLE)

    def _slow_disk(self, host: Host, fault: Fault) -> None:
        if fault.node in self._stalls:
            return

        def store_processes() -> list[int]:
            return processes.find(host.cgroup, fault.unit or "etcd")

        def check() -> None:
            if not store_processes():
                raise NotFound(f"no etcd runs on {fault.node}", "Choose a management node: holdfast ha show")

        host.while_on(check)
        self._stalls[fault.node] = processes.DutyCycle(store_processes, STALL_STOP_S, STALL_RUN_S)

    def end(self) -> None:
        for stall in self._stalls.values():
            stall.end()


def void(_result: Any) -> None:
    """Makes a statement of an expression inside a lambda."""
