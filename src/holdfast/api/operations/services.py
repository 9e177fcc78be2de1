"""Start, stop and move what runs."""

from dataclasses import replace

from holdfast.api.operations import checks, iscsi_groups
from holdfast.api.operations.admission import admit
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.model import Desired, InstanceSpec, MoveRequest, NodeSpec, Placement, ServiceSpec
from holdfast.core.policy import InstanceLock
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.services.iscsi import config as iscsi
from holdfast.store import keys
from holdfast.store.view import to_be_removed


async def start(store: Store, actor: Actor, service: str, *, force: bool = False) -> Outcome:
    """Every instance of `<kind>/<name>` is wanted running."""
    return await set_state(store, actor, service, "started", force=force)


async def stop(store: Store, actor: Actor, service: str) -> Outcome:
    """No instance of `<kind>/<name>` is wanted running; the data stays."""
    return await set_state(store, actor, service, "stopped")


async def set_state(store: Store, actor: Actor, service: str, desired: str, *, force: bool = False) -> Outcome:
    """What is wanted of every instance of `<kind>/<name>`: a word of `Desired`."""
    if desired not in list(Desired):
        raise InvalidInput(f"there is no state `{desired}`", f"Choose from {', '.join(Desired)}.")

    async def operation(draft: Draft) -> str:
        spec = find(draft, service)
        if spec.kind == "panel" and desired in (Desired.STOPPED, Desired.DISABLED):
            raise Conflict(
                "the admin panel cannot be stopped: it is what you are talking to",
                "Move it with `holdfast service move panel/admin`.",
            )
        if spec.config.get("deleting"):
            raise Conflict(f"`{service}` is being deleted", "Wait until it is gone.")
        instances = [instance for instance in instances_of(draft, spec) if not to_be_removed(spec, instance.id)]
        changed = [instance for instance in instances if instance.desired != desired]
        for instance in changed:
            if instance.kind == iscsi.KIND and desired == Desired.STARTED:
                iscsi_groups.require_started(draft, instance)
            draft.put(keys.instance(instance.id), replace(instance, desired=Desired(desired)))
        if changed and desired == Desired.STARTED:
            await admit(draft, force=force)
        if changed and desired == Desired.IGNORED:
            draft.warn(f"{service} is neither checked, moved nor recovered until its state is another one.")
        return f"{service} is to be {desired}" if changed else f"{service} was to be {desired} already"

    return await transact(store, actor, operation)


async def lock(store: Store, actor: Actor, instance_id: str, *, reason: str = "") -> Outcome:
    """No planned move of the instance until it is unlocked; recovery after its node's death goes on."""

    async def operation(draft: Draft) -> str:
        find_instance(draft, instance_id)
        if draft.spec(keys.lock(instance_id), InstanceLock) is not None:
            raise Conflict(f"`{instance_id}` is locked already", f"Unlock it: holdfast service unlock {instance_id}.")
        draft.put(keys.lock(instance_id), InstanceLock(reason))
        return f"{instance_id} is locked: it is not moved on purpose"

    return await transact(store, actor, operation)


async def unlock(store: Store, actor: Actor, instance_id: str) -> Outcome:
    """It may be moved again."""

    async def operation(draft: Draft) -> str:
        find_instance(draft, instance_id)
        if draft.spec(keys.lock(instance_id), InstanceLock) is None:
            raise Conflict(f"`{instance_id}` is not locked", "There is nothing to undo.")
        draft.delete(keys.lock(instance_id))
        return f"{instance_id} is unlocked"

    return await transact(store, actor, operation)


async def move(store: Store, actor: Actor, instance_id: str, *, node: str = "", live: bool = False) -> Outcome:
    """Ask the manager to move an instance gracefully; without `node` wherever the planner likes, but not where it is.
    `live`: without an interruption, which only virtual machines can."""

    async def operation(draft: Draft) -> str:
        instance = find_instance(draft, instance_id)
        if instance.desired != "started":
            raise Conflict(f"`{instance_id}` is stopped", f"Start it first: holdfast service start {instance_id}.")
        if instance.kind == "panel" and instance.address is None:
            raise Conflict(
                "the admin panel has no address of its own that could move",
                "Enable management HA first: holdfast ha enable.",
            )
        locked = draft.spec(keys.lock(instance_id), InstanceLock)
        if locked is not None:
            why = f": {locked.reason}" if locked.reason else ""
            draft.warn(f"`{instance_id}` is locked{why}. It moves once it is unlocked.")
        placement = await draft.read(keys.placement(instance_id), Placement)
        where = placement.node if placement else ""
        eligible = [spec for spec in draft.nodes.values() if is_eligible(instance, spec)]
        if node:
            await _check_target(draft, instance, checks.node(draft, node), where)
        elif not [spec for spec in eligible if spec.id != where]:
            raise Conflict(
                f"no other node may carry `{instance_id}`",
                f"Give another node the role `{instance.role}`, or bring one up that has it.",
            )
        await draft.fetch(keys.move(instance_id))
        draft.put(keys.move(instance_id), MoveRequest(node, actor.name, live))
        draft.data["from"] = where
        return f"{instance_id} moves from {where or 'nowhere'} to {node or 'another node'}"

    return await transact(store, actor, operation)


async def _check_target(draft: Draft, instance: InstanceSpec, target: NodeSpec, where: str) -> None:
    if target.id == where:
        raise Conflict(f"`{instance.id}` is on `{where}` already", "Name another node, or none.")
    checks.require_role(target, instance.role, f"`{instance.id}`")
    if not is_eligible(instance, target):
        raise Conflict(
            f"`{instance.id}` may not run on `{target.id}`", f"Choose one of {', '.join(sorted(instance.nodes))}."
        )
    await checks.require_up(draft, target, f"moving `{instance.id}` there")


def is_eligible(instance: InstanceSpec, spec: NodeSpec) -> bool:
    return instance.role in spec.roles and (not instance.nodes or spec.id in instance.nodes)


def find(draft: Draft, service: str) -> ServiceSpec:
    """The service `<kind>/<name>`; a bare name will do while it is unambiguous."""
    known = {f"{spec.kind}/{spec.name}": spec for spec in draft.services}
    if service in known:
        return known[service]
    bare = [key for key in known if key.split("/", 1)[1] == service]
    if len(bare) == 1:
        return known[bare[0]]
    if bare:
        raise InvalidInput(f"`{service}` is ambiguous", f"Say which: {', '.join(sorted(bare))}.")
    raise checks.not_found("service", service, known)


def find_instance(draft: Draft, instance_id: str) -> InstanceSpec:
    instances = draft.instances
    if instance_id not in instances:
        raise checks.not_found("instance", instance_id, instances)
    return instances[instance_id]


def instances_of(draft: Draft, spec: ServiceSpec) -> list[InstanceSpec]:
    prefix = f"{spec.kind}/{spec.name}"
    return [i for i in draft.instances.values() if i.id == prefix or i.id.startswith(prefix + "/")]
