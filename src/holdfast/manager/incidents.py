"""Opens, fills and closes incidents while the manager works, and asks as a client whether a service is back."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from holdfast.core.history import Incident
from holdfast.core.incident import Running, open_incident
from holdfast.core.intents import Claim, Decision, FencePower, Place
from holdfast.core.model import Goal
from holdfast.core.view import InstanceView, NodeView, View
from holdfast.ports import Clock, HealthProbe, Put
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.manager")

PROBE_TIMEOUT_S = 1.0


class IncidentKeeper:
    """One manager's open incidents. `puts()` gives what is to be written, `written()` says that it was."""

    def __init__(
        self, mirror: Mirror, clock: Clock, probes: Mapping[str, HealthProbe], news: Callable[[], None]
    ) -> None:
        """`news()` is called when a probe brought something to write."""
        self._mirror = mirror
        self._clock = clock
        self._probes = probes
        self._open: dict[str, Running] = {}
        self._written: dict[str, Incident] = {}
        self._pending: dict[str, Incident] = {}
        self._offered: dict[str, Incident] = {}
        """What the last `puts` gave."""
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._news = news

    def begin_term(self) -> None:
        """Take over the open incidents of the former leader. Their begin lies on another node's clock: it is placed so that
        new steps come after the known ones."""
        for task in self._probing.values():
            task.cancel()
        self._probing.clear()
        self._open.clear()
        self._written.clear()
        self._pending.clear()
        self._offered.clear()
        for entry in self._mirror.below(keys.INCIDENTS):
            incident = decode(entry.value, Incident, entry.key)
            if incident.state == "open":
                last = max((step.at for step in incident.steps), default=0.0)
                self._open[incident.node] = Running(incident, self._clock.now() - last)
                self._written[incident.id] = incident

    @property
    def open(self) -> bool:
        """There is an incident that has not ended."""
        return bool(self._open)

    # --- what happened --------------------------------------------------------------------------------------------------

    def observe(self, view: View, decision: Decision) -> None:
        """Bring every incident up to date with this view."""
        now = self._clock.now()
        for node in view.nodes.values():
            if node.down(view.timing, now) and node.id not in self._open and node.beat is not None:
                self._open[node.id] = self._begin(view, node, now)
        for name in list(self._open):
            self._follow(view, decision, name, now)

    def _begin(self, view: View, node: NodeView, now: float) -> Running:
        assert node.beat is not None
        began = node.suspicion.since if node.suspicion else node.beat_seen_at
        affected = [
            instance.id
            for instance in view.instances.values()
            if instance.placement is not None
            and instance.placement.node == node.id
            and instance.placement.fence_epoch == node.fence.epoch
            and instance.spec.desired == "started"
        ]
        running = open_incident(
            node.id, self._clock.wall(), began, affected, f"{node.beat.session}-{node.beat_revision}"
        )
        if node.suspicion:
            running = running.step("missed", began, f"first datagram of {node.id} missed")
            who = ", ".join(node.suspicion.missed_by)
            return running.step("suspect", now, f"a majority of its observers misses {node.id}: {who}")
        running = running.step("missed", began, f"last beat of {node.id} in the store")
        return running.step("suspect", now, f"the beat of {node.id} in the store is overdue")

    def _follow(self, view: View, decision: Decision, name: str, now: float) -> None:
        running = self._open[name]
        for instance_id in running.outstanding():
            instance = view.instances.get(instance_id)
            if instance is None or instance.spec.desired != "started":
                running = running.without([instance_id])
                continue
            running = self._follow_instance(running, instance, view.nodes.get(name), now)
        running = running.waits(decision.waiting)
        node = view.nodes.get(name)
        if not running.outstanding() and (node is None or not node.down(view.timing, now)):
            running = running.close(now, self._closing_text(running, node))
            self._open.pop(name)
            self._remember(running)
            return
        self._open[name] = running
        self._remember(running)

    def _closing_text(self, running: Running, node: NodeView | None) -> str:
        if running.incident.proof is None:
            state = "returned" if node is not None and node.member else "was removed"
            return f"{running.incident.node} {state} before it was claimed"
        return "every affected instance is back" if running.incident.affected else "no instance was affected"

    def _follow_instance(self, running: Running, instance: InstanceView, node: NodeView | None, now: float) -> Running:
        """Started, healthy by its agent, then asked by this manager as a client."""
        placement, status = instance.placement, instance.status
        returned = node is not None and node.member and node.suspicion is None
        moved = placement is not None and placement.node != running.incident.node
        if placement is None or status is None or not instance.running() or not (moved or returned):
            return running
        running = running.step(
            "started", now, f"{instance.id} runs on {placement.node}{_steps(status.steps)}", instance.id
        )
        if status.healthy and instance.id not in self._probing:
            self._probing[instance.id] = asyncio.create_task(self._probe(running.incident.node, instance))
        return running

    async def _probe(self, node: str, instance: InstanceView) -> None:
        """A client's check from this manager; only its success ends the instance's part of the incident."""
        placement = instance.placement
        assert placement is not None
        probe = self._probes.get(instance.spec.kind)
        problem = await probe.check(instance.spec, timeout=PROBE_TIMEOUT_S) if probe else ""
        running = self._open.get(node)
        if not problem and running is not None:
            text = f"{instance.id} answers a client on {placement.node}"
            self._open[node] = running.recovered(instance.id, self._clock.now(), text)
            self._remember(self._open[node])
        elif problem:
            await self._clock.sleep(0.2)
        self._probing.pop(instance.id, None)
        self._news()

    # --- what the manager did -------------------------------------------------------------------------------------------

    def fencing(self, intent: FencePower, devices: str) -> None:
        self._step(intent.node, "fencing", f"power fencing of {intent.node} through {devices}")

    def claimed(self, intent: Claim) -> None:
        running = self._open.get(intent.node)
        if running is not None:
            now = self._clock.now()
            running = running.step("proven-dead", now, f"{intent.node} is proven dead: {intent.text}")
            running = running.step("claimed", now, f"claimed with proof {intent.proof}")
            self._open[intent.node] = running.proven(intent.proof)

    def placed(self, intent: Place) -> None:
        if intent.placement.goal is not Goal.RUN:
            return
        for name, running in self._open.items():
            if intent.instance in running.outstanding():
                text = f"{intent.instance} placed on {intent.placement.node} (epoch {intent.placement.epoch})"
                self._open[name] = running.step("placed", self._clock.now(), text, intent.instance)

    def _step(self, node: str, name: str, text: str) -> None:
        running = self._open.get(node)
        if running is not None:
            self._open[node] = running.step(name, self._clock.now(), text)

    # --- writing --------------------------------------------------------------------------------------------------------

    def _remember(self, running: Running) -> None:
        self._pending[running.incident.id] = running.incident

    def puts(self) -> list[Put]:
        """Incidents whose present state is not written yet; the same ones again until `written` is called."""
        self._offered = {name: it for name, it in self._pending.items() if self._written.get(name) != it}
        return [Put(keys.incident(name), encode(incident)) for name, incident in self._offered.items()]

    def written(self) -> None:
        """What `puts` gave last is committed."""
        self._written.update(self._offered)
        for name, incident in self._offered.items():
            if incident.state == "closed" and self._pending.get(name) == incident:
                self._pending.pop(name)
        self._offered = {}


def _steps(steps: Mapping[str, float]) -> str:
    if not steps:
        return ""
    return " (" + ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in steps.items()) + ")"
