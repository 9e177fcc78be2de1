"""An S3 cluster and its users as they are stored, and the instances they become. Pure.

An S3 cluster is made of **parts**. *Name servers* `ns-<i>` keep accounts and buckets, *object servers* `os-<i>` keep
objects; each has its own directory on the shared storage and its own address on the storage network. *Gateways*
`gw-<node>` speak S3 to clients, one on every node. *Background* `bg` expires objects and cleans up.

Where an object lies follows from its name alone: name → partition → **device** (a directory) → the part that has this
device. The devices are made once; a part that is added takes some of them over, and no object is copied.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from holdfast.core.model import Desired, Exclusivity, InstanceSpec, Role, ServiceAddress
from holdfast.errors import InvalidInput

KIND = "s3"

NAME_DEVICES = 16
OBJECT_DEVICES = 64
"""Directories over which a cluster's names and objects are spread, for ever: as many servers can share them at most."""
PART_POWER = 10
"""2^10 partitions: each device is a multiple of them, and no directory of a device becomes large."""
GATEWAY_PORT = 80
OBJECT_PORT = 6200
CONTAINER_PORT = 6201
ACCOUNT_PORT = 6202
REGION = "us-east-1"
"""What clients sign for unless told otherwise."""

BACKGROUND = "bg"
_GATEWAY = "gw-"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,200}}$){_LABEL}(?:\.{_LABEL})+")
_REGION = re.compile(r"[a-z0-9-]{1,32}")


@dataclass(frozen=True, slots=True)
class S3Server:
    """A name or object server: its address on the storage network, and the devices it has."""

    address: ServiceAddress
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AccessKey:
    """As it is stored: the secret locked with the cluster secret that every node holds (see `users.py`)."""

    id: str
    """What the client sends in the clear."""
    secret: str = field(repr=False)
    """Locked; never shown again after its creation."""
    enabled: bool = True
    created: str = ""
    """Wall-clock time, for people."""


@dataclass(frozen=True, slots=True)
class S3User:
    """Key spec/s3/users/<cluster>/<name>."""

    name: str
    owner: str
    """Owns buckets and objects. Random, and never given to another user, even one of the same name."""
    keys: tuple[AccessKey, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class S3Cluster:
    """Key spec/s3/clusters/<name>."""

    name: str
    domain: str
    """Clients find the gateways under it and under any name below it (BUCKET.DOMAIN)."""
    nodes: tuple[str, ...]
    name_servers: dict[str, S3Server]
    """Part → server."""
    object_servers: dict[str, S3Server]
    gateways: dict[str, ServiceAddress]
    """Node → the address of its gateway."""
    hash_prefix: str = field(repr=False)
    hash_suffix: str = field(repr=False)
    """Mixed into the hash that says where an object lies. Secret, lest somebody fills one device; changing them loses
    everything."""
    probe: AccessKey = field(repr=False)
    """With which health checks sign."""
    region: str = REGION
    part_power: int = PART_POWER
    gateway_port: int = GATEWAY_PORT
    uid: int = 0
    gid: int = 0
    """As whom the servers run and own their files, by number and therefore the same on every node. 0: root without any
    privilege of root."""
    started: bool = True

    @property
    def servers(self) -> dict[str, S3Server]:
        """All name and object servers."""
        return {**self.name_servers, **self.object_servers}


class PartConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An instance's `config`. Everything else is read from the cluster's record, which all its parts share."""

    cluster: str
    part: str


# --- making one -----------------------------------------------------------------------------------------------------


def server_counts(nodes: int) -> tuple[int, int]:
    """Name and object servers for so many nodes, unless the operator says otherwise.

    With N − 1 on each of N nodes, those of a dead node go one to each of the others, and the load stays even: 6 and 6 for
    three nodes are 2 + 2 on each, and 3 + 3 after a failure. More than four of a kind on a node would only cost memory
    (some 100 MiB each): from there on nodes differ by one server at most, a quarter of their load.
    """
    per_node = max(1, nodes - 1)
    return min(nodes * min(per_node, 2), NAME_DEVICES), min(nodes * min(per_node, 4), OBJECT_DEVICES)


def new_cluster(
    name: str,
    domain: str,
    gateways: Mapping[str, ServiceAddress],
    name_servers: Sequence[ServiceAddress],
    object_servers: Sequence[ServiceAddress],
    *,
    hash_prefix: str,
    hash_suffix: str,
    probe: AccessKey,
    region: str = REGION,
    gateway_port: int = GATEWAY_PORT,
    uid: int = 0,
    gid: int = 0,
) -> S3Cluster:
    """A cluster on the nodes of `gateways`, with one server for each address. The hash's prefix and suffix and the probe's
    key are random, and the caller's. Raises InvalidInput."""
    cluster = S3Cluster(
        name,
        domain.rstrip(".").lower(),
        tuple(sorted(gateways)),
        _spread("ns", "n", NAME_DEVICES, name_servers),
        _spread("os", "o", OBJECT_DEVICES, object_servers),
        dict(sorted(gateways.items())),
        hash_prefix,
        hash_suffix,
        probe,
        region,
        gateway_port=gateway_port,
        uid=uid,
        gid=gid,
    )
    validate(cluster)
    return cluster


def _spread(part: str, device: str, count: int, addresses: Sequence[ServiceAddress]) -> dict[str, S3Server]:
    if not 1 <= len(addresses) <= count:
        kind = "name" if part == "ns" else "object"
        raise InvalidInput(
            f"{len(addresses)} {kind} servers are asked for", f"An S3 cluster has 1 to {count} {kind} servers."
        )
    names = [f"{device}{number:02d}" for number in range(count)]
    return {
        f"{part}-{number + 1}": S3Server(address, tuple(names[number :: len(addresses)]))
        for number, address in enumerate(addresses)
    }


def with_server(cluster: S3Cluster, kind: str, address: ServiceAddress) -> S3Cluster:
    """One more name server (`ns`) or object server (`os`), which takes over its share of devices from those that have most.
    Raises InvalidInput where there are as many servers as devices."""
    servers = dict(cluster.name_servers if kind == "ns" else cluster.object_servers)
    total = sum(len(server.devices) for server in servers.values())
    if len(servers) >= total:
        raise InvalidInput(
            f"S3 cluster {cluster.name} has {total} servers of this kind already", "More than that are of no use."
        )
    taken: list[str] = []
    while len(taken) < total // (len(servers) + 1):
        giver = max(sorted(servers), key=lambda part: len(servers[part].devices))
        *kept, last = servers[giver].devices
        servers[giver] = replace(servers[giver], devices=tuple(kept))
        taken.append(last)
    number = 1 + max(int(part.partition("-")[2]) for part in servers)
    servers[f"{kind}-{number}"] = S3Server(address, tuple(sorted(taken)))
    changed = replace(cluster, name_servers=servers) if kind == "ns" else replace(cluster, object_servers=servers)
    validate(changed)
    return changed


def validate(cluster: S3Cluster) -> None:
    """Names become directories, units and DNS records; every device has exactly one server. Raises InvalidInput."""
    if not _NAME.fullmatch(cluster.name):
        raise InvalidInput(
            f"{cluster.name!r} cannot be the name of an S3 cluster",
            "Use 1 to 32 lower-case letters, digits and -; begin and end with a letter or digit.",
        )
    if not _DOMAIN.fullmatch(cluster.domain):
        raise InvalidInput(
            f"{cluster.domain!r} cannot be the domain of S3 cluster {cluster.name}",
            "Use a fully qualified name such as s3.example.org.",
        )
    if not _REGION.fullmatch(cluster.region):
        raise InvalidInput(f"{cluster.region!r} is not a region", f"Use letters, digits and -, e.g. {REGION}.")
    if not cluster.nodes or set(cluster.nodes) != set(cluster.gateways):
        raise InvalidInput(
            f"S3 cluster {cluster.name} needs a gateway on each of its nodes",
            "Name at least one node, and an address for each.",
        )
    for servers in (cluster.name_servers, cluster.object_servers):
        devices = [device for server in servers.values() for device in server.devices]
        if len(devices) != len(set(devices)):
            raise InvalidInput(
                f"S3 cluster {cluster.name} has a device on two servers", "Give each device to one server."
            )
    used = [server.address.ip for server in cluster.servers.values()] + [a.ip for a in cluster.gateways.values()]
    twice = sorted({ip for ip in used if used.count(ip) > 1})
    if twice:
        raise InvalidInput(
            f"S3 cluster {cluster.name} would use {', '.join(twice)} twice", "Give each part its own address."
        )


# --- its instances --------------------------------------------------------------------------------------------------


def instance_id(cluster: str, part: str) -> str:
    return f"{KIND}/{cluster}/{part}"


def gateway_part(node: str) -> str:
    return f"{_GATEWAY}{node}"


def instance_specs(cluster: S3Cluster, *, ha: bool) -> tuple[InstanceSpec, ...]:
    """Every instance of the cluster: name servers, object servers, background, gateways."""
    servers = [
        _spec(cluster, part, ha, spread=part.partition("-")[0], address=server.address, cpu=0.2, memory_mib=128)
        for part, server in cluster.servers.items()
    ]
    background = _spec(cluster, BACKGROUND, ha, cpu=0.1, memory_mib=192)
    gateways = [
        _spec(
            cluster,
            gateway_part(node),
            ha,
            exclusivity=Exclusivity.EVERYWHERE,
            home=node,
            spread=_GATEWAY.rstrip("-"),
            address=address,
            names=(cluster.domain, f"*.{cluster.domain}"),
            cpu=0.3,
            memory_mib=96,
        )
        for node, address in cluster.gateways.items()
    ]
    return (*servers, background, *gateways)


def _spec(cluster: S3Cluster, part: str, ha: bool, **fields: Any) -> InstanceSpec:
    values: dict[str, Any] = {"exclusivity": Exclusivity.STRICT, **fields}
    return InstanceSpec(
        instance_id(cluster.name, part),
        KIND,
        cluster.name,
        role=Role.S3,
        nodes=cluster.nodes,
        desired=Desired.STARTED if cluster.started else Desired.STOPPED,
        config=msgspec.to_builtins(PartConfig(cluster.name, part)),
        ha=ha,
        **values,
    )


def from_instance(instance: InstanceSpec) -> PartConfig:
    """Raises InvalidInput if the instance's configuration is not one of this kind."""
    try:
        found = msgspec.convert(instance.config, PartConfig)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"the configuration of {instance.id} is not that of a part of an S3 cluster: {error}",
            "Restore it from a backup.",
        ) from None
    if instance.id != instance_id(found.cluster, found.part) or not _NAME.fullmatch(found.cluster):
        raise InvalidInput(f"{instance.id} is configured as another part", "Restore it from a backup.")
    return found


def is_gateway(part: str) -> bool:
    return part.startswith(_GATEWAY)


def is_name_server(part: str) -> bool:
    return part.startswith("ns-")


def cluster_path(shared_root: str, name: str) -> str:
    """Everything of a cluster on the shared storage lies below."""
    return f"{shared_root.rstrip('/')}/{KIND}/{name}"
