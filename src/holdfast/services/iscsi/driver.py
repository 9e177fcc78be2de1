"""Driver of iSCSI volumes (port Driver): an instance is the *active path* of one volume, and nothing else.

Every node of a group has the target, with standby paths, before anything fails (`prepare`); so to start is to promote a
path, and to stop is to demote it. Which engine serves is a matter of the group. Nothing is believed that an engine does
not say now: an agent that restarts finds its paths by asking.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from holdfast.core.model import InstanceSpec
from holdfast.errors import DriverError, HoldfastError, InvalidInput
from holdfast.ports import Clock, StepRecorder
from holdfast.services.cold import ColdDriver
from holdfast.services.iscsi.config import KIND, Attached, TargetGroup, from_instance
from holdfast.services.iscsi.engine import Engine, EngineStatus, PathState, Target, Volume
from holdfast.services.iscsi.known import Known
from holdfast.services.iscsi.report import Guest
from holdfast.services.iscsi.reporter import Reporter

log = structlog.get_logger("holdfast.iscsi")

Groups = Callable[[], Mapping[str, TargetGroup]]
"""The target groups as they are stored, by name."""

LOOK_S = 0.25
"""How often it is looked whether a path still is what it was."""
LIVE = (PathState.ACTIVE, PathState.CHANGING)


class IscsiDriver(ColdDriver):
    """See the module's text. `node` is this node's name, `run_dir` a private directory that a reboot empties."""

    kind = KIND

    def __init__(
        self, node: str, engines: Mapping[str, Engine], groups: Groups, run_dir: str, reporter: Reporter, clock: Clock
    ) -> None:
        self._node = node
        self._engines = engines
        self._groups = groups
        self._reporter = reporter
        self._clock = clock
        self._known = Known(Path(run_dir) / "iscsi" / "known.json")
        self._configured: dict[str, Target] = {}
        """Target → as this run of the agent has told its engine."""
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Of instances and targets: what is kept warm must not come between the steps of a start."""
        self._allowed: dict[str, Callable[[], bool]] = {}
        self._warm: dict[str, Attached] = {}
        """Instance → what this run of the agent has prepared, as long as its engine goes on."""
        self._looks: dict[str, tuple[float, EngineStatus]] = {}

    # --- what is kept warm ------------------------------------------------------------------------------------------

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        """Targets of all started groups of this node, with a standby path to each of their volumes."""
        problems: dict[str, str] = {}
        groups = {
            name: group for name, group in self._groups().items() if group.started and self._node in group.portals
        }
        wanted: dict[str, Attached] = {}
        for instance in instances:
            try:
                attached = from_instance(instance)
            except InvalidInput as error:
                problems[instance.id] = str(error)
                continue
            if attached.group in groups:
                wanted[instance.id] = attached
        await self._put_away_others(groups, wanted, problems)
        seen: dict[str, EngineStatus] = {}
        for group in groups.values():
            try:
                engine = await self._configure(group)
                seen[engine.name] = seen.get(engine.name) or await engine.status()
            except HoldfastError as error:
                problems[group.name] = str(error)
        for attached in wanted.values():
            group = groups[attached.group]
            if group.name not in problems and not self._is_warm(attached, seen[group.engine]):
                try:
                    await self._stand_by(self._engine(group.engine), attached)
                except HoldfastError as error:
                    problems[attached.instance] = str(error)
        await self._report(groups, wanted, problems)
        return problems

    def _is_warm(self, attached: Attached, status: EngineStatus) -> bool:
        """Nothing is to be done: it serves, or it was prepared by this run and its engine has not begun anew since."""
        return self._warm.get(attached.instance) == attached or status.path(attached.volume) in LIVE

    async def _stand_by(self, engine: Engine, attached: Attached) -> None:
        async with self._locks[attached.instance]:
            if (await engine.status()).path(attached.volume) in LIVE:
                return  # its worker has just started it, or is about to stop it
            await self._replace(engine, attached)
            await engine.prepare(attached.volume)
            self._warm[attached.instance] = attached

    async def _replace(self, engine: Engine, attached: Attached) -> None:
        """Remember it; what it was before (of another size, or in another place) goes."""
        before = self._known.volumes.get(attached.instance)
        if before is not None and before.volume != attached.volume:
            self._warm.pop(attached.instance, None)
            await engine.remove(before.volume)
        self._known.add(attached)

    async def _put_away_others(
        self, groups: Mapping[str, TargetGroup], wanted: Mapping[str, Attached], problems: dict[str, str]
    ) -> None:
        """What was once served and is not wanted any more. Of what is active, the worker must make an end first."""
        targets = {group.iqn for group in groups.values()}
        for name, engine_name in self._known.targets.items():
            unwanted = [
                known
                for instance, known in self._known.volumes.items()
                if known.volume.target == name and instance not in wanted
            ]
            if name in targets and not unwanted:
                continue
            try:
                await self._put_away(self._engine(engine_name), unwanted, "" if name in targets else name)
            except HoldfastError as error:
                problems[name] = str(error)

    async def _put_away(self, engine: Engine, volumes: Sequence[Attached], target: str) -> None:
        """These volumes, and the target if one is named; what is active stays, and with it its target."""
        for known in volumes:
            async with self._locks[known.instance]:  # it may be wanted again by now, and what serves is never forgotten
                if (await engine.status()).path(known.volume) in LIVE:
                    continue
                await engine.remove(known.volume)
                self._warm.pop(known.instance, None)
                self._known.forget(known.instance)
        if target:
            async with self._locks[target]:
                await self._withdraw(engine, target)

    async def _withdraw(self, engine: Engine, target: str) -> None:
        paths = (await engine.status()).paths
        if any(name == target and state in LIVE for (name, _), state in paths.items()):
            return
        await engine.withdraw(target)
        self._configured.pop(target, None)
        self._known.forget_target(target)
        if engine.name not in self._known.targets.values():
            await self._halt(engine)

    async def put_away(self) -> None:
        """End the engines: every path was demoted before."""
        for engine in self._in_use():
            await self._halt(engine)

    def _in_use(self) -> list[Engine]:
        """Engines that may serve something here, whether or not that was remembered."""
        known = set(self._known.targets.values())
        return [engine for engine in self._engines.values() if engine.name in known or not engine.available()]

    async def _halt(self, engine: Engine) -> None:
        """Every path of the node, at once. Raises DriverError if that is not certain."""
        self._forget_what_was_told(engine)
        await engine.halt()

    def _forget_what_was_told(self, engine: Engine) -> None:
        """It begins anew: everything is to be told again."""
        ours = {target for target, name in self._known.targets.items() if name == engine.name}
        for target in ours:
            self._configured.pop(target, None)
        self._warm = {i: known for i, known in self._warm.items() if known.volume.target not in ours}
        self._looks.pop(engine.name, None)

    async def _configure(self, group: TargetGroup) -> Engine:
        """The target as it is stored, told to the engine when one of the two has changed."""
        target, engine = group.target(self._node), self._engine(group.engine)
        async with self._locks[group.iqn]:
            there = group.iqn in (await engine.status()).targets
            if not there:
                self._forget_what_was_told(engine)
            if self._configured.get(group.iqn) != target:
                reason = engine.available()
                if reason:
                    raise DriverError(f"{self._node} cannot serve the target group {group.name}: {reason}")
                self._known.add_target(group.iqn, engine.name)
                self._configured.pop(group.iqn, None)
                await engine.configure(target)
                self._configured[group.iqn] = target
        return engine

    async def _report(
        self, groups: Mapping[str, TargetGroup], wanted: Mapping[str, Attached], problems: Mapping[str, str]
    ) -> None:
        seen: dict[str, EngineStatus] = {}
        for name in {group.engine for group in groups.values()}:
            try:
                seen[name] = await self._engine(name).status()
            except HoldfastError:
                log.debug("nothing to report of an engine that does not answer", engine=name)
        paths: dict[str, dict[int, str]] = {name: {} for name in groups}
        for attached in wanted.values():
            state = seen.get(groups[attached.group].engine, EngineStatus()).path(attached.volume)
            if state is PathState.ABSENT and attached.instance in self._warm:
                state = PathState.STANDBY  # what that is differs between the engines
            paths[attached.group][attached.volume.lun] = str(state)
        guests = [
            Guest(group.name, found.initiator, found.address)
            for group in groups.values()
            for found in seen.get(group.engine, EngineStatus()).connections
            if found.target == group.iqn and found.initiator != group.probe
        ]
        engines = {name: engine.available() for name, engine in self._engines.items()}
        await self._reporter.report(engines, problems, paths, guests)

    # --- start, stop ------------------------------------------------------------------------------------------------

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        """Make its path active here, or adopt it if it is. Raises DriverError, InvalidInput."""
        attached = from_instance(instance)
        self._allowed[instance.id] = allowed
        async with self._locks[instance.id]:
            await self._promote(attached, allowed)
        steps.step("server")

    async def _promote(self, attached: Attached, allowed: Callable[[], bool]) -> None:
        group = self._group(attached)
        engine = await self._configure(group)
        await self._replace(engine, attached)
        await engine.prepare(attached.volume, standby=False)
        if not allowed():
            raise DriverError(f"the start of {attached.instance} was abandoned", "This node may not run it any more.")
        await engine.promote(attached.volume, allowed)

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        """Demote it, with what is under way. What cannot be demoted in time takes every path of this node with it: the
        other volumes' workers start theirs again. Any engine may have it, also where nobody remembers its start."""
        async with self._locks[instance.id]:
            try:
                attached = self._known.volumes.get(instance.id) or from_instance(instance)
            except InvalidInput:  # a path of whatever volume, found here: nothing less will do
                if instance.id in await self.running():
                    await self.put_away()
                return
            for engine in self._in_use():
                await self._demote(engine, attached, max(grace_s, 1.0))

    async def _demote(self, engine: Engine, attached: Attached, limit_s: float) -> None:
        try:
            async with self._clock.timeout(limit_s):
                await engine.demote(attached.volume)
        except (DriverError, TimeoutError) as error:
            log.warning("not demoted: ending all paths", instance=attached.instance, error=str(error))
            await self._halt(engine)
        state = (await engine.status()).path(attached.volume)
        if state in LIVE:
            raise DriverError(f"{attached.instance} is {state} though it was demoted", "Its node must be reset.")

    async def restart_hung(self, instance: InstanceSpec) -> None:
        """End all paths of the node and start this one. Raises DriverError."""
        attached = from_instance(instance)
        async with self._locks[instance.id]:
            await self._halt(self._engine(self._group(attached).engine))
            await self._promote(attached, self._allowed[instance.id])

    async def reconfigure(self, instance: InstanceSpec) -> None:
        """Another size, or another place: the path is taken away and comes back as it is now. Raises DriverError."""
        attached = from_instance(instance)
        async with self._locks[instance.id]:
            await self._promote(attached, self._allowed[instance.id])

    async def address_up(self, instance: InstanceSpec) -> None:
        """Nothing: clients know all portals."""

    async def tick(self, instance: InstanceSpec) -> None:
        """Nothing."""

    # --- what runs --------------------------------------------------------------------------------------------------

    async def running(self) -> list[str]:
        """Instances whose path is active here, or half-way. Of an engine that does not answer: all it was told to serve."""
        found: set[str] = set()
        for engine in self._in_use():
            try:
                paths = (await engine.status()).paths
                found.update(self._known.at(*place) for place, state in paths.items() if state in LIVE)
            except DriverError as error:
                log.warning("the engine does not say what it serves", engine=engine.name, error=str(error))
                ours = {target for target, name in self._known.targets.items() if name == engine.name}
                found.update(i for i, known in self._known.volumes.items() if known.volume.target in ours)
        return sorted(found)

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        """Returns when its path is not active any more: its daemon has ended, or somebody changed it by hand."""
        attached = from_instance(instance)
        engine = self._engine(self._group(attached).engine)
        while not await self._ended(engine, attached.volume):
            await self._clock.sleep(LOOK_S)
        return False

    async def _ended(self, engine: Engine, volume: Volume) -> bool:
        """A shared look may be from before the path's start: only another one tells of its end."""
        if (await self._look(engine)).path(volume) in LIVE:
            return False
        return (await self._status_in_time(engine, None)).path(volume) not in LIVE

    async def _look(self, engine: Engine) -> EngineStatus:
        """One look serves all who ask within a moment."""
        known = self._looks.get(engine.name)
        now = self._clock.now()
        if known is None or now - known[0] >= LOOK_S:
            known = self._looks[engine.name] = (now, await self._status_in_time(engine, known))
        return known[1]

    async def _status_in_time(self, engine: Engine, last: tuple[float, EngineStatus] | None) -> EngineStatus:
        """An engine that does not answer is a matter of the health check: nothing has ended for certain."""
        while True:
            try:
                return await engine.status()
            except DriverError:
                if last is not None:
                    return last[1]
                await self._clock.sleep(LOOK_S)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _group(self, attached: Attached) -> TargetGroup:
        group = self._groups().get(attached.group)
        if group is None or self._node not in group.portals:
            raise DriverError(
                f"{attached.instance} belongs to the target group {attached.group}, which {self._node} does not know",
                "See `holdfast iscsi target-group list`; detach the volume if the group is gone.",
            )
        return group

    def _engine(self, name: str) -> Engine:
        if name not in self._engines:
            raise DriverError(f"there is no iSCSI engine {name!r}", f"Known are {', '.join(sorted(self._engines))}.")
        return self._engines[name]
