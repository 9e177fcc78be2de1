"""What people see of target groups and volumes: the store's picture, and what each node says of its paths."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from holdfast.api.operations import checks
from holdfast.api.status import UNKNOWN, ClusterStatus, InstanceView, TargetGroupView
from holdfast.services.iscsi import names
from holdfast.services.iscsi.config import VolumeRecord, instance_id
from holdfast.services.iscsi.engine import PathState
from holdfast.services.iscsi.report import Guest, NodeReport


@dataclass(frozen=True, slots=True)
class VolumeView:
    name: str
    state: str
    """`detached`, `detaching`, or the state of its active path: a word of InstanceState, `unplaced` or `unknown`."""
    group: str
    lun: int
    size_bytes: int
    path: str
    device: bool
    serial: str
    wwid: str
    node: str
    """Where its active path is placed."""
    healthy: bool
    waiting: str


@dataclass(frozen=True, slots=True)
class UnitView:
    """A volume in its group."""

    lun: int
    volume: str
    active: str
    """The node whose path serves; empty: none that is known."""
    paths: dict[str, str]
    """Node → state of its path: a word of PathState, or `unknown` where the node is not up or has not said."""


@dataclass(frozen=True, slots=True)
class MemberView:
    """A node in a group."""

    node: str
    state: str
    """Of the node."""
    portals: tuple[str, ...]
    tag: int
    problems: dict[str, str]
    """Group or instance → why the node could not serve it."""
    reported: str
    """When it said so; empty: not yet."""


@dataclass(frozen=True, slots=True)
class ConnectionView:
    node: str
    initiator: str
    address: str


@dataclass(frozen=True, slots=True)
class GroupView:
    group: TargetGroupView
    nodes: tuple[MemberView, ...]
    units: tuple[UnitView, ...]
    connections: tuple[ConnectionView, ...]
    """To nodes that are up."""
    problem: str
    """Why the nodes' own words are missing."""


def listed(status: ClusterStatus) -> dict[str, object]:
    return {"groups": [_line(status, group) for group in status.target_groups], "volumes": volumes(status)}


def _line(status: ClusterStatus, group: TargetGroupView) -> dict[str, Any]:
    names_ = [record.name for record in status.iscsi_volumes if record.group == group.name]
    return {**msgspec.to_builtins(group), "volumes": names_}


def volumes(status: ClusterStatus) -> list[VolumeView]:
    instances = {instance.id: instance for instance in status.instances}
    return [_volume(record, instances.get(instance_id(record.name))) for record in status.iscsi_volumes]


def volume(status: ClusterStatus, name: str) -> VolumeView:
    """Raises NotFound."""
    known = {view.name: view for view in volumes(status)}
    if name not in known:
        raise checks.not_found("volume", name, known)
    return known[name]


def _volume(record: VolumeRecord, instance: InstanceView | None) -> VolumeView:
    state = instance.state if instance else "detached"
    return VolumeView(
        record.name,
        "detaching" if instance and not record.group else state,
        record.group,
        record.lun,
        record.size_bytes,
        record.path,
        record.device,
        names.serial(record.uuid),
        names.wwid(record.uuid),
        instance.node if instance else "",
        instance is not None and instance.healthy,
        instance.waiting if instance else "",
    )


def find(status: ClusterStatus, name: str) -> TargetGroupView:
    """Raises NotFound."""
    known = {group.name: group for group in status.target_groups}
    if name not in known:
        raise checks.not_found("target group", name, known)
    return known[name]


def group(status: ClusterStatus, name: str, reports: Mapping[str, NodeReport], problem: str = "") -> GroupView:
    """What a node that is not up last said is not shown: it is about a time that has passed. Raises NotFound."""
    found = find(status, name)
    states = {node: view.state if (view := status.node(node)) else UNKNOWN for node in sorted(found.portals)}
    present = {
        node: reports[node]
        for node in states
        if node in reports and (view := status.node(node)) is not None and view.state.up
    }
    units = [view for view in volumes(status) if view.group == name]
    return GroupView(
        found,
        tuple(_member(node, str(state), found, present.get(node)) for node, state in states.items()),
        tuple(_unit(unit, found, present) for unit in sorted(units, key=lambda unit: unit.lun)),
        tuple(
            ConnectionView(node, guest.initiator, guest.address)
            for node, report in present.items()
            for guest in sorted(report.connections, key=_order)
            if guest.group == name
        ),
        problem,
    )


def _order(guest: Guest) -> tuple[str, str]:
    return guest.initiator, guest.address


def _member(node: str, state: str, group: TargetGroupView, report: NodeReport | None) -> MemberView:
    problems = report.problems if report else {}
    return MemberView(node, state, group.portals[node], group.tags[node], problems, report.at if report else "")


def _unit(unit: VolumeView, group: TargetGroupView, present: Mapping[str, NodeReport]) -> UnitView:
    paths = {node: _path(unit, group, present.get(node)) for node in sorted(group.portals)}
    return UnitView(unit.lun, unit.name, unit.node if unit.state == "running" else "", paths)


def _path(unit: VolumeView, group: TargetGroupView, report: NodeReport | None) -> str:
    if report is None:
        return UNKNOWN
    return report.paths.get(group.name, {}).get(unit.lun, str(PathState.ABSENT))
