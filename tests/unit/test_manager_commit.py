"""Each intent becomes one transaction that compares everything it rests on."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from decide_world import N1, N2, NOW, T, vm

from holdfast.clock import ManualClock
from holdfast.core.decide import decide
from holdfast.core.history import Event
from holdfast.core.intents import EndMove, KeepOff, Place, Remove
from holdfast.core.model import Desired, InstanceSpec, InstanceState, MoveRequest, Placement, ServiceSpec
from holdfast.core.view import InstanceView, View
from holdfast.manager.commit import Committer, EventLog
from holdfast.ports import Compare, Op, Put, TxnResult
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.memory_cluster import MemoryCluster


class Leader:
    """Stands for the election of a leading manager: writes without comparing a term."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster(ManualClock())

    async def commit(self, compare: Sequence[Compare], ops: Sequence[Op], *, timeout: float | None = None) -> TxnResult:
        return self.cluster.txn(tuple(compare), tuple(ops), ())


class Bench:
    """The store as the view says it is, and a committer."""

    def __init__(self, instance: InstanceView) -> None:
        self.leader = Leader()
        self.cluster = self.leader.cluster
        self.committer = Committer(self.leader, EventLog(1, ManualClock()))  # type: ignore[arg-type]
        revisions = {}
        for key, value in (
            (keys.instance(instance.id), instance.spec),
            (keys.placement(instance.id), instance.placement),
            (keys.status(instance.id), instance.status),
            (keys.move(instance.id), instance.move),
            (keys.fence("n1"), N1.fence),
            (keys.fence("n2"), N2.fence),
        ):
            if value is not None:
                revisions[key] = self.cluster.txn((), (Put(key, encode(value)),), ()).revision
        nodes = {
            name: type(node)(node.spec, node.fence, revisions[keys.fence(name)], node.beat, 50, NOW)
            for name, node in (("n1", N1), ("n2", N2))
        }
        seen = InstanceView(
            instance.spec,
            revisions[keys.instance(instance.id)],
            placement=instance.placement,
            placement_revision=revisions[keys.placement(instance.id)],
            status=instance.status,
            status_revision=revisions[keys.status(instance.id)],
            move=instance.move,
            move_revision=revisions.get(keys.move(instance.id), 0),
        )
        self.view = View(T, 500, nodes, {instance.id: seen})

    def decided(self) -> Place | EndMove:
        [intent] = decide(self.view, NOW).intents
        assert isinstance(intent, Place | EndMove)
        return intent

    def touch(self, key: str) -> None:
        entry = self.cluster.get(key)
        assert entry is not None
        self.cluster.txn((), (Put(key, entry.value),), ())

    def events(self) -> list[str]:
        return [decode(entry.value, Event, entry.key).kind for entry in self.cluster.list(keys.EVENTS).entries]


def handed_over() -> Bench:
    return Bench(
        vm(
            state=InstanceState.MIGRATED,
            placement={"migrate_to": "n2", "migrate_fence_epoch": 1},
            move=MoveRequest("n2", live=True),
        )
    )


async def test_a_finished_migration_is_written_with_its_event_and_ends_the_request() -> None:
    bench = handed_over()
    revision = await bench.committer.commit(bench.decided(), bench.view)
    entry = bench.cluster.get(keys.placement("vm/a"))
    assert entry is not None and entry.mod_revision == revision
    assert decode(entry.value, Placement, entry.key).node == "n2"
    assert bench.cluster.get(keys.move("vm/a")) is None
    assert bench.events() == ["migrated"]


@pytest.mark.parametrize(
    "key",
    [
        keys.placement("vm/a"),
        keys.instance("vm/a"),
        keys.status("vm/a"),
        keys.move("vm/a"),
        keys.fence("n2"),
    ],
)
async def test_whatever_it_rests_on_has_changed_it_is_decided_anew(key: str) -> None:
    bench = handed_over()
    intent = bench.decided()
    bench.touch(key)
    assert await bench.committer.commit(intent, bench.view) == 0
    assert bench.events() == []


async def test_the_target_of_a_migration_must_not_have_been_claimed_meanwhile() -> None:
    bench = Bench(vm(move=MoveRequest("n2", live=True)))
    intent = bench.decided()
    assert isinstance(intent, Place) and intent.placement.migrate_to == "n2"
    bench.touch(keys.fence("n1"))
    assert await bench.committer.commit(intent, bench.view), "a claim of the source voids its part by itself"
    bench = Bench(vm(move=MoveRequest("n2", live=True)))
    bench.touch(keys.fence("n2"))
    assert await bench.committer.commit(intent, bench.view) == 0


async def test_a_fulfilled_request_is_deleted_unless_it_was_replaced() -> None:
    bench = Bench(vm(move=MoveRequest("n1")))
    intent = bench.decided()
    assert await bench.committer.commit(intent, bench.view)
    assert bench.cluster.get(keys.move("vm/a")) is None
    bench = Bench(vm(move=MoveRequest("n1")))
    bench.touch(keys.move("vm/a"))
    assert await bench.committer.commit(intent, bench.view) == 0


async def test_a_power_off_is_written_into_what_is_wanted_unless_somebody_changed_that_meanwhile() -> None:
    bench = Bench(vm(state=InstanceState.STOPPED, status={"powered_off": True}))
    [intent] = decide(bench.view, NOW).intents
    assert isinstance(intent, KeepOff)
    assert await bench.committer.commit(intent, bench.view)
    written = bench.cluster.get(keys.instance("vm/a"))
    assert written is not None
    spec = decode(written.value, InstanceSpec, written.key)
    assert spec == replace(bench.view.instances["vm/a"].spec, desired=Desired.STOPPED)
    assert bench.events() == ["instance-powered-off"]
    assert not await bench.committer.commit(intent, bench.view), "it rests on what has changed"


async def test_a_service_is_forgotten_with_its_last_instance() -> None:
    """Both are removed in one pass: the view still shows the first one when the second goes."""
    bench = Bench(vm(spec={"desired": Desired.STOPPED}))
    seen = bench.view.instances["vm/a"]
    assert seen.spec.service == "a"
    second = replace(seen.spec, id="vm/a/2")
    revision = bench.cluster.txn((), (Put(keys.instance(second.id), encode(second)),), ()).revision
    view = replace(
        bench.view,
        instances={"vm/a": seen, second.id: InstanceView(second, revision)},
    )
    key = keys.service("vm", "a")
    bench.cluster.txn((), (Put(key, encode(ServiceSpec("vm", "a", {"deleting": True}))),), ())
    assert await bench.committer.commit(Remove("vm/a", seen.placement_revision, seen.spec_revision), view)
    assert bench.cluster.get(key) is not None
    assert not await bench.committer.commit(Remove(second.id, 0, revision + 99), view), "it changed meanwhile"
    assert await bench.committer.commit(Remove(second.id, 0, revision), view)
    assert bench.cluster.get(key) is None
    assert not bench.cluster.list(keys.INSTANCES).entries
