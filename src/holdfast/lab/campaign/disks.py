"""The campaign's iSCSI volume: made through the API, written over all paths by its client, read back from its file."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.lab import kernel
from holdfast.lab.client import LabClient, LabError
from holdfast.lab.demo import stage
from holdfast.lab.demo.clients import Writer
from holdfast.lab.demo.talk import Cluster
from holdfast.services.iscsi.config import volume_path
from holdfast.services.iscsi.journal import BLOCK_BYTES, judge

DISKS = 1
GROUP = "campaign"
INITIATOR = "iqn.2026-01.org.holdfast.lab:campaign"
SIZE_BYTES = 16 << 20
_MADE_S = 60.0
SHARED = "/shared"


@dataclass(frozen=True, slots=True)
class Disk:
    """An attached volume, as a client needs to know it."""

    name: str
    iqn: str
    lun: int
    portals: tuple[str, ...]

    def file(self, lab: LabClient) -> Path:
        return lab.layout.shared_dir / Path(volume_path(SHARED, self.name)).relative_to(SHARED)


def make_disk(lab: LabClient, cluster: Cluster, name: str) -> Disk:
    """A target group on all nodes, and a volume in it, unless they are there. Raises LabError."""
    found = cluster.get("/iscsi")
    if not any(group["name"] == GROUP for group in found["groups"]):
        _make_group(lab, cluster)
    volume = next((volume for volume in found["volumes"] if volume["name"] == name), None)
    if volume is None:
        cluster.post("/iscsi/volumes", {"name": name, "size_bytes": SIZE_BYTES})
    if volume is None or not volume["group"]:
        cluster.post(f"/iscsi/volumes/{name}/attach", {"group": GROUP})
    stage.wait_until(
        cluster, lambda s: any(i["id"] == f"iscsi/{name}" and i["healthy"] for i in s["instances"]), f"iscsi/{name}"
    )
    group = cluster.get(f"/iscsi/target-groups/{GROUP}")
    lun = next(unit["lun"] for unit in group["units"] if unit["volume"] == name)
    portals = tuple(portal for node in group["nodes"] for portal in node["portals"])
    return Disk(name, group["group"]["iqn"], lun, portals)


def _make_group(lab: LabClient, cluster: Cluster) -> None:
    """Nodes say some time after they are up what they can serve with."""
    end = kernel.boottime() + _MADE_S
    while True:
        try:
            cluster.post("/iscsi/target-groups", {"name": GROUP, "nodes": lab.nodes, "initiators": [INITIATOR]})
            return
        except LabError:
            if kernel.boottime() > end:
                raise
        threading.Event().wait(0.5)


class DiskClient(Writer):
    """Writes stamped blocks round and round over all paths, and reads back (services.iscsi.journal)."""

    def __init__(self, lab: LabClient, disk: Disk, *, interval_s: float, patience_s: float) -> None:
        self.disk = disk
        self.acked: dict[int, int] = {}
        """Block → the last write to it that was acknowledged."""
        argv = ["-m", "holdfast.services.iscsi.journal", "--target", disk.iqn, "--initiator", INITIATOR]
        argv += [word for portal in disk.portals for word in ("--portal", portal)]
        argv += ["--lun", str(disk.lun), "--interval", str(interval_s), "--patience", str(patience_s)]
        super().__init__(lab, [*argv, "--out", "/proc/self/fd/1"])

    def take(self, line: dict[str, object]) -> None:
        if "n" in line:
            self.acked[int(str(line["block"]))] = int(str(line["n"]))
        super().take(line)

    def lost(self, lab: LabClient) -> list[float]:
        """When each write had been acknowledged that is not in the volume's file as it should be. After the end."""
        there = b""
        with suppress(OSError):
            there = self.disk.file(lab).read_bytes()
        run = bytes.fromhex(str(self.summary.get("run", "")))
        return [self.writes[number - 1] for number in missing(there, run, self.acked)]


def missing(there: bytes, run: bytes, acked: dict[int, int]) -> list[int]:
    """Numbers of the writes that a volume should hold, and does not as they were written. `run`: whose; all are missing if
    that is not known. `acked`: block → the last one."""
    size = BLOCK_BYTES
    blocks = {block: there[block * size : (block + 1) * size].ljust(size, b"\0") for block in acked}
    return [n for block, n in acked.items() if not run or judge(blocks[block], run, block, n, n)]
