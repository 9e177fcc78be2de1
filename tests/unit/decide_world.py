"""Views of small clusters for tests of decide on the life of instances."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from holdfast.core.decide import decide
from holdfast.core.intents import Decision, Place
from holdfast.core.model import (
    Beat,
    BeatPhase,
    Desired,
    Exclusivity,
    Fence,
    Goal,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    NodeSpec,
    Placement,
    Proof,
    Role,
    WatchdogAttestation,
)
from holdfast.core.observers import Suspicion
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, View

T = profile("fast")
NOW = 10_000.0


def node(name: str, *, missed_for: float = 0.0, **changes: object) -> NodeView:
    beat = Beat(
        f"s-{name}",
        f"b-{name}",
        f"m-{name}",
        1,
        1,
        BeatPhase.ACTIVE,
        WatchdogAttestation("/dev/watchdog", "lab", 5),
        8,
        8192,
    )
    view = NodeView(
        NodeSpec(name, (Role.COMPUTE,), {"management": "10.0.0.1"}), Fence(1), 5, beat, 50, NOW - missed_for
    )
    if missed_for:
        view = replace(view, suspicion=Suspicion(NOW - missed_for, ("x", "y"), "management"))
    return replace(view, **changes)  # type: ignore[arg-type]


def claimed(name: str) -> NodeView:
    """It was claimed and has not come back."""
    return node(name, missed_for=99.0, fence=Fence(2, Proof.POWER_OFF), fence_revision=60)


def vm(
    name: str = "vm/a",
    on: str = "n1",
    state: InstanceState | None = InstanceState.RUNNING,
    *,
    spec: Mapping[str, object] | None = None,
    placement: Mapping[str, object] | None = None,
    status: Mapping[str, object] | None = None,
    **changes: object,
) -> InstanceView:
    """A strict instance that runs on `on`, its last status being newer than its specification; `on=""`: never placed."""
    written = InstanceSpec(name, "vm", name[3:], Exclusivity.STRICT, Role.COMPUTE, memory_mib=1024)
    word = InstanceStatus(on, f"s-{on}", 10, state, healthy=True) if on and state else None
    view = InstanceView(
        spec=replace(written, **(spec or {})),  # type: ignore[arg-type]
        spec_revision=7,
        placement=replace(Placement(on, 10, 1), **(placement or {})) if on else None,  # type: ignore[arg-type]
        placement_revision=70 if on else 0,
        status=replace(word, **(status or {})) if word else None,  # type: ignore[arg-type]
        status_revision=80 if word else 0,
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def volume(name: str = "nfs/a", *args: object, **changes: object) -> InstanceView:
    """An instance of a kind that cannot be handed over while it runs."""
    view = vm(name, *args, **changes)  # type: ignore[arg-type]
    return replace(view, spec=replace(view.spec, kind="nfs"))


N1, N2, N3 = node("n1"), node("n2"), node("n3")


def decided(nodes: Iterable[NodeView], *instances: InstanceView, **changes: object) -> Decision:
    view = View(T, 500, {n.id: n for n in nodes}, {i.id: i for i in instances}, **changes)  # type: ignore[arg-type]
    return decide(view, NOW)


def places(decision: Decision) -> dict[str, Placement]:
    return {intent.instance: intent.placement for intent in decision.intents if isinstance(intent, Place)}


def only(decision: Decision) -> Place:
    [place] = [intent for intent in decision.intents if isinstance(intent, Place)]
    return place


STOPPED = {"desired": Desired.STOPPED}
STOP = {"goal": Goal.STOP}
