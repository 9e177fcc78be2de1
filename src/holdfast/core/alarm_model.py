"""Alarms as frozen data (stored like the records of `core.model`), and the life of one as a table.

An alarm is a condition that an operator should know of: of one kind, about one subject. Events say what happened, alarms
say what is wrong now. The leading manager raises and clears them, an operator acknowledges them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.core.history import GuaranteeWord, Severity
from holdfast.core.model import ManagementSpec

RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}
"""Severities in their order."""
MANY = 50
"""So many alarms of one kind; the rest is told of in one."""


class AlarmKind(StrEnum):
    """What is wrong. What to do about each stands in docs/monitoring.md."""

    GUARANTEE_LOST = "guarantee-lost"
    """The tolerated failures do not leave room for everything any more."""
    SINGLE_GATEWAY = "single-gateway"
    """Of several gateways of an S3 or backup cluster at most one answers."""
    FENCE_TEST_FAILED = "fence-test-failed"
    """A fence device does not tell the power state, or tells a wrong one."""
    WATCHDOG_MISSING = "watchdog-missing"
    """A node attests no watchdog: it is never claimed on time alone."""
    STORE_SLOW = "store-slow"
    """The manager's own transactions take long."""
    STORE_SPACE = "store-space"
    """A member of the store is near its quota, or refuses writes because of it."""
    STORE_MEMBER_MISSING = "store-member-missing"
    """A member of the store does not answer."""
    MANAGEMENT_DEGRADED = "management-degraded"
    """The management plane survives no further failure, though it has several nodes."""
    CERTIFICATE_EXPIRES = "certificate-expires"
    """A node's certificate, or the cluster's authority, ends soon."""
    CLOCK_SKEW = "clock-skew"
    """A node's wall clock differs from the others'. No decision depends on it; logs, certificates and file times do."""
    ADDRESS_CONFLICT = "address-conflict"
    """A service address is answered by somebody else."""
    NODE_SUSPECT = "node-suspect"
    """A node is missed, and not proven dead yet."""
    NODE_DEAD = "node-dead"
    """A node was proven dead and claimed, and is not back."""
    NODE_QUARANTINED = "node-quarantined"
    """A node failed too often: nothing is placed there until an operator returns it."""
    NETWORK_LOST = "network-lost"
    """A node is missed on one of its networks, other than management."""
    INSTANCE_WAITING = "instance-waiting"
    """An instance is not placed or not running, most often because there is no room."""
    INSTANCE_FAILED = "instance-failed"
    """An instance does not start, or runs and does not answer."""
    HA_PAUSED = "ha-paused"
    """High availability has been paused for long."""
    HOLD = "hold"
    """The manager holds: more than half of the nodes are suspect at once, or it does not believe the store."""
    RECEIVER_FAILING = "receiver-failing"
    """A receiver of alarms does not take them."""
    TEST = "test"
    """Sent by `holdfast alarm receiver test`; never stored."""


class AlarmState(StrEnum):
    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"


class AlarmEvent(StrEnum):
    FOUND = "found"
    """The condition holds."""
    WORSENED = "worsened"
    """It holds, and is more severe than before."""
    GONE = "gone"
    """It holds no more."""
    ACKNOWLEDGE = "acknowledge"
    """An operator has seen it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the alarms' table."""

    state: AlarmState
    event: AlarmEvent
    next: AlarmState
    sentence: str


_S, _E = AlarmState, AlarmEvent

ALARM_TABLE: tuple[Transition, ...] = (
    Transition(
        _S.CLEARED, _E.FOUND, _S.RAISED, "The condition holds: an alarm with a new number, and receivers are told."
    ),
    Transition(_S.CLEARED, _E.WORSENED, _S.RAISED, "The same."),
    Transition(_S.CLEARED, _E.GONE, _S.CLEARED, "Nothing is wrong."),
    Transition(_S.RAISED, _E.FOUND, _S.RAISED, "It still holds."),
    Transition(_S.RAISED, _E.WORSENED, _S.RAISED, "It became more severe: receivers are told again."),
    Transition(_S.RAISED, _E.ACKNOWLEDGE, _S.ACKNOWLEDGED, "Somebody looks after it."),
    Transition(_S.RAISED, _E.GONE, _S.CLEARED, "It holds no more: receivers are told."),
    Transition(_S.ACKNOWLEDGED, _E.FOUND, _S.ACKNOWLEDGED, "It still holds."),
    Transition(
        _S.ACKNOWLEDGED, _E.WORSENED, _S.RAISED, "It became more severe than what was acknowledged: raised again."
    ),
    Transition(_S.ACKNOWLEDGED, _E.ACKNOWLEDGE, _S.ACKNOWLEDGED, "Somebody else looks after it."),
    Transition(_S.ACKNOWLEDGED, _E.GONE, _S.CLEARED, "It holds no more: receivers are told."),
)

_NEXT = {(row.state, row.event): row.next for row in ALARM_TABLE}


def alarm_next(state: AlarmState, event: AlarmEvent) -> AlarmState | None:
    """None: the event means nothing in this state (what is cleared cannot be acknowledged)."""
    return _NEXT.get((state, event))


def alarm_id(kind: AlarmKind, subject: str) -> str:
    """Stable: the same condition about the same subject always has it. Fits into a path as one part."""
    return f"{kind.value}:{subject.replace('/', ':')}"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong now."""

    kind: AlarmKind
    subject: str
    """What it is about: a node, an instance, `s3/main`, or `cluster`."""
    severity: Severity
    text: str
    """What happened, and to what. Holds nothing that changes all the time."""
    advice: str
    """What to do."""

    @property
    def id(self) -> str:
        return alarm_id(self.kind, self.subject)


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm (key alarms/<id>), kept for a while after it was cleared."""

    id: str
    kind: str
    """Of AlarmKind, or one that a newer version knows."""
    subject: str
    severity: Severity
    text: str
    advice: str
    state: AlarmState
    raised_at: str
    """ISO 8601 UTC, for people."""
    number: int = 1
    """Counts how often this condition was raised."""
    change: int = 1
    """Grows with each change that receivers are told of: raised, worsened, cleared."""
    cleared_at: str = ""
    acknowledged_by: str = ""
    acknowledged_at: str = ""
    note: str = ""
    """What the operator said when acknowledging it."""

    @property
    def open(self) -> bool:
        return self.state is not AlarmState.CLEARED


# --- receivers -----------------------------------------------------------------------------------------------------


class ReceiverType(StrEnum):
    WEBHOOK = "webhook"
    """HTTPS POST of JSON, signed with HMAC-SHA256."""
    EMAIL = "email"
    """SMTP."""
    ALERTMANAGER = "alertmanager"
    """Prometheus Alertmanager's API, version 2."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who is told of alarms (key spec/alarms/receivers/<name>)."""

    name: str
    type: ReceiverType
    min_severity: Severity = Severity.WARNING
    options: dict[str, str] = field(default_factory=dict)
    """webhook: host, ca (PEM text; empty: the system's authorities); email: server, port, tls (`starttls`, `tls`, `none`),
    from, to (comma-separated), user, ca; alertmanager: url, user, ca."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Each locked with the cluster secret. webhook: url (often a secret itself), key; email, alertmanager: password."""
    serial: int = 0
    """Of the setting that made it: a receiver that was removed and added again begins anew."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a receiver was told (key alarms-sent/<receiver>), written by the leading manager after each delivery."""

    serial: int = 0
    """Of the Receiver that this is about."""
    told: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Alarm → number and change that the receiver has taken."""
    error: str = ""
    """Why the last attempt failed; empty: it did not."""
    failures: int = 0
    """Failed attempts in a row."""
    at: str = ""
    """When it last changed, ISO 8601 UTC, for people."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What is sent to a receiver at once."""

    receiver: Receiver
    alarms: tuple[Alarm, ...]
    cluster: str
    node: str
    """Who sends it."""
    wall: str
    repeats: bool = False
    """Nothing of it is new: for a receiver that forgets what it is not told again."""


# --- what is judged beside the View ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node says of itself for people (key reports/<node>), written by its agent each minute and when it changes."""

    session: str
    wall: str
    """Its wall clock when it sent this, ISO 8601 UTC."""
    certificate_ends: str = ""
    """ISO 8601 UTC; empty: unknown."""
    authority_ends: str = ""
    conflicts: dict[str, str] = field(default_factory=dict)
    """Service address that this node has or wants → who else answers for it."""


@dataclass(frozen=True, slots=True)
class FenceTest:
    """What reading the power state through one device gave."""

    device: str
    ok: bool
    text: str
    failures: int = 0
    """Failed tests in a row."""
    lies: bool = False
    """It says that the power is off, but the node is up."""


@dataclass(frozen=True, slots=True)
class StoreMember:
    """One member of the store, as the leading manager finds it."""

    node: str
    answers: bool
    voter: bool = True
    db_bytes: int = 0
    db_used_bytes: int = 0
    quota_bytes: int = 0
    """0: unknown."""
    errors: tuple[str, ...] = ()
    """Alarms of the store, e.g. NOSPACE."""
    version: str = ""


@dataclass(frozen=True, slots=True)
class ManagerHealth:
    """Figures of the leading manager for people (key manager/health), written when they change, at most each 10 s."""

    node: str
    term: int
    store_latency_s: float = 0.0
    """Median of the last transactions."""
    store_worst_s: float = 0.0
    """Of the same transactions."""
    members: tuple[StoreMember, ...] = ()
    fence_tests: dict[str, tuple[FenceTest, ...]] = field(default_factory=dict)
    """Node → its devices, as far as they were tested in this term."""
    clock_offsets_s: dict[str, float] = field(default_factory=dict)
    """Node → its wall clock's distance from the median of all."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the manager knows beside the View. A mapping lacks what it does not know."""

    wall: str = ""
    """The manager's wall clock, ISO 8601 UTC. Only what is about wall clocks depends on it, and only for people."""
    guarantee: GuaranteeWord | None = None
    waiting: Mapping[str, str] = field(default_factory=dict)
    """Instance → why it is not placed or not running."""
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    """Node → one sentence."""
    hold: str = ""
    management: ManagementSpec = field(default_factory=lambda: ManagementSpec(nodes=()))
    reports: Mapping[str, NodeReport] = field(default_factory=dict)
    offsets_s: Mapping[str, float] = field(default_factory=dict)
    """Node → its wall clock's distance from the median of all, as measured in this term."""
    fence_tests: Mapping[str, tuple[FenceTest, ...]] = field(default_factory=dict)
    """Node → its devices, as tested in this term."""
    members: tuple[StoreMember, ...] | None = None
    """None: nobody has looked yet."""
    latency_s: float | None = None
    """Median of the manager's last transactions; None: too few in this term."""
    deliveries: Mapping[str, Delivery] = field(default_factory=dict)
    """Receiver → how its deliveries went."""
