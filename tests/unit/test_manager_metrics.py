"""What managers tell Prometheus of their own work."""

import asyncio
from dataclasses import replace

import pytest
from api_world import memory_store
from figures import Samples, check, of, samples

from holdfast.clock import SystemClock
from holdfast.core.alarm_model import Alarm, AlarmState, Notice, Receiver, ReceiverType
from holdfast.core.history import Severity
from holdfast.errors import DriverError
from holdfast.manager.measures import Measures
from holdfast.manager.metrics import families
from holdfast.metrics import render
from holdfast.ports import Compare, Put
from holdfast.sim.run import simulation
from holdfast.sim.scenario import loads
from holdfast.store.measured import MeasuredStore


def test_what_managers_tell_of_their_work() -> None:
    """Of the simulator's: whoever leads what it does, the others that they follow."""

    def now() -> dict[str, Samples]:
        managers = {name: machine.manager for name, machine in sim.world.machines.items()}
        texts = {name: render(lambda m=one: families(m)) for name, one in managers.items() if one is not None}  # type: ignore[misc]
        for text in texts.values():
            check(text)
        return {name: samples(text) for name, text in texts.items()}

    cluster = "{profile: fast, nodes: {node1: {}, node2: {}, node3: {}}, instances: {vm/1: {node: node1}}}"
    with simulation(loads(cluster), seed=1) as sim:
        sim.advance(20)
        found = now()
        [leader] = [name for name, told in found.items() if of(told, "manager_leading") == 1]
        assert len(found) == 3 and len({of(told, "manager_known_term") for told in found.values()}) == 1
        for name, told in found.items():
            assert (of(told, "manager_leader_silence_seconds") or 0) < 3
            assert of(told, "manager_terms_total") == (name == leader)
            assert bool(of(told, "manager_step_seconds_count", step="decide")) == (name == leader)
        steps = {labels for name, labels in found[leader] if name == "holdfast_manager_step_seconds_count"}
        assert {dict(labels)["step"] for labels in steps} == {"observe", "decide", "commit", "publish", "plan"}
        assert of(found[leader], "store_transactions_pending") is not None
        assert (of(found[leader], "store_transactions_queued_count") or 0) > 10
        before = of(found[leader], "manager_known_term")
        sim.do("power-off", node=leader)
        sim.advance(20)
        after = now()
        [other] = [name for name, told in after.items() if of(told, "manager_leading") == 1 and name != leader]
        assert of(after[other], "manager_known_term") == (before or 0) + 1


async def test_what_runs_beside_the_manager_and_whom_it_tells_is_measured() -> None:
    measures = Measures(SystemClock())

    async def solve(problem: int) -> int:
        if not problem:
            raise ValueError("no problem")
        return problem

    async def send(notice: Notice) -> None:
        if not notice.alarms:
            raise DriverError("refused")

    job, tell = measures.job("room", solve), measures.sending(send)
    assert job is not None and tell is not None and measures.job("room", None) is None
    assert await job(7) == 7
    with pytest.raises(ValueError, match="no problem"):
        await job(0)
    assert sum(measures.jobs["room",].counts) == 2
    alarm = Alarm("x", "hold", "cluster", Severity.ERROR, "", "", AlarmState.RAISED, "2026")
    notice = Notice(Receiver("ops", ReceiverType.WEBHOOK), (alarm,), "c", "n1", "2026")
    await tell(notice)
    with pytest.raises(DriverError):
        await tell(replace(notice, alarms=()))
    counts = {what: sum(found.counts) for what, found in measures.deliveries.items()}
    assert counts == {("ops", "taken"): 1, ("ops", "failed"): 1}


async def test_a_transaction_that_somebody_was_faster_than_is_told_apart_from_one_that_failed() -> None:
    clock = SystemClock()
    store = MeasuredStore(memory_store(), clock)
    await asyncio.gather(*(store.txn([], [Put(f"k{number}", b"")]) for number in range(3)))
    assert not (await store.txn([Compare("k0", 99)], [])).succeeded
    assert sum(store.durations["txn", "ok"].counts) == 3
    assert sum(store.durations["txn", "refused"].counts) == 1
    assert store.pending == 0 and sum(store.queue.counts) == 4
