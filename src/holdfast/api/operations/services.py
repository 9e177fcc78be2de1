"""Start, stop and move what runs."""

from dataclasses import replace

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.model import Desired, InstanceSpec, MoveRequest, NodeSpec, Placement, ServiceSpec
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.store import keys


async def start(store: Store, actor: Actor, service: str) -> Outcome:
    """Every instance of `<kind>/<name>` is wanted running."""
    return await _set_desired(store, actor, service, "started")


async def stop(store: Store, actor: Actor, service: str) -> Outcome:
    """No instance of `<kind>/<name>` is wanted running; the data stays."""
    return await _set_desired(store, actor, service, "stopped")


async def _set_desired(store: Store, actor: Actor, service: str, desired: str) -> Outcome:
    async def operation(draft: Draft) -> str:
        spec = find(draft, service)
        if spec.kind == "panel" and desired == "stopped":
            raise Conflict(
                "the admin panel cannot be stopped: it is what you are talking to",
                "Move it with `holdfast service move panel/admin`.",
            )
        if spec.config.get("deleting"):
            raise Conflict(f"`{service}` is being deleted", "Wait until it is gone.")
        instances = instances_of(draft, spec)
        changed = [instance for instance in instances if instance.desired != desired]
        for instance in changed:
            draft.put(keys.instance(instance.id), replace(instance, desired=Desired(desired)))
        return f"{service} is to be {desired}" if changed else f"{service} was to be {desired} already"

    return await transact(store, actor, operation)


async def move(store: Store, actor: Actor, instance_id: str, *, node: str = "") -> Outcome:
    """Ask the manager to move an instance gracefully; without `node` wherever the planner likes, but not where it is."""

    async def operation(draft: Draft) -> str:
        instance = find_instance(draft, instance_id)
        if instance.desired != "started":
            raise Conflict(f"`{instance_id}` is stopped", f"Start it first: holdfast service start {instance_id}.")
        if instance.kind == "panel" and instance.address is None:
            raise Conflict(
                "the admin panel has no address of its own that could move",
                "Enable management HA first: holdfast ha enable.",
            )
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
        draft.put(keys.move(instance_id), MoveRequest(node, actor.name))
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
