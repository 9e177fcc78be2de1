"""The real part of a drill: a test instance that an operator has named fails over, and each step is timed."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from holdfast.api.operations import services
from holdfast.api.operations.draft import Actor, Draft, transact
from holdfast.api.operations.drill_checks import Means, Scope, ask
from holdfast.api.status import ClusterStatus, InstanceView
from holdfast.core.drill import DrillCheck, DrillRequest, DrillStep, Grade
from holdfast.core.model import InstanceState, InstanceStatus, MoveRequest
from holdfast.errors import Conflict
from holdfast.ports import Store
from holdfast.store import keys

LIMIT_S = 180.0
"""A move or a restart that takes longer has failed."""
LOOK_S = 0.05


def refuse(status: ClusterStatus, instance: InstanceView, *, kill: bool) -> None:
    """Raises Conflict where a fail-over on purpose is not to be tried."""
    name = instance.id
    for why, advice in _hindrances(status, instance, kill=kill):
        raise Conflict(f"the drill does not let `{name}` fail over: {why}", advice)


def _hindrances(status: ClusterStatus, instance: InstanceView, *, kill: bool) -> Iterable[tuple[str, str]]:
    word, name = status.guarantee, instance.id
    if word is not None and not word.holds:
        yield f"the guarantee does not hold: {word.text.rstrip('.')}", "Make room first; see `holdfast status`."
    if status.compute is not None and word is None:
        yield "whether the guarantee holds is not known yet", "Repeat the drill in a minute."
    if status.hold or status.pause is not None:
        yield f"nothing is recovered now: {status.hold or 'high availability is paused'}", "See `holdfast status`."
    if status.open_incidents:
        yield f"an incident is open (of {status.open_incidents[0].node})", "Wait until it is closed: `holdfast status`."
    if instance.kind == "panel":
        yield "the drill itself runs in the admin panel", "Choose another instance."
    if kill and instance.kind == "iscsi":
        yield (
            "iSCSI volumes share one process with the others on their node",
            "Let it be moved instead: without --kill.",
        )
    if instance.desired != "started" or instance.state != "running" or not instance.healthy:
        yield f"it is {instance.state} and {'answers' if instance.healthy else 'does not answer'}", "Start it first."
    if instance.moving_to:
        yield f"it is on its way to {instance.moving_to}", "Wait until it has arrived."
    if instance.locked and not kill:
        yield "it is locked", f"Unlock it: holdfast service unlock {name}."


async def send_home(store: Store, actor: Actor, task: str, instance_id: str, home: str) -> None:
    """Whatever its last move has come to: the manager takes it home, and forgets the wish where it is there. Raises
    StoreError."""

    async def operation(draft: Draft) -> str:
        draft.task = task  # nobody waits for it
        if instance_id not in draft.instances:
            return f"{instance_id} was deleted while a drill let it fail over"
        await draft.fetch(keys.move(instance_id))
        draft.put(keys.move(instance_id), MoveRequest(home, actor.name))
        return f"the drill of {instance_id} was broken off: it returns to {home}"

    await transact(store, actor, operation)


@dataclass
class FailOver:
    """One fail-over. `steps` grows while `run` goes on."""

    means: Means
    scope: Scope
    actor: Actor
    instance: str
    told: Callable[[str, tuple[DrillStep, ...]], Awaitable[None]]
    """(what is being waited for, the steps so far)"""

    def __post_init__(self) -> None:
        self.steps: list[DrillStep] = []
        self._began = self.means.clock.now()

    async def move_away_and_back(self) -> list[DrillCheck]:
        """A planned move, and the way home: also where the drill is broken off, or a move takes too long."""
        home = self._view().node
        self._step("begin", f"{self.instance} is on {home}")
        found: list[DrillCheck] = []
        try:
            found = await self._there_and_back(home)
        finally:
            if not found or found[0].grade is not Grade.OK:
                await send_home(self.means.store, self.actor, self.scope.drill, self.instance, home)
        return found

    async def _there_and_back(self, home: str) -> list[DrillCheck]:
        away = await self._move("", lambda view: view.node != home)
        if away is None:
            return [self._late("to leave its node")]
        there = self._view().node
        back = await self._move(home, lambda view: view.node == home)
        if back is None:
            return [self._late(f"to return to {home}")]
        text = f"moved from {home} to {there} in {away:.1f} s, and back in {back:.1f} s"
        return [DrillCheck("failover", self.instance, Grade.OK, text, "", max(away, back))]

    async def kill(self) -> list[DrillCheck]:
        """Its process ends as in a crash; its agent starts it again."""
        view, before = self._view(), self._word()
        self._step("begin", f"{self.instance} runs on {view.node}")
        request = DrillRequest(self.scope.drill, self.instance, view.epoch)
        began = self.means.clock.now()
        answer = (await ask(self.means, self.scope, {view.node: request})).get(view.node)
        if answer is None or answer.problem:
            text = answer.problem if answer else "its agent does not answer"
            advice = answer.advice if answer else "See the agent's log on that node."
            return [DrillCheck("failover", self.instance, Grade.FAILED, text, advice)]
        self._step("ended", f"its process on {view.node} was ended")
        steps_before = before.steps if before else {}

        def restarted() -> bool:
            word = self._word()
            again = word is not None and word.state is InstanceState.RUNNING and word.healthy
            return again and word is not None and word.steps != steps_before and self._view().healthy

        took = await self._until(restarted, "to answer again", began)
        if took is None:
            return [self._late("to answer again")]
        text = f"answers again on {self._view().node} {took:.1f} s after its process was ended"
        return [DrillCheck("failover", self.instance, Grade.OK, text, "", took)]

    async def _move(self, node: str, arrived: Callable[[InstanceView], bool]) -> float | None:
        """Seconds until it answers there; None: not within LIMIT_S."""
        began = self.means.clock.now()
        outcome = await services.move(self.means.store, self.actor, self.instance, node=node)
        self._step("asked", outcome.text)

        def here() -> bool:
            view = self._view()
            return arrived(view) and self._runs() and not view.moving_to

        await self._until(lambda: here() or not self._runs(), "to stop", began)
        if not self._runs():
            self._step("stopped", "it does not answer any more")
        took = await self._until(here, "to answer on its other node", began)
        if took is not None:
            word = self._word()
            said = "".join(f", {name} {at:.1f} s" for name, at in word.steps.items()) if word else ""
            self._step("answers", f"it answers on {self._view().node} (by its agent{said})")
        return took

    def _runs(self) -> bool:
        view = self._view()
        return view.state == "running" and view.healthy

    async def _until(self, come: Callable[[], bool], what: str, began: float) -> float | None:
        await self.told(f"{self.instance} {what}", tuple(self.steps))
        while not come():
            if self.means.clock.now() - began > LIMIT_S:
                return None
            await self.means.clock.sleep(LOOK_S)
        return self.means.clock.now() - began

    def _late(self, what: str) -> DrillCheck:
        view = self._view()
        text = f"took longer than {LIMIT_S:.0f} s {what}: it is {view.state} on {view.node or 'no node'}"
        why = view.waiting or view.detail
        advice = f"{why + ' ' if why else ''}Look at `holdfast explain {self.instance}`."
        return DrillCheck("failover", self.instance, Grade.FAILED, text, advice)

    def _step(self, name: str, text: str) -> None:
        self.steps.append(DrillStep(name, self.means.clock.now() - self._began, text))

    def _view(self) -> InstanceView:
        view = self.means.status().instance(self.instance)
        if view is None:
            raise Conflict(f"`{self.instance}` was deleted while the drill let it fail over", "Choose another one.")
        return view

    def _word(self) -> InstanceStatus | None:
        return self.means.source().read(keys.status(self.instance), InstanceStatus)
