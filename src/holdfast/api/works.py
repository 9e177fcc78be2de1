"""Tasks that a panel process does itself, because they take longer than a request may: disks that are copied, drills.

The process says in the store how far it is, and that it is there (by a lease). When it ends, its tasks are interrupted:
what they did is undone by nobody, so they must leave nothing behind that is in the way.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.api.operations.terms import Terms
from holdfast.api.task_model import Goal, Task, TaskState
from holdfast.errors import Conflict, HoldfastError, StoreError
from holdfast.ports import Clock, Compare, Delete, Op, Put, Store
from holdfast.store import codec, keys

_log = structlog.get_logger()

LEASE_S = 15
"""A process that says nothing for so long has ended, and its tasks with it."""
TELL_S = 1.0
"""Progress is told, and a wish to cancel heard, at most this often."""


@dataclass
class Job:
    """What is being done, for whoever does it."""

    task: str
    actor: Actor
    """A change that this actor makes goes on as the same task."""
    lease: int
    """Ends with the job, and with its process: for what is to go away then."""
    percent: float = 0.0
    doing: str = ""

    def tell(self, percent: float, doing: str = "") -> None:
        """How far it is, and for people what it does."""
        self.percent, self.doing = percent, doing


@dataclass(frozen=True, slots=True)
class Errand:
    """What a task is to do."""

    kind: str
    text: str
    twin: str
    """What is said while another one of the same kind and goals is being done."""
    work: Callable[[Job], Awaitable[Outcome]]
    """When the task is cancelled, or the process stops, so is this: it may take a moment to put things right. The text of
    its outcome is the task's last word, unless a change of its own goes on as this task."""
    goals: tuple[Goal, ...] = ()
    parts: tuple[str, ...] = ()
    first: Callable[[Draft, str], Awaitable[None]] | None = None
    """Checks, and writes what belongs to the beginning, in the same transaction (of this task's id)."""


class Works:
    """What this process does."""

    def __init__(self, session: str, store: Store, clock: Clock) -> None:
        self._session = session
        self._store = store
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    async def begin(self, actor: Actor, errand: Errand) -> Outcome:
        """The answer names the task. Raises Conflict while its twin is being done."""
        lease = await self._store.lease(LEASE_S)
        begun = ""

        async def operation(draft: Draft) -> str:
            nonlocal begun
            await _refuse_twin(draft, errand)
            task = Task(
                errand.kind,
                errand.text,
                actor.name,
                self._clock.wall(),
                errand.goals,
                parts=errand.parts,
                process=self._session,
            )
            begun = draft.task = draft.begin(task)
            draft.put(keys.working(begun), self._session, lease)
            if errand.first is not None:
                await errand.first(draft, begun)
            return errand.text

        try:
            outcome = await transact(self._store, actor, operation)
        except BaseException:
            with contextlib.suppress(StoreError):
                await self._store.revoke(lease)
            raise
        if outcome.revision == 0:  # a trial
            await self._store.revoke(lease)
            return outcome
        job = Job(begun, replace(actor, terms=Terms(task=begun)), lease)
        doing = asyncio.create_task(self._do(job, errand))
        self._running.add(doing)
        doing.add_done_callback(self._running.discard)
        return outcome

    async def close(self) -> None:
        """The process ends: so do its tasks, once they have put right what they can."""
        for doing in self._running:
            doing.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _do(self, job: Job, errand: Errand) -> None:
        working = asyncio.ensure_future(errand.work(job))
        telling = asyncio.create_task(self._tell(job))
        try:
            await asyncio.wait([working, telling], return_when=asyncio.FIRST_COMPLETED)
        finally:
            telling.cancel()
            working.cancel()  # nothing happens if it is done; else the task was cancelled, or the process stops
            await asyncio.gather(working, telling, return_exceptions=True)
            if not working.cancelled():
                with contextlib.suppress(StoreError):
                    await self._end(job.task, working)
            with contextlib.suppress(StoreError):
                await self._store.revoke(job.lease)

    async def _tell(self, job: Job) -> None:
        """Returns when the task is cancelled, or when others take this process for dead."""
        while True:
            await self._clock.sleep(TELL_S)
            with contextlib.suppress(StoreError):
                if not await self._store.keep_alive(job.lease):
                    return
                task, revision = await self._read(job.task)
                if task is None or task.state.over:
                    return
                now = replace(task, percent=job.percent, detail=job.doing)
                if task.process and now != task:
                    await self._write(job.task, revision, now)

    async def _end(self, task_id: str, working: "asyncio.Future[Outcome]") -> None:
        """Note how it went, unless its task goes on with a change that it made."""
        failure = working.exception()
        if failure is not None and not isinstance(failure, HoldfastError):
            _log.error("task-failed", task=task_id, exc_info=failure)
            failure = HoldfastError(f"Holdfast made a mistake: {failure!r}", "See the panel's log.")
        state = TaskState.FAILED if failure else TaskState.DONE
        detail = str(failure) if failure else working.result().text
        while True:
            task, revision = await self._read(task_id)
            if task is None or task.state.over or not (task.process or failure):
                return
            over = replace(task, state=state, detail=detail, ended=self._clock.wall())
            if await self._write(task_id, revision, over, Delete(keys.working(task_id))):
                return

    async def _read(self, task_id: str) -> tuple[Task | None, int]:
        entry = await self._store.get(keys.task(task_id))
        return (codec.decode(entry.value, Task, entry.key), entry.mod_revision) if entry else (None, 0)

    async def _write(self, task_id: str, revision: int, task: Task, *more: Op) -> bool:
        key = keys.task(task_id)
        return (await self._store.txn([Compare(key, revision)], [Put(key, codec.encode(task)), *more])).succeeded


async def _refuse_twin(draft: Draft, errand: Errand) -> None:
    for entry in (await draft.store.list(keys.TASKS)).entries:
        task, task_id = codec.decode(entry.value, Task, entry.key), keys.last_part(entry.key)
        same = bool(task.process) and not task.state.over and (task.kind, task.goals) == (errand.kind, errand.goals)
        if same and await draft.store.get(keys.working(task_id)) is not None:
            raise Conflict(errand.twin, f"See how far it is: holdfast task show {task_id}.")
