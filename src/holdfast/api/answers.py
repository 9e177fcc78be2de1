"""What each route answers: the shapes, for OpenAPI (api/openapi.py) and for the client (holdfast.client).

Answers are encoded from the values themselves; the types here say what comes out. tests/unit/test_api_openapi.py holds real
answers against them.
"""

from dataclasses import dataclass, field
from typing import Any

from holdfast.api.operations.audited import AuditEntry
from holdfast.api.operations.dns_picture import NameView
from holdfast.api.operations.iscsi_picture import VolumeView
from holdfast.api.permissions import Role
from holdfast.api.records import ManagerInfo
from holdfast.api.status import InstanceView, ServiceStatus, TargetGroupView
from holdfast.api.task_model import TaskView
from holdfast.core.dns_model import UpdateState, Zone
from holdfast.core.drill import Drill
from holdfast.core.history import GuaranteeWord
from holdfast.core.model import ManagementMember, NodeState
from holdfast.core.policy import ComputeSpec, RuleSpec


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, as RFC 9457 problem details."""

    type: str
    """`urn:holdfast:error:` and what kind of error it is."""
    title: str
    status: int
    detail: str
    """What happened, and to what."""
    advice: str = ""
    """What to do next."""
    instance: str = ""
    worst: list[str] = field(default_factory=list)
    """Of a broken guarantee: the failures after which most would find no room."""
    unplaced: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of a broken guarantee: instance → node → why it would not fit."""
    waiting: list[str] = field(default_factory=list)
    """Of a broken guarantee: what has no room already now."""
    etag: str = ""
    """Of a failed precondition: the present tag."""


@dataclass(frozen=True, slots=True)
class Said:
    text: str


@dataclass(frozen=True, slots=True)
class LoggedIn:
    token: str
    user: str
    expires_s: int


@dataclass(frozen=True, slots=True)
class SessionAnswer:
    """Who asks, and which node answers."""

    user: str
    via: str
    role: Role
    node: str


@dataclass(frozen=True, slots=True)
class Authority:
    certificates: str
    """PEM."""


@dataclass(frozen=True, slots=True)
class Joined:
    text: str
    files: dict[str, str]
    """Name → content in base64, sealed for the machine that asked."""


@dataclass(frozen=True, slots=True)
class Me:
    """Who asks, and what they may do."""

    name: str
    role: Role
    via: str
    address: str
    permissions: list[str]
    session: str
    """Id of the session that asks; empty for root and API tokens."""


@dataclass(frozen=True, slots=True)
class SessionLine:
    id: str
    began: str
    ends: str
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class UserLine:
    name: str
    role: Role
    disabled: bool
    created: str


@dataclass(frozen=True, slots=True)
class UserAnswer:
    name: str
    role: Role
    disabled: bool
    created: str
    sessions: list[SessionLine]


@dataclass(frozen=True, slots=True)
class TokenLine:
    id: str
    name: str
    owner: str
    scopes: list[str]
    created: str
    expires: str
    last_used: str
    last_address: str


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    service: ServiceStatus
    instances: list[InstanceView | None]


@dataclass(frozen=True, slots=True)
class HaAnswer:
    """The management plane: what is wanted, what is there, and whether both agree."""

    revision: int
    enabled: bool
    virtual_ip: str
    nodes: tuple[str, ...]
    members: tuple[ManagementMember, ...]
    settled: bool
    manager: ManagerInfo
    panel: InstanceView | None
    states: dict[str, NodeState]


@dataclass(frozen=True, slots=True)
class NfsAnswer:
    cluster: dict[str, Any] | None
    """The address pool; null: there is no NFS cluster."""
    volumes: list[InstanceView]


@dataclass(frozen=True, slots=True)
class VmsAnswer:
    cluster: ComputeSpec | None
    vms: list[InstanceView]


@dataclass(frozen=True, slots=True)
class ComputeNode:
    id: str
    state: NodeState
    cpu: float
    memory_mib: int
    cpu_free: float
    memory_free_mib: int
    vms: list[str]


@dataclass(frozen=True, slots=True)
class ComputeAnswer:
    cluster: ComputeSpec | None
    nodes: list[ComputeNode]
    guarantee: GuaranteeWord | None


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    rule: RuleSpec
    text: str
    note: str


@dataclass(frozen=True, slots=True)
class ConsoleAnswer:
    path: str
    lines: list[str]


@dataclass(frozen=True, slots=True)
class TargetGroupLine(TargetGroupView):
    volumes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IscsiAnswer:
    groups: list[TargetGroupLine]
    volumes: list[VolumeView]


@dataclass(frozen=True, slots=True)
class ZoneAnswer:
    zone: Zone
    servers: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class UpdateTargetAnswer:
    """Without its key's secret."""

    name: str
    server: str
    port: int
    zone: str
    ttl_s: int
    key: str
    algorithm: str
    state: UpdateState


@dataclass(frozen=True, slots=True)
class SecondaryAnswer:
    """Without its key's secret."""

    name: str
    addresses: tuple[str, ...]
    notify: list[str]
    key: str


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What is published, and why each address is in or out."""

    serial: int
    changed: str
    zones: list[ZoneAnswer]
    names: list[NameView]
    update_targets: list[UpdateTargetAnswer]
    secondaries: list[SecondaryAnswer]


@dataclass(frozen=True, slots=True)
class DnsFinding:
    """One check of DNS."""

    where: str
    check: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class AuditLine(AuditEntry):
    id: str = ""


@dataclass(frozen=True, slots=True)
class DrillShown:
    drill: Drill
    grade: str
    task: TaskView | None
    """How far it is; None: the task was forgotten, which happens before the drill is."""
