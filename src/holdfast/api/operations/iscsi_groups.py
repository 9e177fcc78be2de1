"""iSCSI target groups: one target on several nodes. Create, start, stop, delete, who may log in."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from holdfast import locks
from holdfast.api.operations import checks, iscsi_nodes
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.model import Desired, InstanceSpec, NodeSpec, Role, ServiceSpec
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.services.iscsi import names
from holdfast.services.iscsi.chap import locked_group
from holdfast.services.iscsi.client_config import ENGINES
from holdfast.services.iscsi.config import KIND, ChapAccount, TargetGroup, VolumeRecord
from holdfast.services.iscsi.report import NodeReport
from holdfast.store import keys

MIN_NODES = 2
AUTHORITY = "iqn.2026-01.org.holdfast"
"""Begin of the names that are made up here."""


class Reports(Protocol):
    """What the nodes say of their iSCSI paths, read from the shared storage. Raises DriverError."""

    async def reports(self, root: str) -> dict[str, NodeReport]: ...


@dataclass(frozen=True, slots=True)
class NewGroup:
    name: str
    nodes: Sequence[str]
    portals: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Node → `ADDRESS[:PORT]` of its own; empty: its addresses on `networks`."""
    networks: Sequence[str] = ("public",)
    engine: str = ""
    """Empty: the best that all the nodes have."""
    iqn: str = ""
    """Empty: made from the names of cluster and group."""
    initiators: Sequence[str] = ()


async def create(store: Store, actor: Actor, reports: Reports, wish: NewGroup) -> Outcome:
    """The nodes get the role `storage`, and serve the target from then on, with no volume yet."""
    checks.name(wish.name, "target group")
    if wish.engine and wish.engine not in ENGINES:
        raise InvalidInput(f"there is no engine `{wish.engine}`", f"Choose {' or '.join(ENGINES)}, or none.")
    initiators = _initiators(wish.initiators)
    root = (await Draft.open(store)).cluster.shared_root
    said = await reports.reports(root)

    async def operation(draft: Draft) -> str:
        others = groups(draft)
        if wish.name in others:
            raise Conflict(f"a target group `{wish.name}` exists already", "Choose another name.")
        specs = checks.nodes(draft, wish.nodes)
        if len(specs) < MIN_NODES:
            raise InvalidInput(
                f"a target group needs at least {MIN_NODES} nodes, not {len(specs)}",
                "With fewer no path would be left when its node dies.",
            )
        portals = iscsi_nodes.portals(draft, specs, wish.portals, wish.networks)
        networks = iscsi_nodes.networks(specs, portals)
        group = TargetGroup(
            wish.name,
            wish.iqn or f"{AUTHORITY}:{draft.cluster.name}:{wish.name}",
            iscsi_nodes.engine(specs, said, wish.engine, others.values(), portals),
            portals,
            iscsi_nodes.tags(others.values(), wish.nodes),
            f"{AUTHORITY}:probe:{secrets.token_hex(16)}",
            initiators,
            networks=networks,
        )
        _check(group, others.values())
        _give_role(draft, specs)
        draft.put(keys.iscsi_group(group.name), group)
        if not initiators:
            draft.warn(f"Nobody may log in yet: holdfast iscsi target-group acl add {group.name} INITIATOR.")
        draft.data.update(iqn=group.iqn, engine=group.engine, portals=portals, tags=group.tags)
        return f"target group {group.name} on {', '.join(group.nodes)} ({group.engine}): {group.iqn}"

    return await transact(store, actor, operation)


async def add_nodes(
    store: Store,
    actor: Actor,
    reports: Reports,
    name: str,
    nodes: Sequence[str],
    *,
    portals: Mapping[str, Sequence[str]],
) -> Outcome:
    """They get standby paths to all its volumes."""
    if not nodes:
        raise InvalidInput("no node is named", "Name it with --nodes.")
    root = (await Draft.open(store)).cluster.shared_root
    said = await reports.reports(root)

    async def operation(draft: Draft) -> str:
        group, known = find(draft, name), groups(draft)
        specs = checks.nodes(draft, nodes)
        there = [spec.id for spec in specs if spec.id in group.portals]
        if there:
            raise Conflict(f"node `{there[0]}` is of the target group `{name}` already", "Leave it out.")
        others = [other for other in known.values() if other.name != name]
        added = iscsi_nodes.portals(draft, specs, portals, group.networks)
        iscsi_nodes.networks([*checks.nodes(draft, group.nodes), *specs], {**group.portals, **added})
        iscsi_nodes.engine(specs, said, group.engine, others, added)
        tags = iscsi_nodes.tags(known.values(), nodes)
        larger = replace(group, portals={**group.portals, **added}, tags={**group.tags, **tags})
        _check(larger, others)
        _give_role(draft, specs)
        _put_nodes(draft, larger)
        draft.warn(f"Clients must log in to its portals too: holdfast iscsi client-config {name}.")
        return f"target group {name} is served by {', '.join(larger.nodes)}"

    return await transact(store, actor, operation)


async def start(store: Store, actor: Actor, name: str) -> Outcome:
    """Its target and its volumes are served."""

    async def operation(draft: Draft) -> str:
        started = _set_started(draft, find(draft, name), started=True)
        return f"target group {name} is to be started" if started else f"target group {name} was started already"

    return await transact(store, actor, operation)


async def stop(store: Store, actor: Actor, name: str) -> Outcome:
    """No node serves it any more; its volumes stay attached, and the data stay."""

    async def operation(draft: Draft) -> str:
        stopped = _set_started(draft, find(draft, name), started=False)
        return f"target group {name} is to be stopped" if stopped else f"target group {name} was stopped already"

    return await transact(store, actor, operation)


def _set_started(draft: Draft, group: TargetGroup, *, started: bool) -> bool:
    """Whether anything had to be changed."""
    before, after = (Desired.STOPPED, Desired.STARTED) if started else (Desired.STARTED, Desired.STOPPED)
    changed = [spec for spec in instances(draft, group.name) if spec.desired is before and not deleting(draft, spec)]
    for spec in changed:
        draft.put(keys.instance(spec.id), replace(spec, desired=after))
    if group.started is not started:
        draft.put(keys.iscsi_group(group.name), replace(group, started=started))
    return bool(changed) or group.started is not started


async def delete(store: Store, actor: Actor, name: str) -> Outcome:
    """Refused while a volume is attached, or not yet confirmed detached."""

    async def operation(draft: Draft) -> str:
        find(draft, name)
        attached = sorted({spec.service for spec in instances(draft, name)} | set(members(draft, name)))
        if attached:
            raise Conflict(
                f"the target group `{name}` serves {', '.join(attached)}",
                f"Detach first: holdfast iscsi volume detach {attached[0]}.",
            )
        draft.delete(keys.iscsi_group(name))
        return f"target group {name} deleted"

    return await transact(store, actor, operation)


# --- who may log in -----------------------------------------------------------------------------------------------------


async def change_acl(
    store: Store, actor: Actor, name: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> Outcome:
    """Sessions of who is removed are ended."""
    added = _initiators(add)
    if not added and not remove:
        raise InvalidInput("no initiator is named", "Name one, e.g. iqn.2026-01.com.example:client1.")

    async def operation(draft: Draft) -> str:
        group = find(draft, name)
        for initiator in remove:
            if initiator not in group.initiators:
                raise checks.not_found("initiator", initiator, group.initiators)
        kept = [initiator for initiator in group.initiators if initiator not in remove]
        changed = replace(group, initiators=tuple(dict.fromkeys((*kept, *added))))
        _check(changed, [])
        draft.put(keys.iscsi_group(name), changed)
        if not changed.initiators:
            draft.warn(f"Nobody may log in to {name} any more.")
        return f"initiators of {name}: {', '.join(changed.initiators) or 'nobody'}"

    return await transact(store, actor, operation)


async def set_chap(
    store: Store,
    actor: Actor,
    name: str,
    *,
    chap: ChapAccount | None,
    mutual: ChapAccount | None = None,
    secret: Callable[[], bytes] | None = None,
) -> Outcome:
    """What initiators must prove to know, and with `mutual` what the target proves to them. None: nothing. The secrets
    stand in the store, locked with `secret()`, and nowhere else."""

    async def operation(draft: Draft) -> str:
        group = find(draft, name)
        changed = replace(group, chap=chap, mutual=mutual)
        _check(changed, [other for other in groups(draft).values() if other.name != name])
        draft.put(keys.iscsi_group(name), locked_group(changed, secret()) if chap and secret else changed)
        if chap is None:
            return f"target group {name} asks for no CHAP any more"
        draft.warn("Who is logged in must log in again with it.")
        return f"target group {name} asks for CHAP as {chap.user}" + (
            f", and proves itself as {mutual.user}" if mutual else ""
        )

    return await transact(store, actor, operation)


def forget_node(draft: Draft, node: str) -> None:
    """The node leaves the cluster, and with it its target groups. Raises Conflict where it is the last one."""
    for group in groups(draft).values():
        if node not in group.portals:
            continue
        if group.nodes == (node,):
            raise Conflict(
                f"`{node}` is the last node of the target group `{group.name}`",
                f"Delete the group first: holdfast iscsi target-group delete {group.name}.",
            )
        portals = {name: own for name, own in group.portals.items() if name != node}
        left = replace(group, portals=portals, tags={name: group.tags[name] for name in portals})
        _put_nodes(draft, left)
        draft.warn(f"The target group {group.name} is served by {', '.join(left.nodes)} from now on.")


def require_started(draft: Draft, spec: InstanceSpec) -> None:
    """A volume cannot be served by a group that is not. Raises Conflict."""
    group = groups(draft).get(str(spec.config.get("group")))
    if group is not None and not group.started:
        raise Conflict(
            f"the target group `{group.name}` of `{spec.service}` is stopped",
            f"Start it: holdfast iscsi target-group start {group.name}.",
        )


# --- small things -------------------------------------------------------------------------------------------------------


def groups(draft: Draft) -> dict[str, TargetGroup]:
    return {group.name: group for group in draft.specs(keys.ISCSI_GROUPS, TargetGroup)}


def find(draft: Draft, name: str) -> TargetGroup:
    known = groups(draft)
    if name not in known:
        raise checks.not_found("target group", name, known)
    return known[name]


def members(draft: Draft, group: str) -> dict[str, VolumeRecord]:
    """The volumes that are attached to it."""
    records = draft.specs(keys.ISCSI_VOLUMES, VolumeRecord)
    return {record.name: record for record in records if record.group == group}


def instances(draft: Draft, group: str) -> list[InstanceSpec]:
    """Its active paths, those of volumes that are being detached among them."""
    return [spec for spec in draft.instances.values() if spec.kind == KIND and spec.config.get("group") == group]


def deleting(draft: Draft, spec: InstanceSpec) -> bool:
    service = draft.spec(keys.service(KIND, spec.service), ServiceSpec)
    return service is not None and bool(service.config.get("deleting"))


def _initiators(given: Sequence[str]) -> tuple[str, ...]:
    for initiator in given:
        names.check_name(initiator, "initiator")
    return tuple(dict.fromkeys(given))


def _give_role(draft: Draft, specs: Sequence[NodeSpec]) -> None:
    for spec in specs:
        if Role.STORAGE not in spec.roles:
            draft.put(keys.node_spec(spec.id), replace(spec, roles=(*spec.roles, Role.STORAGE)))


def _put_nodes(draft: Draft, group: TargetGroup) -> None:
    """The group has other nodes than before, and so have its volumes' active paths."""
    draft.put(keys.iscsi_group(group.name), group)
    for spec in instances(draft, group.name):
        draft.put(keys.instance(spec.id), replace(spec, nodes=group.nodes))


def _check(group: TargetGroup, others: Iterable[TargetGroup]) -> None:
    """Everything that goes to an engine. Raises InvalidInput, Conflict."""
    shown = group
    if any(account and locks.is_marked(account.secret) for account in (group.chap, group.mutual)):
        shown = replace(group, chap=None, mutual=None)  # checked before they were locked
    for node in group.nodes:
        shown.target(node)
    users = {account.user for account in (group.chap, group.mutual) if account}
    for other in others:
        if other.iqn == group.iqn:
            raise Conflict(f"the target group `{other.name}` has the name {group.iqn} already", "Choose another --iqn.")
        both = users & {account.user for account in (other.chap, other.mutual) if account}
        if both:
            raise Conflict(
                f"the CHAP user {min(both)} belongs to the target group `{other.name}`",
                "tgt knows one secret per user: give each target group users of its own.",
            )
