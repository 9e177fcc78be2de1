"""Notes the end of tasks in the store, and forgets old ones.

Every panel process does it, for all tasks: the first one to commit wins, and the others see it. So no task waits for the
process that began it.
"""

from dataclasses import replace

import structlog

from holdfast.api.cache import StatusCache
from holdfast.api.operations.tasks import alive, ids
from holdfast.api.progress import view
from holdfast.api.task_model import Task
from holdfast.errors import StoreError
from holdfast.ports import Clock, Compare, Delete, Put, Store
from holdfast.store import codec, keys

_log = structlog.get_logger()

LOOK_S = 0.5
"""At most one look in this time, however fast the cluster changes."""
KEPT = 200
"""Tasks that are remembered."""
FORGOTTEN_AT_ONCE = 50


class TaskKeeper:
    def __init__(self, store: Store, cache: StatusCache, clock: Clock) -> None:
        self._store = store
        self._cache = cache
        self._clock = clock

    async def run(self) -> None:
        """Look at each change, for ever."""
        version = -1
        while True:
            version = await self._cache.wait_newer(version)
            try:
                await self.look()
            except StoreError as error:
                _log.info("tasks-not-kept", error=str(error))
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Raises StoreError."""
        running = ids(self._cache.source, running=True)
        # Without any the picture need not be made, which is the cost of all this.
        if running and self._cache.status.store_problem:
            return  # what looks undone may be done
        for task_id in running:
            task = self._cache.source.read(keys.task(task_id), Task)
            if task is not None:
                await self._look_at(task_id, task)
        await self._forget()

    async def _look_at(self, task_id: str, task: Task) -> None:
        records = self._cache.source
        if task.process and alive(records, task_id):
            return  # its process notes the end itself
        found = view(task_id, task, self._cache.status, alive=False)
        if not found.state.over:
            return
        key = keys.task(task_id)
        over = replace(task, state=found.state, detail=found.detail, ended=self._clock.wall())
        await self._store.txn([Compare(key, records.revision_of(key))], [Put(key, codec.encode(over))])

    async def _forget(self) -> None:
        records = self._cache.source
        for task_id in ids(records)[KEPT:][:FORGOTTEN_AT_ONCE]:
            key = keys.task(task_id)
            task = records.read(key, Task)
            if task is not None and task.state.over:
                await self._store.txn([Compare(key, records.revision_of(key))], [Delete(key)])
