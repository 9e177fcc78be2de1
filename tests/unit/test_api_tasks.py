"""Tasks: written with the change they follow, told from the picture, ended by whichever process sees the end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from api_world import place, put
from test_api_http import World, running

from holdfast.api.operations.draft import Actor, Outcome
from holdfast.api.task_keeper import KEPT, TaskKeeper
from holdfast.api.task_model import Aim, Goal, Task, TaskState
from holdfast.api.works import Errand, Job
from holdfast.core.model import (
    Exclusivity,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    NodeSpec,
    Role,
    ServiceSpec,
)
from holdfast.core.policy import BringBack, Maintenance
from holdfast.errors import DriverError
from holdfast.ports import Delete
from holdfast.store import codec, keys

VOLUME = "nfs/vol1"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """nfs/vol1 runs on n2."""
    async with running() as made:
        keeper = asyncio.create_task(TaskKeeper(made.context.store, made.context.cache, made.context.clock).run())
        store = made.context.store
        spec = InstanceSpec(VOLUME, "nfs", "vol1", Exclusivity.STRICT, Role.COMPUTE)
        await put(store, {keys.instance(VOLUME): spec, keys.service("nfs", "vol1"): ServiceSpec("nfs", "vol1")})
        await runs(made, VOLUME, "n2", 7)
        try:
            yield made
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)


async def runs(world: World, instance: str, node: str, epoch: int, state: str = "running", detail: str = "") -> None:
    store = world.context.store
    await place(store, instance, node, epoch)
    healthy = state == "running"
    said = InstanceStatus(node, f"s{node[1:]}", epoch, InstanceState(state), detail=detail, healthy=healthy)
    await put(store, {keys.status(instance): said})


async def call(
    client: httpx.AsyncClient, method: str, path: str, body: object = None, status: int = 200
) -> dict[str, object]:
    found = await client.request(method, f"/api/v1{path}", json=body)
    assert found.status_code == status, found.text
    return dict(found.json())


async def until(client: httpx.AsyncClient, task: object, state: str, words: str = "") -> dict[str, object]:
    """Of a task that has ended: until that was noted. `words`: in what it says."""
    async with asyncio.timeout(60):
        while True:
            found = await call(client, "GET", f"/tasks/{task}")
            ended = state == "running" or bool(found["ended"])
            if found["state"] == state and ended and words in str(found["detail"]):
                return found
            await asyncio.sleep(0.05)


async def test_a_move_is_followed_to_its_end(world: World) -> None:
    store = world.context.store
    async with world.client(local=True) as client:
        begun = await call(client, "POST", f"/instances/{VOLUME}/move", {"node": "n3"})
        found = await call(client, "GET", f"/tasks/{begun['task']}")
        assert (found["kind"], found["state"], found["cancellable"]) == ("move", "running", True)
        assert "to leave n2" in str(found["detail"])
        await runs(world, VOLUME, "n3", 8, "starting")
        await store.txn([], [Delete(keys.move(VOLUME))])
        await asyncio.sleep(0)
        assert (await until(client, begun["task"], "running"))["ended"] == ""
        await runs(world, VOLUME, "n3", 8)
        done = await until(client, begun["task"], "done")
        assert (done["progress"], done["cancellable"]) == (1.0, False)
        await runs(world, VOLUME, "n3", 8, "failed")
        assert (await call(client, "GET", "/tasks/last"))["state"] == "done", "the end was noted"
        await call(client, "POST", f"/tasks/{begun['task']}/cancel", None, 409)


async def test_a_move_that_was_given_up_has_failed_and_one_that_is_cancelled_is_withdrawn(world: World) -> None:
    store = world.context.store
    async with world.client(local=True) as client:
        begun = await call(client, "POST", f"/instances/{VOLUME}/move", {"node": "n3"})
        await store.txn([], [Delete(keys.move(VOLUME))])
        assert "it is on n2" in str((await until(client, begun["task"], "failed"))["detail"])
        again = await call(client, "POST", f"/instances/{VOLUME}/move", {"node": "n3"})
        cancelled = await call(client, "POST", f"/tasks/{again['task']}/cancel")
        assert "not to move any more" in str(cancelled["text"])
        assert await store.get(keys.move(VOLUME)) is None
        assert (await call(client, "GET", f"/tasks/{again['task']}"))["state"] == "cancelled"


async def test_a_maintenance_waits_for_what_is_on_the_node_and_its_cancelling_brings_back_what_left(
    world: World,
) -> None:
    store = world.context.store
    async with world.client(local=True) as client:
        begun = await call(client, "POST", "/nodes/n2/maintenance", {})
        assert f"{VOLUME} to leave n2" in str((await until(client, begun["task"], "running"))["detail"])
        await runs(world, VOLUME, "n4", 8)
        await put(store, {keys.maintenance("n2"): Maintenance("root", True, (VOLUME,))})
        second = await call(client, "POST", "/nodes/n3/maintenance", {})
        assert (await until(client, begun["task"], "done"))["kind"] == "maintenance"
        assert (await until(client, second["task"], "done"))["detail"] == ""
        ended = await call(client, "DELETE", "/nodes/n2/maintenance")
        back = await until(client, ended["task"], "running")
        assert (back["kind"], f"{VOLUME} to return to n2" in str(back["detail"])) == ("return", True)
        assert codec.decode((await store.get(keys.bring_back("n2"))).value, BringBack).instances == (VOLUME,)  # type: ignore[union-attr]
        await store.txn([], [Delete(keys.bring_back("n2"))])
        await runs(world, VOLUME, "n2", 9)
        await until(client, ended["task"], "done")


async def test_starting_stopping_and_deleting_are_followed(world: World) -> None:
    async with world.client(local=True) as client:
        stopped = await call(client, "POST", f"/services/{VOLUME}/stop")
        assert (await until(client, stopped["task"], "running"))["kind"] == "stop"
        await runs(world, VOLUME, "n2", 7, "stopped")
        await until(client, stopped["task"], "done")
        started = await call(client, "POST", f"/services/{VOLUME}/start")
        await runs(world, VOLUME, "n2", 8, "failed", "no such device")
        assert (await until(client, started["task"], "running", "no such device"))["failing"] is True


async def test_a_service_is_followed_from_its_creation_to_its_end(world: World) -> None:
    store, created = world.context.store, "nfs/vol2"
    async with world.client(local=True) as client:
        await call(client, "POST", "/nfs/cluster", {"nodes": ["n1", "n2"], "addresses": ["10.78.0.101"]})
        made = await call(client, "POST", "/nfs/volumes", {"name": "vol2", "size": "1GiB"})
        assert (await until(client, made["task"], "running"))["kind"] == "create"
        await runs(world, created, "n1", 9)
        await until(client, made["task"], "done")
        deleted = await call(client, "DELETE", "/nfs/volumes/vol2?force=true")
        assert (await until(client, deleted["task"], "running"))["kind"] == "delete"
        await store.txn([], [Delete(keys.instance(created)), Delete(keys.service("nfs", "vol2"))])
        await until(client, deleted["task"], "done")
        changed = await call(client, "PUT", "/nodes/n4", {"failure_domain": "rack-a"})
        assert changed["task"] == "", "there is nothing to wait for"


async def test_what_somebody_else_undoes_has_failed(world: World) -> None:
    store = world.context.store
    async with world.client(local=True) as client:
        node = {"id": "n6", "roles": ["storage"], "addresses": {"management": "10.77.0.60"}}
        added = await call(client, "POST", "/nodes", node)
        assert (await until(client, added["task"], "running"))["kind"] == "join"
        await store.txn([], [Delete(keys.node_spec("n6"))])
        assert "removed meanwhile" in str((await until(client, added["task"], "failed"))["detail"])


async def test_tasks_are_listed_page_by_page_newest_first_and_old_ones_are_forgotten(world: World) -> None:
    store = world.context.store
    old = Task("move", "moved", "root", "", state=TaskState.DONE)
    await put(store, {keys.task(f"{number:08d}"): old for number in range(1, KEPT + 11)})
    async with world.client(local=True) as client:
        async with asyncio.timeout(60):
            while len((await store.list(keys.TASKS)).entries) > KEPT:
                await put(store, {"spec/nodes/n5": NodeSpec("n5", (Role.COMPUTE,), {"management": "10.77.0.15"})})
                await asyncio.sleep(0.1)
        await asyncio.sleep(0)
        seen: list[str] = []
        cursor = ""
        while True:
            page = await call(client, "GET", f"/tasks?limit=70&cursor={cursor}")
            seen += [one["id"] for one in page["items"]]  # type: ignore[attr-defined]
            cursor = str(page["next"])
            if not cursor:
                break
        assert seen == [f"{number:08d}" for number in range(KEPT + 10, 10, -1)]
        assert (await call(client, "GET", "/tasks?running=true"))["items"] == []
        await call(client, "GET", "/tasks/nothing", None, 404)


def errand(work: Callable[[Job], Awaitable[Outcome]]) -> Errand:
    goals = (Goal(Aim.COPIED, "vm/web"),)
    return Errand("create", "the disks of web are being copied", "vm/web is being created already", work, goals)


async def test_a_process_that_does_a_task_tells_how_far_it_is_and_the_task_goes_on_after_it(world: World) -> None:
    context, step = world.context, asyncio.Event()

    async def work(job: Job) -> Outcome:
        job.tell(40.0)
        await step.wait()
        raise DriverError("the disk is full", "Free some room.")

    outcome = await context.works.begin(Actor("root"), errand(work))
    async with world.client(local=True) as client:
        twin = asyncio.create_task(context.works.begin(Actor("root"), errand(work)))
        with pytest.raises(Exception, match="being created already"):
            await twin
        found = await until(client, outcome.task, "running", "40 %")
        assert (found["progress"], found["cancellable"]) == (0.4, True)
        step.set()
        assert "the disk is full" in str((await until(client, outcome.task, "failed"))["detail"])


async def test_a_task_is_interrupted_with_its_process_and_cancelled_by_its_operator(world: World) -> None:
    context, broken_off = world.context, asyncio.Event()

    async def work(job: Job) -> Outcome:
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()
        raise AssertionError

    async with world.client(local=True) as client:
        outcome = await context.works.begin(Actor("root"), errand(work))
        await call(client, "POST", f"/tasks/{outcome.task}/cancel")
        async with asyncio.timeout(60):
            await broken_off.wait()
        assert (await until(client, outcome.task, "cancelled"))["detail"]
        task = Task("create", "copied", "root", "", process="a process that is no more")
        await put(context.store, {keys.task("99999999"): task})
        assert await context.cache.wait_revision((await context.store.list("")).revision, 60)
        assert "has ended" in str((await until(client, "99999999", "interrupted"))["detail"])
