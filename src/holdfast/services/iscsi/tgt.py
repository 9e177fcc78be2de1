"""The tgt engine: one tgtd per node, in user space, for kernels without LIO and for the lab.

A path is active while its logical unit is in tgtd, and standby while it is not: tgt knows no access states, and this is the
one state per unit in which no READ and no WRITE can succeed (docs/iscsi.md has the others that were tried). So a daemon that
has just been started is standby for everything, and the end of the daemon is the end of every path of the node: it is a
*strict* unit, which the guard kills at the node's deadline.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from holdfast.core import rights
from holdfast.errors import Conflict, DriverError
from holdfast.ports import Clock, Runner, Unit
from holdfast.services.iscsi import backing, names, tgt_report
from holdfast.services.iscsi.engine import (
    Account,
    Connection,
    EngineStatus,
    PathState,
    Portal,
    Target,
    Volume,
)
from holdfast.services.iscsi.tgt_control import ANSWER_S, Ask, Code, Mode, Op, TgtControl, TgtRefused, TgtSilent
from holdfast.services.iscsi.tgt_report import TargetReport

log = structlog.get_logger("holdfast.iscsi")

UNIT = "iscsi-tgtd"
TGTD = "/usr/sbin/tgtd"
START_S = 10.0
DRAIN_S = 10.0
"""How long a demotion waits for the commands that are under way."""
_POLL_S = 0.01
_CACHING = "8:0:18:" + ":".join(map(hex, (0x10, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x80, 0x14, *[0] * 6)))
"""Mode page 8 with WCE = 0, which initiators cannot change: tgtd then syncs each write before it answers."""


class TgtEngine:
    """See the module's text, and the port `Engine`."""

    name = "tgt"

    def __init__(
        self,
        run_dir: Path,
        runner: Runner,
        clock: Clock,
        *,
        program: str = TGTD,
        drain_s: float = DRAIN_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._directory = run_dir / "iscsi"
        self._socket = self._directory / "tgtd"
        self._runner = runner
        self._clock = clock
        self._program = program
        self._drain_s = drain_s
        self._control = TgtControl(self._socket.with_name("tgtd.0"), clock, answer_s)
        self._applied: dict[str, Target] = {}
        """What this process has configured: tgtd does not tell the secrets it knows."""

    def available(self) -> str:
        """See the port."""
        if not os.access(self._program, os.X_OK):
            return f"{self._program} is not on this node: install the package tgt."
        return ""

    async def configure(self, target: Target) -> None:
        """See the port. Who may log in is changed in an order in which nobody gets in who may not; while accounts change
        nobody does."""
        await self._ensure_daemon(target.portals)
        tid = _tid(target.name)
        found = (await self._targets()).get(target.name)
        if found is None:
            await self._ask(Mode.TARGET, Op.NEW, tid, f"targetname={target.name}")
            found = TargetReport(tid, target.name)
            self._applied.pop(target.name, None)
        await self._listen(target.portals)
        applied = self._applied.pop(target.name, None)
        if applied is None or (applied.chap, applied.mutual) != (target.chap, target.mutual):
            await self._close_gate(found)
            await self._accounts(target, found)
        await self._admit(target, found)
        self._applied[target.name] = target

    async def withdraw(self, target: str) -> None:
        """See the port."""
        self._applied.pop(target, None)
        if UNIT not in await self._runner.running():
            return
        found = (await self._targets()).get(target)
        if found is None:
            return
        if found.units:
            raise Conflict(f"{target} still has an active path to LUN {min(found.units)}", "Remove its volumes first.")
        await self._close_gate(found)
        await self._forget(found)
        end = self._clock.now() + self._drain_s
        while found is not None:
            # Never by force: tgtd ends itself when a forced target still has a command under way.
            await self._hang_up(found)
            try:
                await self._ask(Mode.TARGET, Op.DELETE, found.tid)
            except TgtRefused:
                if self._clock.now() > end:
                    raise
                await self._clock.sleep(_POLL_S)
            found = (await self._targets()).get(target)

    async def prepare(self, volume: Volume, *, standby: bool = True) -> None:
        """See the port."""
        await self._target(volume)
        await backing.check(volume, self._clock)
        if standby:
            await self.demote(volume)

    async def promote(self, volume: Volume, allowed: Callable[[], bool]) -> None:
        """See the port. A unit is made without medium first, and gets its name, its settings and its medium in one step, so
        that no initiator sees it half made."""
        target = await self._target(volume)
        unit = target.units.get(volume.lun)
        if unit and unit.online and not unit.readonly and (unit.path, unit.serial) == (volume.path, volume.serial):
            return
        await self.demote(volume)
        await backing.check(volume, self._clock)
        new = Ask(Mode.LUN, Op.NEW, target.tid, "bstype=rdwr,bsoflags=sync:direct", lun=volume.lun)
        words = ",".join(f"{key}={value}" for key, value in _settings(volume).items())
        serve = Ask(Mode.LUN, Op.UPDATE, target.tid, f"targetOps {words},", lun=volume.lun)
        try:
            await self._control.ask(new, allowed=allowed)
            await self._control.ask(serve, allowed=allowed)
            unit = (await self._target(volume)).units.get(volume.lun)
            if unit is None or not unit.online or unit.removable or unit.readonly:
                raise DriverError(f"tgtd does not serve {volume}", f"Look at {self._runner.log_path(UNIT)}.")
        except BaseException:
            log.warning("not promoted", volume=str(volume))
            await self.demote(volume)
            raise

    async def demote(self, volume: Volume) -> None:
        """See the port. New commands are refused first; tgtd gives a unit up only when no command for it is queued, at work
        in one of its threads, or waiting to be answered."""
        end = self._clock.now() + self._drain_s
        while True:
            if UNIT not in await self._runner.running():
                return
            target = (await self._targets()).get(volume.target)
            if target is None or volume.lun not in target.units:
                return
            code = await self._give_up(target.tid, volume.lun)
            if code in (Code.OK, Code.NO_LUN, Code.NO_TARGET):
                continue  # and look whether it is so
            if self._clock.now() > end:
                raise DriverError(
                    f"{volume} still has commands under way after {self._drain_s:g} s",
                    "Its storage hangs, or an initiator takes no answers. The node's iSCSI paths must be ended first.",
                )
            if code is Code.PREVENT_REMOVAL:  # an initiator's wish, which ends with its session
                await self._hang_up(target)
            await self._clock.sleep(_POLL_S)

    async def remove(self, volume: Volume) -> None:
        """See the port."""
        await self.demote(volume)

    async def status(self) -> EngineStatus:
        """See the port. Raises DriverError also when tgtd runs and does not answer: nothing is known then."""
        if UNIT not in await self._runner.running():
            return EngineStatus()
        targets = await self._targets()
        paths = {
            (target.name, unit.lun): PathState.ACTIVE if unit.online else PathState.CHANGING
            for target in targets.values()
            for unit in target.units.values()
        }
        connections = [
            Connection(target.name, found.initiator, found.address)
            for target in targets.values()
            for found in await self._connections(target)
        ]
        return EngineStatus(frozenset(targets), paths, tuple(connections))

    async def halt(self) -> None:
        """See the port. Killed, not asked: tgtd ignores SIGTERM while it has targets."""
        self._applied.clear()
        await self._runner.stop(UNIT, grace_s=0.0)

    # --- the daemon -----------------------------------------------------------------------------------------------------

    async def _ensure_daemon(self, portals: tuple[Portal, ...]) -> None:
        if UNIT not in await self._runner.running():
            self._applied.clear()
            self._directory.mkdir(parents=True, exist_ok=True)
            # Without a portal it would listen on every address of the node.
            listen = ",".join(f"portal={portal}" for portal in portals)
            argv = (self._program, "-f", "-C", "0", "--iscsi", listen)
            await self._runner.start(Unit(UNIT, argv, env={"TGT_IPC_SOCKET": str(self._socket)}, rights=rights.ISCSI))
        end = self._clock.now() + START_S
        while True:
            try:
                await self._ask(Mode.SYSTEM, Op.SHOW)
                return
            except TgtSilent as error:
                if self._clock.now() > end or UNIT not in await self._runner.running():
                    raise DriverError(
                        f"{UNIT} did not start: {error.message}",
                        f"Look at {self._runner.log_path(UNIT)}; is another target on {', '.join(map(str, portals))}?",
                    ) from error
            await self._clock.sleep(_POLL_S)

    async def _ask(self, mode: Mode, op: Op, tid: int = -1, words: str = "") -> str:
        return await self._control.ask(Ask(mode, op, tid, words))

    async def _targets(self) -> dict[str, TargetReport]:
        return tgt_report.targets(await self._ask(Mode.TARGET, Op.SHOW))

    async def _target(self, volume: Volume) -> TargetReport:
        running = UNIT in await self._runner.running()
        target = (await self._targets()).get(volume.target) if running else None
        if target is None:
            raise DriverError(f"{volume.target} is not configured on this node", "Configure the target first.")
        return target

    async def _connections(self, target: TargetReport) -> list[tgt_report.ConnectionReport]:
        return tgt_report.connections(await self._ask(Mode.CONNECTION, Op.SHOW, target.tid))

    async def _give_up(self, tid: int, lun: int) -> Code:
        """Refuse new commands, then take the unit away. What tgtd answered to the last question."""
        try:
            words = "targetOps removable=1,online=0,"
            await self._control.ask(Ask(Mode.LUN, Op.UPDATE, tid, words, lun=lun))
            await self._control.ask(Ask(Mode.LUN, Op.DELETE, tid, lun=lun))
        except TgtRefused as refused:
            return refused.code
        return Code.OK

    async def _hang_up(self, target: TargetReport, *, spare: tuple[str, ...] = ()) -> None:
        """Close the connections of the target's initiators, those not in `spare`."""
        for found in await self._connections(target):
            if found.initiator not in spare:
                try:
                    await self._control.ask(Ask(Mode.CONNECTION, Op.DELETE, target.tid, sid=found.sid, cid=found.cid))
                except TgtRefused:  # it went by itself
                    continue

    # --- who may log in -------------------------------------------------------------------------------------------------

    async def _listen(self, portals: tuple[Portal, ...]) -> None:
        present = tgt_report.portals(await self._ask(Mode.PORTAL, Op.SHOW))
        for portal in portals:
            if str(portal) not in present:
                await self._ask(Mode.PORTAL, Op.NEW, words=f"portalOps portal={portal},")

    async def _close_gate(self, found: TargetReport) -> None:
        """Nobody can log in any more."""
        for who in sorted(found.acl):
            await self._shut_out(found, who)

    async def _shut_out(self, found: TargetReport, who: str) -> None:
        """`who`: an initiator's name, or an address (as of somebody who used tgtadm by hand)."""
        kind = "name" if who.startswith(names.KINDS) else "address"
        await self._ask(Mode.TARGET, Op.UNBIND, found.tid, f"initiator-{kind}={who}")
        found.acl.discard(who)

    async def _admit(self, target: Target, found: TargetReport) -> None:
        """By name only: whoever comes from an address that is admitted gets in under any name (tgt 1.0.85)."""
        wanted = set(target.initiators)
        for who in sorted(found.acl - wanted):
            await self._shut_out(found, who)
        for name in sorted(wanted - found.acl):
            await self._ask(Mode.TARGET, Op.BIND, found.tid, f"initiator-name={name}")
        await self._hang_up(found, spare=target.initiators)

    async def _accounts(self, target: Target, found: TargetReport) -> None:
        """The gate is closed. tgtd has one secret per user, for all targets."""
        await self._forget(found)
        for other in (await self._targets()).values():
            for account in (target.chap, target.mutual):
                if account and other.name != target.name and account.user in other.users | other.outgoing:
                    raise Conflict(
                        f"the CHAP user {account.user} of {target.name} is one of {other.name} as well",
                        "tgt knows one secret per user: give each target group users of its own.",
                    )
        await self._account(found.tid, target.chap, outgoing=False)
        await self._account(found.tid, target.mutual, outgoing=True)

    async def _account(self, tid: int, account: Account | None, *, outgoing: bool) -> None:
        if account is None:
            return
        await self._ask(Mode.ACCOUNT, Op.NEW, words=f"user={account.user},password={account.secret}")
        await self._control.ask(Ask(Mode.ACCOUNT, Op.BIND, tid, f"user={account.user}", outgoing=outgoing))

    async def _forget(self, found: TargetReport) -> None:
        """The target's accounts. The gate is closed: a target without accounts asks nobody to prove anything."""
        for user in sorted(found.users | found.outgoing):
            await self._ask(Mode.ACCOUNT, Op.DELETE, words=f"user={user}")


def _settings(volume: Volume) -> dict[str, str]:
    """In this order: with the medium it is online."""
    return {
        "vendor_id": "HOLDFAST",
        "product_id": "volume",
        "scsi_sn": volume.serial,
        "scsi_id": volume.wwid,
        "mode_page": _CACHING,
        "removable": "0",
        "path": volume.path,
    }


def _tid(name: str) -> int:
    """tgt's number of a target, which initiators see in one of the unit's identifiers: the same on every node."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % (2**31 - 1) + 1
