"""How far a task is: a pure function of the task and the cluster's picture."""

from collections.abc import Callable

from holdfast.api.status import ClusterStatus, InstanceView
from holdfast.api.task_model import Aim, Goal, Step, Task, TaskState, TaskView
from holdfast.core.model import Desired, InstanceState, NodeState
from holdfast.core.model import Goal as Wish

SHOWN = 5
MOVABLE = (Desired.STARTED, Desired.STOPPED)

_Said = tuple[TaskState, str, bool]
"""(state, detail, failing)"""
_DONE: _Said = (TaskState.DONE, "", False)


def _wait(text: str, *, failing: bool = False) -> _Said:
    return TaskState.RUNNING, text, failing


def _void(text: str) -> _Said:
    return TaskState.FAILED, text, False


def view(task_id: str, task: Task, picture: ClusterStatus, *, alive: bool = True) -> TaskView:
    """`alive`: the process that does it is there."""
    steps: tuple[Step, ...] = ()
    if task.state.over:
        state, detail = task.state, task.detail
    elif not task.process:
        steps = tuple(step(goal, picture) for goal in task.goals)
        state, detail = _whole(steps)
    elif alive:
        steps, state = _in_turn(task), TaskState.RUNNING
        detail = _doing(task, steps)
    else:
        state, detail = TaskState.INTERRUPTED, "the process that did it has ended"
    over = sum(one.state.over for one in steps)
    progress = 1.0 if state is TaskState.DONE else over / len(steps) if steps else 0.0
    return TaskView(
        task_id,
        task.kind,
        task.text,
        task.by,
        task.wall,
        state,
        task.percent / 100 if task.process and state is not TaskState.DONE else progress,
        detail,
        any(one.failing for one in steps),
        cancellable(task) and not state.over,
        task.ended,
        steps,
        picture.revision,
    )


def _in_turn(task: Task) -> tuple[Step, ...]:
    """What a process does: its parts, or the one thing that its goal is."""
    things = [(Aim.CHECKED, part) for part in task.parts] or [(goal.aim, goal.subject) for goal in task.goals]
    over = int(len(things) * task.percent / 100 + 1e-6)
    return tuple(
        Step(aim, name, TaskState.DONE if k < over else TaskState.RUNNING, task.detail if k == over else "")
        for k, (aim, name) in enumerate(things)
    )


def _doing(task: Task, steps: tuple[Step, ...]) -> str:
    """In words, as far as its process has told."""
    over = sum(one.state.over for one in steps)
    what = task.detail or next((one.subject for one in steps[over:]), "")
    return f"{what} ({over} of {len(steps)})" if task.parts else f"{task.percent:.0f} %"


def cancellable(task: Task) -> bool:
    """What is under way can be broken off without harm."""
    return task.kind in ("move", "maintenance") or bool(task.process)


def _whole(steps: tuple[Step, ...]) -> tuple[TaskState, str]:
    """It waits as long as any of its goals may still come true."""
    waiting = [one.detail for one in steps if one.state is TaskState.RUNNING]
    void = [one.detail for one in steps if one.state is TaskState.FAILED]
    if waiting:
        more = f" and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else ""
        return TaskState.RUNNING, ", ".join(waiting[:SHOWN]) + more
    return (TaskState.FAILED, "; ".join(void[:SHOWN])) if void else (TaskState.DONE, "")


def step(goal: Goal, picture: ClusterStatus) -> Step:
    state, detail, failing = _STANDING[goal.aim](goal, picture)
    return Step(goal.aim, goal.subject, state, detail, failing)


def _runs(goal: Goal, picture: ClusterStatus) -> _Said:
    found = picture.instance(goal.subject)
    if found is None:
        return _void(f"{goal.subject} was deleted meanwhile")
    if found.desired != Desired.STARTED:
        return _void(f"{goal.subject} is to be {found.desired} now")
    return _running(found)


def _running(found: InstanceView) -> _Said:
    if found.state == InstanceState.RUNNING and found.healthy:
        return _DONE
    why = found.waiting or found.detail
    where = f" on {found.node}" if found.node else ""
    state = "running, not yet answering" if found.state == InstanceState.RUNNING else found.state
    failing = found.state == InstanceState.FAILED
    return _wait(f"{found.id} ({state}{where}{': ' + why if why else ''})", failing=failing)


def _stopped(goal: Goal, picture: ClusterStatus) -> _Said:
    found = picture.instance(goal.subject)
    if found is None or found.state == InstanceState.STOPPED:
        return _DONE
    if found.desired == Desired.STARTED:
        return _void(f"{goal.subject} is to be started now")
    return _wait(f"{goal.subject} to stop ({found.waiting or found.state})")


def _gone(goal: Goal, picture: ClusterStatus) -> _Said:
    found = picture.instance(goal.subject)
    return _DONE if found is None else _wait(f"{goal.subject} to be gone ({found.waiting or found.state})")


def _moved(goal: Goal, picture: ClusterStatus) -> _Said:
    found = picture.instance(goal.subject)
    if found is None:
        return _void(f"{goal.subject} was deleted meanwhile")
    if found.moving_to or (found.node == goal.origin and found.goal is Wish.STOP):
        return _wait(
            f"{goal.subject} to leave {goal.origin or 'its node'}{': ' + found.waiting if found.waiting else ''}"
        )
    if found.node == goal.origin or (goal.node and found.node not in ("", goal.node)):
        return _void(f"{goal.subject} did not move there: it is on {found.node or 'no node'}")
    return _running(found) if found.desired == Desired.STARTED else _DONE


def _returned(goal: Goal, picture: ClusterStatus) -> _Said:
    found, node = picture.instance(goal.subject), picture.node(goal.node)
    if found is None or node is None:
        return _void(f"{goal.subject} or {goal.node} was removed meanwhile")
    if found.node == goal.node and not found.moving_to:
        return _running(found) if found.desired == Desired.STARTED else _DONE
    if goal.subject in node.returning or found.moving_to == goal.node or found.goal is Wish.STOP:
        return _wait(f"{goal.subject} to return to {goal.node} ({found.waiting or found.state})")
    return _void(f"{goal.subject} stays on {found.node or 'no node'}")


def _freed(goal: Goal, picture: ClusterStatus) -> _Said:
    node = picture.node(goal.subject)
    if node is None or node.maintenance is None:
        return _void(f"the maintenance of {goal.subject} was ended")
    left = [one for one in picture.instances if one.node == goal.subject and one.desired in MOVABLE]
    if not left:
        return _DONE
    said = [f"{one.id} to leave {goal.subject} ({one.waiting or one.state})" for one in left[:SHOWN]]
    return _wait(", ".join(said) + (f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""))


def _joined(goal: Goal, picture: ClusterStatus) -> _Said:
    node = picture.node(goal.subject)
    if node is None:
        return _void(f"{goal.subject} was removed meanwhile")
    early = node.state in (NodeState.NEVER_SEEN, NodeState.JOINING)
    return _wait(f"{goal.subject} to join ({node.state})") if early else _DONE


def _claimed(goal: Goal, picture: ClusterStatus) -> _Said:
    node = picture.node(goal.subject)
    if node is None or node.state in (NodeState.CLAIMED, NodeState.RELEASED):
        return _DONE
    if not node.confirmed_dead:
        return _void(f"{goal.subject} has said something since: it was not claimed")
    return _wait(f"{goal.subject} to be claimed ({node.state})")


def _managed(goal: Goal, picture: ClusterStatus) -> _Said:
    wanted, members = set(picture.management.nodes), picture.management.members
    voters = {member.node for member in members if member.state == "voter"}
    there = {member.node for member in members}
    if voters != wanted or len(voters) != len(members):
        late = [f"{member.node} ({member.state})" for member in members if member.state != "voter"]
        late += [*sorted(wanted - there), *(f"{node} to leave" for node in sorted(voters - wanted))]
        return _wait(f"the store's members: {', '.join(late)}")
    panel = picture.instance("panel/admin")
    if picture.management.virtual_ip and panel is not None:
        state, detail, failing = _running(panel)
        return _DONE if state is TaskState.DONE else (state, f"the panel, {detail}", failing)
    return _DONE


def _acknowledged(*, paused: bool) -> Callable[[Goal, ClusterStatus], _Said]:
    def said(goal: Goal, picture: ClusterStatus) -> _Said:
        if (picture.pause is not None) is not paused:
            return _void("high availability goes on again" if paused else "high availability is paused again")
        late = [node.id for node in picture.nodes if node.state.up and node.paused is not paused]
        what = "to acknowledge the pause" if paused else "to go on"
        return _wait(f"{', '.join(late[:SHOWN])} {what}") if late else _DONE

    return said


_STANDING: dict[Aim, Callable[[Goal, ClusterStatus], _Said]] = {
    Aim.RUNS: _runs,
    Aim.STOPPED: _stopped,
    Aim.GONE: _gone,
    Aim.MOVED: _moved,
    Aim.RETURNED: _returned,
    Aim.FREED: _freed,
    Aim.JOINED: _joined,
    Aim.CLAIMED: _claimed,
    Aim.MANAGED: _managed,
    Aim.PAUSED: _acknowledged(paused=True),
    Aim.RESUMED: _acknowledged(paused=False),
}
