"""What every move for the sake of evenness has to respect, whether it is of what is weighed or of what is counted."""

from dataclasses import dataclass

from holdfast.core.batch import Batch
from holdfast.core.model import Desired, Goal, InstanceSpec
from holdfast.core.view import InstanceView, NodeView, View


@dataclass(frozen=True, slots=True)
class Proposal:
    """One move."""

    instance: str
    source: str
    target: str
    live: bool
    """Without an interruption worth the name: by live migration, or by a change of state."""
    gain: float
    """By how much it lowers what is evened out: the strain, or the sum of the squared counts."""
    cost: float
    counts: tuple[int, int] | None = None
    """Of what is counted: how many of its spread set are on source and target before."""


def calm(view: View, now: float) -> bool:
    """No node is missing or just coming back from a maintenance, and the cluster is judged and acted upon at all."""
    if view.pause is not None or not view.settled:
        return False
    return not any(node.down(view.timing, now) or node.bring_back is not None for node in view.nodes.values())


def takes_part(view: View, node: NodeView, now: float) -> bool:
    """It may give and take: it is well, and open to anything new."""
    return node.well(view.timing, now) and not node.closed_reason


def undisturbed(batch: Batch, instance: InstanceView) -> bool:
    """It runs well on one node, in no group of strict affinity, and has no home; nothing is under way with it, and no lock
    holds it."""
    spec, placement = instance.spec, instance.placement
    if placement is None or placement.goal is not Goal.RUN or spec.desired is not Desired.STARTED:
        return False
    held = instance.lock is not None or instance.move is not None or bool(instance.bound_for) or instance.deleting
    alone = not spec.home and spec.id not in batch.rules.blocked and len(batch.rules.group(spec.id).members) == 1
    return not held and alone and len(batch.executors(instance)) == 1 and runs_well(instance)


def runs_well(instance: InstanceView) -> bool:
    word = instance.word
    return instance.running() and word is not None and (word.healthy or word.stable)


def liked_less(batch: Batch, spec: InstanceSpec, source: str, target: str) -> bool:
    """Its preferences speak against the move, or might for somebody else."""
    group = batch.rules.group(spec.id)
    if group.preference(target) < group.preference(source):
        return True
    for bond in group.likes:
        others = {node for o in bond.others if o != spec.id for node in bond.reach(batch.where.get(o, ()))}
        # Whom it likes to be with would be left behind, or come after it; whom it shuns would have it as company.
        if others if bond.weight > 0 else target in others:
            return True
    return False
