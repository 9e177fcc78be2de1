"""The fields of a scenario file: a table for each mapping that may stand in it, one reader and one writer for all."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from holdfast.core.model import KINDS, Desired, Exclusivity, Role, ShutdownPolicy
from holdfast.core.timing import PROFILES
from holdfast.sim.document import MAX_SECONDS, Cursor, memory_text

Value = str | int | float | bool | tuple[str, ...] | dict[str, str] | dict[str, int]


class Kind(StrEnum):
    """What a field holds."""

    NODE = "node"
    NODES = "list of nodes"
    INSTANCE = "instance"
    NEW_INSTANCE = "new instance"
    SECONDS = "seconds"
    SIGNED_SECONDS = "seconds, also negative"
    NUMBER = "number"
    PERCENT = "percent"
    WHOLE = "whole number"
    FLAG = "true or false"
    MEMORY = "memory"
    """Written as 16GiB, read as MiB."""
    CHOICE = "one of"
    ROLES = "list of roles"
    LABELS = "mapping"
    SLOTS = "mapping of kinds"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, what it holds, and what it means when it is left out."""

    name: str
    kind: Kind
    sentence: str = ""
    default: Value = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """Other spellings that are understood; never written."""


@dataclass(frozen=True, slots=True)
class Names:
    """What may be named at this place of the file."""

    nodes: Collection[str] = ()
    instances: Collection[str] = ()


NODE_FIELDS = (
    Field("cpu", Kind.NUMBER, "Cores.", 4.0),
    Field("memory", Kind.MEMORY, "Main memory.", 8 * 1024),
    Field("roles", Kind.ROLES, "Default: all of them; management only on the first nodes (cluster: management)."),
    Field("power_fencing", Kind.FLAG, "It has a device that can switch it off from outside.", True),
    Field("watchdog", Kind.FLAG, "It has a watchdog.", True),
    Field("labels", Kind.LABELS, "For people; `rack` is the node's failure domain.", {}),
    Field("slots", Kind.SLOTS, "So many instances of a kind at most, e.g. {vm: 40, nfs: 10}. Default: no limit.", {}),
    Field("joined", Kind.FLAG, "It is a node of the cluster from the beginning; else from its `add-node` on.", True),
)
CLUSTER_FIELDS = (
    Field("tolerate", Kind.WHOLE, "So many nodes may fail at once.", 1),
    Field(
        "shutdown_policy",
        Kind.CHOICE,
        "What becomes of a node's instances when it is shut down or rebooted.",
        ShutdownPolicy.FAILOVER.value,
        choices=tuple(ShutdownPolicy),
    ),
    Field("dead_node_power_on", Kind.FLAG, "Switch a node that was fenced and claimed on again.", True),
    Field(
        "management", Kind.WHOLE, "How many nodes carry store and manager: 1, 3 or 5, as far as there are so many.", 3
    ),
    Field("rebalance", Kind.CHOICE, "Even out the load by live migration.", "off", choices=("off", "auto")),
)
INSTANCE_FIELDS = (
    Field("node", Kind.NODE, "Where it runs at the beginning. Default: the manager chooses."),
    Field("nodes", Kind.NODES, "Only these may carry it. Default: all with its role.", ()),
    Field("state", Kind.CHOICE, "What is wanted of it.", Desired.STARTED.value, choices=tuple(Desired)),
    Field("cpu", Kind.NUMBER, "Cores it needs.", 0.0),
    Field("memory", Kind.MEMORY, "Main memory it needs.", 0),
    Field("priority", Kind.WHOLE, "0 to 1000; the higher one is placed first.", 500),
    Field("max_restarts", Kind.WHOLE, "Failed starts are repeated so often on the same node.", 1),
    Field("max_relocations", Kind.WHOLE, "Then it is tried on so many other nodes.", 1),
    Field("failback", Kind.FLAG, "It returns to a node that its rules prefer.", True),
    Field("ha", Kind.FLAG, "Recovered on another node when its own dies; else it waits for that one's return.", True),
    Field("preemptible", Kind.FLAG, "It may be stopped where something of higher priority needs the room.", False),
    Field(
        "exclusivity",
        Kind.CHOICE,
        "What two copies of it would mean. Default: that of its kind; gateways (s3/…/gw-NODE, backup) run everywhere.",
        choices=tuple(Exclusivity),
    ),
    Field("home", Kind.NODE, "Of a copy of what runs everywhere: its own node. Default: NODE in gw-NODE, else `node`."),
)
PROFILE = Field("profile", Kind.CHOICE, "Timing profile.", "default", choices=tuple(PROFILES))


def read_fields(
    cursor: Cursor, fields: Sequence[Field], names: Names, *, ignore: Collection[str] = ()
) -> dict[str, Value]:
    """Field name → value, defaults included. Raises InvalidInput."""
    spellings = {spelling: field for field in fields for spelling in (field.name, *field.aliases)}
    canonical = [field.name for field in fields]
    for key, child in cursor.mapping().items():
        if key not in spellings and key not in ignore:
            raise child.unknown("field", key, [*ignore, *canonical])
    values: dict[str, Value] = {}
    for key, child in cursor.mapping().items():
        if key in ignore:
            continue
        field = spellings[key]
        if field.name in values:
            raise child.error(f"stands twice, as {' and '.join((field.name, *field.aliases))}")
        values[field.name] = _READERS[field.kind](child, field, names)
    for field in fields:
        if field.name not in values:
            if field.required:
                wanted = [name for name, other in spellings.items() if other.required and other.name == name]
                raise cursor.error(f"{field.name} is missing", f"Needed: {', '.join(wanted)}.")
            values[field.name] = field.default
    return values


def write_fields(values: Mapping[str, Value], fields: Sequence[Field]) -> dict[str, object]:
    """The opposite of `read_fields`, without what is default anyway."""
    document: dict[str, object] = {}
    for field in fields:
        value = values.get(field.name, field.default)
        if not field.required and value == field.default:
            continue
        if field.kind is Kind.MEMORY:
            assert isinstance(value, int)
            document[field.name] = memory_text(value)
        elif isinstance(value, tuple):
            document[field.name] = list(value)
        else:
            document[field.name] = plain_number(value) if isinstance(value, float) else value
    return document


def plain_number(value: float) -> int | float:
    """12 rather than 12.0."""
    return int(value) if value == int(value) else value


def _node(cursor: Cursor, _field: Field, names: Names) -> Value:
    name = cursor.text()
    if name not in names.nodes:
        raise cursor.unknown("node", name, names.nodes)
    return name


def _nodes(cursor: Cursor, field: Field, names: Names) -> Value:
    found = tuple(str(_node(item, field, names)) for item in cursor.one_or_more())
    if not found:
        raise cursor.error("is empty", "Name at least one node, or leave it out.")
    return found


def _instance(cursor: Cursor, _field: Field, names: Names) -> Value:
    name = cursor.text()
    if name not in names.instances:
        raise cursor.unknown("instance", name, names.instances)
    return name


def _roles(cursor: Cursor, _field: Field, _names: Names) -> Value:
    found = {item.choice(tuple(Role), "role") for item in cursor.items()}
    return tuple(role.value for role in Role if role in found)


def _labels(cursor: Cursor, _field: Field, _names: Names) -> Value:
    return {key: value.text() for key, value in cursor.mapping().items()}


def _slots(cursor: Cursor, _field: Field, _names: Names) -> Value:
    entries = cursor.mapping()
    for key, value in entries.items():
        if key not in KINDS:
            raise value.unknown("kind", key, KINDS)
    return {key: value.whole() for key, value in entries.items()}


def _choice(cursor: Cursor, field: Field, _names: Names) -> Value:
    return cursor.choice(field.choices, field.name)


_READERS: dict[Kind, Callable[[Cursor, Field, Names], Value]] = {
    Kind.NODE: _node,
    Kind.NODES: _nodes,
    Kind.INSTANCE: _instance,
    Kind.NEW_INSTANCE: lambda cursor, _field, _names: cursor.text(),
    Kind.SECONDS: lambda cursor, _field, _names: cursor.number(0, MAX_SECONDS),
    Kind.SIGNED_SECONDS: lambda cursor, _field, _names: cursor.number(-1e12, 1e12),
    Kind.NUMBER: lambda cursor, _field, _names: cursor.number(0, 1e6),
    Kind.PERCENT: lambda cursor, _field, _names: cursor.number(0, 100),
    Kind.WHOLE: lambda cursor, _field, _names: cursor.whole(),
    Kind.FLAG: lambda cursor, _field, _names: cursor.flag(),
    Kind.MEMORY: lambda cursor, _field, _names: cursor.memory_mib(),
    Kind.CHOICE: _choice,
    Kind.ROLES: _roles,
    Kind.LABELS: _labels,
    Kind.SLOTS: _slots,
}
