"""The faults of a campaign as a table: how each is done and undone, whom it strikes, what must survive, how often.

Roles are resolved when the fault's turn comes (`cast.py`); what may be said about a strike stands in `lab.fault.Fault`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from holdfast.lab.fault import HOWS, Fault

Details = Mapping[str, str | int | bool]


class Role(StrEnum):
    """Whom a fault strikes; who that is, is known only when its turn comes."""

    NODE = "any node"
    LEADER = "the manager's leader"
    STORE_LEADER = "the store's leader"
    MANAGEMENT = "a management node"
    PANEL = "holder of panel/admin"
    VOLUME = "holder of a volume"
    PAIR = "a management node and another one"
    STORE_MAJORITY = "a majority of the store's members"
    MOST = "more than half of the nodes"
    ALL = "all nodes"


class Until(StrEnum):
    """How long a fault stays in force. Besides, every service must answer before it is undone, unless the time is drawn."""

    ANSWERED = "all answer"
    ELECTED = "another leads"
    CLAIMED = "claimed"
    OFF = "off"
    MOVED = "moved"
    EMPTIED = "emptied"
    DRAWN = "a drawn time"


OPERATIONS = ("move", "maintenance")
"""What operators do through the API: a planned move of the role's instance; maintenance of a node, until it is undone."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault of the lab, or one of OPERATIONS."""

    how: str
    details: Details = field(default_factory=dict)
    everybody: str = ""
    """`to`: once for each other node, as target of the cut; `from`: once on each other node, with the victim as target."""

    def __post_init__(self) -> None:
        assert self.how in HOWS or self.how in OPERATIONS

    def describe(self, variants: tuple[Details, ...]) -> str:
        """In the lab's own words; what is drawn is told with all its possibilities."""
        whom = {"to": " to each other node", "from": " from each other node"}.get(self.everybody, "")
        told = [self._told({**self.details, **variant}) + whom for variant in variants]
        return " / ".join(dict.fromkeys(told))

    def _told(self, details: dict[str, Any]) -> str:
        fitting = {key: value for key, value in details.items() if key != "mode" or self.how == "bmc"}
        return Fault("", self.how, **fitting).describe().format(instance="the instance", other="another node")


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table."""

    name: str
    does: str
    roles: tuple[Role, ...]
    strikes: tuple[Strike, ...]
    weight: int
    """So often it is in each deck of faults."""
    until: Until
    seconds: tuple[float, float] = (0.0, 0.0)
    """For DRAWN: the least and the most."""
    variants: tuple[Details, ...] = ({},)
    """One of these is drawn and added to the details of every strike."""
    light: bool = False
    """It takes neither a node nor a member of the store: it may come together with one that does."""
    outage: bool = False
    """More than the cluster tolerates: services may stand still until it is undone, and come back by themselves after."""

    @property
    def done(self) -> str:
        """The faults of the lab that it is made of."""
        return ", ".join(strike.describe(self.variants) for strike in self.strikes)

    @property
    def undone(self) -> str:
        """When the fault is taken away."""
        if self.until is Until.DRAWN:
            return f"after {self.seconds[0]:g}–{self.seconds[1]:g} s"
        return f"when {self.until.value}"

    @property
    def services(self) -> str:
        """What every service must do, besides INV-1 and every acknowledged write, which hold always."""
        if self.outage:
            return "come back by themselves after it"
        return "answer again after it" if self.until is Until.DRAWN else "answer while it lasts"


ANYBODY = (Role.NODE, Role.LEADER, Role.STORE_LEADER, Role.PANEL, Role.VOLUME, Role.VOLUME)
POWER, FREEZE, SHUTDOWN = Strike("power"), Strike("freeze"), Strike("shutdown")
CUT = Strike("network")


def unit(name: str, how: str) -> tuple[Strike, ...]:
    return (Strike(how, {"unit": name}),)


def modes(*names: str) -> tuple[Details, ...]:
    return tuple({"mode": name} for name in names)


DEAD_BMC = Strike("bmc", {"mode": "unreachable"})
ALPHABET: tuple[Kind, ...] = (
    # Nodes
    Kind("power-off", "power loss", ANYBODY, (POWER,), 8, Until.CLAIMED),
    Kind("power-cycle", "power loss, and on again at once", ANYBODY, (POWER,), 3, Until.DRAWN, (0.0, 2.0)),
    Kind("two-power-off", "power loss of two nodes at once", (Role.PAIR,), (POWER,), 2, Until.CLAIMED),
    Kind("freeze", "the node hangs for good", ANYBODY, (FREEZE,), 4, Until.CLAIMED),
    Kind("freeze-thaw", "the node hangs and goes on", ANYBODY, (FREEZE,), 4, Until.DRAWN, (0.3, 8.0)),
    Kind("shutdown", "clean shutdown", ANYBODY, (SHUTDOWN,), 4, Until.CLAIMED),
    Kind("reboot", "clean reboot", ANYBODY, (SHUTDOWN,), 3, Until.OFF),
    Kind(
        "power-off-bmc",
        "power loss, and the BMC fails or lies (the node is off, as it says)",
        ANYBODY,
        (Strike("bmc"), POWER),
        2,
        Until.CLAIMED,
        variants=modes("unreachable", "slow", "lie", "stuck", "refuses"),
    ),
    Kind(
        "freeze-bmc",
        "the node hangs, and the BMC fails: only the watchdog is left",
        ANYBODY,
        (Strike("bmc"), FREEZE),
        2,
        Until.CLAIMED,
        variants=modes("unreachable", "slow", "stuck", "refuses"),
    ),
    Kind("guard-hang", "the guard hangs: the watchdog fires", ANYBODY, unit("holdfast-guard", "hang"), 2, Until.CLAIMED),
    Kind("agent-hang", "the agent hangs", ANYBODY, (Strike("agent"),), 3, Until.CLAIMED),
    # Networks
    Kind(
        "cut",
        "cables of the node pulled, or dead",
        ANYBODY,
        (CUT,),
        4,
        Until.CLAIMED,
        variants=({}, {"network": "management"}, {"network": "management", "silent": True}),
    ),
    Kind(
        "cut-bmc",
        "the management cable pulled, and the BMC dead: only time proves",
        ANYBODY,
        (DEAD_BMC, Strike("network", {"network": "management"})),
        1,
        Until.CLAIMED,
    ),
    Kind(
        "cut-public",
        "the clients' network pulled from a node",
        (Role.VOLUME,),
        (Strike("network", {"network": "public"}),),
        3,
        Until.ANSWERED,
    ),
    Kind(
        "one-way",
        "one node's packets to one other node are lost",
        ANYBODY,
        (Strike("network", {"network": "management", "to": "{other}"}),),
        3,
        Until.DRAWN,
        (2.0, 8.0),
    ),
    Kind(
        "mute",
        "nobody hears the node; it hears all",
        ANYBODY,
        (Strike("network", {"network": "management"}, "to"),),
        2,
        Until.CLAIMED,
    ),
    Kind(
        "deaf",
        "the node hears nobody; all hear it",
        ANYBODY,
        (Strike("network", {"network": "management"}, "from"),),
        2,
        Until.DRAWN,
        (2.0, 12.0),
    ),
    Kind(
        "loss",
        "packets of the node are lost",
        ANYBODY,
        (CUT,),
        3,
        Until.DRAWN,
        (3.0, 10.0),
        variants=tuple({"network": "management", "loss": percent} for percent in (5, 20, 40)),
    ),
    # Processes
    Kind("agent-kill", "the agent is killed", ANYBODY, (Strike("agent-kill"),), 4, Until.ANSWERED, light=True),
    Kind("guard-kill", "the guard is killed", ANYBODY, (Strike("guard"),), 3, Until.ANSWERED, light=True),
    Kind("agent-pause", "the agent hangs and goes on", ANYBODY, (Strike("agent"),), 3, Until.DRAWN, (0.3, 6.0)),
    Kind(
        "guard-pause",
        "the guard hangs and goes on, mostly before the watchdog fires",
        ANYBODY,
        unit("holdfast-guard", "hang"),
        2,
        Until.DRAWN,
        (0.3, 5.0),
    ),
    Kind(
        "manager-kill",
        "the manager is killed",
        (Role.LEADER, Role.LEADER, Role.MANAGEMENT),
        unit("holdfast-manager", "kill"),
        3,
        Until.ANSWERED,
        light=True,
    ),
    Kind("manager-hang", "the manager hangs", (Role.LEADER,), unit("holdfast-manager", "hang"), 3, Until.ELECTED),
    Kind(
        "panel-kill", "the panel's process is killed", (Role.PANEL,), unit("panel", "kill"), 3, Until.ANSWERED, light=True
    ),
    Kind("panel-hang", "the panel's process hangs", (Role.PANEL,), unit("panel", "hang"), 2, Until.ANSWERED),
    Kind(
        "server-kill",
        "the volume's server is killed",
        (Role.VOLUME,),
        unit("{instance}", "kill"),
        4,
        Until.ANSWERED,
        light=True,
    ),
    Kind("server-hang", "the volume's server hangs", (Role.VOLUME,), unit("{instance}", "hang"), 2, Until.ANSWERED),
    # Store, storage, BMC
    Kind("store-kill", "a store member is killed", (Role.STORE_LEADER, Role.MANAGEMENT), unit("etcd", "kill"), 3,
         Until.ANSWERED),
    Kind("store-hang", "a store member hangs", (Role.STORE_LEADER, Role.MANAGEMENT), unit("etcd", "hang"), 3,
         Until.DRAWN, (2.0, 10.0)),
    Kind("slow-disk", "a store member's disk stalls over and over", (Role.STORE_LEADER, Role.MANAGEMENT),
         (Strike("slow-disk"),), 3, Until.DRAWN, (3.0, 10.0)),
    Kind("storage", "a node loses the shared storage", (Role.VOLUME,), (Strike("storage"),), 2, Until.DRAWN, (1.0, 8.0)),
    Kind(
        "bmc",
        "a BMC fails",
        (Role.NODE,),
        (Strike("bmc"),),
        2,
        Until.DRAWN,
        (0.5, 3.0),
        variants=modes("unreachable", "slow", "stuck", "refuses"),
        light=True,
    ),
    # What operators do
    Kind("move", "a planned move", (Role.PANEL, Role.VOLUME, Role.VOLUME), (Strike("move"),), 5, Until.MOVED, light=True),
    Kind("maintenance", "maintenance of a node", ANYBODY, (Strike("maintenance"),), 3, Until.EMPTIED),
    # More than is tolerated
    Kind(
        "store-outage",
        "the store has no majority",
        (Role.STORE_MAJORITY,),
        unit("etcd", "hang"),
        2,
        Until.DRAWN,
        (2.0, 25.0),
        outage=True,
    ),
    Kind("most-cut", "more than half of the nodes cut: hold", (Role.MOST,), (Strike("network", {"network": "management"}),),
         2, Until.DRAWN, (2.0, 20.0), outage=True),
    Kind("blackout", "power loss of all nodes", (Role.ALL,), (POWER,), 1, Until.DRAWN, (0.0, 3.0),
         outage=True),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in ALPHABET}
LIGHT = tuple(kind for kind in ALPHABET if kind.light)
assert len(BY_NAME) == len(ALPHABET)
