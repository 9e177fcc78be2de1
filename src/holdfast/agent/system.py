"""The system units of a node: store, manager, name server. They follow the management plane's record.

A member of the store reads the authorities that it trusts when it starts, and never again. So when they change (and that is
only while the cluster's authority is rotated) the members start anew, one after the other, each when all are there.

Before the store can be reached the node's own files say what to start: a member must run before anything can be read.
"""

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from holdfast import owners
from holdfast.agent.members import answers, my_turn, restored_at
from holdfast.bootstrap.trust import NodeTrust, Trust
from holdfast.config import NodeConfig, Tls
from holdfast.core import rights
from holdfast.core.model import ManagementMember, ManagementSpec, Placement
from holdfast.core.restored import Restored, floor_of
from holdfast.errors import HoldfastError, StoreError
from holdfast.ports import Clock, Runner, Store, Unit
from holdfast.software import is_current
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.etcd import EtcdMember, etcd_unit
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.agent")

CHECK_S = 0.5
"""How often the units are looked after."""
STOP_GRACE_S = 5.0
LOOK_S, STORE_S = 5.0, 1.0
"""How often it is asked whether the store still is the one that is known, and how long that may take."""
PANEL = "panel/admin"
NAME_SERVER = "nameserver"
OURS = ("manager", NAME_SERVER, "panel")
"""System units that are Holdfast's own program, and hold nothing that would be missed for a second."""


class FollowedStore(Store, Protocol):
    """A store whose endpoints come and go with its members (EtcdStore)."""

    def update_endpoints(self, endpoints: Sequence[str]) -> None: ...


class TrustFiles(Protocol):
    """This node's files of trust (TrustKeeper)."""

    def ensure_revocations(self) -> Path:
        """The list of revoked certificates: without it etcd refuses everybody."""

    def fingerprints(self) -> tuple[str, ...]:
        """Of the authorities that are trusted."""


RestoredAt = Callable[[str, Tls, Clock], Awaitable[Restored | None]]


class SystemUnits:
    """Keeps the right system units running on this node."""

    def __init__(
        self,
        config: NodeConfig,
        runner: Runner,
        clock: Clock,
        store: FollowedStore,
        mirror: Mirror,
        *,
        files: TrustFiles | None = None,
        asked: RestoredAt = restored_at,
        replaced: Callable[[], None] = lambda: None,
    ) -> None:
        """`files`: what the member is to trust, and whom no more; None: no list of revoked certificates. `asked`: what
        another endpoint says of the store's last restore. `replaced()`: this process knows a store that is lost, and a new
        one took its place; only a new process can use that."""
        self._asked = asked
        self._replaced = replaced
        self._restored_file = Path(config.state_dir) / "restored.json"
        """The last restore of the store that this node's member belongs to."""
        self._restored = b""
        self._config = config
        self._files = files
        self._runner = runner
        self._clock = clock
        self._store = store
        self._mirror = mirror
        state = Path(config.state_dir)
        self._member_file = state / "etcd.json"
        self._management_file = state / "management.json"
        self._data = state / "etcd"
        self._endpoints: tuple[str, ...] = config.endpoints
        self._ending = False
        self._renewed = False
        self._started_file = state / "etcd-trust.json"
        """Fingerprints of the authorities that the member was started with."""

    async def run(self) -> None:
        """For ever. What fails is said and tried again."""
        failure = ""
        while not self._ending:
            try:
                await self._replace_older()
                await self._look_after()
                failure = ""
            except (HoldfastError, OSError) as error:
                if str(error) != failure:
                    log.warning("system units", error=str(error))
                failure = str(error)
            await self._clock.sleep(CHECK_S)
        await asyncio.Event().wait()

    async def _replace_older(self) -> None:
        """Once: daemons of ours that a former agent of another version started end here, and are started anew as usual."""
        if self._renewed:
            return
        for unit in set(OURS) & set(await self._runner.running()):
            if not is_current(self._config.run_dir, unit):
                log.info("replaced: it is of another version than its agent", unit=unit)
                await self._runner.stop(unit, grace_s=STOP_GRACE_S)
        self._renewed = True

    async def end(self) -> None:
        """The node shuts down: the manager resigns, then the member of the store hands its leadership over and ends."""
        self._ending = True
        for unit in ("manager", NAME_SERVER, "etcd"):
            try:
                await self._runner.stop(unit, grace_s=STOP_GRACE_S)
            except HoldfastError as error:
                log.warning("not stopped", unit=unit, error=str(error))

    async def resign(self) -> None:
        """Let another manager lead before this node's services stop."""
        self._ending = True
        await self._runner.stop("manager", grace_s=STOP_GRACE_S)

    async def _look_after(self) -> None:
        spec = self._management()
        await self._member(spec)
        manages = spec is not None and self._config.id in spec.nodes
        running = await self._runner.running()
        if manages and "manager" not in running:
            program = Path(sys.executable).parent / "holdfast-manager"
            await self._runner.start(Unit("manager", (str(program),), strict=False, rights=rights.MANAGER))
        elif spec is not None and not manages:
            for unit in self._to_retire(spec) & set(running):
                await self._runner.stop(unit, grace_s=STOP_GRACE_S)
        await self._name_server(wanted=manages and self._has_zones(), runs=NAME_SERVER in running)

    def _has_zones(self) -> bool:
        """By the store; while it was not reached yet, by what the name server has remembered."""
        if self._mirror.ready.is_set():
            return bool(self._mirror.keys_below(keys.DNS_ZONES))
        return self._config.dns_file.exists()

    async def _name_server(self, *, wanted: bool, runs: bool) -> None:
        if wanted and not runs:
            program = (sys.executable, "-m", "holdfast.nameserver")
            await self._runner.start(Unit(NAME_SERVER, program, strict=False, rights=rights.NAME_SERVER))
        elif runs and not wanted:
            await self._runner.stop(NAME_SERVER, grace_s=STOP_GRACE_S)
        if not wanted:
            self._config.dns_file.unlink(missing_ok=True)

    def _to_retire(self, spec: ManagementSpec) -> set[str]:
        """What must not run (any more) on a node that is no management node. The panel goes on until its address has moved
        and the store can do without this node: people at it, and a command that waits for the change, see it completed."""
        entry = self._mirror.entries.get(keys.placement(PANEL))
        placed = entry is not None and decode(entry.value, Placement, entry.key).node == self._config.id
        if placed or _member_of(spec, self._config.id) is not None:
            return {"manager"}
        return {"manager", "panel"}

    def trusts(self) -> tuple[str, ...] | None:
        """Fingerprints of the authorities that this node's member of the store was started with; None: it has none."""
        if not self._member_file.exists():
            return None
        try:
            return decode(self._started_file.read_bytes(), tuple[str, ...], str(self._started_file))
        except (OSError, StoreError):
            return ()

    async def _follow_authorities(self, spec: ManagementSpec) -> None:
        """Start the member anew when what it is to trust has changed, if it is this one's turn."""
        trust = self._mirror.read(keys.TRUST, Trust)
        if trust is None or self._files is None or not self._mirror.ready.is_set():
            return
        wanted = trust.fingerprints
        if self.trusts() == wanted or self._files.fingerprints() != wanted:
            return
        if "etcd" not in await self._runner.running():
            return
        said = self._mirror.all(keys.TRUST_NODES, NodeTrust)
        if not my_turn(self._config.id, spec, {node: one.trusts for node, one in said.items()}, wanted):
            return
        others = [member.client_url for member in spec.members if member.node != self._config.id]
        if all(await asyncio.gather(*(answers(url) for url in others))):
            log.info("the member of the store starts anew, with the authorities that count now")
            await self._runner.stop("etcd", grace_s=STOP_GRACE_S)

    def _management(self) -> ManagementSpec | None:
        """The record as the store has it; from the last known copy while the store was not reached yet."""
        value = self._mirror.value(keys.MANAGEMENT) if self._mirror.ready.is_set() else None
        if value is not None:
            if not self._management_file.exists() or self._management_file.read_bytes() != value:
                _write(self._management_file, value)
            spec = decode(value, ManagementSpec, keys.MANAGEMENT)
            self._follow_endpoints(spec)
            return spec
        try:
            return decode(self._management_file.read_bytes(), ManagementSpec, str(self._management_file))
        except FileNotFoundError:
            return None

    def _follow_endpoints(self, spec: ManagementSpec) -> None:
        """Use the members that can answer, and remember them for the next start of any daemon."""
        endpoints = tuple(member.client_url for member in spec.members if member.state == "voter")
        if endpoints and endpoints != self._endpoints:
            self._endpoints = endpoints
            self._store.update_endpoints(endpoints)
            _write(Path(self._config.state_dir) / "endpoints.json", encode(endpoints))

    async def _member(self, spec: ManagementSpec | None) -> None:
        """Start, keep or retire this node's member of the store."""
        mine = _member_of(spec, self._config.id)
        self._remember_restored()
        if spec is not None and self._mirror.ready.is_set():
            if mine is not None and not self._member_file.exists():
                self._prepare_member(spec, mine)
            elif mine is None and self._member_file.exists():
                await self._retire_member()
        if self._member_file.exists():
            member = decode(self._member_file.read_bytes(), EtcdMember, str(self._member_file))
            if mine is not None and self._another_life(mine, member):
                await self._retire_member()
                return
            if spec is not None and mine is not None:
                try:
                    await self._follow_authorities(spec)
                except (HoldfastError, OSError, ValueError) as error:
                    # A bad record must not keep a member from running.
                    log.warning("authorities not followed", error=str(error))
            if "etcd" not in await self._runner.running() and await self._superseded(spec):
                await self._retire_member()
                return
            await self._start_member(member)

    async def _start_member(self, member: EtcdMember) -> None:
        crl = str(self._files.ensure_revocations()) if self._files else ""
        if self._files and "etcd" not in await self._runner.running():
            _write(self._started_file, encode(self._files.fingerprints()))
        if "etcd" not in await self._runner.running():
            await asyncio.to_thread(self._let_the_member_in)
        await self._runner.start(etcd_unit(self._config, member, crl=crl))

    def _let_the_member_in(self) -> None:
        """It runs as a user of its own: its data are that user's, the node's key is readable by its group, and it may pass
        through the directories on the way. What is there may be of another version. Raises OSError."""
        key = Path(self._config.tls.key)
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if key.exists():
            owners.let_read(key)
            owners.let_in(key.parent, key.parent.parent)
        owners.let_in(self._data.parent)
        owners.give(owners.ids_of(rights.ETCD), self._data, *self._data.rglob("*"))

    def _remember_restored(self) -> None:
        """Before this node's member can be one of the store that says so."""
        said = self._mirror.value(keys.RESTORED) if self._mirror.ready.is_set() else None
        if said is not None and said != self._restored:
            _write(self._restored_file, said)
            self._restored = said

    async def _superseded(self, spec: ManagementSpec | None) -> bool:
        """The store was restored from a backup while this node was away: its member must not come back, for with a second
        one of its kind the old store would live beside the new one."""
        newer = await self._newer(spec)
        if newer is None:
            return False
        log.warning("this node's copy of the store is of a former life: it is removed", new_store=newer.node)
        self._management_file.unlink(missing_ok=True)
        self._follow_endpoints(ManagementSpec((), members=(newer,)))
        return True

    async def _newer(self, spec: ManagementSpec | None) -> ManagementMember | None:
        """Another member, of a store that was restored since this node heard of the store last."""
        known = _life(self._restored_file)
        others = [m for m in spec.members if m.node != self._config.id] if spec else []
        answers = await asyncio.gather(*(self._asked(m.client_url, self._config.tls, self._clock) for m in others))
        found = (m for m, said in zip(others, answers, strict=True) if floor_of(said) > known)
        return next(found, None)

    async def look_for_a_new_store(self) -> None:
        """For ever: while the store does not answer it may have been restored, and this process remembers the former one."""
        while True:
            await self._clock.sleep(LOOK_S)
            try:
                await self._store.get(keys.CLUSTER, timeout=STORE_S)
            except StoreError:
                newer = await self._newer(self._management())
                if newer is not None:
                    log.warning("the store was restored: this process knows the former one and ends", at=newer.node)
                    self._replaced()

    def _another_life(self, mine: ManagementMember, member: EtcdMember) -> bool:
        """The node was removed and added again while its agent was away: its data belongs to a member that is gone."""
        if mine.member_id and not member.member_id:
            _write(self._member_file, encode(replace(member, member_id=mine.member_id)))
        return bool(mine.member_id and member.member_id and mine.member_id != member.member_id)

    def _prepare_member(self, spec: ManagementSpec, mine: ManagementMember) -> None:
        """This node was added to the store's members: start empty and learn everything from the others."""
        if mine.state == "joining":
            return  # not added in the store yet
        if self._data.exists():
            shutil.rmtree(self._data)
        peers = tuple((member.node, member.peer_url) for member in spec.members if member.state != "joining")
        member = EtcdMember(mine.node, mine.peer_url, mine.client_url, peers, new=False, member_id=mine.member_id)
        _write(self._member_file, encode(member))
        log.info("this node becomes a member of the store", peers=[name for name, _ in peers])

    async def _retire_member(self) -> None:
        """This node was removed from the store's members: its copy is worthless from now on."""
        log.info("this node is no member of the store any more")
        await self._runner.stop("etcd", grace_s=STOP_GRACE_S)
        self._member_file.unlink()
        if self._data.exists():
            await asyncio.to_thread(shutil.rmtree, self._data)


def _member_of(spec: ManagementSpec | None, node: str) -> ManagementMember | None:
    return next((member for member in spec.members if member.node == node), None) if spec else None


def _life(path: Path) -> int:
    """Which life of the store this node knows (`floor_of`)."""
    try:
        return floor_of(decode(path.read_bytes(), Restored, str(path)))
    except (OSError, StoreError):
        return 0


def _write(path: Path, content: bytes) -> None:
    """Replace a small file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.replace(path)
