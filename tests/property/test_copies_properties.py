"""S3 and backup clusters through failures and returns: gateways stand in for each other and come home, servers stay even."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.decide import decide
from holdfast.core.intents import Place
from holdfast.core.model import Beat, BeatPhase, Exclusivity, Fence, InstanceSpec, NodeSpec, Role
from holdfast.core.observers import Suspicion
from holdfast.core.policy import Maintenance
from holdfast.core.preview import settle, with_failures, with_placements
from holdfast.core.spreading import automatic
from holdfast.core.timing import profile
from holdfast.core.view import InstanceView, NodeView, View

T = profile("fast")
NOW = 1000.0
NODES = ("n1", "n2", "n3", "n4", "n5")

unhurried = settings(deadline=None, derandomize=True, max_examples=120)


@st.composite
def views(draw: st.DrawFn) -> View:
    """One or two clusters, each on some of the nodes; not placed yet."""
    nodes = {}
    for name in NODES[: draw(st.integers(2, 5))]:
        beat = Beat(
            f"s-{name}", f"b-{name}", f"m-{name}", 1, 1, BeatPhase.ACTIVE, None, 4, draw(st.integers(4, 8)) * 1024
        )
        nodes[name] = NodeView(NodeSpec(name, (Role.S3,), {"management": "x"}), Fence(1), 5, beat, 50, NOW)
    instances = {}
    for cluster in ("a", "b")[: draw(st.integers(1, 2))]:
        group = tuple(draw(st.lists(st.sampled_from(sorted(nodes)), min_size=1, unique=True)))
        words = {"ns": draw(st.integers(1, 4)), "os": draw(st.integers(1, 7))}
        parts = [f"{word}-{number}" for word, count in words.items() for number in range(count)]
        memory, ha = draw(st.sampled_from((0, 128))), draw(st.sampled_from((True, True, True, False)))
        for part in (*parts, *(f"gw-{node}" for node in group)):
            word, _, own = part.partition("-")
            copy = word == "gw"
            spec = InstanceSpec(
                f"s3/{cluster}/{part}",
                "s3",
                cluster,
                Exclusivity.EVERYWHERE if copy else Exclusivity.STRICT,
                Role.S3,
                group,
                memory_mib=draw(st.sampled_from((0, 64))) if copy else memory,
                ha=ha,
                home=own if copy else "",
                spread=word,
            )
            instances[spec.id] = InstanceView(spec, 7)
    return View(T, 500, nodes, instances)


def where(view: View) -> dict[str, str]:
    """Everything that is placed on a node that was not claimed since."""
    return {name: min(nodes) for name, one in view.instances.items() if (nodes := one.executors(view.nodes))}


def copies(view: View) -> list[InstanceSpec]:
    return [one.spec for one in view.instances.values() if one.spec.home]


def returned(view: View, nodes: Iterable[str]) -> View:
    """They joined again, and are settled."""
    back = {name: view.nodes[name] for name in nodes}
    joined = {
        name: replace(node, beat=replace(node.beat, fence_epoch=node.fence.epoch)) if node.beat else node
        for name, node in back.items()
    }
    return replace(view, nodes={**view.nodes, **joined})


def uneven(view: View, able: Collection[str]) -> set[tuple[str, str]]:
    """(service, word) of which two of these nodes carry numbers that differ by more than one."""
    found = set()
    there = where(view)
    for one in view.instances.values():
        spec = one.spec
        alike = [
            o.spec.id for o in view.instances.values() if (o.spec.service, o.spec.spread) == (spec.service, spec.spread)
        ]
        counts = Counter({node: 0 for node in spec.nodes if node in able})
        counts.update(there[name] for name in alike if name in there)
        if counts and max(counts.values()) - min(counts[node] for node in spec.nodes if node in able) > 1:
            found.add((spec.service, spec.spread))
    return found


def evened(view: View) -> View:
    while (move := automatic(view, NOW)) is not None:
        assert not view.instances[move.instance].spec.home
        view = with_placements(view, {move.instance: move.target})
        decision = decide(view, NOW)
        assert not [i for i in decision.intents if isinstance(i, Place)], "what was evened out stays so"
    return view


@unhurried
@given(views(), st.data())
def test_everything_is_recovered_evenly_and_gateways_come_home(view: View, draws: st.DataObject) -> None:
    began = settle(view, NOW).view
    assert all(where(began)[spec.id] == spec.home for spec in copies(began))
    assert not uneven(began, view.nodes)
    lost = draws.draw(st.sets(st.sampled_from(sorted(view.nodes)), max_size=len(view.nodes) - 1))
    left = set(view.nodes) - lost
    failed = settle(with_failures(began, lost), NOW).view
    for name, one in failed.instances.items():
        able = left & set(one.spec.nodes)
        stays = where(began)[name] if where(began)[name] in left else ""
        moves = able and one.spec.ha
        assert (where(failed).get(name, "") in able) if moves and not stays else where(failed).get(name, "") == stays
    services = {one.spec.service for one in view.instances.values() if one.spec.ha and left & set(one.spec.nodes)}
    assert not {(service, word) for service, word in uneven(failed, left) if service in services}
    again = evened(settle(returned(failed, lost), NOW).view)
    assert all(where(again)[spec.id] == spec.home for spec in copies(again))
    assert not uneven(again, view.nodes)


@unhurried
@given(views(), st.data())
def test_suspicion_and_maintenance_move_copies_without_a_claim_and_only_there(view: View, draws: st.DataObject) -> None:
    began = settle(view, NOW).view
    states = {name: draws.draw(st.sampled_from(("up", "up", "suspect", "maintenance"))) for name in view.nodes}
    nodes = dict(began.nodes)
    for name, state in states.items():
        if state == "suspect":
            nodes[name] = replace(nodes[name], suspicion=Suspicion(NOW - 1, ("x", "y"), "management"))
        elif state == "maintenance":
            nodes[name] = replace(nodes[name], maintenance=Maintenance())
    decision = decide(replace(began, nodes=nodes), NOW)
    placed = {i.instance: i.placement.node for i in decision.intents if isinstance(i, Place)}
    for spec in copies(began):
        able = {node for node in spec.nodes if states[node] == "up"}
        leaves = states[spec.home] != "up" and bool(able) and (spec.ha or states[spec.home] == "maintenance")
        assert placed.get(spec.id, "") in (able if leaves else {""})
    for name, node in placed.items():
        spec = began.instances[name].spec
        assert spec.home or states[where(began)[name]] == "maintenance", "what is strict waits for a claim"
        assert states[node] == "up" or not spec.home
