"""Tasks: look at them, and break off those that can be."""

from dataclasses import replace

from holdfast.api.operations import checks, upkeep
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.api.progress import cancellable, view
from holdfast.api.status import ClusterStatus
from holdfast.api.task_model import Aim, Task, TaskState, TaskView
from holdfast.clock import SystemClock
from holdfast.core.model import MoveRequest
from holdfast.errors import Conflict, NotFound
from holdfast.ports import Store
from holdfast.store import keys
from holdfast.store.view import Source


def ids(source: Source, *, running: bool = False) -> list[str]:
    """Newest first. `running`: only those whose end was not noted yet."""
    found = reversed(list(source.keys_below(keys.TASKS)))
    return [keys.last_part(key) for key in found if not running or _runs(source.read(key, Task))]


def _runs(task: Task | None) -> bool:
    return task is not None and not task.state.over


def named(source: Source, task_id: str) -> str:
    """The id that is meant: `last` is the newest."""
    known = ids(source) if task_id == "last" else []
    return known[0] if known else task_id


def show(source: Source, picture: ClusterStatus, task_id: str) -> TaskView:
    """`last` is the newest. Raises NotFound."""
    found = named(source, task_id)
    task = source.read(keys.task(found), Task)
    if task is None:
        raise checks.not_found("task", task_id, ids(source)[:20])
    return view(found, task, picture, alive=alive(source, found))


def alive(source: Source, task_id: str) -> bool:
    """Whether the process that does it itself says so (by a lease)."""
    return source.revision_of(keys.working(task_id)) > 0


async def cancel(store: Store, actor: Actor, task_id: str) -> Outcome:
    """A move that has not begun is withdrawn, a maintenance ended (what has moved returns), a copy or a drill broken off.
    Raises Conflict, NotFound."""

    async def operation(draft: Draft) -> str:
        task = await draft.read(keys.task(task_id), Task)
        if task is None:
            raise NotFound(f"there is no task `{task_id}`", "See `holdfast task list`.")
        if task.state.over:
            raise Conflict(f"the task {task_id} is over: {task.state}", "There is nothing to cancel.")
        if not cancellable(task):
            raise Conflict(
                f"the task {task_id} cannot be cancelled: {task.text}",
                "What it waits for was committed. Undo that by its own command, e.g. delete what was created.",
            )
        said = [_BROKEN_OFF.get(task.kind, "the copy is broken off")] if task.process else []
        said += [await _break_off(draft, goal.aim, goal.subject) for goal in task.goals]
        text = "; ".join(word for word in said if word) or "there was nothing left to break off"
        over = replace(task, state=TaskState.CANCELLED, detail=f"{actor.name}: {text}", ended=SystemClock().wall())
        draft.put(keys.task(task_id), over)
        return f"task {task_id} is cancelled: {text}"

    return await transact(store, actor, operation)


_BROKEN_OFF = {"drill": "the drill ends, and what it has moved returns"}
"""What a process does about it, by the task's kind."""


async def _break_off(draft: Draft, aim: Aim, subject: str) -> str:
    if aim is Aim.MOVED and await draft.read(keys.move(subject), MoveRequest) is not None:
        draft.delete(keys.move(subject))
        return f"{subject} is not to move any more"
    if aim is Aim.FREED:
        return await upkeep.end_maintenance(draft, subject)
    return ""
