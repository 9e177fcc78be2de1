"""The store's entries decoded for the picture that people see, incrementally, change by change. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec

from holdfast.api.task_model import Task
from holdfast.core.alarm_model import Alarm, Delivery, ManagerHealth, NodeReport, Receiver
from holdfast.core.dns_model import DnsRecords, Secondary, UpdateState, UpdateTarget, Zone
from holdfast.core.drill import Drill, DrillAnswer
from holdfast.core.history import Event, Incident, ManagerView
from holdfast.core.model import (
    Beat,
    ClusterSpec,
    DeathConfirmation,
    Fence,
    InstanceSpec,
    InstanceStatus,
    ManagementSpec,
    MoveRequest,
    NodeSpec,
    Placement,
    ServiceSpec,
)
from holdfast.core.policy import (
    BringBack,
    ComputeSpec,
    HaPause,
    InstanceLock,
    Maintenance,
    NodeHealth,
    RuleSpec,
    SwitchedOff,
)
from holdfast.core.restored import Restored
from holdfast.errors import StoreError
from holdfast.ports import Entry
from holdfast.services.backup_gateway.cluster import BackupCluster, BackupUser
from holdfast.services.iscsi.config import TargetGroup, VolumeRecord
from holdfast.services.s3.config import S3Cluster, S3User
from holdfast.store import codec, keys

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ManagerInfo:
    """Where the leading manager runs; both empty/0 while there is none."""

    node: str = ""
    term: int = 0


# Prefix (or whole key) → what its value is. Accounts, sessions and secrets are deliberately never decoded; what of the rest
# holds secrets is shown without them (`TargetGroupView`, `s3_view.py`).
_KINDS: tuple[tuple[str, type[Any]], ...] = (
    (keys.CLUSTER, ClusterSpec),
    (keys.MANAGEMENT, ManagementSpec),
    (keys.MANAGER_VIEW, ManagerView),
    (keys.NODE_SPECS, NodeSpec),
    (keys.SERVICES, ServiceSpec),
    (keys.KINDS, ServiceSpec),
    (keys.INSTANCES, InstanceSpec),
    (keys.PLACEMENTS, Placement),
    (keys.STATUSES, InstanceStatus),
    (keys.EVENTS, Event),
    (keys.INCIDENTS, Incident),
    (keys.TASKS, Task),
    (keys.PAUSE, HaPause),
    (keys.MAINTENANCE, Maintenance),
    (keys.BRING_BACK, BringBack),
    (keys.MOVES, MoveRequest),
    (keys.RULES, RuleSpec),
    (keys.LOCKS, InstanceLock),
    (keys.COMPUTE, ComputeSpec),
    (keys.ISCSI_GROUPS, TargetGroup),
    (keys.ISCSI_VOLUMES, VolumeRecord),
    (keys.BACKUP_CLUSTERS, BackupCluster),
    (keys.BACKUP_USERS, BackupUser),
    (keys.S3_CLUSTERS, S3Cluster),
    (keys.S3_USERS, S3User),
    (keys.DNS_ZONES, Zone),
    (keys.DNS_TARGETS, UpdateTarget),
    (keys.DNS_SECONDARIES, Secondary),
    (keys.DNS_RECORDS, DnsRecords),
    (keys.DNS_STATES, UpdateState),
    (keys.RESTORED, Restored),
    (keys.DRILLS, Drill),
    (keys.ALARMS, Alarm),
    (keys.RECEIVERS, Receiver),
    (keys.DELIVERIES, Delivery),
    (keys.REPORTS, NodeReport),
    (keys.MANAGER_HEALTH, ManagerHealth),
)
_FIGURES = (keys.REPORTS, keys.DELIVERIES, keys.MANAGER_HEALTH)
"""What changes all the time and no picture shows: for metrics, and for whoever asks for it."""
_NODE_KINDS: dict[str, type[Any]] = {
    "beat": Beat,
    "fence": Fence,
    "confirmed-dead": DeathConfirmation,
    "health": NodeHealth,
    "switched-off": SwitchedOff,
    "drill": DrillAnswer,
}


def _kind_of(key: str) -> type[Any] | None:
    if key.startswith(keys.NODES):
        return _NODE_KINDS.get(keys.last_part(key))
    for prefix, kind in _KINDS:
        if key == prefix or (prefix.endswith("/") and key.startswith(prefix)):
            return kind
    return None


class Records:
    """Decoded entries by key; each value is decoded once, when it changes."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.values: dict[str, Any] = {}
        self.revisions: dict[str, int] = {}
        self.problems: dict[str, str] = {}
        for entry in entries:
            self.put(entry)

    def put(self, entry: Entry) -> bool:
        """False if people would see no difference: an ordinary beat, a sign of life, a key that is never shown."""
        key, old = entry.key, self.values.get(entry.key)
        self.revisions[key] = entry.mod_revision
        if key == keys.MANAGER_TERM:
            self.values[key] = _manager_term(entry)
        else:
            kind = _kind_of(key)
            if kind is None:
                return False
            try:
                self.values[key] = codec.decode(entry.value, kind, key)
            except StoreError as error:
                self.values.pop(key, None)
                self.problems[key] = error.message
                return True
        self.problems.pop(key, None)
        if key.startswith(_FIGURES):
            return False
        return not (isinstance(old, Beat) and self._is_next_beat(key, old))

    def _is_next_beat(self, key: str, old: Beat) -> bool:
        new: Beat = self.values[key]
        confirmed = keys.death_confirmation(keys.node_of(key)) in self.values
        return not confirmed and replace(old, sequence=new.sequence) == new

    def copy(self) -> "Records":
        """What changes later changes the copy no more."""
        made = Records()
        made.values, made.revisions, made.problems = dict(self.values), dict(self.revisions), dict(self.problems)
        return made

    def read(self, key: str, kind: type[T]) -> T | None:
        """The value, which is of the kind that belongs to the key (`holdfast.store.view.Source`)."""
        value = self.values.get(key)
        return value if isinstance(value, kind) else None

    def revision_of(self, key: str) -> int:
        return self.revisions.get(key, 0)

    def keys_below(self, prefix: str) -> list[str]:
        return sorted(key for key in self.values if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self.values.pop(key, None)
        self.revisions.pop(key, None)
        self.problems.pop(key, None)

    def clear(self) -> None:
        self.values.clear()
        self.revisions.clear()
        self.problems.clear()

    def under(self, prefix: str) -> list[tuple[str, Any]]:
        """(key, value) in the order of the keys."""
        return sorted((key, value) for key, value in self.values.items() if key.startswith(prefix))


def _manager_term(entry: Entry) -> ManagerInfo:
    """The manager's leadership record; the term is what the record says, else the revision that made it."""
    try:
        raw = msgspec.json.decode(entry.value)
    except msgspec.DecodeError:
        raw = None
    if not isinstance(raw, dict):
        return ManagerInfo(term=entry.mod_revision)
    term, node = raw.get("term"), raw.get("node")
    return ManagerInfo(node if isinstance(node, str) else "", term if isinstance(term, int) else entry.mod_revision)
