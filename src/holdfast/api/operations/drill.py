"""Drills: a task that one panel process does, and a record of what it finds, under the task's id."""

import contextlib
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, replace

from holdfast.api.operations import checks, tasks
from holdfast.api.operations.draft import Actor, Draft, Outcome, aside
from holdfast.api.operations.drill_checks import Means, Scope
from holdfast.api.operations.drill_failover import FailOver, refuse
from holdfast.api.operations.drill_sections import SECTIONS
from holdfast.api.task_model import Task, TaskState
from holdfast.api.works import Errand, Job, Works
from holdfast.core.drill import GRADES, Drill, DrillCheck, DrillState, DrillStep, Grade
from holdfast.errors import HoldfastError, InvalidInput, StoreError
from holdfast.ports import Put
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.view import Source

KEPT = 20
"""Drills that are remembered."""


def listed(source: Source) -> list[Drill]:
    """Newest first. What its process did not bring to an end is called so."""
    found = [source.read(key, Drill) for key in source.keys_below(keys.DRILLS)]
    return [_as_it_is(drill, source) for drill in _newest_first(drill for drill in found if drill is not None)]


def show(source: Source, drill_id: str) -> Drill:
    """`last` is the newest. Raises NotFound."""
    drills = listed(source)
    if drill_id == "last" and drills:
        return drills[0]
    for drill in drills:
        if drill.id == drill_id:
            return drill
    raise checks.not_found("drill", drill_id, [drill.id for drill in drills])


def _newest_first(drills: Iterable[Drill]) -> list[Drill]:
    return sorted(drills, key=lambda drill: (drill.wall, drill.id), reverse=True)


def _as_it_is(drill: Drill, source: Source) -> Drill:
    task = source.read(keys.task(drill.id), Task)
    if drill.state.over or (task is not None and not task.state.over and tasks.alive(source, drill.id)):
        return drill
    if task is not None and task.state is TaskState.CANCELLED:
        return replace(drill, state=DrillState.CANCELLED)
    home = (
        f"; see that {drill.instance} is on {drill.home}: holdfast service show {drill.instance}" if drill.home else ""
    )
    return replace(drill, state=DrillState.INTERRUPTED, why=f"the panel process that made it has ended{home}")


async def begin(
    works: Works, means: Means, actor: Actor, *, nodes: Sequence[str] = (), instance: str = "", kill: bool = False
) -> Outcome:
    """Raises Conflict (another one is being made, or the instance may not fail over now), NotFound, InvalidInput."""
    if kill and not instance:
        raise InvalidInput("no instance is named whose process is to be ended", "Name it with --instance.")
    if instance:
        _refuse(means, instance, kill=kill)
    drill = Drill("", means.clock.wall(), actor.name, means.node, nodes=tuple(nodes), instance=instance, kill=kill)
    what = f" with a fail-over of {instance}" if instance else ""

    async def first(draft: Draft, task_id: str) -> None:
        checks.nodes(draft, nodes)
        old = [decode(e.value, Drill, e.key) for e in (await draft.store.list(keys.DRILLS)).entries]
        for former in _newest_first(old)[KEPT - 1 :]:
            await draft.fetch(keys.drill(former.id))
            draft.delete(keys.drill(former.id))
        draft.put(keys.drill(task_id), replace(drill, id=task_id))

    async def work(job: Job) -> Outcome:
        return await _Making(means, job, replace(drill, id=job.task)).run()

    parts = (*SECTIONS, "failover") if instance else tuple(SECTIONS)
    return await works.begin(
        actor, Errand("drill", f"a drill{what} begins", "another drill is being made", work, parts=parts, first=first)
    )


def _refuse(means: Means, instance: str, *, kill: bool) -> str:
    """The node it is on. Raises Conflict, NotFound."""
    status = means.status()
    view = status.instance(instance)
    if view is None:
        raise checks.not_found("instance", instance, [one.id for one in status.instances])
    refuse(status, view, kill=kill)
    return view.node


@dataclass
class _Making:
    """One drill while it is made."""

    means: Means
    job: Job
    drill: Drill

    async def run(self) -> Outcome:
        began = self.means.clock.now()
        try:
            await self._look()
        except BaseException as error:
            stopped = not isinstance(error, HoldfastError)
            why = (
                ""
                if await self._cancelled()
                else "the panel process that made it was stopped"
                if stopped
                else str(error)
            )
            self.drill = replace(self.drill, state=DrillState.INTERRUPTED if why else DrillState.CANCELLED, why=why)
            raise
        else:
            self.drill = replace(self.drill, state=DrillState.DONE)
        finally:
            self.drill = replace(self.drill, elapsed_s=self.means.clock.now() - began)
            with contextlib.suppress(StoreError):  # then the task says how it ended
                await self._write()
        found = [check.grade for check in self.drill.checks]
        return Outcome(", ".join(f"{found.count(grade)} {grade}" for grade in reversed(GRADES)))

    async def _look(self) -> None:
        scope = Scope(self.drill.id, self.job.lease, self.drill.nodes)
        for number, (section, look) in enumerate(SECTIONS.items()):
            self._tell(number, section)
            await self._note(section, look(self.means, scope))
        if self.drill.instance:
            self._tell(len(SECTIONS), "failover")
            await self._note("failover", self._fail_over(scope))

    async def _note(self, section: str, looking: Awaitable[list[DrillCheck]]) -> None:
        try:
            found = await looking
        except StoreError:
            raise
        except HoldfastError as error:
            found = [DrillCheck(section, "", Grade.FAILED, error.message, error.advice)]
        self.drill = replace(self.drill, checks=(*self.drill.checks, *found))
        await self._write()

    async def _fail_over(self, scope: Scope) -> list[DrillCheck]:
        home = _refuse(self.means, self.drill.instance, kill=self.drill.kill)  # again: it is later now
        failing = FailOver(self.means, scope, aside(self.job.actor), self.drill.instance, self._told)
        if self.drill.kill:
            found = await failing.kill()
        else:
            self.drill = replace(self.drill, home=home)
            found = await failing.move_away_and_back()
        self.drill = replace(self.drill, steps=tuple(failing.steps))
        return found

    async def _told(self, doing: str, steps: tuple[DrillStep, ...]) -> None:
        self.drill = replace(self.drill, steps=steps)
        self._tell(len(SECTIONS), doing)
        await self._write()

    def _tell(self, number: int, doing: str) -> None:
        self.job.tell(100 * number / (len(SECTIONS) + bool(self.drill.instance)), doing)

    async def _cancelled(self) -> bool:
        with contextlib.suppress(StoreError):
            entry = await self.means.store.get(keys.task(self.drill.id))
            return entry is not None and decode(entry.value, Task, entry.key).state is TaskState.CANCELLED
        return False

    async def _write(self) -> None:
        await self.means.store.txn([], [Put(keys.drill(self.drill.id), encode(self.drill))])
