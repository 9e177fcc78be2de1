"""Drills: what they find, that they touch nothing unasked, and how they end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from api_world import ROOT, FakeFences, FakeProbe, build, memory_store, put, say

from holdfast.api.cache import StatusCache
from holdfast.api.operations import drill, drill_checks, drill_sections, tasks
from holdfast.api.operations.drill import KEPT
from holdfast.api.operations.drill_checks import Means, Scope
from holdfast.api.task_model import Task, TaskState, TaskView
from holdfast.api.works import Works
from holdfast.clock import SystemClock
from holdfast.core.alarm_model import ManagerHealth, NodeReport
from holdfast.core.drill import Drill, DrillAnswer, DrillCheck, DrillRequest, DrillState, Grade
from holdfast.core.history import GuaranteeWord, ManagerView
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Exclusivity,
    FenceDeviceSpec,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    MoveRequest,
    NodeSpec,
    NodeState,
    Placement,
    Role,
    ServiceAddress,
    WatchdogAttestation,
)
from holdfast.errors import Conflict, InvalidInput, NotFound
from holdfast.ports import Delete
from holdfast.store import codec, keys
from holdfast.store.memory import MemoryStore

VOLUME = InstanceSpec(
    "nfs/vol1", "nfs", "vol1", Exclusivity.STRICT, Role.STORAGE, address=ServiceAddress("10.78.0.101", "public")
)
REPORTED = ("certificates", "clocks")
"""Nobody reports in this world."""
MACS = {"10.78.0.101": "02:00:00:00:00:02", "10.78.0.12": "02:00:00:00:00:02", "10.78.0.13": "02:00:00:00:00:03"}


@dataclass
class World:
    store: MemoryStore
    cache: StatusCache
    means: Means
    works: Works

    async def seen(self) -> None:
        assert await self.cache.wait_revision((await self.store.list("")).revision, 10)

    async def runs(self, node: str, *, epoch: int, steps: Mapping[str, float] | None = None) -> None:
        """The volume answers there."""
        status = InstanceStatus(
            node, f"s{node[1:]}", epoch, InstanceState.RUNNING, healthy=True, steps=dict(steps or {})
        )
        await put(self.store, {keys.placement("nfs/vol1"): Placement(node, epoch, 1), keys.status("nfs/vol1"): status})

    async def looked(self, section: str, nodes: tuple[str, ...] = ()) -> dict[str, DrillCheck]:
        await self.seen()
        lease = await self.store.lease(60)
        found = await drill_sections.SECTIONS[section](self.means, Scope("d1", lease, nodes))
        return {check.about: check for check in found}

    async def begin(self, nodes: tuple[str, ...] = (), instance: str = "", *, kill: bool = False) -> str:
        outcome = await drill.begin(self.works, self.means, ROOT, nodes=nodes, instance=instance, kill=kill)
        await self.seen()
        return outcome.task

    def task(self, drill_id: str) -> TaskView:
        return tasks.show(self.cache.source, self.cache.status, drill_id)

    async def ended(self, drill_id: str) -> Drill:
        async with asyncio.timeout(60):
            while True:
                known = drill.show(self.cache.source, drill_id)
                if known.state is not DrillState.RUNNING and self.task(drill_id).state.over:
                    return known
                await asyncio.sleep(0.02)


@asynccontextmanager
async def world(
    probe: FakeProbe | None = None,
    unreachable: Mapping[str, str] | None = None,
    *,
    agents: bool = True,
    moves: bool = True,
) -> AsyncIterator[World]:
    """Five nodes with the role storage, a volume on n2, and agents whose storage works."""
    store, clock = memory_store(), SystemClock()
    await build(store)
    for k in range(1, 6):
        addresses = {"management": f"10.77.0.1{k}", "public": f"10.78.0.1{k}"}
        device = FenceDeviceSpec("bmc", "redfish", {"state": "on"})
        spec = NodeSpec(f"n{k}", (Role.STORAGE,), addresses, fence_devices=(device,))
        attested = WatchdogAttestation("/dev/watchdog", "iTCO", 6)
        beat = Beat(f"s{k}", f"b{k}", f"m{k}", 1, 1, BeatPhase.ACTIVE, attested)
        await put(store, {keys.node_spec(f"n{k}"): spec, keys.beat(f"n{k}"): beat})
    await say(store, {f"n{k}": NodeState.UP for k in range(1, 6)})
    await put(store, {keys.instance("nfs/vol1"): VOLUME, keys.placement("panel/admin"): Placement("n1", 5, 1)})
    await put(store, {keys.status("panel/admin"): InstanceStatus("n1", "s1", 5, InstanceState.RUNNING, healthy=True)})
    cache = StatusCache(store, clock)

    async def reach(url: str) -> str:
        return (unreachable or {}).get(url, "")

    async def seen(revision: int) -> bool:
        return await cache.wait_revision(revision, 10)

    asked = probe or FakeProbe(MACS)
    means = Means("n1", store, clock, lambda: cache.status, lambda: cache.source, seen, FakeFences(), asked, reach)
    made = World(store, cache, means, Works("p1", store, clock))
    tasks = [asyncio.create_task(cache.run()), asyncio.create_task(_agents(made, answers=agents, moves=moves))]
    try:
        await made.runs("n2", epoch=7)
        await made.seen()
        yield made
    finally:
        await made.works.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _agents(made: World, *, answers: bool, moves: bool) -> None:
    """Stand-ins for agents and manager: they answer drills and make moves true."""
    version, epoch = -1, 100
    while True:
        version = await made.cache.wait_newer(version)
        for entry in (await made.store.list(keys.DRILL_REQUESTS)).entries if answers else ():
            request = codec.decode(entry.value, DrillRequest)
            answer = DrillAnswer(request.drill, request.kill, steps={"write": 0.01, "read": 0.002})
            node = keys.last_part(entry.key)
            if await made.store.get(keys.drill_answer(node)) is None:
                await put(made.store, {keys.drill_answer(node): answer})
                if request.kill:
                    epoch += 1
                    await made.runs("n2", epoch=request.epoch, steps={"server": 0.5})
        wish = await made.store.get(keys.move("nfs/vol1"))
        if wish is not None and moves:
            epoch += 1
            await made.store.txn([], [Delete(keys.move("nfs/vol1"))])
            await made.runs(codec.decode(wish.value, MoveRequest).node or "n3", epoch=epoch)


async def test_a_healthy_cluster_passes_every_section_and_nothing_is_touched() -> None:
    async with world() as made:
        before = await made.store.get(keys.placement("nfs/vol1"))
        begun = await made.begin()
        found = await made.ended(begun)
        assert found.state is DrillState.DONE
        assert {check.section for check in found.checks} == set(drill_sections.SECTIONS)
        bad = [check for check in found.checks if check.grade is not Grade.OK and check.section not in REPORTED]
        assert [(check.section, check.grade) for check in bad] == [("store", Grade.WARNING)]  # one member only
        task = made.task(begun)
        assert (task.kind, task.state, task.progress) == ("drill", TaskState.DONE, 1.0)
        assert task.detail.endswith(" warning, 0 failed")
        assert await made.store.get(keys.placement("nfs/vol1")) == before
        async with asyncio.timeout(60):
            while (await made.store.list(keys.DRILL_REQUESTS)).entries:  # noqa: ASYNC110 - they go with its lease
                await asyncio.sleep(0.02)


async def test_what_proves_a_death_is_graded_by_what_else_would() -> None:
    async with world() as made:

        async def fences(*states: str, watchdog: bool) -> Grade:
            devices = tuple(FenceDeviceSpec(f"d{k}", "redfish", {"state": s}) for k, s in enumerate(states))
            spec = replace(made.cache.source.read(keys.node_spec("n2"), NodeSpec), fence_devices=devices)  # type: ignore[type-var]
            attested = WatchdogAttestation("/dev/watchdog", "iTCO", 6) if watchdog else None
            beat = Beat("s2", "b2", "m2", 1, 1, BeatPhase.ACTIVE, attested)
            await put(made.store, {keys.node_spec("n2"): spec, keys.beat("n2"): beat})
            await made.seen()
            lease = await made.store.lease(60)
            found = await drill_checks.fencing(made.means, Scope("d1", lease, ("n2",)))
            assert all(check.advice for check in found if check.grade is not Grade.OK)
            return max((check.grade for check in found), key=lambda grade: ["ok", "warning", "failed"].index(grade))

        assert await fences("on", watchdog=False) is Grade.OK
        assert await fences("silent", watchdog=False) is Grade.FAILED
        assert await fences("silent", watchdog=True) is Grade.WARNING
        assert await fences("silent", "on", watchdog=False) is Grade.WARNING
        assert await fences("off", "on", watchdog=True) is Grade.FAILED  # it lies: that is worse than silence
        assert await fences(watchdog=True) is Grade.WARNING
        assert await fences(watchdog=False) is Grade.FAILED


async def test_an_address_must_be_answered_by_its_owner_alone() -> None:
    probe = FakeProbe(MACS)
    async with world(probe) as made:
        assert (await made.looked("addresses"))["nfs/vol1"].grade is Grade.OK
        probe.used["10.78.0.101"] = "52:54:00:aa:bb:cc"
        found = (await made.looked("addresses"))["nfs/vol1"]
        assert found.grade is Grade.FAILED
        assert "52:54:00:aa:bb:cc instead of n2" in found.text
        del probe.used["10.78.0.101"]
        assert "nobody" in (await made.looked("addresses"))["nfs/vol1"].text
        # Where the drill is made on the owner itself, any answer is a foreign one.
        await made.runs("n1", epoch=8)
        assert (await made.looked("addresses"))["nfs/vol1"].grade is Grade.OK
        probe.used["10.78.0.101"] = "52:54:00:aa:bb:cc"
        assert (await made.looked("addresses"))["nfs/vol1"].grade is Grade.FAILED


async def test_storage_is_tried_by_every_node_and_silence_fails() -> None:
    async with world(agents=False) as made:
        slow, lost = DrillAnswer("d1", steps={"write": 3.0}), DrillAnswer("d1", problem="it hangs", advice="Look.")
        await put(made.store, {keys.drill_answer("n2"): slow, keys.drill_answer("n3"): lost})
        await put(made.store, {keys.drill_answer("n1"): DrillAnswer("d1", steps={"write": 0.01})})
        found = await made.looked("storage", ("n1", "n2", "n3"))
        assert {name: check.grade for name, check in found.items()} == {
            "n1": Grade.OK,
            "n2": Grade.WARNING,
            "n3": Grade.FAILED,
        }
        await say(made.store, {"n4": NodeState.SUSPECT, **{f"n{k}": NodeState.UP for k in (1, 2, 3, 5)}})
        assert "not looked at" in (await made.looked("storage", ("n4",)))["n4"].text


async def test_room_and_store_say_what_would_stop_a_failover() -> None:
    async with world(unreachable={"https://10.77.0.11:2379": "connection refused"}) as made:
        assert (await made.looked("store"))["n1"].grade is Grade.FAILED
        word = GuaranteeWord(1, holds=False, worst=("n3",), text="If n3 failed, vm/a would find no room.")
        await put(made.store, {keys.MANAGER_VIEW: ManagerView("n1", 3, guarantee=word)})
        found = (await made.looked("room"))[""]
        assert (found.grade, found.text) == (Grade.FAILED, word.text)


async def test_certificates_and_clocks_are_graded_by_what_nodes_and_manager_report() -> None:
    async with world() as made:
        soon, far = (datetime.now(UTC) + timedelta(days=days) for days in (3, 80))
        for name, end in (("n1", far), ("n2", soon)):
            await put(made.store, {keys.report(name): NodeReport("s", "w", end.isoformat(), far.isoformat())})
        health = ManagerHealth("n1", 3, clock_offsets_s={"n1": 0.1, "n2": -30.0})
        await put(made.store, {keys.MANAGER_HEALTH: health})
        found = await made.looked("certificates", ("n1", "n2", "n3"))
        assert {name: check.grade for name, check in found.items()} == {
            "n1": Grade.OK,
            "n2": Grade.FAILED,
            "n3": Grade.WARNING,
            "": Grade.WARNING,  # the authority is an operator's to replace, who needs longer for that
        }
        found = await made.looked("clocks", ("n1", "n2", "n3"))
        grades = {name: check.grade for name, check in found.items()}
        assert grades == {"n1": Grade.OK, "n2": Grade.WARNING, "n3": Grade.WARNING}
        assert "behind" in found["n2"].text


async def test_a_test_instance_fails_over_and_returns_with_every_step_timed() -> None:
    async with world() as made:
        begun = await made.begin(instance="nfs/vol1")
        found = await made.ended(begun)
        assert found.state is DrillState.DONE
        assert [step.name for step in found.steps if step.name != "stopped"] == [
            "begin", "asked", "answers", "asked", "answers",
        ]  # fmt: skip
        assert [step.at for step in found.steps] == sorted(step.at for step in found.steps)
        check = next(check for check in found.checks if check.section == "failover")
        assert check.grade is Grade.OK
        assert "from n2 to n3" in check.text
        assert made.cache.status.instance("nfs/vol1").node == "n2"  # type: ignore[union-attr]


async def test_a_test_instance_is_killed_and_its_restart_measured() -> None:
    async with world() as made:
        begun = await made.begin(nodes=("n1",), instance="nfs/vol1", kill=True)
        found = await made.ended(begun)
        check = next(check for check in found.checks if check.section == "failover")
        assert check.grade is Grade.OK
        assert "answers again on n2" in check.text


async def test_nothing_fails_over_where_it_could_not_be_recovered() -> None:
    async with world() as made:
        word = GuaranteeWord(1, holds=False, text="No room.")
        await put(made.store, {keys.MANAGER_VIEW: ManagerView("n1", 3, guarantee=word)})
        await made.seen()
        with pytest.raises(Conflict, match="the guarantee does not hold"):
            await made.begin(instance="nfs/vol1")
        with pytest.raises(NotFound):
            await made.begin(instance="nfs/other")
        with pytest.raises(InvalidInput):
            await made.begin(kill=True)
        with pytest.raises(NotFound):
            await made.begin(nodes=("n9",))
        assert (await made.store.list(keys.WORKING)).entries == (await made.store.list(keys.TASKS)).entries == ()
        assert drill.listed(made.cache.source) == []
        assert (await made.store.get(keys.move("nfs/vol1"))) is None


async def test_one_at_a_time_cancel_and_a_process_that_died() -> None:
    async with world(agents=False) as made:
        begun = await made.begin()
        with pytest.raises(Conflict, match="another drill"):
            await made.begin()
        async with asyncio.timeout(60):  # the agents say nothing: it waits for them
            while not (task := made.task(begun)).detail:  # noqa: ASYNC110 - its process tells it once a second
                await asyncio.sleep(0.02)
        done = [step.subject for step in task.steps if step.state.over]
        assert done == list(drill_sections.SECTIONS)[: len(done)]
        assert task.progress == pytest.approx(len(done) / len(drill_sections.SECTIONS))
        assert task.cancellable
        await tasks.cancel(made.store, ROOT, begun)
        assert (await made.ended(begun)).state is DrillState.CANCELLED
        assert made.task(begun).state is TaskState.CANCELLED
        with pytest.raises(Conflict, match="is over"):
            await tasks.cancel(made.store, ROOT, begun)
        # A process that died wrote nothing more; its lease has gone.
        dead = Drill("00000001", "2020", "root", "n9", instance="nfs/vol1", home="n2")
        lost = Task("drill", "a drill begins", "root", "2020", process="p9")
        await put(made.store, {keys.drill(dead.id): dead, keys.task(dead.id): lost})
        await made.seen()
        found = drill.show(made.cache.source, dead.id)
        assert (found.state, "nfs/vol1 is on n2" in found.why) == (DrillState.INTERRUPTED, True)
        assert made.task(dead.id).state is TaskState.INTERRUPTED


@pytest.mark.parametrize("how", ["cancelled", "stopped"])
async def test_what_was_moved_returns_when_a_drill_is_broken_off(how: str) -> None:
    async with world(moves=False) as made:
        begun = await made.begin(instance="nfs/vol1")
        async with asyncio.timeout(60):
            while await made.store.get(keys.move("nfs/vol1")) is None:  # noqa: ASYNC110 - the store of a test
                await asyncio.sleep(0.02)
        await made.store.txn([], [Delete(keys.move("nfs/vol1"))])
        await made.runs("n3", epoch=9)  # it is away
        if how == "cancelled":
            await tasks.cancel(made.store, ROOT, begun)
            assert (await made.ended(begun)).state is DrillState.CANCELLED
        await made.works.close()
        await made.seen()
        found = drill.show(made.cache.source, begun)
        assert (found.state, found.home) == (DrillState(how if how == "cancelled" else "interrupted"), "n2")
        wish = await made.store.get(keys.move("nfs/vol1"))
        assert wish is not None
        assert codec.decode(wish.value, MoveRequest).node == "n2"


async def test_only_the_last_drills_are_kept() -> None:
    async with world() as made:
        old = [Drill(f"2020-{k:02}", "2020", "root", "n9", DrillState.DONE) for k in range(KEPT + 3)]
        await put(made.store, {keys.drill(one.id): one for one in old})
        await made.seen()
        begun = await made.begin(nodes=("n1",))
        await made.ended(begun)
        kept = drill.listed(made.cache.source)
        assert len(kept) == KEPT
        assert kept[0].id == begun
        assert drill.show(made.cache.source, "last").id == begun
