"""NFS: prepare nodes and a pool of addresses once, then volumes by one command each."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address

from holdfast.api.operations import checks
from holdfast.api.operations.draft import Actor, Draft, Outcome, transact
from holdfast.bootstrap.validate import check_address
from holdfast.core.model import Desired, InstanceSpec, Role, ServiceAddress, ServiceSpec
from holdfast.errors import Conflict, InvalidInput
from holdfast.ports import Store
from holdfast.services.nfs import config as nfs
from holdfast.store import keys

MIN_NODES = 2
MAX_POOL = 4096
MAX_PROBES = 16
"""Addresses tried when one is chosen automatically: each probe takes about a second."""


async def create_cluster(
    store: Store, actor: Actor, *, nodes: Sequence[str], addresses: Sequence[str], network: str = "public"
) -> Outcome:
    """Give the nodes the role `storage` and remember the pool of service addresses (`IP` or `FIRST-LAST` each)."""

    async def operation(draft: Draft) -> str:
        if draft.spec(keys.kind(nfs.KIND), ServiceSpec) is not None:
            raise Conflict("the NFS cluster exists already", "Look at it with `holdfast nfs list`.")
        specs = checks.nodes(draft, nodes)
        if len(specs) < MIN_NODES:
            raise InvalidInput(
                f"an NFS cluster needs at least {MIN_NODES} nodes, not {len(specs)}",
                "With fewer no volume could come back when its node dies.",
            )
        for spec in specs:
            if network not in spec.addresses:
                raise Conflict(
                    f"node `{spec.id}` has no address on the network `{network}`, where the volumes are served",
                    "Choose another node, or another network with --network.",
                )
        size = _check_pool(draft, addresses, network)
        for spec in specs:
            if Role.STORAGE not in spec.roles:
                draft.put(keys.node_spec(spec.id), replace(spec, roles=(*spec.roles, Role.STORAGE)))
        config = {"addresses": list(addresses), "network": network}
        draft.put(keys.kind(nfs.KIND), ServiceSpec(nfs.KIND, "", config))
        others = [s.id for s in draft.nodes.values() if Role.STORAGE in s.roles and s.id not in nodes]
        if others:
            draft.warn(f"{', '.join(others)} have the role `storage` too and may carry volumes as well.")
        return f"NFS cluster on {', '.join(nodes)} with {size} addresses on the network {network}"

    return await transact(store, actor, operation)


def _check_pool(draft: Draft, addresses: Sequence[str], network: str) -> int:
    """The number of addresses. Both ends of each range lie in the network (so everything between does)."""
    if not addresses:
        raise InvalidInput("no service addresses are given", "Give e.g. --addresses 10.78.0.101-10.78.0.150.")
    spec = checks.network(draft, network)
    size = 0
    for first, last in checks.pool(addresses):
        check_address(str(first), spec)
        check_address(str(last), spec)
        size += int(last) - int(first) + 1
    if size > MAX_POOL:
        raise InvalidInput(f"a pool of {size} addresses is too large", f"At most {MAX_POOL} are kept.")
    return size


async def create(
    store: Store,
    actor: Actor,
    *,
    name: str,
    size: str = "",
    address: str = "",
    access: Sequence[str] = (),
    probe: checks.Probe | None = None,
) -> Outcome:
    """A volume at its own service address: the one given, or the first free one of the pool.

    `size` like 10GiB, empty: as much as the shared storage has. `access`: rules `CLIENTS[,rw|ro|none][,SQUASH]`.
    """
    rules = [nfs.parse_rule(text) for text in access] or list(nfs.DEFAULT_ACCESS)
    size_bytes = nfs.parse_size(size) if size else None
    nfs.check_name(name)

    async def operation(draft: Draft) -> str:
        kind = _kind(draft)
        existing = draft.spec(keys.service(nfs.KIND, name), ServiceSpec)
        if existing is not None:
            if existing.config.get("deleting"):
                raise Conflict(f"the volume `{name}` is being deleted", "Wait until it is gone, then repeat this.")
            raise Conflict(f"a volume `{name}` exists already", "Choose another name.")
        carriers = [s.id for s in draft.nodes.values() if Role.STORAGE in s.roles]
        if not carriers:
            raise Conflict("no node has the role `storage`", "Give it to two nodes or more.")
        network = str(kind.config["network"])
        if address:
            given = await checks.free_address(draft, address, network, probe)
        else:
            given = await _choose(draft, kind, network, probe)
        volume = nfs.new_volume(name, draft.cluster.shared_root, access=rules, size=size_bytes)
        draft.put(keys.service(nfs.KIND, name), ServiceSpec(nfs.KIND, name, {"path": volume.path, "size": size_bytes}))
        draft.put(keys.instance(f"{nfs.KIND}/{name}"), nfs.instance_spec(volume, given))
        if len(carriers) < MIN_NODES:
            draft.warn(f"Only `{carriers[0]}` may carry it: it does not come back when that node dies.")
        draft.data.update(address=given.ip, export=f"{given.ip}:/{name}", path=volume.path)
        host = f"[{given.ip}]" if ":" in given.ip else given.ip
        return f"volume {name} created; mount it with: mount -t nfs -o vers=4.2,hard {host}:/{name} /mnt"

    return await transact(store, actor, operation)


async def _choose(draft: Draft, kind: ServiceSpec, network: str, probe: checks.Probe | None) -> ServiceAddress:
    taken = checks.address_owners(draft)
    probes = 0
    for text in _pool_addresses(kind):
        if ip_address(text) in taken:
            continue
        candidate = ServiceAddress(text, network)
        answered = await checks.ask(draft, candidate, probe)
        if not answered:
            return candidate
        draft.warn(f"{text} of the pool was skipped: the machine {answered} answers there.")
        probes += 1
        if probes == MAX_PROBES:
            break
    raise Conflict(
        "no address of the NFS pool is free", "Give one with --address, or delete a volume that is not needed any more."
    )


def _pool_addresses(kind: ServiceSpec) -> Iterator[str]:
    for first, last in checks.pool(kind.config["addresses"]):
        for number in range(int(first), int(last) + 1):
            yield str(type(first)(number))


async def set_access(store: Store, actor: Actor, name: str, access: Sequence[str]) -> Outcome:
    """Replace the volume's access rules; the first rule that matches a client decides."""
    rules = [nfs.parse_rule(text) for text in access]

    async def operation(draft: Draft) -> str:
        instance = find(draft, name)
        volume = replace(nfs.from_instance(instance), access=tuple(rules))
        nfs.validate(volume)
        assert instance.address is not None, "from_instance has checked it"
        changed = nfs.instance_spec(volume, instance.address).config
        draft.put(keys.instance(instance.id), replace(instance, config=changed))
        shown = "; ".join(f"{rule.clients} {rule.access}, squash {rule.squash}" for rule in rules)
        return f"access to {name}: {shown}"

    return await transact(store, actor, operation)


async def delete(store: Store, actor: Actor, name: str, *, force: bool = False) -> Outcome:
    """Stop the volume and let the manager remove it once it is confirmed stopped. Its data stays on the shared storage."""

    async def operation(draft: Draft) -> str:
        instance = find(draft, name)
        key = keys.service(nfs.KIND, name)
        service = draft.spec(key, ServiceSpec) or ServiceSpec(nfs.KIND, name)
        if service.config.get("deleting"):
            raise Conflict(f"the volume `{name}` is being deleted already", "Wait until it is gone.")
        if instance.desired != "stopped" and not force:
            raise Conflict(
                f"the volume `{name}` is in service",
                f"Stop it first (holdfast service stop nfs/{name}), or delete it with --force: its clients lose it.",
            )
        draft.put(keys.instance(instance.id), replace(instance, desired=Desired.STOPPED))
        draft.put(key, replace(service, config={**service.config, "deleting": True}))
        path = nfs.from_instance(instance).base
        draft.data["path"] = path
        return f"volume {name} is being deleted; its data stays in {path} on the shared storage"

    return await transact(store, actor, operation)


def find(draft: Draft, name: str) -> InstanceSpec:
    instances = {i.service: i for i in draft.instances.values() if i.kind == nfs.KIND}
    if name not in instances:
        raise checks.not_found("volume", name, instances)
    return instances[name]


def _kind(draft: Draft) -> ServiceSpec:
    kind = draft.spec(keys.kind(nfs.KIND), ServiceSpec)
    if kind is None:
        raise Conflict(
            "there is no NFS cluster yet", "Create it once: holdfast nfs create-cluster --nodes … --addresses …."
        )
    return kind
