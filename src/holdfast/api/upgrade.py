"""When a node's daemons may be replaced by another version, and when that is done. Pure: both read the cluster's picture.

A node that is upgraded in place gives nothing away. But if its new agent does not come up, the guard stops what it carries
at the deadline, and the others must take it: so they must be there, and have room.
"""

from collections.abc import Sequence

from holdfast.api.status import ClusterStatus, NodeStatus
from holdfast.core.model import KINDS, NodeState
from holdfast.software import older

SHOWN = 3
"""Of what stands against it, at most so many of a sort are named."""
_PRESENT = (NodeState.UP, NodeState.MAINTENANCE)


def hindrances(status: ClusterStatus, node: str) -> list[str]:
    """One sentence for each reason not to do it now; empty: it may be done."""
    here = status.node(node)
    if here is None:
        return [f"{node} is no node of this cluster"]
    found = [
        f"{other.id} is {other.state}, so something may depend on {node}"
        for other in status.nodes
        if other.id != node and other.state not in (*_PRESENT, NodeState.NEVER_SEEN)
    ]
    if here.state not in _PRESENT:
        found.append(f"{node} itself is {here.state}")
    if status.store_problem:
        found.append(f"the store: {status.store_problem}")
    if status.pause is not None:
        found.append("high availability is paused: nobody would take over if the node did not come back")
    elif status.hold:
        found.append(f"the manager holds: {status.hold}")
    if not status.manager.node:
        found.append("no manager leads")
    found += [f"the store's member on {m.node} is {m.state}" for m in status.management.members if m.state != "voter"]
    found += [f"incident {incident.id} of {incident.node} is open" for incident in status.open_incidents]
    if status.guarantee is not None and not status.guarantee.holds:
        found.append(f"the guarantee does not hold: {status.guarantee.text}")
    return found + [text for name in here.instances if (text := _unhealthy(status, name, node))]


def backwards(status: ClusterStatus, unknown: Sequence[str], installed: str) -> list[str]:
    """One sentence for each reason not to go back to the installed version from a newer one that some node runs; empty: it
    may be done, or leads forward. `unknown`: keys of the store that the installed version has no name for."""
    newer = [text for text in versions(status) if older(installed, text)]
    if not newer:
        return []
    back = f"{installed} is older than {newer[-1]}, which runs on {', '.join(versions(status)[newer[-1]])}"
    kinds = sorted({instance.kind for instance in status.instances} - set(KINDS))
    found = [f"{back}, and cannot read all that was written: {text}" for text in status.problems[:SHOWN]]
    if unknown:
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        found.append(f"{back}, and knows nothing of {', '.join(unknown[:SHOWN])}{more}")
    if kinds:
        found.append(f"{back}, and has no services of kind {', '.join(kinds)}: nobody would look after them")
    return found


def not_yet(status: ClusterStatus, before: NodeStatus, version: str) -> str:
    """What is missing until `before`, the node as it was, is there again with the version; empty: nothing."""
    now = status.node(before.id)
    if now is None:
        return f"{before.id} to be known"
    if now.session == before.session or now.version != version:
        return f"the agent of {before.id} to be of version {version}"
    if now.state not in _PRESENT:
        return f"{before.id} to be up ({now.state})"
    if before.watchdog is not None and now.watchdog is None:
        return f"the watchdog of {before.id} to be attested"
    if not status.manager.node:
        return "a manager to lead"
    return next((text for name in before.instances if (text := _unhealthy(status, name, before.id))), "")


def _unhealthy(status: ClusterStatus, name: str, node: str) -> str:
    """Why an instance does not do on the node what it is to do. One that is not wanted there any more is no concern."""
    instance = status.instance(name)
    if instance is None or instance.node != node or instance.desired != "started" or instance.healthy:
        return ""
    return f"{name} on {node} is {instance.state} and not healthy"


def versions(status: ClusterStatus) -> dict[str, tuple[str, ...]]:
    """Version → the nodes whose agents have it, of those that were seen. Empty: older than versions are told."""
    found: dict[str, list[str]] = {}
    for node in status.nodes:
        if node.session:
            found.setdefault(node.version, []).append(node.id)
    return {version: tuple(nodes) for version, nodes in sorted(found.items())}
