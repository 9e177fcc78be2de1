"""The compute cluster: which nodes carry virtual machines, what is kept free, and whether lost machines are recovered."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from holdfast.api.operations import checks
from holdfast.api.operations.admission import admit
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.model import NetworkSpec, NodeSpec, Role
from holdfast.core.policy import ComputeSpec
from holdfast.core.view import InstanceView, View
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.store import keys

REBALANCE = ("off", "auto")
MAX_RESERVE_MIB = 1 << 20
_BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")


async def create_cluster(
    store: Store,
    actor: Actor,
    *,
    nodes: Sequence[str],
    tolerate: int = 1,
    ha: bool = True,
    reserve_cpu: float = 0.0,
    reserve_memory_mib: int = 512,
    bridges: Mapping[str, str] | None = None,
) -> Outcome:
    """Give the nodes the role `compute`. High availability is on from the start. `bridges`: network → the Linux bridge that
    joins guests to it, of the same name on every node."""

    async def operation(draft: Draft) -> str:
        if draft.spec(keys.COMPUTE, ComputeSpec) is not None:
            raise Conflict(
                "there is a compute cluster already", "Look at it with `holdfast compute status`, change it with `set`."
            )
        spec = ComputeSpec(tuple(nodes), ha, tolerate, reserve_cpu, reserve_memory_mib)
        _check(draft, spec)
        _give_role(draft, spec)
        _set_bridges(draft, bridges or {})
        draft.put(keys.COMPUTE, spec)
        await admit(draft)
        recovered = "survives" if ha else "recovers nothing by itself, and is to have room for"
        return f"compute cluster on {', '.join(nodes)}; it {recovered} {_failures(tolerate)}"

    return await transact(store, actor, operation)


async def change(
    store: Store,
    actor: Actor,
    *,
    nodes: Sequence[str] | None = None,
    tolerate: int | None = None,
    reserve_cpu: float | None = None,
    reserve_memory_mib: int | None = None,
    rebalance: str | None = None,
    bridges: Mapping[str, str] | None = None,
    force: bool = False,
) -> Outcome:
    """Change what is given (not None). A node that is no longer named loses the role `compute`: its machines move off."""
    given = {
        "nodes": None if nodes is None else tuple(nodes),
        "tolerate": tolerate,
        "reserve_cpu": reserve_cpu,
        "reserve_memory_mib": reserve_memory_mib,
        "rebalance": rebalance,
    }
    changes = {name: value for name, value in given.items() if value is not None}

    async def operation(draft: Draft) -> str:
        if not changes and not bridges:
            raise InvalidInput("there is nothing to change", "Name what: see `holdfast compute set --help`.")
        old = existing(draft)
        spec = replace(old, **changes)  # type: ignore[arg-type]
        _check(draft, spec, leaving=old.nodes)
        _give_role(draft, spec)
        for name in sorted(set(old.nodes) - set(spec.nodes)):
            node = draft.nodes.get(name)
            if node is not None:
                roles = tuple(role for role in node.roles if role is not Role.COMPUTE)
                draft.put(keys.node_spec(name), replace(node, roles=roles))
        _set_bridges(draft, bridges or {})
        draft.put(keys.COMPUTE, spec)
        await admit(draft, force=force)
        said = [f"{name.replace('_', ' ')} {_shown(value)}" for name, value in changes.items()]
        said += [f"bridge of {network} {bridge}" for network, bridge in sorted((bridges or {}).items())]
        return f"compute cluster: {', '.join(said)}"

    return await transact(store, actor, operation)


async def set_ha(store: Store, actor: Actor, *, on: bool) -> Outcome:
    """Off: a machine whose node died waits for that node's return, whatever its own setting says."""

    async def operation(draft: Draft) -> str:
        old = existing(draft)
        if old.ha is on:
            raise Conflict(
                f"high availability of virtual machines is {'on' if on else 'off'} already", "There is nothing to do."
            )
        draft.put(keys.COMPUTE, replace(old, ha=on))
        # It takes no room away; least of all while nodes are dead is anybody to be kept from having machines recovered.
        await admit(draft, force=True)
        if not on:
            draft.warn("No virtual machine is recovered until `holdfast compute ha enable`.")
        return f"high availability of virtual machines is {'on' if on else 'off'}"

    return await transact(store, actor, operation)


def existing(draft: Draft) -> ComputeSpec:
    """Raises Conflict if there is none."""
    spec = draft.spec(keys.COMPUTE, ComputeSpec)
    if spec is None:
        raise Conflict("there is no compute cluster yet", "Create it once: holdfast compute create-cluster --nodes ….")
    return spec


def _check(draft: Draft, spec: ComputeSpec, *, leaving: Sequence[str] = ()) -> None:
    if not spec.nodes:
        raise InvalidInput("a compute cluster needs a node", "Name its nodes with --nodes.")
    checks.nodes(draft, spec.nodes)
    if not 0 <= spec.tolerate < len(spec.nodes):
        raise InvalidInput(
            f"{len(spec.nodes)} nodes cannot tolerate {_failures(spec.tolerate)}",
            f"Choose 0 to {len(spec.nodes) - 1}, or name more nodes.",
        )
    if not 0 <= spec.reserve_memory_mib <= MAX_RESERVE_MIB or not 0 <= spec.reserve_cpu <= 1024:
        raise InvalidInput(
            f"a reserve of {spec.reserve_cpu:g} cores and {spec.reserve_memory_mib} MiB cannot be",
            "Give what the node itself needs, e.g. 1 core and 2GiB.",
        )
    if spec.rebalance not in REBALANCE:
        raise InvalidInput(f"there is no way `{spec.rebalance}` to rebalance", f"Choose {' or '.join(REBALANCE)}.")
    others = [node.id for node in carriers(draft) if node.id not in (*spec.nodes, *leaving)]
    if others:
        draft.warn(f"{', '.join(sorted(others))}: has the role `compute` too, and may carry virtual machines as well.")


def _give_role(draft: Draft, spec: ComputeSpec) -> None:
    for node in checks.nodes(draft, spec.nodes):
        if Role.COMPUTE not in node.roles:
            draft.put(keys.node_spec(node.id), replace(node, roles=(*node.roles, Role.COMPUTE)))


def _set_bridges(draft: Draft, bridges: Mapping[str, str]) -> None:
    if not bridges:
        return
    for name, bridge in bridges.items():
        checks.network(draft, name)
        if not _BRIDGE.fullmatch(bridge):
            raise InvalidInput(f"`{bridge}` cannot be the name of a bridge", "Use up to 15 letters, digits, . _ and -.")
    networks = tuple(_bridged(network, bridges) for network in draft.cluster.networks)
    draft.put(keys.CLUSTER, replace(draft.cluster, networks=networks))


def _bridged(network: NetworkSpec, bridges: Mapping[str, str]) -> NetworkSpec:
    return replace(network, bridge=bridges[network.name]) if network.name in bridges else network


def picture(view: View, now: float) -> dict[str, object]:
    """The settings (None before `create-cluster`), and for each node that may carry machines what it has for them, what is
    free, and which ones are placed there."""
    placed: dict[str, list[InstanceView]] = {}
    for instance in view.instances.values():
        for node in instance.executors(view.nodes):
            placed.setdefault(node, []).append(instance)
    nodes = [
        {
            "id": node.id,
            "state": node.state(view.timing, now),
            "cpu": node.cpu,
            "memory_mib": node.memory_mib,
            "cpu_free": round(node.cpu - sum(i.spec.cpu for i in placed.get(node.id, ())), 3),
            "memory_free_mib": node.memory_mib - sum(i.spec.memory_mib for i in placed.get(node.id, ())),
            "vms": sorted(i.spec.service for i in placed.get(node.id, ()) if i.spec.role is Role.COMPUTE),
        }
        for node in view.nodes.values()
        if Role.COMPUTE in node.spec.roles
    ]
    return {"cluster": view.compute, "nodes": nodes}


def carriers(draft: Draft) -> list[NodeSpec]:
    """Nodes that may carry virtual machines."""
    return [node for node in draft.nodes.values() if Role.COMPUTE in node.roles]


def _failures(count: int) -> str:
    if count == 0:
        return "no failure"
    return "the failure of one node" if count == 1 else f"the failure of {count} nodes"


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
