"""Backup clusters and their users as they are stored, and the gateways that they are made of. Pure.

A **backup cluster** is the same gateway on several nodes: one back-end, one DNS name, one service address per node.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from holdfast.core.model import Desired, Exclusivity, InstanceSpec, Role, ServiceAddress
from holdfast.errors import InvalidInput

KIND = "backup"
PORT = 8000
"""That of restic's own rest-server."""


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,200}}$){_LABEL}(?:\.{_LABEL})+")


@dataclass(frozen=True, slots=True)
class BackupCluster:
    """Key spec/backup/clusters/<name>."""

    name: str
    domain: str
    """The DNS name of all its gateways."""
    addresses: dict[str, str]
    """Node → service address of its gateway."""
    network: str
    pool: tuple[str, ...]
    """Where addresses of more gateways come from: `ADDRESS` or `FIRST-LAST` each."""
    backend: str
    """As the operator wrote it, without any secret: `local:/shared/backup/main`, `s3:https://…`."""
    credentials: str = field(default="", repr=False)
    """What it takes to open the back-end: a JSON object of texts, encrypted with the cluster secret. Empty: nothing."""
    append_only: bool = False
    """No user deletes or changes what was stored."""
    port: int = PORT
    certificate: str = field(default="", repr=False)
    """The operator's own, PEM. Empty: the cluster's authority certifies each gateway."""
    certificate_key: str = field(default="", repr=False)
    """Its private key, encrypted with the cluster secret."""

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(sorted(self.addresses))


@dataclass(frozen=True, slots=True)
class BackupUser:
    """Key spec/backup/users/<cluster>/<name>."""

    name: str
    password_hash: str = field(repr=False)
    append_only: bool = False


class _Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An instance's `config`."""

    cluster: str
    port: int


def check_domain(text: str) -> str:
    """A fully qualified name, as it is stored. Raises InvalidInput."""
    domain = text.rstrip(".").lower()
    if not _DOMAIN.fullmatch(domain):
        raise InvalidInput(
            f"`{text}` cannot be the domain of a backup cluster", "Use a full name such as backup.example.lan."
        )
    return domain


def instance_id(cluster: str, node: str) -> str:
    """Of the gateway whose home the node is."""
    return f"{KIND}/{cluster}/gw-{node}"


def gateways(cluster: BackupCluster, *, ha: bool, desired: Mapping[str, Desired] | None = None) -> list[InstanceSpec]:
    """One per node. `desired`: instance id → what is wanted of those that are there already."""
    return [
        InstanceSpec(
            instance_id(cluster.name, node),
            KIND,
            cluster.name,
            Exclusivity.EVERYWHERE,
            Role.BACKUP,
            nodes=cluster.nodes,
            address=ServiceAddress(ip, cluster.network),
            desired=(desired or {}).get(instance_id(cluster.name, node), Desired.STARTED),
            config=msgspec.to_builtins(_Config(cluster.name, cluster.port)),
            ha=ha,
            home=node,
            names=(cluster.domain,),
        )
        for node, ip in sorted(cluster.addresses.items())
    ]


def place_of(instance: InstanceSpec) -> tuple[str, str, int]:
    """(cluster, address, port) of a gateway. Raises InvalidInput if its configuration is not one of this kind."""
    try:
        found = msgspec.convert(instance.config, _Config)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"the configuration of {instance.id} is not that of a backup gateway: {error}",
            "Create the cluster anew with `holdfast backup create-cluster`.",
        ) from None
    if instance.address is None:
        raise InvalidInput(
            f"{instance.id} has no service address", "Release its node from the cluster and add it again."
        )
    return found.cluster, instance.address.ip, found.port


def certificate_names(cluster: BackupCluster, instance: InstanceSpec) -> Sequence[str]:
    """What a gateway's certificate is to be good for: the name of all, its own address."""
    assert instance.address is not None, "place_of has checked it"
    return (cluster.domain, instance.address.ip)
