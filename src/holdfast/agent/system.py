"""The system units of a node: store, manager, name server. They follow the management plane's record.

So does the certificate of a management node, which must name the panel's virtual IP: that is unknown when a node joins.

Before the store can be reached the node's own files say what to start: a member must run before anything can be read.
"""

import asyncio
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from holdfast.bootstrap.renew import renew_certificate
from holdfast.config import NodeConfig
from holdfast.core.model import ManagementMember, ManagementSpec, NodeSpec, Placement
from holdfast.errors import HoldfastError
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
PANEL = "panel/admin"
NAME_SERVER = "nameserver"
OURS = ("manager", NAME_SERVER, "panel")
"""System units that are Holdfast's own program, and hold nothing that would be missed for a second."""


class FollowedStore(Store, Protocol):
    """A store whose endpoints come and go with its members (EtcdStore)."""

    def update_endpoints(self, endpoints: Sequence[str]) -> None: ...


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
        root: Path = Path("/"),
    ) -> None:
        """`root`: where the certificate's files are looked for, other than / in tests only."""
        self._config = config
        self._root = root
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
        self._certified: tuple[str, NodeSpec] | None = None
        """Virtual IP and node for which the certificate was found good."""

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
            await self._runner.start(Unit("manager", (str(program),), strict=False))
        elif spec is not None and not manages:
            for unit in self._to_retire(spec) & set(running):
                await self._runner.stop(unit, grace_s=STOP_GRACE_S)
        await self._name_server(wanted=manages and self._has_zones(), runs=NAME_SERVER in running)
        if spec is not None and manages:
            await self._certificate(spec)

    def _has_zones(self) -> bool:
        """By the store; while it was not reached yet, by what the name server has remembered."""
        if self._mirror.ready.is_set():
            return bool(self._mirror.keys_below(keys.DNS_ZONES))
        return self._config.dns_file.exists()

    async def _name_server(self, *, wanted: bool, runs: bool) -> None:
        if wanted and not runs:
            program = (sys.executable, "-m", "holdfast.nameserver")
            await self._runner.start(Unit(NAME_SERVER, program, strict=False))
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

    async def _certificate(self, spec: ManagementSpec) -> None:
        """Have the certificate name the address that may come here. Its readers notice by themselves."""
        entry = self._mirror.entries.get(keys.node_spec(self._config.id))
        if entry is None:
            return
        wanted = (spec.virtual_ip, decode(entry.value, NodeSpec, entry.key))
        if wanted == self._certified:
            return
        if await renew_certificate(self._store, self._config, wanted[1], spec, root=self._root):
            log.info("certificate renewed", virtual_ip=spec.virtual_ip)
        self._certified = wanted

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
            await self._runner.start(etcd_unit(self._config, member))

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


def _write(path: Path, content: bytes) -> None:
    """Replace a small file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.replace(path)
