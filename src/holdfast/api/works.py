"""Tasks that a panel process does itself, because they take longer than a request may: disks that are copied.

The process says in the store how far it is, and that it is there (by a lease). When it ends, its tasks are interrupted:
what they did is undone by nobody, so they must leave nothing behind that is in the way.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.api.operations.terms import Terms
from holdfast.api.task_model import Aim, Goal, Task, TaskState
from holdfast.errors import Conflict, HoldfastError, StoreError
from holdfast.ports import Clock, Compare, Delete, Op, Put, Store
from holdfast.store import codec, keys

_log = structlog.get_logger()

LEASE_S = 15
"""A process that says nothing for so long has ended, and its tasks with it."""
TELL_S = 1.0
"""Progress is told at most this often."""

Work = Callable[[Actor, Callable[[float], None]], Awaitable[Outcome]]
"""Does it as this actor (whose change goes on as the same task), and tells how far it is (percent)."""


class Works:
    """What this process does."""

    def __init__(self, session: str, store: Store, clock: Clock) -> None:
        self._session = session
        self._store = store
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    async def begin(self, actor: Actor, subject: str, text: str, work: Work) -> Outcome:
        """The answer names the task. Raises Conflict while another one has the same subject."""
        lease = await self._store.lease(LEASE_S)
        begun = ""

        async def operation(draft: Draft) -> str:
            nonlocal begun
            await _refuse_twin(draft, subject)
            task = Task(
                "create", text, actor.name, self._clock.wall(), (Goal(Aim.COPIED, subject),), process=self._session
            )
            begun = draft.task = draft.begin(task)
            draft.put(keys.working(begun), self._session, lease)
            return text

        outcome = await transact(self._store, actor, operation)
        doing = asyncio.create_task(self._do(begun, lease, replace(actor, terms=Terms(task=begun)), work))
        self._running.add(doing)
        doing.add_done_callback(self._running.discard)
        return outcome

    async def _do(self, task_id: str, lease: int, actor: Actor, work: Work) -> None:
        percent = 0.0

        def told(now: float) -> None:
            nonlocal percent
            percent = now

        working = asyncio.ensure_future(work(actor, told))
        telling = asyncio.create_task(self._tell(task_id, lease, lambda: percent))
        try:
            await asyncio.wait([working, telling], return_when=asyncio.FIRST_COMPLETED)
            telling.cancel()
            working.cancel()  # nothing happens if it is done; else the task was cancelled
            await asyncio.gather(working, telling, return_exceptions=True)
            failure = None if working.cancelled() else working.exception()
            if failure is not None:
                await self._fail(task_id, failure)
        finally:
            working.cancel()
            with contextlib.suppress(StoreError):
                await self._store.revoke(lease)

    async def _tell(self, task_id: str, lease: int, percent: Callable[[], float]) -> None:
        """Returns when the task is cancelled."""
        told = 0.0
        while True:
            await self._clock.sleep(TELL_S)
            with contextlib.suppress(StoreError):
                await self._store.keep_alive(lease)
                task, revision = await self._read(task_id)
                if task is None or task.state.over:
                    return
                if task.process and percent() != told:
                    told = percent()
                    await self._write(task_id, revision, replace(task, percent=told))

    async def _fail(self, task_id: str, failure: BaseException) -> None:
        if not isinstance(failure, HoldfastError):
            _log.error("task-failed", task=task_id, exc_info=failure)
            failure = HoldfastError(f"Holdfast made a mistake: {failure!r}", "See the panel's log.")
        with contextlib.suppress(StoreError):
            task, revision = await self._read(task_id)
            if task is not None and not task.state.over:
                over = replace(task, state=TaskState.FAILED, detail=str(failure), ended=self._clock.wall())
                await self._write(task_id, revision, over, Delete(keys.working(task_id)))

    async def _read(self, task_id: str) -> tuple[Task | None, int]:
        entry = await self._store.get(keys.task(task_id))
        return (codec.decode(entry.value, Task, entry.key), entry.mod_revision) if entry else (None, 0)

    async def _write(self, task_id: str, revision: int, task: Task, *more: Op) -> None:
        key = keys.task(task_id)
        await self._store.txn([Compare(key, revision)], [Put(key, codec.encode(task)), *more])


async def _refuse_twin(draft: Draft, subject: str) -> None:
    for entry in (await draft.store.list(keys.TASKS)).entries:
        task, task_id = codec.decode(entry.value, Task, entry.key), keys.last_part(entry.key)
        same = bool(task.process) and not task.state.over and task.goals[0].subject == subject
        if same and await draft.store.get(keys.working(task_id)) is not None:
            raise Conflict(f"`{subject}` is being created already", f"See how far it is: holdfast task show {task_id}.")
