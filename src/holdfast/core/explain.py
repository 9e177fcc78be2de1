"""Why an instance is where it is, why it waits, and for each node what speaks for or against it.

Asked of the code that decides: the turn is taken up to the instance in question, then the same choice is made again and
again, each time without the node that was chosen before; so the order of the answers is the order of the decision.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from holdfast.core.batch import Batch, counters_of
from holdfast.core.capacity import MICRO, Amount
from holdfast.core.counts import kind_of, spread_set
from holdfast.core.decide_instances import instance_intents
from holdfast.core.model import Desired, InstanceSpec
from holdfast.core.placement import Choice, Label
from holdfast.core.view import InstanceView, NodeView, View

RANKED = 16
"""So many nodes are ranked one by one; the others that could take it are only named so."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One node."""

    node: str
    rank: int
    """1: the planner's choice, 2: its next one …; 0: it may not go there, or is not ranked."""
    text: str
    """Reads after the node's name."""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    instance: str
    node: str
    """Where it is placed; "": nowhere."""
    why_there: str
    """As the decision that put it there said."""
    waiting: str
    """Why it does not run, or does not go where it should; "": it waits for nothing."""
    verdicts: tuple[Verdict, ...]
    """The best first, what is refused last."""


def explain(view: View, instance_id: str, now: float) -> Explanation:
    """The instance must be in the view. `now`: the observer's CLOCK_BOOTTIME, seconds."""
    instance = view.instances[instance_id]
    batch = _turn_before(view, instance_id, now)
    runs = bool(batch.executors(instance))
    verdicts = tuple(_verdicts(batch, instance, runs=runs))
    list(instance_intents(batch, instance))  # notes why it waits
    placement = instance.placement
    return Explanation(
        instance_id,
        placement.node if placement else "",
        placement.reason if placement else "",
        _wish(instance) or batch.waiting.get(instance_id, ""),
        verdicts,
    )


def _turn_before(view: View, instance_id: str, now: float) -> Batch:
    """The turn as it stands when the instance's own turn comes: those before it in the order have taken what they need."""
    batch = Batch.of(view, now, ())
    for other in batch.ordered():
        if other.id == instance_id:
            break
        list(instance_intents(batch, other))
    return batch


def _wish(instance: InstanceView) -> str:
    words = {
        Desired.STOPPED: "its operator wants it stopped; the nodes are judged as if it were to be started",
        Desired.DISABLED: "its operator has disabled it: nothing is done for it",
        Desired.IGNORED: "its operator wants it left alone",
    }
    return words.get(instance.spec.desired, "")


def _verdicts(batch: Batch, instance: InstanceView, *, runs: bool) -> list[Verdict]:
    ranked: list[Verdict] = []
    every = batch.view.nodes
    nodes = dict(every if runs else batch.candidates(instance))
    waits = "does not come into question: its high availability is off, so it waits for the node it was on"
    others = [Verdict(name, 0, waits, refused=True) for name in sorted(every.keys() - nodes.keys())]
    before: _Traits | None = None
    here = instance.placement.node if instance.placement and runs else ""
    while nodes:
        choice = _choose(batch, instance, nodes, moving=runs)
        if not choice.node:
            return ranked + _refused(choice, nodes) + others
        if len(ranked) == RANKED:
            may = [name for name in nodes if name not in choice.reasons]
            ranked += [Verdict(name, 0, "could take it, after those above") for name in sorted(may)]
            return ranked + _refused(choice, choice.reasons) + others
        traits = _traits(batch, instance, nodes.pop(choice.node))
        text = _for(traits) if before is None else f"comes after {ranked[-1].node}: {_after(traits, before)}"
        text = f"{text}; it is there now" if choice.node == here else text
        ranked.append(Verdict(choice.node, len(ranked) + 1, text))
        before = traits
    return ranked + others


def _refused(choice: Choice, nodes: Iterable[str]) -> list[Verdict]:
    return [
        Verdict(name, 0, choice.reasons.get(name, "") or f"is not asked: {choice.why_not()}", refused=True)
        for name in sorted(nodes)
    ]


def _choose(batch: Batch, instance: InstanceView, nodes: Mapping[str, NodeView], *, moving: bool) -> Choice:
    """As `decide` would: a free instance is placed, one that runs is looked at as if it were to move, its own node among
    the candidates."""
    wanted, avoid = _asked_for(instance)
    tried = counters_of(instance)[1]
    return batch.choose(instance.spec, nodes, wanted=wanted, avoid=avoid, tried=tried, moving=moving)


def _asked_for(instance: InstanceView) -> tuple[str, str]:
    """(the node it should go to rather than to any other, the node it should leave)."""
    move, placement = instance.move, instance.placement
    if move is not None:
        return move.node, "" if move.node or placement is None else placement.node
    return placement.next_node if placement else "", ""


# --- in words -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Traits:
    """What the ranking of `core.placement.choose` looks at, in its order."""

    wanted: bool
    last_resort: bool
    home: bool
    well: bool
    preference: int
    mates: int
    company: int
    memory_free_mib: int
    """With the instance on it."""
    cpu_free: float
    like_it: int
    """Instances of its spread set with it on the node. Of a group: of each member's, added up."""
    of_kind: int
    carries: int
    needs_memory: bool
    needs_cpu: bool
    spread: str
    """The word that it is spread by; empty: by its weight, if it has one."""


def _traits(batch: Batch, instance: InstanceView, node: NodeView) -> _Traits:
    spec = instance.spec
    group = batch.rules.group(spec.id)
    wanted, avoid = _asked_for(instance)
    party = [spec, *(mate.spec for mate in batch.mates(instance))]
    to_come = [member for member in party if node.id not in batch.where.get(member.id, ())]
    left, arrays = batch.fleet.left(node.id), batch.fleet.arrays
    for member in to_come:
        left -= Amount.of(member)
    number, counts = arrays.index[node.id], arrays.counts
    return _Traits(
        wanted=node.id == wanted,
        last_resort=node.id == avoid or node.id in counters_of(instance)[1],
        home=node.id == spec.home,
        well=node.well(batch.view.timing, batch.now),
        preference=group.preference(node.id),
        mates=sum(node.id in batch.where.get(name, ()) for name in group.members),
        company=group.company(batch.where).get(node.id, 0),
        memory_free_mib=left.memory_mib,
        cpu_free=round(left.micro_cores / MICRO, 3),
        like_it=_count(spread_set, lambda key: int(counts.of_set(key)[number]), party, to_come),
        of_kind=_count(kind_of, lambda kind: int(counts.of_kind(kind)[number]), party, to_come),
        carries=int(arrays.count[number]) + len(to_come),
        needs_memory=any(member.memory_mib for member in party),
        needs_cpu=any(member.cpu for member in party),
        spread=spec.spread,
    )


def _count(
    label: Callable[[InstanceSpec], Label],
    carried: Callable[[Label], int],
    party: Iterable[InstanceSpec],
    to_come: Iterable[InstanceSpec],
) -> int:
    labels = Counter(map(label, party))
    there = sum(times * carried(of) for of, times in labels.items())
    return there + sum(labels[label(member)] for member in to_come)


def _for(traits: _Traits) -> str:
    if traits.wanted:
        return "is the first choice: it was asked for"
    if traits.home:
        return "is the first choice: it is its home"
    if traits.preference > 0:
        return "is the first choice: its rules prefer it"
    if traits.company > 0:
        return "is the first choice: those that it prefers to be with are there"
    if traits.spread:
        return f"is the first choice: it carries fewest {traits.spread} of its service ({traits.like_it} with it)"
    if traits.needs_memory:
        return f"is the first choice: most memory stays free with it there ({traits.memory_free_mib} MiB)"
    if traits.needs_cpu:
        return f"is the first choice: most cores stay free with it there ({traits.cpu_free:g})"
    return f"is the first choice: it carries fewest of this kind for the same nodes ({traits.like_it} with it)"


def _after(traits: _Traits, better: _Traits) -> str:
    """The first thing in the order of the ranking in which the two differ."""
    differences: Iterable[tuple[bool, str]] = (
        (traits.wanted != better.wanted, "that one was asked for"),
        (traits.last_resort != better.last_resort, "it is to leave this one, or failed to start there"),
        (traits.home != better.home, "that one is its home"),
        (traits.well != better.well, "this one is up for too short a time to be believed"),
        (traits.preference != better.preference, "its rules prefer it less"),
        (traits.mates != better.mates, "fewer of those that share its node are there"),
        (traits.company != better.company, "its rules prefer the company there less"),
        *(_by_number(traits, better) if traits.spread else ()),
        (
            traits.needs_memory and traits.memory_free_mib != better.memory_free_mib,
            f"less memory would stay free ({traits.memory_free_mib} MiB, there {better.memory_free_mib})",
        ),
        (
            traits.needs_cpu and traits.cpu_free != better.cpu_free,
            f"fewer cores would stay free ({traits.cpu_free:g}, there {better.cpu_free:g})",
        ),
        *_by_number(traits, better),
        (traits.carries != better.carries, f"it would carry more ({_instances(traits.carries)})"),
    )
    return next((text for differs, text in differences if differs), "all else is equal, and its name comes later")


def _by_number(traits: _Traits, better: _Traits) -> Iterator[tuple[bool, str]]:
    alike = f"{traits.spread} of its service" if traits.spread else "of this kind for the same nodes"
    yield (
        traits.like_it != better.like_it,
        f"it would carry more {alike} ({traits.like_it}, there {better.like_it})",
    )
    yield (
        traits.of_kind != better.of_kind,
        f"it would carry more of this kind ({traits.of_kind}, there {better.of_kind})",
    )


def _instances(count: int) -> str:
    return "1 instance" if count == 1 else f"{count} instances"
