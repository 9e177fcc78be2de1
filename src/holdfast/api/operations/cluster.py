"""Settings of the whole cluster. (Creating one is `holdfast.bootstrap`.)

The timing profile is chosen when the cluster is created and cannot be changed here: agents and manager would use different
numbers for a while, and a manager with the shorter ones could claim a node that still runs (INV-2).
"""

from dataclasses import replace

from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.model import ShutdownPolicy
from holdfast.errors import InvalidInput
from holdfast.ports import Store
from holdfast.store import keys


async def update(store: Store, actor: Actor, *, dead_node_power_on: bool) -> Outcome:
    """Whether a node that was switched off by fencing and claimed is switched on again."""

    async def operation(draft: Draft) -> str:
        cluster = draft.cluster
        draft.put(keys.CLUSTER, replace(cluster, dead_node_power_on=dead_node_power_on))
        return f"cluster {cluster.name}: dead nodes are {'' if dead_node_power_on else 'not '}switched on again"

    return await transact(store, actor, operation)


async def set_shutdown_policy(store: Store, actor: Actor, policy: str) -> Outcome:
    """What becomes of the instances of a node that is shut down or rebooted on purpose."""
    if policy not in list(ShutdownPolicy):
        raise InvalidInput(f"there is no shutdown policy `{policy}`", f"Choose from {', '.join(ShutdownPolicy)}.")

    async def operation(draft: Draft) -> str:
        draft.put(keys.CLUSTER, replace(draft.cluster, shutdown_policy=ShutdownPolicy(policy)))
        if policy in (ShutdownPolicy.FREEZE, ShutdownPolicy.CONDITIONAL):
            draft.warn("The instances of a frozen node wait for its return, however long that takes.")
        return f"nodes that are shut down: {policy}"

    return await transact(store, actor, operation)
