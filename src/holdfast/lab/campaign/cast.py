"""Finding the victims of a fault when its turn comes, and the strikes that it means for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.lab.campaign.alphabet import OPERATIONS, Role
from holdfast.lab.campaign.plan import Planned
from holdfast.lab.client import LabClient
from holdfast.lab.demo import stage
from holdfast.lab.demo.talk import Cluster
from holdfast.services.iscsi.tgt import UNIT


@dataclass(frozen=True, slots=True)
class Cast:
    """A fault with its victims."""

    planned: Planned
    nodes: tuple[str, ...]
    instance: str = ""
    """For roles that hold one."""
    target: str = ""
    """Where a planned move goes to."""
    other: str = ""
    """Another node, for faults between two."""

    @property
    def name(self) -> str:
        words = [f"{value} %" if key == "loss" else str(value) for key, value in self.planned.details.items()]
        return f"{self.planned.kind.name}{' ' * bool(words)}{' '.join(w for w in words if w != 'True')}"

    @property
    def victim(self) -> str:
        """`n3 (holder of nfs/vol1)`, as it is told."""
        role = (
            f"holder of {self.instance}" if self.planned.role in (Role.VOLUME, Role.PANEL) else self.planned.role.value
        )
        if self._is_between_two:
            return f"{self.nodes[0]} → {self.other} ({role})"
        if self.target:
            return f"{self.instance} {self.nodes[0]} → {self.target}"
        return f"{','.join(self.nodes)} ({role})" if self.planned.role is not Role.NODE else ",".join(self.nodes)

    @property
    def _is_between_two(self) -> bool:
        return any("{other}" in map(str, strike.details.values()) for strike in self.planned.kind.strikes)

    @property
    def _unit(self) -> str:
        """What runs the instance: an iSCSI volume shares its server with others."""
        return UNIT if self.instance.startswith("iscsi/") else self.instance

    def strikes(self, everybody: list[str]) -> list["Blow"]:
        """All that is to be done, in order."""
        return [blow for node in self.nodes for blow in self._on(node, [n for n in everybody if n != node])]

    def _on(self, node: str, others: list[str]) -> Iterator["Blow"]:
        for strike in self.planned.kind.strikes:
            details = {
                key: value.format(instance=self._unit, other=self.other) if isinstance(value, str) else value
                for key, value in {**strike.details, **self.planned.details}.items()
            }
            if strike.how in OPERATIONS:
                yield Blow("", strike.how)
            elif strike.everybody == "to":
                yield from (Blow(node, strike.how, {**details, "to": other}) for other in others)
            elif strike.everybody == "from":
                yield from (Blow(other, strike.how, {**details, "to": node}) for other in others)
            else:
                yield Blow(node, strike.how, _fitting(strike.how, details))


@dataclass(frozen=True, slots=True)
class Blow:
    """One request to the lab, or to the cluster (OPERATIONS)."""

    node: str
    how: str
    details: dict[str, Any] = field(default_factory=dict)


def _fitting(how: str, details: dict[str, Any]) -> dict[str, Any]:
    """A variant belongs to one strike of a kind that has several: a power loss has no BMC mode."""
    return {key: value for key, value in details.items() if key != "mode" or how == "bmc"}


def choose(planned: Planned, lab: LabClient, cluster: Cluster, volumes: Sequence[str]) -> Cast:
    """Who it is now. `volumes` are instances. Raises Silent, LabError."""
    status = cluster.get("/status")
    instance = {Role.PANEL: stage.PANEL, Role.VOLUME: volumes[planned.volume - 1]}.get(planned.role, "")
    nodes = _nodes(planned, status, lab, cluster, instance)
    fit = status["management"]["nodes"] if planned.role is Role.PANEL else lab.nodes
    other = next((node for node in _turn(fit, planned.pick) if node not in nodes), "")
    return Cast(planned, nodes, instance, other if planned.kind.name == "move" else "", other)


def volume_name(number: int) -> str:
    return f"vol{number}"


def _nodes(
    planned: Planned, status: dict[str, Any], lab: LabClient, cluster: Cluster, instance: str
) -> tuple[str, ...]:
    members: list[str] = _turn(status["management"]["nodes"], planned.pick)
    everybody = _turn(lab.nodes, planned.pick)
    match planned.role:
        case Role.LEADER:
            found = [status["manager"]["node"] or members[0]]
        case Role.STORE_LEADER:
            found = [stage.store_leader(lab, cluster) or members[0]]
        case Role.MANAGEMENT:
            found = members[:1]
        case Role.PANEL | Role.VOLUME:
            found = [stage.instance(status, instance)["node"] or members[0]]
        case Role.PAIR:
            found = [members[0], *[node for node in everybody if node not in members][:1]]
        case Role.STORE_MAJORITY:
            found = members[: len(members) // 2 + 1]
        case Role.MOST:
            found = everybody[: len(everybody) // 2 + 1]
        case Role.ALL:
            found = everybody
        case _:
            found = everybody[:1]
    return tuple(found)


def _turn(names: list[str], pick: int) -> list[str]:
    """The same names, beginning with another one."""
    start = pick % len(names)
    return [*names[start:], *names[:start]]
