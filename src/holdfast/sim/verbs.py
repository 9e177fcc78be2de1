"""What can happen in a scenario's timeline, in one table. The documentation's table of verbs is made from it."""

from dataclasses import dataclass

from holdfast.core.model import Desired
from holdfast.core.policy import PauseMode
from holdfast.sim.fields import INSTANCE_FIELDS, Field, Kind

NETWORKS = ("all", "management", "public")
"""`all` stands for every network; a node's store, beats and power devices are reached on `management`."""
LIES = ("lie", "lie-state", "dead", "slow", "late", "unknown", "honest")
STORE_FAULTS = ("unknown", "lost", "stale", "slow", "compact", "nospace", "restore", "leader-change", "none")


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that can happen."""

    name: str
    sentence: str
    fields: tuple[Field, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()
    """Of each of these groups of fields exactly one must be there."""
    any_of: tuple[str, ...] = ()
    """Of these fields at least one must be there."""


_NODE = Field("node", Kind.NODE, required=True)
_INSTANCE = Field("instance", Kind.INSTANCE, required=True)
_NETWORK = Field("network", Kind.CHOICE, "Which network.", "all", choices=NETWORKS)
_FOR = Field("for", Kind.SECONDS, "Ends by itself after so many seconds; 0: never.", 0.0)
_TIMES = Field("times", Kind.WHOLE, "How often in a row; 0: not any more.", 1)
_ON_NODE = Field("node", Kind.NODE, "Only on this node. Default: wherever it is.")
_AT_NODES = Field("nodes", Kind.NODES, "Only for these nodes. Default: all.", (), aliases=("node",))
_LINK = (
    Field("from", Kind.NODE, required=True),
    Field("to", Kind.NODE, required=True),
    Field("one-way", Kind.FLAG, "Only what `from` sends to `to`.", False, aliases=("one_way",)),
    _NETWORK,
)
_TARGET = Field("to", Kind.NODE, "Default: wherever the planner likes, but not where it is.")

_TABLE = (
    # power and the machine
    Verb("power-on", "The node is switched on and boots.", (_NODE,)),
    Verb("power-off", "The node loses its power at once.", (_NODE,)),
    Verb("reboot", "The node is rebooted cleanly: its agent is told, and the machine boots again.", (_NODE,)),
    Verb("shutdown", "The node is shut down cleanly: its agent is told, then it is off.", (_NODE,)),
    Verb("freeze", "Everything on the node stands still; its watchdog and its clocks go on.", (_NODE, _FOR)),
    Verb("thaw", "A frozen or suspended node goes on where it stood.", (_NODE,)),
    Verb(
        "suspend",
        "The node is suspended to memory: it stands still and its watchdog and its timers with it; CLOCK_BOOTTIME goes on.",
        (_NODE, _FOR),
    ),
    Verb(
        "clone",
        "Other hardware with the node's disk boots: a second machine of that name, or its replacement if it is off.",
        (_NODE,),
    ),
    Verb("agent-stop", "The agent is killed and stays away; guard, watchdog and instances go on.", (_NODE,)),
    Verb("agent-start", "The agent is started again and adopts what runs.", (_NODE,)),
    Verb("guard-stop", "The guard is killed and stays away; agent and instances go on, its watchdog counts.", (_NODE,)),
    Verb("guard-start", "The guard is started again, as systemd does within a second.", (_NODE,)),
    Verb("watchdog-taken", "From its next boot on another program holds the node's watchdog.", (_NODE,)),
    Verb("watchdog-off", "The watchdog device does not fire any more, unnoticed.", (_NODE,)),
    Verb(
        "watchdog-slow",
        "The node's watchdog has this time-out from now on, and says so.",
        (_NODE, Field("seconds", Kind.SECONDS, required=True)),
    ),
    Verb(
        "clock-step",
        "The wall clock jumps; nothing may depend on it.",
        (_NODE, Field("seconds", Kind.SIGNED_SECONDS, required=True)),
    ),
    Verb(
        "clock-rate",
        "The node's clock runs so many times as fast as it should, within ρ of the profile.",
        (_NODE, Field("rate", Kind.NUMBER, required=True)),
    ),
    # network
    Verb("network-off", "The node is cut from the network.", (_NODE, _NETWORK)),
    Verb("network-on", "It is joined to the network again.", (_NODE, _NETWORK)),
    Verb("link-off", "Nothing passes between two nodes.", _LINK),
    Verb("link-on", "It passes again.", _LINK),
    Verb(
        "loss",
        "So many of a hundred datagrams that the nodes send or receive are lost.",
        (Field("percent", Kind.PERCENT, required=True), _AT_NODES),
    ),
    Verb(
        "delay",
        "Datagrams and store calls of these nodes take so much longer, each way.",
        (Field("seconds", Kind.SECONDS, required=True), _AT_NODES),
    ),
    # store
    Verb("store-off", "The store does not answer; nothing is applied.", (_AT_NODES,)),
    Verb("store-on", "It answers again.", (_AT_NODES,)),
    Verb(
        "store-fault",
        "The store misbehaves: answers to writes get lost (unknown), watches deliver nothing (lost) or late (stale), "
        "requests take long (slow), the history is compacted, the space used up, an old snapshot restored, the leader "
        "changed; none: no more.",
        (Field("mode", Kind.CHOICE, required=True, choices=STORE_FAULTS), _AT_NODES, _FOR),
    ),
    Verb("store-lost", "All members of the store lose their disks: it never answers again."),
    Verb(
        "store-restore",
        "An operator restores a lost store on this node from a backup (one is made each minute), as soon as nothing strict "
        "runs there. It alone keeps the store then.",
        (
            _NODE,
            Field("backup", Kind.SECONDS, "The last backup until then. Default: the last one.", 1e9),
            Field("fresh", Kind.FLAG, "The machine is lost, too: a new one, with an empty disk, is this node.", False),
        ),
    ),
    # fencing
    Verb(
        "lie-fence",
        "The node's fence device says that it switched and did not (lie), reads *off* for a node that is on (lie-state), "
        "does not answer (dead), takes long (slow), obeys half a minute after it was asked (late), cannot tell the power "
        "state (unknown), or works again (honest).",
        (_NODE, Field("mode", Kind.CHOICE, "How.", "lie", choices=LIES)),
    ),
    Verb("confirm-dead", "An operator says that the node is dead.", (_NODE,)),
    Verb("return-node", "An operator ends the node's quarantine.", (_NODE,)),
    # operators
    Verb("add-node", "A machine that did not belong to the cluster becomes a node of it.", (_NODE,)),
    Verb("maintenance-on", "The node's instances are moved off and none is placed there.", (_NODE,)),
    Verb("maintenance-off", "The maintenance ends; what was moved off returns.", (_NODE,)),
    Verb(
        "ha-pause",
        "High availability is paused: nothing is fenced, claimed, placed or moved.",
        (Field("mode", Kind.CHOICE, "How.", PauseMode.FREEZE.value, choices=tuple(PauseMode)),),
    ),
    Verb("ha-resume", "High availability goes on."),
    Verb(
        "set-state",
        "Another state is wanted of an instance.",
        (_INSTANCE, Field("state", Kind.CHOICE, required=True, choices=tuple(Desired))),
    ),
    Verb("migrate", "An instance is moved, live where its kind can.", (_INSTANCE, _TARGET)),
    Verb("relocate", "An instance is stopped here and started there.", (_INSTANCE, _TARGET)),
    Verb("add", "An instance is created.", (Field("instance", Kind.NEW_INSTANCE, required=True), *INSTANCE_FIELDS)),
    Verb("remove", "An instance is deleted.", (_INSTANCE,)),
    Verb("lock", "An instance is not moved on purpose until it is unlocked.", (_INSTANCE,)),
    Verb("unlock", "It may be moved again.", (_INSTANCE,)),
    Verb(
        "set-resources",
        "A node has, or an instance needs, other resources.",
        (
            Field("node", Kind.NODE),
            Field("instance", Kind.INSTANCE),
            Field("cpu", Kind.NUMBER, "Cores. Default: as they are.", -1.0),
            Field("memory", Kind.MEMORY, "Main memory. Default: as it is.", -1),
            Field("slots", Kind.SLOTS, "Of a node, by kind. Default: as they are.", {}),
        ),
        one_of=(("node", "instance"),),
        any_of=("cpu", "memory", "slots"),
    ),
    # instances
    Verb("crash", "The instance's process ends by itself.", (_INSTANCE,)),
    Verb("guest-power-off", "The guest powers itself off: it ends by its own will.", (_INSTANCE,)),
    Verb(
        "late-start",
        "The next starts of an instance take effect so long after the last question whether it may.",
        (_INSTANCE, Field("seconds", Kind.SECONDS, required=True), _TIMES),
    ),
    Verb("fail-start", "The next starts of an instance fail.", (_INSTANCE, _TIMES, _ON_NODE)),
    Verb("fail-stop", "The next stops of an instance fail: it goes on running.", (_INSTANCE, _TIMES, _ON_NODE)),
    Verb("fail-migrate", "The next live migrations of an instance fail.", (_INSTANCE, _TIMES, _ON_NODE)),
    Verb("hang-start", "Starts of an instance hang, from now on or for a time.", (_INSTANCE, _ON_NODE, _FOR)),
    Verb("hang-stop", "Stops of an instance hang, from now on or for a time.", (_INSTANCE, _ON_NODE, _FOR)),
    Verb("lie-start", "Starts of an instance are said to be done, and nothing runs.", (_INSTANCE, _FOR)),
    Verb("lie-stop", "Stops of an instance are said to be done, and it runs on.", (_INSTANCE, _FOR)),
    Verb("hang-kill", "Not even the guard can kill an instance: it hangs in the kernel.", (_INSTANCE, _FOR)),
)
VERBS = {verb.name: verb for verb in _TABLE}
