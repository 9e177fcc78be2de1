"""What LIO serves, read from configfs."""

import re
from dataclasses import dataclass

from holdfast.services.iscsi import names
from holdfast.services.iscsi.configfs import Configfs
from holdfast.services.iscsi.engine import Connection, EngineStatus, PathState, Volume

HBA = 1000
"""Number of Holdfast's back-ends; tools for people count from 0."""
KINDS = ("iblock", "fileio")
DEFAULT_GROUP = "default_tg_pt_gp"
ACTIVE, STANDBY = "0", "2"
"""Active/optimized and standby (SPC-4, 6.27)."""
_DEVICE = re.compile(rf"core/(?:{'|'.join(KINDS)})_{HBA}/([^/]+)")
_ALIAS = re.compile(r"TG Port Alias: (\S+)")
_ADDRESS = re.compile(r"Address (\S+) (?:TCP|iSER)")
_SESSION = "LIO Session ID"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume stands in configfs: all are directories, relative to its root."""

    target: str
    lun: int
    tag: int
    name: str
    """Of its back-end: the volume's UUID."""
    tpg: str
    device: str
    group: str
    """ALUA group whose state is the path's."""

    @classmethod
    def of(cls, volume: Volume, kind: str, tpg: str) -> "Place":
        tag = int(tpg.rpartition("_")[2])
        device = f"core/{kind}_{HBA}/{volume.uuid}"
        return cls(volume.target, volume.lun, tag, volume.uuid, tpg, device, f"{device}/alua/tg{tag}")

    @property
    def unit(self) -> str:
        return f"{self.tpg}/lun/lun_{self.lun}"


def portal_group(fs: Configfs, target: str) -> str | None:
    """The target's portal group on this node; None if it is not configured."""
    found = [name for name in fs.children(f"iscsi/{target}") if name.startswith("tpgt_")]
    return f"iscsi/{target}/{found[0]}" if found else None


def places(fs: Configfs) -> list[Place]:
    """All units that show a back-end of Holdfast's."""
    return [
        place
        for target in _targets(fs)
        if (tpg := portal_group(fs, target)) is not None
        for unit in fs.children(f"{tpg}/lun")
        if (place := _place(fs, target, tpg, int(unit.removeprefix("lun_")))) is not None
    ]


def _targets(fs: Configfs) -> list[str]:
    """Beside them the kernel has directories of its own there."""
    return [name for name in fs.children("iscsi") if name.startswith(names.KINDS)]


def find(fs: Configfs, volume: Volume) -> Place | None:
    """Where the volume is shown; None if it is not."""
    return next((p for p in places(fs) if (p.target, p.lun, p.name) == (volume.target, volume.lun, volume.uuid)), None)


def _place(fs: Configfs, target: str, tpg: str, lun: int) -> Place | None:
    unit = f"{tpg}/lun/lun_{lun}"
    for leads_to in fs.links(unit).values():
        if device := _DEVICE.fullmatch(leads_to):
            group_path = f"{leads_to}/alua/{group(fs, unit)}"
            return Place(target, lun, int(tpg.rpartition("_")[2]), device[1], tpg, leads_to, group_path)
    return None


def group(fs: Configfs, unit: str) -> str:
    """Name of the ALUA group a shown unit is in."""
    alias = _ALIAS.search(fs.read(f"{unit}/alua_tg_pt_gp"))
    return alias[1] if alias else DEFAULT_GROUP


def status(fs: Configfs) -> EngineStatus:
    """Targets of other owners are listed too; their units are not."""
    states = {ACTIVE: PathState.ACTIVE, STANDBY: PathState.STANDBY}
    paths = {
        (place.target, place.lun): states.get(fs.read(f"{place.group}/alua_access_state"), PathState.CHANGING)
        for place in places(fs)
    }
    targets = _targets(fs)
    return EngineStatus(frozenset(targets), paths, tuple(found for name in targets for found in _connections(fs, name)))


def _connections(fs: Configfs, target: str) -> list[Connection]:
    tpg = portal_group(fs, target)
    found = []
    for initiator in fs.children(f"{tpg}/acls") if tpg else []:
        said = fs.read(f"{tpg}/acls/{initiator}/info")
        if _SESSION in said:
            address = _ADDRESS.search(said)
            found.append(Connection(target, initiator, address[1] if address else ""))
    return found
