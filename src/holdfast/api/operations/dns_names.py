"""Names of ordinary service addresses, e.g. of an NFS volume or the admin panel. Gateways have those of their cluster."""

from dataclasses import replace

from holdfast.api.operations import checks
from holdfast.api.operations.dns import domain
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.core.dns_model import UpdateTarget, Zone
from holdfast.core.dns_records import normal, zone_of
from holdfast.core.model import InstanceSpec
from holdfast.errors import Conflict, NotFound
from holdfast.ports import Store
from holdfast.store import keys


async def add(store: Store, actor: Actor, *, instance: str, name: str) -> Outcome:
    """Clients find the instance's address under this name too."""
    name = domain(name, "service")

    async def operation(draft: Draft) -> str:
        spec = _ordinary(draft, instance)
        if spec.address is None:
            raise Conflict(
                f"`{instance}` has no address of its own", "Only what has a service address can have a name."
            )
        for other in draft.instances.values():
            if name in map(normal, other.names):
                raise Conflict(f"{name} is a name of `{other.id}` already", "Choose another name.")
        draft.put(keys.instance(instance), replace(spec, names=(*spec.names, name)))
        apexes = [zone.apex for zone in draft.specs(keys.DNS_ZONES, Zone)]
        if not zone_of(name, [*apexes, *(target.zone for target in draft.specs(keys.DNS_TARGETS, UpdateTarget))]):
            draft.warn(f"{name} lies in no zone and no update target: nobody answers for it. See `holdfast dns zone`.")
        return f"{name} is {spec.address.ip}, the address of {instance}"

    return await transact(store, actor, operation)


async def remove(store: Store, actor: Actor, *, instance: str, name: str) -> Outcome:
    name = normal(name)

    async def operation(draft: Draft) -> str:
        spec = _ordinary(draft, instance)
        left = tuple(known for known in spec.names if normal(known) != name)
        if left == spec.names:
            raise NotFound(f"{name} is no name of `{instance}`", f"Its names: {', '.join(spec.names) or 'none'}.")
        draft.put(keys.instance(instance), replace(spec, names=left))
        return f"{name} is no name of {instance} any more"

    return await transact(store, actor, operation)


def _ordinary(draft: Draft, instance: str) -> InstanceSpec:
    spec = draft.instances.get(instance)
    if spec is None:
        raise checks.not_found("instance", instance, draft.instances)
    if spec.home:
        raise Conflict(f"the names of `{instance}` are those of its cluster", "They are given when it is created.")
    return spec
