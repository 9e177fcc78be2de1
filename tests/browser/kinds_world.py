"""A cluster for the pages of all kinds: with shared storage, room for machines, and stand-ins for manager and agents."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from panel_world import NODES, World

from holdfast.core.dns_model import DnsRecords, ServedZone, Zone
from holdfast.core.model import (
    ClusterSpec,
    Desired,
    FenceDeviceSpec,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    ManagementMember,
    ManagementSpec,
    MoveRequest,
    NetworkSpec,
    NodeSpec,
    Placement,
    Role,
    ServiceAddress,
    ServiceSpec,
)
from holdfast.errors import DriverError, FenceError, InvalidInput
from holdfast.ports import Clock, Delete, PowerReading
from holdfast.services.backup_gateway.config import parse_backend
from holdfast.services.iscsi import report
from holdfast.services.iscsi.files import VolumeFiles
from holdfast.services.iscsi.report import NodeReport
from holdfast.services.s3.files import ClusterFiles
from holdfast.services.storage import MARKER
from holdfast.services.vm import config as vm
from holdfast.services.vm.images import Image
from holdfast.store import codec, keys
from holdfast.store.view import to_be_removed

GIB = 1 << 30
SECRET = bytes(range(32))


@dataclass
class Images:
    """Disk images in memory (port Images)."""

    files: dict[str, str] = field(default_factory=dict)
    """Path → format."""

    async def inspect(self, path: str, root: str) -> Image:
        return Image(await self.locate(path, root), self.files[path], GIB)

    async def locate(self, path: str, root: str) -> str:
        if path not in self.files or not path.startswith(root):
            raise InvalidInput(f"{path} is no file below {root}", "Put it there.")
        return path

    async def create(self, path: str, size: int) -> None:
        self.files[path] = "qcow2"

    async def copy(self, source: str, path: str, progress: Callable[[float], None]) -> None:
        progress(50.0)
        self.files[path] = "qcow2"

    async def remove(self, path: str) -> None:
        self.files.pop(path, None)


class Backends:
    """Opens everything but one that refuses."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def check(self, root: str, backend: str, credentials: Mapping[str, str]) -> None:
        parse_backend(backend, credentials, "/mnt")
        self.asked.append((backend, dict(credentials)))
        if "closed" in backend:
            raise DriverError(f"the back-end {backend} cannot be used from n1: permission denied", "Check it.")

    def authority(self) -> str:
        return "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@dataclass
class Fence:
    """A device that is never used to switch anything."""

    device: FenceDeviceSpec
    state: str
    """Empty: it does not answer."""

    async def read(self, *, timeout: float) -> PowerReading:
        if not self.state:
            raise FenceError(f"{self.device.options['url']} does not answer", "Check its cable and address.")
        return PowerReading(self.state)

    async def off(self, *, timeout: float) -> None:
        raise AssertionError("a test must not switch anything")

    on = off

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Fences:
    states: dict[str, str] = field(default_factory=dict)
    """Address → power state, of those that answer."""

    def open(self, device: FenceDeviceSpec) -> Fence:
        return Fence(device, self.states.get(device.options["url"], ""))


class KindsWorld(World):
    """`root`: stands for the shared storage."""

    def __init__(self, clock: Clock, root: Path) -> None:
        super().__init__(clock)
        self.root = str(root)
        self.images = Images({f"{root}/images/debian.qcow2": "qcow2"})
        self.backends = Backends()
        self.fences = Fences()

    @property
    def tools(self) -> dict[str, Any]:
        """What the API works with beside the store."""
        return {
            "images": self.images,
            "backends": self.backends,
            "fences": self.fences,
            "files": VolumeFiles(self.clock),
            "s3_files": ClusterFiles(self.clock),
            "cluster_secret": lambda: SECRET,
            "probe": self.probe,
        }

    async def probe(self, address: ServiceAddress) -> str:
        """One address is answered by a machine that nobody knows."""
        return "52:54:00:12:34:56" if address.ip == "10.78.0.66" else ""

    async def fill(self) -> None:
        await super().fill()
        networks = (
            NetworkSpec("management", ("10.77.0.0/24", "fd77::/64")),
            NetworkSpec("public", ("10.78.0.0/24", "fd78::/64"), bridge="br0"),
        )
        await self.put(keys.CLUSTER, ClusterSpec("harbour", "c1", networks=networks, shared_root=self.root))
        Path(self.root, MARKER).touch()
        for node in NODES:
            report.write(
                self.root, NodeReport(node, {"lio": "the kernel has no LIO.", "tgt": ""}, {}, {}, (), "2026-01-01")
            )

    async def machine(self, name: str, node: str, gib: int) -> None:
        """One that runs, as an operator had made it earlier."""
        config = vm.new_config("c1", name, [vm.Disk(f"{self.root}/vm/{name}/disk0.qcow2")], [])
        spec = vm.instance_spec(name, config, cpu=2.0, memory_mib=gib * 1024)
        await self.put(keys.service("vm", name), ServiceSpec("vm", name))
        await self.put(keys.instance(spec.id), spec)
        await self.place(spec.id, node, "Created here: the most room.")
        await self.running(spec.id, node)

    # --- what manager and agents do in time -------------------------------------------------------------------------

    async def settle(self) -> None:
        """Wishes have become true: everything wanted runs, what was deleted is gone, members vote, names are published."""
        entries = (await self.store.list(keys.INSTANCES)).entries
        specs = [codec.decode(entry.value, InstanceSpec, entry.key) for entry in entries]
        for spec in specs:
            await self._settle_instance(spec)
        await self._forget_services()
        await self._settle_management()
        await self._publish()

    async def _settle_instance(self, spec: InstanceSpec) -> None:
        service = await self._read(keys.service(spec.kind, spec.service), ServiceSpec)
        placed = await self._read(keys.placement(spec.id), Placement)
        wish = await self._read(keys.move(spec.id), MoveRequest)
        if service is not None and to_be_removed(service, spec.id):
            traces = [keys.instance(spec.id), keys.placement(spec.id), keys.status(spec.id)]
            await self.store.txn([], [Delete(trace) for trace in traces])
        elif spec.desired is Desired.STOPPED:
            if placed is not None:
                await self.status(spec.id, placed.node, InstanceState.STOPPED)
        elif placed is None or wish is not None:
            node = (
                (wish and wish.node)
                or spec.home
                or (spec.nodes or NODES)[sum(spec.id.encode()) % len(spec.nodes or NODES)]
            )
            await self.store.txn([], [Delete(keys.move(spec.id))])
            await self.place(spec.id, node, "The most room among the nodes that may carry it.")
            await self.running(spec.id, node)

    async def status(
        self, instance: str, node: str, state: InstanceState, healthy: bool = False, detail: str = ""
    ) -> None:
        placed = await self._read(keys.placement(instance), Placement)
        epoch = placed.epoch if placed else self.epochs.get(instance, 1)
        await self.put(keys.status(instance), InstanceStatus(node, f"s-{node}", epoch, state, detail, healthy))

    async def _forget_services(self) -> None:
        left = {entry.key for entry in (await self.store.list(keys.INSTANCES)).entries}
        for entry in (await self.store.list(keys.SERVICES)).entries:
            service = codec.decode(entry.value, ServiceSpec, entry.key)
            whole = keys.instance(f"{service.kind}/{service.name}")
            if service.config.get("deleting") and not any(key == whole or key.startswith(f"{whole}/") for key in left):
                await self.store.txn([], [Delete(entry.key)])

    async def _settle_management(self) -> None:
        management = await self._read(keys.MANAGEMENT, ManagementSpec)
        assert management is not None
        members = tuple(
            ManagementMember(n, f"https://{n}:2380", f"https://{n}:2379", "voter") for n in management.nodes
        )
        await self.put(keys.MANAGEMENT, replace(management, members=members))

    async def _publish(self) -> None:
        zones = [codec.decode(e.value, Zone, e.key) for e in (await self.store.list(keys.DNS_ZONES)).entries]
        served = []
        for zone in zones:
            servers: dict[str, tuple[str, ...]] = {}
            for name in NODES[:3]:
                spec = await self._read(keys.node_spec(name), NodeSpec)
                if spec is not None and Role.MANAGEMENT in spec.roles:
                    servers[f"ns-{name}.{zone.apex}"] = (spec.addresses[zone.network],)
            served.append(ServedZone(zone.apex, zone.hostmaster, 5, 5, servers))
        names: dict[str, tuple[str, ...]] = {}
        for entry in (await self.store.list(keys.INSTANCES)).entries:
            spec_ = codec.decode(entry.value, InstanceSpec, entry.key)
            for name in spec_.names if spec_.address else ():
                names[name] = (*names.get(name, ()), spec_.address.ip if spec_.address else "")
        if served:
            await self.put(keys.DNS_RECORDS, DnsRecords(names, 1764072144, "2026-11-23T11:22:24+00:00", tuple(served)))

    async def _read(self, key: str, kind: type[Any]) -> Any:
        entry = await self.store.get(key)
        return None if entry is None else codec.decode(entry.value, kind, key)

    async def node_spec(self, node: str) -> NodeSpec:
        found = await self._read(keys.node_spec(node), NodeSpec)
        assert isinstance(found, NodeSpec), f"there is no {node}"
        return found

    async def spec(self, instance: str) -> InstanceSpec:
        found = await self._read(keys.instance(instance), InstanceSpec)
        assert isinstance(found, InstanceSpec), f"there is no {instance}"
        return found

    async def holds(self, secret: str) -> bool:
        """Whether the store has this text anywhere, as it is."""
        return any(
            secret in json.dumps(entry.value.decode(errors="replace")) for entry in (await self.store.list("")).entries
        )
