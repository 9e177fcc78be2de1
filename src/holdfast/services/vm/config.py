"""What a virtual machine is: the part of its instance that only the driver of VMs reads (InstanceSpec.config). Pure."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import msgspec

from holdfast.core.model import Exclusivity, InstanceSpec, Role
from holdfast.errors import InvalidInput

KIND = "vm"
HEARTBEAT_PORT = "org.holdfast.heartbeat.0"
"""Name of the virtio-serial port on which a guest writes a line at least each 2 s (heartbeat = port)."""
AGENT_PORT = "org.qemu.guest_agent.0"
MIN_MEMORY_MIB = 16
MAX_DISKS = 20

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_BRIDGE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_UUID_SPACE = uuid.UUID("6f1d6f0e-6d0c-5a0e-9c39-7a1c1d1c8a10")


@dataclass(frozen=True, slots=True)
class Disk:
    path: str
    """A file on the shared storage."""
    format: Literal["qcow2", "raw"] = "qcow2"


@dataclass(frozen=True, slots=True)
class Nic:
    bridge: str
    """Linux bridge of the node (NetworkSpec.bridge)."""
    mac: str


@dataclass(frozen=True, slots=True)
class VmConfig:
    """The settings of one machine; cpu and memory are those of the instance, for the planner needs them too."""

    uuid: str
    """Stays the same for life: guests and licences know the machine by it."""
    disks: tuple[Disk, ...] = ()
    networks: tuple[Nic, ...] = ()
    kernel: str = ""
    """Direct boot: kernel and initrd are files on the shared storage; empty: the machine boots from its first disk."""
    initrd: str = ""
    cmdline: str = ""
    xml: str = ""
    """An imported domain's XML: what is not ours (disks, networks, cpu, memory, heartbeat, lock) is kept as it is there."""
    on_power_off: Literal["stop", "restart"] = "stop"
    """What a power-off by the guest itself means: it is wanted, or it is a failure."""
    heartbeat: Literal["none", "agent", "port"] = "none"
    """agent: the QEMU guest agent is asked; port: the guest writes lines to HEARTBEAT_PORT by itself."""
    hang_s: float = 20.0
    """Seconds without a heartbeat after which a guest counts as hung; only after the first one, so that booting is not."""
    on_hang: Literal["reset", "ignore"] = "reset"
    on_storage_loss: Literal["restart", "ignore"] = "restart"
    """Of a machine that QEMU paused for disk errors, or whose node has not reached the storage for `storage_loss_s`.
    restart: it fails its health check, and is restarted where the storage is; ignore: it stays as it is, and goes on when
    the storage is there again."""
    storage_loss_s: float = 60.0
    """Longer than a storage that moves to another server is away: then every node misses it, and nothing is won."""


def from_instance(instance: InstanceSpec) -> VmConfig:
    """The machine's settings, checked. Raises InvalidInput."""
    try:
        config = msgspec.convert(instance.config, VmConfig)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"{instance.id}: its settings are not those of a virtual machine: {error}", "Create it anew, or edit it."
        ) from error
    validate(config, instance.id)
    return config


def instance_spec(name: str, config: VmConfig, *, cpu: float, memory_mib: int, **more: Any) -> InstanceSpec:
    """The instance of a machine; `more` are other fields of InstanceSpec (priority, ha, nodes, …). Raises InvalidInput."""
    check_name(name)
    if cpu <= 0 or memory_mib < MIN_MEMORY_MIB:
        raise InvalidInput(
            f"vm/{name} cannot have {cpu:g} cores and {memory_mib} MiB of memory",
            f"Give it a part of a core or more, and {MIN_MEMORY_MIB} MiB or more.",
        )
    validate(config, f"{KIND}/{name}")
    return InstanceSpec(
        id=f"{KIND}/{name}",
        kind=KIND,
        service=name,
        exclusivity=Exclusivity.STRICT,
        role=Role.COMPUTE,
        cpu=cpu,
        memory_mib=memory_mib,
        config=msgspec.json.decode(msgspec.json.encode(config)),
        **more,
    )


def check_name(name: str) -> None:
    """Names become domains, files and host names. Raises InvalidInput."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot be the name of a virtual machine",
            "Use 1 to 48 lower-case letters, digits and -; begin and end with a letter or digit.",
        )


def validate(config: VmConfig, what: str) -> None:
    """Raises InvalidInput."""
    try:
        uuid.UUID(config.uuid)
    except ValueError:
        raise InvalidInput(f"{what}: {config.uuid!r} is not a UUID", "Write it like new_uuid() makes it.") from None
    paths = [disk.path for disk in config.disks] + [path for path in (config.kernel, config.initrd) if path]
    for path in paths:
        if not PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise InvalidInput(f"{what}: the path {path!r} is not usable", "Use an absolute path without `..`.")
    if len({disk.path for disk in config.disks}) != len(config.disks) or len(config.disks) > MAX_DISKS:
        raise InvalidInput(f"{what}: its list of disks is not usable", f"List each disk once, and at most {MAX_DISKS}.")
    if config.initrd and not config.kernel:
        raise InvalidInput(f"{what}: an initrd without a kernel", "Name the kernel, or leave both away.")
    for nic in config.networks:
        if not _BRIDGE.fullmatch(nic.bridge) or not _MAC.fullmatch(nic.mac):
            raise InvalidInput(
                f"{what}: the network card {nic.mac!r} on bridge {nic.bridge!r} is not usable",
                "Name the node's bridge, and a MAC like 52:54:00:12:34:56.",
            )
    if not 2.0 < config.hang_s <= 3600:
        raise InvalidInput(
            f"{what}: hang_s {config.hang_s:g} is not usable", "Use more than 2 and at most 3600 seconds."
        )
    if not 2.0 < config.storage_loss_s <= 86400:
        raise InvalidInput(
            f"{what}: storage_loss_s {config.storage_loss_s:g} is not usable",
            "Use more than 2 and at most 86400 seconds.",
        )


def new_uuid(cluster_id: str, name: str) -> str:
    """The same for the same cluster and name, so that a creation that is repeated makes the same machine."""
    return str(uuid.uuid5(_UUID_SPACE, f"{cluster_id}/{name}"))


def new_mac(vm_uuid: str, index: int) -> str:
    """A card's address, made from the machine's identity: 52:54:00 is QEMU's own range."""
    octets = uuid.uuid5(uuid.UUID(vm_uuid), f"nic{index}").bytes[:3]
    return ":".join(f"{octet:02x}" for octet in (0x52, 0x54, 0x00, *octets))


def new_config(cluster_id: str, name: str, disks: Iterable[Disk], bridges: Iterable[str] = (), **more: Any) -> VmConfig:
    """Settings of a new machine, with an identity of its own and a card on each of the bridges."""
    identity = new_uuid(cluster_id, name)
    nics = tuple(Nic(bridge, new_mac(identity, index)) for index, bridge in enumerate(bridges))
    return VmConfig(identity, tuple(disks), nics, **more)


def disk_directory(shared_root: str, name: str) -> str:
    """Where a machine's own disks lie."""
    return f"{shared_root.rstrip('/')}/vm/{name}"


def console_copy(shared_root: str, name: str) -> str:
    """The end of what the machine wrote to its console, by the node that runs or ran it last."""
    return f"{shared_root.rstrip('/')}/vm/consoles/{name}.log"


def lease_directory(shared_root: str) -> str:
    """virtlockd's lock space, the same for all nodes."""
    return f"{shared_root.rstrip('/')}/vm/leases"
