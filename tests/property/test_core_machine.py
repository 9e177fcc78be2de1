"""`decide` in a small abstract cluster with random lives and deaths: INV-1 to INV-4 after every step."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from core_world import INSTANCES, NODES, Node, World
from holdfast.core.model import BeatPhase, DeathConfirmation, Desired, MoveRequest
from holdfast.core.timing import profile
from holdfast.core.view import PowerEvidence

NODE = st.sampled_from(NODES)
INSTANCE = st.sampled_from(INSTANCES)
MANAGER = st.integers(0, 1)
LOST = st.lists(st.sampled_from([False, False, False, True]), min_size=12, max_size=12)
TIMING = profile("fast")
happened: Counter[str] = Counter()


class CoreMachine(RuleBasedStateMachine):
    """Each rule is something that nodes, operators, devices, managers or time may do at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        for node in self.world.nodes.values():
            self.world.register(node)
            self.world.beat(node, BeatPhase.ACTIVE)
        self.world.lead(self.world.managers[0])
        self.everybody_works(0)

    def teardown(self) -> None:
        happened.update(self.world.happened)

    def node(self, name: str) -> Node:
        return self.world.nodes[name]

    # --- nodes

    @rule(name=NODE)
    def comes_back(self, name: str) -> None:
        node = self.node(name)
        node.cut = False
        self.world.suspects.pop(name, None)
        if not node.power:
            self.world.boot(node)
        self.registers(name)
        self.is_admitted(name)
        self.beats(name, True)
        self.world.look(node)
        for instance in INSTANCES:
            self.world.work(node, instance, word_arrives=True)

    @rule(name=NODE, known=st.booleans())
    def beats(self, name: str, known: bool) -> None:
        node = self.node(name)
        if node.phase is BeatPhase.ACTIVE:
            self.world.beat(node, BeatPhase.ACTIVE, known=known)

    @rule()
    def everybody_beats(self) -> None:
        for name in NODES:
            self.beats(name, True)

    @rule(name=NODE)
    def registers(self, name: str) -> None:
        if self.node(name).phase is None:
            self.world.register(self.node(name))

    @rule(name=NODE)
    def is_admitted(self, name: str) -> None:
        if self.node(name).phase is BeatPhase.JOINING:
            self.world.beat(self.node(name), BeatPhase.ACTIVE)

    @rule(name=NODE)
    def releases(self, name: str) -> None:
        node = self.node(name)
        if node.phase is BeatPhase.ACTIVE and node.acts:
            node.running.clear()
            self.world.beat(node, BeatPhase.RELEASED)

    @rule(name=NODE)
    def looks(self, name: str) -> None:
        self.world.look(self.node(name))

    @rule(name=NODE, instance=INSTANCE, word_arrives=st.booleans())
    def works(self, name: str, instance: str, word_arrives: bool) -> None:
        self.world.work(self.node(name), instance, word_arrives=word_arrives)

    @rule(name=NODE, how=st.sampled_from(["dies", "boots", "cut", "heals", "hangs"]))
    def fate(self, name: str, how: str) -> None:
        node = self.node(name)
        if how == "dies":
            node.go_off()
        elif how == "boots" and not node.power:
            self.world.boot(node)
        elif how in ("cut", "heals"):
            node.cut = how == "cut"
        elif how == "hangs" and node.running:
            node.hangs = True

    @rule(seconds=st.sampled_from([0.5, 1.5, 4.0, 8.5, 12.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    # --- hints, devices, operators

    @rule(name=NODE, suspect=st.booleans())
    def suspicion(self, name: str, suspect: bool) -> None:
        """Right or wrong: it is only a hint."""
        if suspect:
            self.world.suspects.setdefault(name, self.world.now)
        else:
            self.world.suspects.pop(name, None)

    @rule(index=MANAGER, works=st.sampled_from([True, True, False]), returns=st.booleans())
    def power_fencing_ends(self, index: int, works: bool, returns: bool) -> None:
        manager = self.world.managers[index]
        for name, revision in list(manager.power_running.items()):
            del manager.power_running[name]
            node = self.node(name)
            off = works and self.world.records.mod("beat", name) == revision
            if off:
                node.go_off()
                if returns:
                    self.world.boot(node)
            manager.power[name] = PowerEvidence(revision, off, "abstract", self.world.now)

    @rule(name=NODE)
    def operator_confirms(self, name: str) -> None:
        """Truthfully."""
        revision = self.world.records.mod("beat", name)
        if not self.node(name).power and revision:
            self.world.records.write(confirmed={name: DeathConfirmation("op", revision)})

    @rule(instance=INSTANCE, name=st.sampled_from(["", *NODES]))
    def operator_moves(self, instance: str, name: str) -> None:
        self.world.records.write(move={instance: MoveRequest(name)})

    @rule(instance=INSTANCE, desired=st.sampled_from(Desired))
    def operator_wants(self, instance: str, desired: Desired) -> None:
        self.world.ask(instance, desired)

    # --- managers

    @rule(index=MANAGER)
    def leads(self, index: int) -> None:
        self.world.lead(self.world.managers[index])

    @rule(index=MANAGER)
    def catches_up(self, index: int) -> None:
        self.world.catch_up(self.world.managers[index])

    @rule(index=MANAGER, lost=LOST)
    def decides(self, index: int, lost: list[bool]) -> None:
        self.world.turn(self.world.managers[index], lost)

    @rule(index=MANAGER, words_arrive=st.sampled_from([True, True, False]))
    def everybody_works(self, index: int, words_arrive: bool = True) -> None:
        """A stretch of ordinary life, so that runs get somewhere."""
        manager = self.world.managers[index]
        for _ in range(2):
            self.world.catch_up(manager)
            self.world.turn(manager, [False] * 12)
            for node in self.world.nodes.values():
                self.world.look(node)
                for instance in INSTANCES:
                    self.world.work(node, instance, word_arrives=words_arrive)

    @rule(index=MANAGER, name=NODE, hangs=st.booleans())
    def waits_for_the_watchdog(self, index: int, name: str, hangs: bool) -> None:
        """A silent node, a manager that goes on looking, and the others alive."""
        self.node(name).cut = True
        if hangs:
            self.fate(name, "hangs")
        for _ in range(int(TIMING.T_wait / TIMING.H) + 2):
            self.everybody_beats()
            self.world.catch_up(self.world.managers[index])
            self.world.advance(TIMING.H)
            self.decides(index, [False] * 12)
            self.world.check()

    @rule(
        index=MANAGER,
        name=NODE,
        then=st.sampled_from(["returns", "confirmed", "fenced", "beats", "nothing"]),
        lost=LOST,
        again=st.booleans(),
    )
    def is_missed(self, index: int, name: str, then: str, lost: list[bool], again: bool) -> None:
        """The ordinary beginning of a failure (not always a true one), what may come before the manager acts on it, and
        (`again`) a return followed by a false alarm."""
        node, manager = self.node(name), self.world.managers[index]
        self.suspicion(name, True)
        self.everybody_beats()
        self.world.catch_up(manager)
        self.world.advance(1.5)
        self.decides(index, [False] * 12)
        if then in ("returns", "confirmed"):
            node.go_off()
        if then == "returns":
            self.world.boot(node)
            self.registers(name)
        elif then == "confirmed":
            self.operator_confirms(name)
        elif then in ("fenced", "beats"):
            self.power_fencing_ends(index, True, False)
        if then == "beats":
            self.fate(name, "boots")
            self.registers(name)
        else:
            self.world.catch_up(manager)
        self.decides(index, lost)
        if again:
            self.comes_back(name)
            self.suspicion(name, True)
            self.world.catch_up(manager)
            self.decides(index, [False] * 12)

    @invariant()
    def holds(self) -> None:
        self.world.check()


def test_the_invariants_hold_whatever_happens() -> None:
    happened.clear()
    run_state_machine_as_test(
        CoreMachine, settings=settings(max_examples=240, stateful_step_count=40, deadline=None, derandomize=True)
    )
    wanted = {f"claim {proof}" for proof in ("P1", "P2", "P3", "P4", "P5")} | {
        "moved",
        "stale manager",
        "claim lost its race",
        "placement lost its race",
        "reset by the watchdog",
    }
    assert wanted <= set(happened), f"never happened: {wanted - set(happened)}"
