"""Target groups and volumes as they are stored, and what becomes of them on one node. Pure.

A **target group** is one target on several nodes. A **volume** is a file on the shared storage or a block device that all
those nodes see; while it is attached to a group it is a service, and its active path a strict instance `iscsi/<volume>`.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from holdfast.core.model import Desired, Exclusivity, InstanceSpec, Role
from holdfast.errors import InvalidInput
from holdfast.services.iscsi.engine import Account, Portal, Target, Volume

KIND = "iscsi"


@dataclass(frozen=True, slots=True)
class ChapAccount:
    """As it is stored: the secret locked (`chap.py`), or in clear by an earlier version. It is never shown."""

    user: str
    secret: str = field(repr=False)

    def account(self) -> Account:
        return Account(self.user, self.secret)


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """Key spec/iscsi/groups/<name>. Exists on its nodes as long as it is started, with or without volumes."""

    name: str
    iqn: str
    """The target's name, the same on every node."""
    engine: str
    """`lio` or `tgt`, the same on every node: paths of one volume must not differ in kind."""
    portals: dict[str, tuple[str, ...]]
    """Node → the addresses on which it listens, with port: `10.0.0.1:3260` or `[fd00::1]:3260`."""
    tags: dict[str, int]
    """Node → its target portal group tag and ALUA group."""
    probe: str
    """Name under which health checks log in. Made up for this group, and as secret as it must be: it may read."""
    initiators: tuple[str, ...] = ()
    """Who may log in. Empty: nobody."""
    chap: ChapAccount | None = None
    mutual: ChapAccount | None = None
    started: bool = True
    networks: tuple[str, ...] = ()
    """Where its clients are: every node listens on each of them."""

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(sorted(self.portals))

    def target(self, node: str) -> Target:
        """The group's share of a node of it. Raises InvalidInput."""
        return Target(
            self.iqn,
            tuple(parse_portal(text) for text in self.portals[node]),
            self.tags[node],
            (*self.initiators, self.probe),
            self.chap.account() if self.chap else None,
            self.mutual.account() if self.mutual else None,
        )


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """Key spec/iscsi/volumes/<name>. What never changes is its UUID, and with it serial number and WWID."""

    name: str
    uuid: str
    path: str
    size_bytes: int
    device: bool = False
    """A block device of the operator's, which Holdfast neither makes nor removes."""
    group: str = ""
    """Empty: not attached."""
    lun: int = 0


class _Attached(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An instance's `config`."""

    group: str
    iqn: str
    lun: int
    uuid: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Attached:
    """A volume as the driver needs it."""

    instance: str
    group: str
    volume: Volume


def instance_id(volume: str) -> str:
    return f"{KIND}/{volume}"


def instance_spec(record: VolumeRecord, group: TargetGroup) -> InstanceSpec:
    """The active path of an attached volume: no address follows it, its clients know all portals."""
    assert record.group == group.name, "a volume is attached to one group"
    assert record.lun, "an attached volume has a number"
    config: dict[str, Any] = msgspec.to_builtins(
        _Attached(group.name, group.iqn, record.lun, record.uuid, record.path, record.size_bytes)
    )
    return InstanceSpec(
        instance_id(record.name),
        KIND,
        record.name,
        Exclusivity.STRICT,
        Role.STORAGE,
        nodes=group.nodes,
        desired=Desired.STARTED if group.started else Desired.STOPPED,
        config=config,
        networks=group.networks,
    )


def from_instance(instance: InstanceSpec) -> Attached:
    """Raises InvalidInput if the instance's configuration is not one of this kind."""
    try:
        found = msgspec.convert(instance.config, _Attached)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"the configuration of {instance.id} is not that of an iSCSI volume: {error}",
            "Detach the volume and attach it again with `holdfast iscsi volume`.",
        ) from None
    volume = Volume(found.iqn, found.lun, found.uuid, found.path, found.size_bytes)
    return Attached(instance.id, found.group, volume)


def parse_portal(text: str) -> Portal:
    """`ADDRESS`, `ADDRESS:PORT` or `[IPV6]:PORT`. Raises InvalidInput."""
    address, port = text, ""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    if port and not port.isdecimal():
        raise InvalidInput(f"{text!r} is not a portal", "Write it like 10.0.0.1:3260 or [fd00::1]:3260.")
    return Portal(address, int(port)) if port else Portal(address)


def volume_path(shared_root: str, name: str) -> str:
    """Where Holdfast makes the file of a volume."""
    return f"{shared_root}/iscsi/volumes/{name}.img"
