"""Settings of the whole cluster. (Creating one is `holdfast.bootstrap`.)

The timing profile is chosen when the cluster is created and cannot be changed here: agents and manager would use different
numbers for a while, and a manager with the shorter ones could claim a node that still runs (INV-2).
"""

from dataclasses import replace

from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.ports import Store
from holdfast.store import keys


async def update(store: Store, actor: Actor, *, dead_node_power_on: bool) -> Outcome:
    """Whether a node that was switched off by fencing and claimed is switched on again."""

    async def operation(draft: Draft) -> str:
        cluster = draft.cluster
        draft.put(keys.CLUSTER, replace(cluster, dead_node_power_on=dead_node_power_on))
        return f"cluster {cluster.name}: dead nodes are {'' if dead_node_power_on else 'not '}switched on again"

    return await transact(store, actor, operation)
