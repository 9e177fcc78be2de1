"""The faults a lab can do to a host: their names, and what may be said about each. `faults.py` does them."""

from dataclasses import dataclass

HOWS = {
    "power": "power loss: cables dead, then every process killed at once",
    "network": "a network cut (--network NAME, default all; --to NODE: one way; --loss PERCENT; --silent keeps the carrier)",
    "freeze": "the whole node frozen, as by a hung hypervisor or kernel",
    "agent": "the agent hangs (SIGSTOP)",
    "agent-kill": "the agent is killed; it starts again",
    "guard": "the guard is killed; it starts again",
    "hang": "the processes of --unit hang (SIGSTOP)",
    "kill": "the processes of --unit are killed",
    "shutdown": "graceful shutdown of the node",
    "storage": "the shared storage is lost",
    "bmc": "the BMC fails (--mode unreachable, slow, lie, stuck, refuses)",
    "slow-disk": "the store's disk stalls: etcd stopped and continued over and over",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as it was asked for."""

    node: str
    how: str
    network: str = ""
    """One network; empty: all of them."""
    to: str = ""
    """Other node of a one-way cut: frames from `node` to it are dropped."""
    loss: int = 100
    silent: bool = False
    mode: str = "unreachable"
    unit: str = ""

    def describe(self) -> str:
        words = [self.how]
        if self.how == "network":
            words += [self.network or "all networks"]
            words += [f"to {self.to}"] if self.to else []
            words += [f"{self.loss} % loss"] if self.loss < 100 else []
        elif self.how == "bmc":
            words.append(self.mode)
        elif self.unit:
            words.append(self.unit)
        return " ".join(words)
