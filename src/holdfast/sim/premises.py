"""What the bounds of the safety protocol rest on, checked where it happens: to break it is dangerous long before the rare
moment at which two executors meet.

DEADLINE: strict instances are started before `send of the last committed beat + F` and end before that + G, on the node's
own clock, unless the node stands still. INV-3: an old manager writes nothing.
"""

from typing import TYPE_CHECKING

from holdfast.core.model import Beat, BeatPhase, Exclusivity, InstanceSpec

if TYPE_CHECKING:
    from holdfast.manager.election import Alive, Term
    from holdfast.sim.machine import Machine
    from holdfast.sim.world import World

AFTER_GRACE_S = 0.61
"""At D + G the guard may be in a slow write to the watchdog (half a pet period), and its kill takes a moment (KILL_S). Both
lie within the second that the bounds have for it (k)."""
AFTER_THAW_S = 0.5
"""So long after it was frozen a node may still be about to notice the time."""


class Premises:
    """See the module's text."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._term = 0
        self._session = ""
        self._survivors: set[str] = set()
        """Instances whose present execution hangs in the kernel, or did when it was killed."""

    def beaten(self, node: str, beat: Beat) -> None:
        """A beat is committed."""
        machine = next((each for each in self._world.named(node) if each.boot_id == beat.boot_id), None)
        if machine is None or beat.phase is not BeatPhase.ACTIVE:
            return
        if beat.paused:
            machine.valid_until = float("inf")  # it may go on without the store
            return
        ago_s = (self._world.loop.time() - self._world.store.asked_at) * machine.clock.rate
        valid_until = machine.clock.now() - ago_s + self._world.timing.F
        before = machine.valid_until
        machine.valid_until = valid_until if before == float("inf") else max(before, valid_until)

    def started(self, machine: "Machine", instance: InstanceSpec, asked_at: float) -> None:
        """An execution begins."""
        self._survivors.discard(instance.id)
        late_s = asked_at - machine.valid_until
        if instance.exclusivity is Exclusivity.STRICT and late_s > 1e-6:
            self._violated("DEADLINE", f"{instance.id} was started on {machine.name} {late_s:.2f} s after its deadline")

    def survived(self, instance: str) -> None:
        """The guard killed it, and it did not end (a fault of the scenario): only the watchdog is left."""
        self._survivors.add(instance)

    def ended(self, machine: "Machine", instance: str) -> None:
        """An execution of something strict ends on a machine that is not frozen."""
        now = machine.clock.now()
        late_s = now - machine.valid_until - self._world.timing.G
        excused = now - machine.thawed_at < AFTER_THAW_S or instance in self._survivors
        if late_s > AFTER_GRACE_S and not excused:
            self._violated("DEADLINE", f"{instance} went on on {machine.name} for {late_s:.2f} s after D + G")

    def forget_term(self) -> None:
        """The store was restored."""
        self._term, self._session = 0, ""

    def leads(self, term: "Term | None") -> None:
        """The manager's term is written."""
        if term is None:
            return
        if term.term < self._term or (term.term == self._term and term.session not in ("", self._session)):
            self._violated("INV-3", f"the manager's term went from {self._term} to {term.term}")
        self._term, self._session = max(term.term, self._term), term.session

    def manager_lives(self, alive: "Alive | None") -> None:
        """A leading manager gives a sign of life."""
        if alive is not None and alive.term < self._term:
            self._violated("INV-3", f"the manager of term {alive.term} wrote in term {self._term}")

    def _violated(self, invariant: str, text: str) -> None:
        self._world.checks.violated(invariant, text)
