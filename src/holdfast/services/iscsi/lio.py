"""The LIO engine: the kernel's own target, through configfs.

A volume is a back-end of the kernel (a block device, or a file with direct asynchronous I/O: never the page cache, which
gave stale data after a failback). It has one ALUA target port group for this node, implicit, *standby* or *optimized*;
the path's state is that group's. A logical unit is shown to initiators only when it is in the right group, so nobody ever
sees one that is active without the manager's word. No process serves it: what ends a path for certain is a confirmed
demotion, or the node's end.

The order of the kernel's steps is that of Linux 6.1; see docs/iscsi.md for what of it was tried.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from holdfast.errors import Conflict, DriverError
from holdfast.ports import Clock, Runner, Unit
from holdfast.services.iscsi import backing, lio_report
from holdfast.services.iscsi.backing import Backing
from holdfast.services.iscsi.configfs import Configfs
from holdfast.services.iscsi.engine import Account, EngineStatus, Portal, Target, Volume
from holdfast.services.iscsi.lio_report import ACTIVE, HBA, STANDBY, Place
from holdfast.services.threads import TookTooLong, in_thread

T = TypeVar("T")

CALL_S = 10.0
DRAIN_S = 10.0
"""How long a demotion waits for the commands that are under way."""
_KINDS = {Backing.DEVICE: "iblock", Backing.FILE: "fileio"}
_IMPLICIT = "1"
"""Transitions are made by Holdfast alone; an initiator that asks for one is refused."""
_RESTORERS = {"rtslib-fb-targetctl.service", "target.service"}
"""Of python3-rtslib-fb (targetcli), as Debian and as Red Hat call it."""
_SETTINGS = {
    "emulate_write_cache": "0",
    "emulate_3pc": "0",
    "emulate_pr": "0",
}
"""Of a back-end, where the kernel has them. No write cache; no EXTENDED COPY, which would write to a unit through another's
path; no persistent reservations, which would stay behind on the node when the path moves: they are refused."""


class LioEngine:
    """See the module's text, and the port `Engine`."""

    name = "lio"

    def __init__(
        self,
        runner: Runner,
        clock: Clock,
        configfs: Configfs | None = None,
        *,
        drain_s: float = DRAIN_S,
        units: Path = Path("/etc/systemd/system"),
    ) -> None:
        """`units`: where systemd notes what is started at boot."""
        self._runner = runner
        self._clock = clock
        self._fs = configfs or Configfs()
        self._drain_s = drain_s
        self._units = units

    def available(self) -> str:
        """See the port."""
        if not self._fs.exists("core"):
            return (
                f"the kernel has no LIO at {self._fs.root}: mount configfs and load the module iscsi_target_mod; a kernel "
                "without it (as in most clouds and containers) needs the engine tgt."
            )
        for restorer in _RESTORERS & {unit.name for unit in self._units.glob("*.wants/*")}:
            return (
                f"{restorer} would restore LIO's configuration when this node boots, with paths that are active before the "
                f"manager allows it: systemctl disable {restorer}"
            )
        return ""

    async def configure(self, target: Target) -> None:
        """See the port."""
        await self._run(lambda: self._configure(target), f"configure {target.name}")

    async def withdraw(self, target: str) -> None:
        """See the port."""
        await self._run(lambda: self._withdraw(target), f"take {target} away")

    async def prepare(self, volume: Volume, *, standby: bool = True) -> None:
        """See the port."""
        kind = _KINDS[await backing.check(volume, self._clock)]
        place = await self._run(lambda: self._prepare(volume, kind), f"prepare {volume}")
        if standby and self._state(place) != STANDBY:
            await self.demote(volume)

    async def promote(self, volume: Volume, allowed: Callable[[], bool]) -> None:
        """See the port. The one write is made by a process in the strict group: one that was delayed on its way is killed by
        the guard with all the others."""
        place = await self._run(lambda: self._place(volume), f"look at {volume}")
        if self._state(place) == ACTIVE:
            return
        file = str(self._fs.root / place.group / "alua_access_state")
        unit = f"iscsi-promote-{volume.uuid}"
        await self._runner.start(Unit(unit, ("/bin/sh", "-c", f'echo {ACTIVE} >"$1"', "sh", file), allowed=allowed))
        await self._runner.wait_exit(unit)
        await self._runner.stop(unit, grace_s=0.0)  # takes its empty group away
        if self._state(place) != ACTIVE:
            raise DriverError(f"{volume} did not become active", f"Look at {self._runner.log_path(unit)} and at dmesg.")

    async def demote(self, volume: Volume) -> None:
        """See the port. New commands are refused by the state. Then the unit is taken from the node's ports, which in the
        kernel waits for each command that has been let in, and put back. After a failure `prepare` puts it back."""
        place = await self._run(lambda: lio_report.find(self._fs, volume), f"look at {volume}")
        if place is None:
            return
        await self._run(lambda: self._fs.write(f"{place.group}/alua_access_state", STANDBY), f"demote {volume}")
        await self._run(lambda: self._take_away(place), f"drain {volume}", timeout=self._drain_s)
        await self._run(lambda: self._show(place), f"show {volume} as standby")

    async def remove(self, volume: Volume) -> None:
        """See the port."""
        place = await self._run(lambda: lio_report.find(self._fs, volume), f"look at {volume}")
        if place is not None:
            await self._run(lambda: self._fs.write(f"{place.group}/alua_access_state", STANDBY), f"demote {volume}")
            await self._run(lambda: self._take_away(place), f"drain {volume}", timeout=self._drain_s)
        await self._run(lambda: self._remove_backend(volume), f"remove {volume}")

    async def status(self) -> EngineStatus:
        """See the port."""
        return await self._run(lambda: lio_report.status(self._fs), "look at its paths")

    async def halt(self) -> None:
        """See the port. Disabling a portal group ends its sessions, and in the kernel waits for their commands."""
        await self._run(self._halt, "end this node's paths", timeout=self._drain_s)

    # --- targets, in threads --------------------------------------------------------------------------------------------

    def _configure(self, target: Target) -> None:
        fs, tpg = self._fs, _tpg(target)
        for made in ("iscsi", f"iscsi/{target.name}", tpg):
            fs.make(made)
        self._set(f"{tpg}/attrib/generate_node_acls", "0")
        self._set(f"{tpg}/attrib/demo_mode_write_protect", "1")
        if target.chap:
            self._set(f"{tpg}/attrib/authentication", "1")
        for name in set(fs.children(f"{tpg}/acls")) - set(target.initiators):
            self._shut_out(tpg, name)
        for name in target.initiators:
            fs.make(f"{tpg}/acls/{name}")
            self._accounts(f"{tpg}/acls/{name}/auth", target)
            for lun in fs.children(f"{tpg}/lun"):
                if fs.links(f"{tpg}/lun/{lun}"):
                    self._map(tpg, name, lun)
        if not target.chap:
            self._set(f"{tpg}/attrib/authentication", "0")
        self._listen(tpg, target.portals)
        self._set(f"{tpg}/enable", "1")

    def _set(self, path: str, value: str) -> None:
        """Some settings refuse to be told what they are."""
        if self._fs.read(path) != value:
            self._fs.write(path, value)

    def _accounts(self, auth: str, target: Target) -> None:
        for account, suffix in ((target.chap, ""), (target.mutual, "_mutual")):
            user, secret = (account.user, account.secret) if isinstance(account, Account) else ("NULL", "NULL")
            self._fs.write(f"{auth}/userid{suffix}", user)
            self._fs.write(f"{auth}/password{suffix}", secret)

    def _listen(self, tpg: str, portals: tuple[Portal, ...]) -> None:
        wanted = {str(portal) for portal in portals}
        for gone in set(self._fs.children(f"{tpg}/np")) - wanted:
            self._fs.remove(f"{tpg}/np/{gone}")
        for portal in sorted(wanted):
            self._fs.make(f"{tpg}/np/{portal}")

    def _shut_out(self, tpg: str, initiator: str) -> None:
        for lun in self._fs.children(f"{tpg}/acls/{initiator}"):
            if lun.startswith("lun_"):
                self._unmap(tpg, initiator, lun)
        self._fs.remove(f"{tpg}/acls/{initiator}")

    def _withdraw(self, target: str) -> None:
        fs = self._fs
        for name in fs.children(f"iscsi/{target}"):
            if not name.startswith("tpgt_"):
                continue
            tpg = f"iscsi/{target}/{name}"
            for lun in fs.children(f"{tpg}/lun"):
                if fs.links(f"{tpg}/lun/{lun}"):
                    raise Conflict(f"{target} still shows {lun}", "Remove its volumes first.")
            self._set(f"{tpg}/enable", "0")
            for initiator in fs.children(f"{tpg}/acls"):
                self._shut_out(tpg, initiator)
            for lun in fs.children(f"{tpg}/lun"):
                fs.remove(f"{tpg}/lun/{lun}")
            for portal in fs.children(f"{tpg}/np"):
                fs.remove(f"{tpg}/np/{portal}")
            fs.remove(tpg)
        fs.remove(f"iscsi/{target}")

    # --- volumes, in threads --------------------------------------------------------------------------------------------

    def _prepare(self, volume: Volume, kind: str) -> Place:
        tpg = lio_report.portal_group(self._fs, volume.target)
        if tpg is None:
            raise DriverError(f"{volume.target} is not configured on this node", "Configure the target first.")
        place = Place.of(volume, kind, tpg)
        self._make_backend(volume, kind, place)
        self._show(place)
        return place

    def _make_backend(self, volume: Volume, kind: str, place: Place) -> None:
        fs, device = self._fs, place.device
        fs.make(f"core/{kind}_{HBA}")
        fs.make(device)
        if fs.read(f"{device}/enable") != "1":
            file = f"fd_dev_name={volume.path},fd_dev_size={volume.size_bytes},fd_async_io=1"
            fs.write(f"{device}/control", file if kind == "fileio" else f"udev_path={volume.path}")
            fs.write(f"{device}/wwn/vpd_unit_serial", volume.serial)
            fs.write(f"{device}/enable", "1")
        for name, value in _SETTINGS.items():
            if fs.exists(f"{device}/attrib/{name}"):
                self._set(f"{device}/attrib/{name}", value)
        if fs.links(place.unit):  # it is shown: its state is the manager's
            return
        # What a port is in for the moment between its making and its assignment.
        self._set(f"{device}/alua/{lio_report.DEFAULT_GROUP}/alua_access_state", STANDBY)
        fs.make(place.group)
        self._set(f"{place.group}/tg_pt_gp_id", str(place.tag))
        fs.write(f"{place.group}/alua_access_type", _IMPLICIT)
        self._set(f"{place.group}/alua_access_state", STANDBY)

    def _show(self, place: Place) -> None:
        """To the ports, then into its group, and only then to the initiators."""
        fs, group = self._fs, Path(place.group).name
        fs.make(place.unit)
        fs.link(f"{place.unit}/{place.name}", place.device)
        if lio_report.group(fs, place.unit) != group:
            fs.write(f"{place.unit}/alua_tg_pt_gp", group)
        for initiator in fs.children(f"{place.tpg}/acls"):
            self._map(place.tpg, initiator, Path(place.unit).name)

    def _take_away(self, place: Place) -> None:
        fs, lun = self._fs, Path(place.unit).name
        for initiator in fs.children(f"{place.tpg}/acls"):
            self._unmap(place.tpg, initiator, lun)
        fs.unlink(f"{place.unit}/{place.name}")  # waits for every command of this unit

    def _map(self, tpg: str, initiator: str, lun: str) -> None:
        mapped = f"{tpg}/acls/{initiator}/{lun}"
        self._fs.make(mapped)
        if not self._fs.links(mapped):
            self._fs.link(f"{mapped}/{lun}", f"{tpg}/lun/{lun}")
            self._fs.write(f"{mapped}/write_protect", "0")

    def _unmap(self, tpg: str, initiator: str, lun: str) -> None:
        mapped = f"{tpg}/acls/{initiator}/{lun}"
        for name in self._fs.links(mapped):
            self._fs.unlink(f"{mapped}/{name}")
        self._fs.remove(mapped)

    def _remove_backend(self, volume: Volume) -> None:
        fs = self._fs
        tpg = lio_report.portal_group(fs, volume.target)
        if tpg is not None:
            fs.remove(f"{tpg}/lun/lun_{volume.lun}")
        for kind in lio_report.KINDS:
            device = f"core/{kind}_{HBA}/{volume.uuid}"
            for group in fs.children(f"{device}/alua"):
                if group != lio_report.DEFAULT_GROUP:
                    fs.remove(f"{device}/alua/{group}")
            fs.remove(device)

    def _halt(self) -> None:
        places = lio_report.places(self._fs)
        for place in places:
            self._fs.write(f"{place.group}/alua_access_state", STANDBY)
        for tpg in sorted({place.tpg for place in places}):
            self._set(f"{tpg}/enable", "0")

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _place(self, volume: Volume) -> Place:
        place = lio_report.find(self._fs, volume)
        if place is None or Path(place.group).name == lio_report.DEFAULT_GROUP:
            raise DriverError(f"{volume} is not prepared on this node", "Prepare it first.")
        return place

    def _state(self, place: Place) -> str:
        return self._fs.read(f"{place.group}/alua_access_state")

    async def _run(self, work: Callable[[], T], what: str, *, timeout: float = CALL_S) -> T:
        """In a thread, since the kernel may wait. Raises DriverError."""
        try:
            return await in_thread(work, self._clock, timeout, name="lio")
        except TookTooLong:
            raise DriverError(
                f"the kernel did not {what} within {timeout:g} s",
                "Its storage hangs, or an initiator's command never ends; if that stays so the node must be reset.",
            ) from None
        except OSError as error:
            raise DriverError(f"the kernel refused to {what}: {error}", "Look at dmesg.") from error


def _tpg(target: Target) -> str:
    return f"iscsi/{target.name}/tpgt_{target.tag}"
