"""A cluster with room for virtual machines, and disks in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field

from api_world import NETWORKS, ROOT, build, put

from holdfast.api.operations import compute
from holdfast.core.model import Beat, BeatPhase, ClusterSpec, NetworkSpec
from holdfast.errors import Conflict, DriverError, InvalidInput
from holdfast.ports import Store
from holdfast.services.vm.images import Image
from holdfast.store import keys

GIB = 1 << 30


@dataclass
class FakeImages:
    """Port Images."""

    files: dict[str, str] = field(
        default_factory=lambda: {"/shared/images/debian.qcow2": "qcow2", "/root/own.raw": "raw"}
    )
    """Path → format."""
    full: bool = False

    async def inspect(self, path: str, root: str) -> Image:
        return Image(await self.locate(path, root), self.files[path], GIB)

    async def locate(self, path: str, root: str) -> str:
        if path not in self.files or not path.startswith(root):
            raise InvalidInput(f"{path} is no file below {root}", "Put it there.")
        return path

    async def create(self, path: str, size: int) -> None:
        if path in self.files:
            raise Conflict(f"the file {path} exists already", "Remove it.")
        if self.full:
            raise DriverError("no space left", "Make some.")
        self.files[path] = "qcow2"

    async def copy(self, source: str, path: str, progress: Callable[[float], None]) -> None:
        progress(50.0)
        await self.create(path, 0)
        progress(100.0)

    async def remove(self, path: str) -> None:
        self.files.pop(path, None)


async def with_room(store: Store, *, nodes: int = 3, memory_mib: int = 4096, cpu: float = 4.0) -> None:
    """Nodes of this size, one network with a bridge, no compute cluster yet."""
    await build(store, nodes=nodes)
    names = [f"n{number}" for number in range(1, nodes + 1)]
    beats = {
        keys.beat(name): Beat(
            f"s{name[1:]}", f"b{name}", f"m{name}", 1, 1, BeatPhase.ACTIVE, cpu=cpu, memory_mib=memory_mib
        )
        for name in names
    }
    bridged = (NETWORKS[0], NetworkSpec("public", ("10.78.0.0/24",), bridge="br0"))
    await put(store, {**beats, keys.CLUSTER: ClusterSpec("demo", "c1", networks=bridged)})


async def with_compute(store: Store, *, nodes: int = 3, tolerate: int = 1, memory_mib: int = 4096) -> None:
    await with_room(store, nodes=nodes, memory_mib=memory_mib)
    names = [f"n{number}" for number in range(1, nodes + 1)]
    await compute.create_cluster(store, ROOT, nodes=names, tolerate=tolerate, reserve_memory_mib=0)
