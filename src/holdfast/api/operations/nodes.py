"""Member nodes: add, remove, fence devices, and an operator's word that one is dead."""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.api.operations import backup_clusters, checks, iscsi_groups, s3_nodes, trust
from holdfast.api.operations.admission import admit
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.bootstrap.validate import check_addresses, check_node_id
from holdfast.core.feasibility import infeasible
from holdfast.core.model import (
    KINDS,
    Beat,
    DeathConfirmation,
    Exclusivity,
    Fence,
    FenceDeviceSpec,
    InstanceStatus,
    NodeSpec,
    NodeState,
    Placement,
    Role,
    ShutdownPolicy,
)
from holdfast.core.policy import RuleSpec
from holdfast.errors import Conflict, InvalidInput
from holdfast.fencing.power.secrets import locked_devices
from holdfast.ports import PowerFences, Store
from holdfast.store import codec, keys

MakeBundle = Callable[[Store, NodeSpec], Awaitable[bytes]]
"""Makes what a new node needs to join: its certificate, the CA, the store's endpoints (holdfast.bootstrap)."""

Secret = Callable[[], bytes]
"""What secrets are locked with for the store. Raises ConfigError."""

DEVICE_TYPES = ("redfish", "fence-agent", "manual")
MAX_SLOTS = 1_000_000


async def add(
    store: Store,
    actor: Actor,
    *,
    node_id: str,
    roles: Sequence[str],
    addresses: Mapping[str, str],
    fence_devices: Sequence[FenceDeviceSpec] = (),
    failure_domain: str = "",
    fences: PowerFences | None = None,
    secret: Secret | None = None,
    make_bundle: MakeBundle | None = None,
    pki_dir: Path | None = None,
    token_s: float = 0.0,
) -> Outcome:
    """Make a node a member; `data` holds what its `holdfast node join` needs: a token that is good for `token_s` seconds, or
    without that the bundle in base64, which holds a private key.

    Its agent then writes the first beat by itself. A node that was removed before continues with a higher fence epoch, so
    that nothing its former self left behind counts (INV-3).
    """
    check_node_id(node_id)
    role_words = _roles(roles)
    check_devices(fence_devices, fences)

    async def operation(draft: Draft) -> str:
        if node_id in draft.nodes:
            raise Conflict(f"node `{node_id}` exists already", "Choose another id, or remove the old node first.")
        if Role.MANAGEMENT in role_words:
            raise InvalidInput(
                "the role `management` cannot be given to a new node",
                "Add the node first, then name it in `holdfast ha enable` or `holdfast ha update`.",
            )
        spec = NodeSpec(
            node_id,
            role_words,
            _addresses(draft, node_id, addresses),
            failure_domain,
            fence_devices=_locked(fence_devices, secret),
        )
        # Everything is checked now; if the bundle cannot be made, nothing must be committed.
        if token_s:
            draft.data["token"] = await trust.put_token(draft, actor, spec, token_s)
        else:
            bundle = await make_bundle(store, spec) if make_bundle else b""
            draft.data["bundle"] = base64.b64encode(bundle).decode()
            if pki_dir is not None:
                await trust.note_bundle(draft, node_id, bundle)
        old = await draft.read(keys.fence(node_id), Fence)
        draft.put(keys.node_spec(node_id), spec)
        draft.put(keys.fence(node_id), Fence(epoch=old.epoch + 1 if old else 1))
        if not fence_devices:
            draft.warn(
                f"`{node_id}` has no fence device: its strict instances move only after T_wait by an attested watchdog, "
                "or after `holdfast node confirm-dead`."
            )
        return f"node {node_id} added"

    return await transact(store, actor, operation)


def _roles(words: Sequence[str]) -> tuple[Role, ...]:
    if not words:
        raise InvalidInput("the node has no role", f"Give one or more of {', '.join(Role)}.")
    for word in words:
        if word not in list(Role):
            raise InvalidInput(f"there is no role `{word}`", f"Choose from {', '.join(Role)}.")
    return tuple(dict.fromkeys(Role(word) for word in words))


def _addresses(draft: Draft, node_id: str, addresses: Mapping[str, str]) -> dict[str, str]:
    check_addresses(node_id, addresses, draft.cluster.networks)
    owners = checks.address_owners(draft)
    result = {network: checks.ip(text) for network, text in addresses.items()}
    for address in result.values():
        if address in owners:
            raise Conflict(f"the address {address} is already used by {owners[address]}", "Choose another address.")
    return {network: str(address) for network, address in result.items()}


def _locked(devices: Sequence[FenceDeviceSpec], secret: Secret | None) -> tuple[FenceDeviceSpec, ...]:
    """As they are stored. Raises ConfigError, InvalidInput."""
    return locked_devices(devices, secret()) if secret else tuple(devices)


def check_devices(devices: Sequence[FenceDeviceSpec], fences: PowerFences | None) -> None:
    """Types and options are right as far as can be told without asking the device. Raises InvalidInput."""
    names = [device.name for device in devices]
    for device in devices:
        checks.name(device.name, "fence device")
        if names.count(device.name) > 1:
            raise InvalidInput(f"two fence devices are called `{device.name}`", "Give each its own name.")
        if device.type not in DEVICE_TYPES:
            raise InvalidInput(
                f"there is no fence device type `{device.type}`", f"Choose from {', '.join(DEVICE_TYPES)}."
            )
        if fences is not None and device.type != "manual":
            fences.open(device)


async def remove(
    store: Store, actor: Actor, node_id: str, *, force: bool = False, pki_dir: Path | None = None
) -> Outcome:
    """Forget a node that was shut down cleanly, or was claimed, and carries nothing. Its certificates are revoked and the
    shared secrets change. `force`: even if the cluster then survives less than it is to."""

    async def operation(draft: Draft) -> str:
        checks.node(draft, node_id)
        if node_id in draft.management.nodes:
            raise Conflict(
                f"node `{node_id}` is a management node", "Replace it first with `holdfast ha update --nodes …`."
            )
        if any(member.node == node_id for member in draft.management.members):
            raise Conflict(
                f"node `{node_id}` is still a member of the store", "Wait until `holdfast ha show` lists it no more."
            )
        state = await checks.node_state(draft, node_id, rely=True)
        if state not in (NodeState.RELEASED, NodeState.CLAIMED, NodeState.NEVER_SEEN):
            raise Conflict(
                f"node `{node_id}` is {state}",
                f"Shut it down first (`systemctl stop holdfast-agent` or power off on {node_id}), then remove it.",
            )
        fence = await draft.read(keys.fence(node_id), Fence, rely=True)
        epoch = fence.epoch if fence else 0
        placements = await _placements(store)
        # A placement that carries another fence epoch was voided by a claim: nothing of it counts there any more.
        placed = sorted(i for i, p in placements.items() if p.node == node_id and p.fence_epoch == epoch)
        if placed:
            raise Conflict(
                f"node `{node_id}` still carries {', '.join(placed)}",
                "Wait until they run elsewhere, or stop them with `holdfast service stop`.",
            )
        iscsi_groups.forget_node(draft, node_id)
        backup_clusters.forget_node(draft, node_id)
        s3_nodes.forget_node(draft, node_id)
        draft.delete(keys.node_spec(node_id))
        draft.delete(keys.beat(node_id))
        await draft.fetch(keys.death_confirmation(node_id))
        draft.delete(keys.death_confirmation(node_id))
        for leftover in (
            keys.maintenance(node_id),
            keys.bring_back(node_id),
            keys.health(node_id),
            keys.switched_off(node_id),
        ):
            if await draft.fetch(leftover) is not None:
                draft.delete(leftover)
        if pki_dir is not None:
            await trust.expel(draft, node_id, pki_dir)
        else:
            draft.warn(f"The machine still holds the cluster's certificate: wipe /etc/holdfast on {node_id}.")
        await admit(draft, force=force)
        # The fence record stays, so that a later node of the same id begins with a higher epoch.
        return f"node {node_id} removed"

    return await transact(store, actor, operation)


async def change(
    store: Store,
    actor: Actor,
    node_id: str,
    *,
    slots: Mapping[str, int | None] | None = None,
    failure_domain: str | None = None,
    force: bool = False,
) -> Outcome:
    """Change what is given. `slots`: kind → how many instances of it the node carries at most; None: no limit any more; a
    kind that is left out keeps its limit. Nothing is moved off for want of slots. `force`: even if the cluster then survives
    less than it is to."""
    slots = slots or {}
    _check_slots(slots)

    async def operation(draft: Draft) -> str:
        old = checks.node(draft, node_id)
        if not slots and failure_domain is None:
            raise InvalidInput("there is nothing to change", "Name what: see `holdfast node set --help`.")
        limits = {kind: count for kind, count in {**old.slots, **slots}.items() if count is not None}
        domain = old.failure_domain if failure_domain is None else failure_domain
        spec = replace(old, slots=limits, failure_domain=domain)
        _check_rules(draft, spec)
        draft.put(keys.node_spec(node_id), spec)
        placed = [name for name, placement in (await _placements(store)).items() if placement.node == node_id]
        for kind in sorted(limits.keys() & slots.keys()):
            count = sum(name.startswith(f"{kind}/") for name in placed)
            if count > limits[kind]:
                draft.warn(
                    f"{node_id} carries {count} instances of {kind}: they stay, and no other one is placed there."
                )
        await admit(draft, force=force)
        said = [f"slots {_slots_text(limits) or 'without limit'}"] if slots else []
        said += [f"failure domain {domain or 'none'}"] if failure_domain is not None else []
        return f"node {node_id}: {', '.join(said)}"

    return await transact(store, actor, operation)


def _check_rules(draft: Draft, changed: NodeSpec) -> None:
    rules, instances = draft.specs(keys.RULES, RuleSpec), draft.instances
    now, then = (infeasible(rules, instances, nodes) for nodes in (draft.nodes, {**draft.nodes, changed.id: changed}))
    broken = [sentence for rule, sentence in then.items() if rule not in now]
    if broken:
        raise Conflict(f"node `{changed.id}` cannot be changed so: {'; '.join(broken)}", "Change the rule first.")


def _slots_text(slots: Mapping[str, int]) -> str:
    return ", ".join(f"{count} for {kind}" for kind, count in sorted(slots.items()))


def _check_slots(slots: Mapping[str, int | None]) -> None:
    for kind, count in slots.items():
        if kind not in KINDS:
            raise InvalidInput(f"there is no kind `{kind}`", f"Choose from {', '.join(KINDS)}.")
        if count is not None and not 0 <= count <= MAX_SLOTS:
            raise InvalidInput(f"{count} slots for {kind} cannot be", f"Choose 0 to {MAX_SLOTS}, or none for no limit.")


async def set_fence_devices(
    store: Store,
    actor: Actor,
    node_id: str,
    devices: Sequence[FenceDeviceSpec],
    *,
    keep: Sequence[str] = (),
    fences: PowerFences | None = None,
    secret: Secret | None = None,
) -> Outcome:
    """Replace the node's fence devices; they are tried in this order. `keep`: names of present ones that stay as they are,
    before these: nobody is shown what opens them, so nobody could give them again."""
    check_devices(devices, fences)

    async def operation(draft: Draft) -> str:
        spec = checks.node(draft, node_id)
        present = {device.name: device for device in spec.fence_devices}
        for name in keep:
            if name not in present:
                raise checks.not_found("fence device", name, present)
            if name in {device.name for device in devices}:
                raise InvalidInput(f"the fence device `{name}` is to be kept and to be set", "Say one of both.")
        every = (*(present[name] for name in dict.fromkeys(keep)), *_locked(devices, secret))
        draft.put(keys.node_spec(node_id), replace(spec, fence_devices=every))
        if not every:
            draft.warn(f"`{node_id}` cannot be switched off any more when it fails.")
        names = ", ".join(f"{device.name} ({device.type})" for device in every) or "none"
        return f"fence devices of {node_id}: {names}; try them with `holdfast node fence test {node_id}`"

    return await transact(store, actor, operation)


async def confirm_dead(store: Store, actor: Actor, node_id: str, *, reason: str = "", yes: bool = False) -> Outcome:
    """An operator's word that the node is dead (proof P5), for exactly the beat that is its last one now.

    Without `yes` nothing is written: the Conflict raised says what a wrong word would corrupt.
    """

    async def operation(draft: Draft) -> str:
        checks.node(draft, node_id)
        state = await checks.node_state(draft, node_id, rely=True)
        beat = await draft.read(keys.beat(node_id), Beat, rely=True)
        if state is NodeState.RELEASED and beat is not None and beat.leaving == ShutdownPolicy.FREEZE:
            return await _give_up_frozen(draft, actor, node_id, reason)
        _refuse_confirmation(node_id, state)
        warning = death_warning(node_id, await _strict_on(draft, node_id))
        if not yes:
            raise Conflict(warning, f"If it is certainly off: holdfast node confirm-dead {node_id} --yes.")
        draft.warn(warning)
        revision = draft.mod_revision(keys.beat(node_id))
        await draft.fetch(keys.death_confirmation(node_id))
        draft.put(keys.death_confirmation(node_id), DeathConfirmation(actor.name, revision, reason))
        return f"{actor.name} confirmed that {node_id} is dead; the manager will claim it"

    return await transact(store, actor, operation)


async def _give_up_frozen(draft: Draft, actor: Actor, node_id: str, reason: str) -> str:
    """Do not wait for the return of a node that was shut down by the policy `freeze`. Nothing can run twice: it released
    itself after every stop was confirmed."""
    fence = await draft.read(keys.fence(node_id), Fence, rely=True)
    beat = await draft.read(keys.beat(node_id), Beat, rely=True)
    if fence is None or beat is None or beat.fence_epoch != fence.epoch:
        _refuse_confirmation(node_id, NodeState.RELEASED)
    await draft.fetch(keys.death_confirmation(node_id))
    revision = draft.mod_revision(keys.beat(node_id))
    draft.put(keys.death_confirmation(node_id), DeathConfirmation(actor.name, revision, reason))
    return f"{node_id} is not waited for any more; its instances are started elsewhere"


def _refuse_confirmation(node_id: str, state: NodeState) -> None:
    reasons = {
        NodeState.UP: (
            "is up",
            f"Nothing is wrong with it. To take it out of service shut it down on {node_id} itself.",
        ),
        NodeState.MAINTENANCE: ("is up, in maintenance", "Nothing is wrong with it: its instances are moved off."),
        NodeState.QUARANTINED: ("is up, in quarantine", f"Return it: holdfast node return {node_id}."),
        NodeState.JOINING: ("is joining: it answers and runs nothing yet", "Wait until it is up."),
        NodeState.CLAIMED: (
            "is claimed already",
            "Its instances are free to run elsewhere; nothing is to be confirmed.",
        ),
        NodeState.RELEASED: ("was shut down cleanly", "Its instances are free to run elsewhere already."),
        NodeState.NEVER_SEEN: (
            "never joined",
            "It carries nothing. Remove it with `holdfast node remove` if you like.",
        ),
    }
    if state in reasons:
        what, advice = reasons[state]
        raise Conflict(f"node `{node_id}` {what}", advice)


async def _strict_on(draft: Draft, node_id: str) -> list[str]:
    """Strict instances that may run on the node: placed there, or last reported from there."""
    strict = {i.id for i in draft.instances.values() if i.exclusivity is Exclusivity.STRICT}
    placed = {i for i, placement in (await _placements(draft.store)).items() if placement.node == node_id}
    statuses = (await draft.store.list(keys.STATUSES)).entries
    reported = {
        entry.key[len(keys.STATUSES) :]
        for entry in statuses
        if codec.decode(entry.value, InstanceStatus, entry.key).node == node_id
    }
    return sorted(strict & (placed | reported))


def death_warning(node_id: str, strict: Sequence[str]) -> str:
    if not strict:
        return f"if {node_id} is in fact alive, nothing is corrupted now: no strict instance is placed on it"
    return (
        f"if {node_id} is in fact alive (only cut off or frozen), these run twice and their data can be corrupted: "
        + ", ".join(strict)
    )


async def _placements(store: Store) -> dict[str, Placement]:
    entries = (await store.list(keys.PLACEMENTS)).entries
    return {e.key[len(keys.PLACEMENTS) :]: codec.decode(e.value, Placement, e.key) for e in entries}
