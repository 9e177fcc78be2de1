"""High availability of the management plane: which nodes carry store, manager and panel, and the panel's own address.

The operations only write what is wanted (spec/management, roles, the panel's instance); the manager then moves the store's
members there one step at a time.
"""

from collections.abc import Sequence
from dataclasses import replace

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.dns_model import Zone
from holdfast.core.model import (
    Exclusivity,
    InstanceSpec,
    ManagementSpec,
    NodeSpec,
    Role,
    ServiceAddress,
    ServiceSpec,
)
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.services.gateway_ha import adapted
from holdfast.store import keys

NETWORK = "management"
PANEL = "panel/admin"
SIZES = (3, 5)


async def enable(
    store: Store, actor: Actor, *, virtual_ip: str, nodes: Sequence[str], probe: checks.Probe | None = None
) -> Outcome:
    """From one management node to three or five, with a dedicated address for the panel."""

    async def operation(draft: Draft) -> str:
        management = draft.management
        if management.virtual_ip or len(management.nodes) > 1:
            raise Conflict(
                f"management HA is already enabled on {', '.join(management.nodes)}",
                "Change it with `holdfast ha update`, look at it with `holdfast ha show`.",
            )
        wanted = _check_size(draft, nodes)
        missing = [node for node in management.nodes if node not in nodes]
        if missing:
            raise InvalidInput(
                f"the present management node `{missing[0]}` is not among the nodes given",
                f"Name `{missing[0]}` in the place of another node; it can be replaced afterwards by `holdfast ha update`.",
            )
        for spec in wanted:
            await checks.require_up(draft, spec, "management HA")
        address = await checks.free_address(draft, virtual_ip, NETWORK, probe)
        more = _write(draft, management, wanted, address)
        return f"management HA enabled on {', '.join(nodes)} with the address {address.ip}{more}"

    return await transact(store, actor, operation)


async def update(
    store: Store,
    actor: Actor,
    *,
    nodes: Sequence[str] = (),
    virtual_ip: str = "",
    probe: checks.Probe | None = None,
) -> Outcome:
    """Other management nodes (three or five; the manager replaces them one at a time) or another address."""
    if not nodes and not virtual_ip:
        raise InvalidInput("nothing to change", "Give --nodes, --virtual-ip or both.")

    async def operation(draft: Draft) -> str:
        management = _enabled(draft)
        names = tuple(nodes) or management.nodes
        wanted = _check_size(draft, names)
        if not set(names) & set(management.nodes):
            raise InvalidInput(
                "none of the present management nodes is among the nodes given",
                f"Keep at least one of {', '.join(management.nodes)}: the others copy the store from it.",
            )
        for spec in wanted:
            if spec.id not in management.nodes:
                await checks.require_up(draft, spec, "management HA")
        address = ServiceAddress(management.virtual_ip, NETWORK)
        # The address in use is answered by the panel itself: only a new one is probed.
        if virtual_ip and checks.ip(virtual_ip) != checks.ip(management.virtual_ip):
            address = await checks.free_address(draft, virtual_ip, NETWORK, probe)
        _write(draft, management, wanted, address)
        return f"management HA moves to {', '.join(names)} with the address {address.ip}"

    return await transact(store, actor, operation)


async def disable(store: Store, actor: Actor, *, keep: str) -> Outcome:
    """Back to one management node without a dedicated address."""

    async def operation(draft: Draft) -> str:
        management = _enabled(draft)
        spec = checks.node(draft, keep)
        if keep not in management.nodes:
            raise InvalidInput(f"node `{keep}` is not a management node", f"Keep one of {', '.join(management.nodes)}.")
        await checks.require_up(draft, spec, "keeping the management plane")
        _write(draft, management, [spec], None)
        draft.warn(f"From now on the store and the panel are lost while `{keep}` is down.")
        return f"management HA disabled; `{keep}` stays the management node"

    return await transact(store, actor, operation)


def _enabled(draft: Draft) -> ManagementSpec:
    management = draft.management
    if not management.virtual_ip:
        raise Conflict("management HA is not enabled", "Enable it with `holdfast ha enable`.")
    return management


def _check_size(draft: Draft, names: Sequence[str]) -> list[NodeSpec]:
    wanted = checks.nodes(draft, names)
    if len(wanted) not in SIZES:
        raise InvalidInput(
            f"management HA needs 3 or 5 nodes, not {len(wanted)}",
            "An odd number keeps a majority when nodes fail: 3 survive one failure, 5 survive two.",
        )
    for spec in wanted:
        if NETWORK not in spec.addresses:
            raise InvalidInput(f"node `{spec.id}` has no address on the network `{NETWORK}`", "Choose another node.")
    return wanted


def _write(draft: Draft, old: ManagementSpec, wanted: Sequence[NodeSpec], address: ServiceAddress | None) -> str:
    names = tuple(spec.id for spec in wanted)
    management = replace(old, nodes=names, virtual_ip=address.ip if address else "")  # members are the manager's
    draft.put(keys.MANAGEMENT, management)
    if set(names) != set(old.nodes):
        for zone in draft.specs(keys.DNS_ZONES, Zone):
            draft.warn(f"The name servers of {zone.apex} change: correct its delegation, see `holdfast dns zone list`.")
    for spec in wanted:
        if Role.MANAGEMENT not in spec.roles:
            draft.put(keys.node_spec(spec.id), replace(spec, roles=(Role.MANAGEMENT, *spec.roles)))
    for spec in draft.nodes.values():
        if spec.id in old.nodes and spec.id not in names:
            roles = tuple(role for role in spec.roles if role is not Role.MANAGEMENT)
            draft.put(keys.node_spec(spec.id), replace(spec, roles=roles))
    panel = draft.instances.get(PANEL) or panel_instance(names)
    draft.put(keys.instance(PANEL), replace(panel, nodes=names, address=address))
    if draft.spec(keys.service("panel", "admin"), ServiceSpec) is None:
        draft.put(keys.service("panel", "admin"), ServiceSpec("panel", "admin"))
    return _adapt_gateways(draft, management)


def _adapt_gateways(draft: Draft, management: ManagementSpec) -> str:
    """High availability of S3 and of backup gateways is on only together with that of the management plane: what is on now
    and was not, for the sentence."""
    changed = list(adapted(draft.instances.values(), management))
    for spec in changed:
        draft.put(keys.instance(spec.id), spec)
    off, on = (sorted({f"{spec.kind}/{spec.service}" for spec in changed if spec.ha is ha}) for ha in (False, True))
    if off:
        draft.warn(f"High availability of {', '.join(off)} is OFF from now on, until `holdfast ha enable`.")
    return f", and with it high availability of {', '.join(on)}" if on else ""


def panel_instance(nodes: tuple[str, ...]) -> InstanceSpec:
    """The admin panel's instance as a new cluster has it."""
    return InstanceSpec(
        id=PANEL,
        kind="panel",
        service="admin",
        exclusivity=Exclusivity.ADVISORY,
        role=Role.MANAGEMENT,
        nodes=nodes,
        priority=1000,
    )
