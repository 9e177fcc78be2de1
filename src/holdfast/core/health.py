"""Flap damping: a node that fails again and again carries nothing new until an operator has looked at it."""

from holdfast.core.model import Proof
from holdfast.core.policy import NodeFailure, NodeHealth
from holdfast.core.view import NodeView, View

WINDOW_S = 3600.0
"""Failures older than this count no more."""
LIMIT = 3
"""So many failures within the window put a node into quarantine."""


def is_failure(node: NodeView, proof: Proof) -> bool:
    """Is a claim with this proof a failure of the node? Not if it took leave, and not while people work on it."""
    return proof is not Proof.RELEASED and node.maintenance is None


def after_failure(view: View, node: NodeView, now: float) -> NodeHealth:
    """The node's health with the failure that is claimed at this moment."""
    old = node.health or NodeHealth()
    recent = [failure for failure in old.failures if _age(view, failure, now) < WINDOW_S]
    failures = (*recent, NodeFailure(view.term, now))
    quarantined = old.quarantined
    if not quarantined and len(failures) >= LIMIT and _may_quarantine(view, node):
        quarantined = (
            f"it failed {len(failures)} times within an hour; once it is sound: holdfast node return {node.id}"
        )
    return NodeHealth(failures, quarantined)


def _age(view: View, failure: NodeFailure, now: float) -> float:
    """Seconds since the failure; a lower bound for one of an earlier term, whose manager had another clock."""
    return now - (failure.at if failure.term == view.term else view.term_since)


def _may_quarantine(view: View, node: NodeView) -> bool:
    """Half of the nodes failing again and again points at the site and not at the nodes: leave something to run on."""
    others = [n for n in view.nodes.values() if n.id != node.id and n.health is not None and n.health.quarantined]
    return 2 * (len(others) + 1) < len(view.nodes)
