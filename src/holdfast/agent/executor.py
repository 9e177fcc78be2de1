"""Everything that is placed on this node: from the store's placements to workers, one per instance."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import structlog

from holdfast.agent.context import NodeContext, Order, Target
from holdfast.agent.worker import Worker
from holdfast.core.model import Desired, Exclusivity, InstanceSpec, NodeSpec, Placement, Role, ServiceAddress
from holdfast.core.policy import HaPause, PauseMode
from holdfast.errors import HoldfastError, StoreError
from holdfast.ports import Change, Driver, HealthProbe
from holdfast.store import keys
from holdfast.store.codec import decode
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.agent")


QUIET = (
    keys.EVENTS, keys.INCIDENTS, keys.STATUSES, keys.SESSIONS, keys.USERS, keys.ALARMS, keys.RECEIVERS, keys.DELIVERIES,
    keys.REPORTS, "manager/",
)  # fmt: skip
"""Nothing below these keys tells an agent to do anything."""


def concerns_agents(change: Change) -> bool:
    """May this change of the store give an agent something to do? Beats, and what is written for people, do not."""
    return not change.key.startswith(QUIET) and not change.key.endswith("/beat")


class Executor:
    """The session's Workload. `refresh` is to be called whenever specs or placements may have changed."""

    def __init__(
        self,
        context: NodeContext,
        drivers: Mapping[str, Driver],
        probes: Mapping[str, HealthProbe],
        mirror: Mirror,
        fence_epoch: Callable[[], int],
    ) -> None:
        self._context = context
        self._drivers = drivers
        self._probes = probes
        self._mirror = mirror
        self._fence_epoch = fence_epoch
        self._workers: dict[str, Worker] = {}
        self._unprepared: dict[str, dict[str, str]] = {}
        """Kind → what could not be prepared → why, as it was said last."""
        self._warming: asyncio.Task[None] | None = None
        self._strict_suspended = True
        self._all_suspended = False
        self._isolated = False

    # --- from the store -------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Give every worker its present target; make workers for what is newly placed here. Before the first join nothing is
        known of what may run here, so nothing is touched."""
        if not self._fence_epoch():
            return
        hands_off = self._hands_off()
        for entry in list(self._mirror.below(keys.INSTANCES)):
            try:
                spec = self._mirror.read(entry.key, InstanceSpec)
                assert spec is not None
                self._refresh_one(spec, hands_off)
            except StoreError as error:
                log.error("bad record", error=str(error))
        known = {worker_id for worker_id in self._workers if keys.instance(worker_id) in self._mirror.entries}
        for gone in set(self._workers) - known:
            self._workers[gone].aim(Target(self._workers[gone].target.spec, None))
        for name in [name for name, worker in self._workers.items() if worker.finished]:
            asyncio.get_running_loop().create_task(self._workers.pop(name).close())

    def _refresh_one(self, spec: InstanceSpec, hands_off: bool) -> None:
        target = self._target(spec, hands_off)
        worker = self._workers.get(spec.id)
        if worker is not None:
            worker.aim(target)
        elif target.placement is not None or target.incoming is not None:
            self._add_worker(target)

    def _target(self, spec: InstanceSpec, hands_off: bool) -> Target:
        """What the store asks of this node. A placement counts only with the fence epoch that this node acknowledged, and so
        does the part of a live migration that names this node."""
        entry = self._mirror.entries.get(keys.placement(spec.id))
        placement = self._mirror.read(entry.key, Placement) if entry else None
        if entry is None or placement is None:
            return Target(spec, None)
        me = (self._context.node, self._fence_epoch())
        if (placement.node, placement.fence_epoch) == me:
            return Target(spec, placement, entry.mod_revision, hands_off=hands_off)
        if (placement.migrate_to, placement.migrate_fence_epoch) == me:
            return Target(spec, None, incoming=placement, hands_off=hands_off)
        return Target(spec, None)

    def _hands_off(self) -> bool:
        """Operators paused high availability and asked agents to leave every instance alone."""
        pause = self._mirror.read(keys.PAUSE, HaPause)
        return pause is not None and pause.mode is PauseMode.IGNORE

    def _add_worker(self, target: Target) -> Worker | None:
        driver = self._drivers.get(target.spec.kind)
        if driver is None:
            log.error("no driver", kind=target.spec.kind, instance=target.spec.id)
            return None
        worker = Worker(self._context, driver, self._probes.get(target.spec.kind), target)
        self._workers[target.spec.id] = worker
        if self._suspends(target.spec):
            worker.suspend()
        return worker

    def _suspends(self, spec: InstanceSpec) -> bool:
        if self._all_suspended:
            return True
        return self._strict_suspended if spec.exclusivity is Exclusivity.STRICT else self._isolated

    def _eligible(self, spec: InstanceSpec) -> bool:
        entry = self._mirror.entries.get(keys.node_spec(self._context.node))
        if entry is None:
            return False
        node = decode(entry.value, NodeSpec, entry.key)
        return spec.role in node.roles and (not spec.nodes or self._context.node in spec.nodes)

    async def prepare(self) -> None:
        """Keep warm what could come here; called now and then. What cannot be prepared is said once."""
        self._warming = asyncio.create_task(self._warm())
        await asyncio.wait([self._warming])
        if not self._warming.cancelled():
            self._warming.result()

    async def _warm(self) -> None:
        for kind, driver in self._drivers.items():
            could_come = list(self._could_come(kind))
            only_others = could_come and all(spec.exclusivity is not Exclusivity.STRICT for spec in could_come)
            if self._all_suspended or not (only_others or self._may_warm_strict()):
                continue
            problems = await driver.prepare(could_come)
            for name, problem in problems.items():
                if self._unprepared.get(kind, {}).get(name) != problem:
                    log.warning("not prepared", kind=kind, instance=name, error=problem)
            self._unprepared[kind] = problems

    def _may_warm_strict(self) -> bool:
        """What is kept warm may be processes in the strict group, where an idle node has none."""
        return not self._strict_suspended and self._context.allowed()

    def _could_come(self, kind: str) -> Iterator[InstanceSpec]:
        for entry in list(self._mirror.below(keys.INSTANCES)):
            spec = decode(entry.value, InstanceSpec, entry.key)
            if spec.kind == kind and spec.desired is Desired.STARTED and self._eligible(spec):
                yield spec

    async def _put_away(self) -> bool:
        """After every strict instance was stopped. True if nothing warm is left in the strict group."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait([self._warming])
        try:
            for driver in self._drivers.values():
                await driver.put_away()
        except HoldfastError as error:
            log.warning("not put away", error=str(error))
            return False
        return True

    # --- adoption -------------------------------------------------------------------------------------------------------

    async def adopt(self) -> None:
        """After a restart of the agent: make workers for what runs here, so that it is either kept or stopped."""
        present = await self._context.addresses.present()
        known: set[str] = set()
        for driver in self._drivers.values():
            known.update(await driver.running())
        for entry in list(self._mirror.below(keys.INSTANCES)):
            spec = decode(entry.value, InstanceSpec, entry.key)
            if spec.id in known or (spec.address is not None and spec.address.ip in present):
                self._adopt_one(spec)
                known.discard(spec.id)
        for orphan in known:
            # Its specification is gone: all that is left to do is to stop it.
            kind, _, service = orphan.partition("/")
            spec = InstanceSpec(orphan, kind, service, Exclusivity.STRICT, Role.MANAGEMENT)
            self._adopt_one(spec)

    def _adopt_one(self, spec: InstanceSpec) -> None:
        if spec.id in self._workers:
            return
        driver = self._drivers[spec.kind]
        worker = Worker(self._context, driver, self._probes.get(spec.kind), Target(spec, None))
        worker.hold()
        self._workers[spec.id] = worker
        log.info("adopted", instance=spec.id)

    # --- what others ask ------------------------------------------------------------------------------------------------

    def addresses(self) -> list[ServiceAddress]:
        """Those that are to be on this node now."""
        running = (worker.target.spec.address for worker in self._workers.values() if worker.order() is Order.RUN)
        return [address for address in running if address is not None]

    def duties(self) -> list[tuple[InstanceSpec, Order, bool]]:
        """Each instance that this node has something to do with, what, and whether something of it may be here."""
        return [(worker.target.spec, worker.order(), worker.running) for worker in self._workers.values()]

    # --- the session's Workload -----------------------------------------------------------------------------------------

    async def stop_strict(self, grace_s: float) -> bool:
        self._strict_suspended = True
        return await self._stop(grace_s, lambda worker: worker.target.spec.exclusivity is Exclusivity.STRICT)

    async def stop_all(self, grace_s: float) -> bool:
        self._all_suspended = True
        return await self._stop(grace_s, lambda _worker: True)

    async def _stop(self, grace_s: float, which: Callable[[Worker], bool]) -> bool:
        chosen = [worker for worker in self._workers.values() if which(worker)]
        confirmed = (
            all(await asyncio.gather(*(worker.stopped(grace_s) for worker in chosen))) and await self._put_away()
        )
        left = [name for driver in self._drivers.values() for name in await driver.running()]
        stray = [name for name in left if name not in self._workers or which(self._workers[name])]
        if stray:
            log.warning("still running after the stop", instances=stray)
        return confirmed and not stray

    def resume(self) -> None:
        self._strict_suspended = self._all_suspended = False
        self.refresh()
        for worker in self._workers.values():
            if not self._suspends(worker.target.spec):
                worker.resume()

    # --- the network ----------------------------------------------------------------------------------------------------

    def set_isolated(self, isolated: bool) -> None:
        """This node hears nobody and reaches no store: what may move without a claim is elsewhere soon, so leave it."""
        if isolated == self._isolated:
            return
        self._isolated = isolated
        log.warning("isolated" if isolated else "no longer isolated", node=self._context.node)
        for worker in self._workers.values():
            if worker.target.spec.exclusivity is Exclusivity.STRICT or self._all_suspended:
                continue
            if not isolated:  # also what is to be left alone: it may have been suspended before that was asked
                worker.resume()
            elif worker.target.order is not Order.LEAVE_ALONE:
                worker.suspend()

    async def close(self) -> None:
        for worker in self._workers.values():
            await worker.close()
