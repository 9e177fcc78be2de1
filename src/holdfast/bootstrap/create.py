"""The first node of a cluster: `holdfast cluster create` writes files only, and the agent brings them to life.

Nothing runs yet when a cluster is created, so what the store must hold at first is left in a *seed* file; the agent starts
the store's first member and plants the seed into it (`apply_seed`), once.
"""

import difflib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from holdfast import config as node_config
from holdfast import locks
from holdfast.bootstrap import files, pki, secrets, users, validate
from holdfast.bootstrap.trust import NodeTrust, first_trust, with_issued
from holdfast.clock import SystemClock
from holdfast.config import ETCD_CLIENT_PORT, ETCD_PEER_PORT, RUN_SYSTEMD, NodeConfig
from holdfast.core import timing
from holdfast.core.model import (
    ClusterSpec,
    Exclusivity,
    Fence,
    InstanceSpec,
    ManagementMember,
    ManagementSpec,
    NetworkSpec,
    NodeSpec,
    Role,
    ServiceSpec,
)
from holdfast.errors import ConfigError, Conflict, InvalidInput, StoreError
from holdfast.ports import Compare, Get, Put, Store
from holdfast.store import codec, keys
from holdfast.store.etcd import EtcdMember

SEED_FILE = "seed.json"
MEMBER_FILE = "etcd.json"
"""How the agent starts this node's member of the store (EtcdMember)."""
ADMIN = "admin"
BATCH_OPS, BATCH_BYTES = 500, 512 * 1024
LAST = (keys.CLUSTER, keys.MANAGEMENT, keys.NODE_SPECS)

LOCAL_SETTINGS = ("watchdog", "state_dir", "run_dir", "log_dir", "cgroup", "etcd", "units")
"""Keys of node.toml that may differ from their defaults on one node without the cluster's knowing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """What the operator says about the new cluster and its first node."""

    cluster: str
    node: str
    networks: tuple[NetworkSpec, ...]
    addresses: dict[str, str]
    """Network name → this node's own address."""
    password: str = field(repr=False)
    """Of the panel's account `admin`."""
    roles: tuple[Role, ...] = (Role.MANAGEMENT, Role.COMPUTE, Role.STORAGE)
    profile: str = "default"
    shared_root: str = "/shared"
    failure_domain: str = ""
    local: dict[str, str] = field(default_factory=dict)
    """Keys of node.toml that are to differ from their defaults (LOCAL_SETTINGS)."""


def url(address: str, port: int) -> str:
    """https URL of an IPv4 or IPv6 address."""
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"


def create_cluster(options: CreateOptions, root: Path = Path("/")) -> NodeConfig:
    """Make this node the first of a new cluster. All checks come first; then all files appear, or none.

    Raises InvalidInput, Conflict (the node belongs to a cluster already) or ConfigError (cannot be written).
    """
    _check(options)
    address = options.addresses[validate.MANAGEMENT]
    config = with_local_settings(
        NodeConfig(
            id=options.node,
            cluster=options.cluster,
            addresses=dict(options.addresses),
            endpoints=(url(address, ETCD_CLIENT_PORT),),
        ),
        options.local,
        root,
    )
    files.refuse_member(root, config.state_dir)
    cluster_id = uuid.uuid4().hex
    peer, client = url(address, ETCD_PEER_PORT), config.endpoints[0]
    authority = pki.create_authority(options.cluster)
    cert, key = pki.issue_node(authority, options.node, options.addresses.values())
    secret = secrets.new_secret()
    seed = _seed(options, cluster_id, ManagementMember(options.node, peer, client, "voter"))
    seed[keys.CA_KEY] = codec.encode(locks.lock(authority.key_pem, secret))
    trust = first_trust(authority)
    seed[keys.TRUST] = codec.encode(trust)
    issued = with_issued((), cert, SystemClock().wall())
    seed[keys.trust_node(options.node)] = codec.encode(NodeTrust(issued=issued))
    member = EtcdMember(options.node, peer, client, ((options.node, peer),), new=True)
    new_files = files.pki_files(
        str(files.PKI_DIR),
        {
            files.CA_CERT: authority.cert_pem,
            files.NODE_CERT: cert,
            files.NODE_KEY: key,
            files.BEAT_KEY: secrets.new_secret(),
            files.CLUSTER_SECRET: secret,
            files.CRL: trust.crl_file,
        },
    )
    new_files += [
        files.NewFile(f"{config.state_dir}/{SEED_FILE}", seed_text(seed), files.SECRET_MODE),
        files.NewFile(f"{config.state_dir}/{MEMBER_FILE}", codec.encode(member), files.SECRET_MODE),
    ]
    text = node_config.dump(config).encode()
    files.install(root, new_files, files.NewFile(files.MARKER, text, files.PUBLIC_MODE))
    return config


def with_local_settings(config: NodeConfig, local: Mapping[str, str], root: Path) -> NodeConfig:
    """The configuration with one node's own deviations. Raises InvalidInput on a setting that does not exist.

    Where systemd is process 1 it starts the node's units, unless `local` says otherwise: decided once, when the node is
    made, since guard and agent must always agree on it.
    """
    for name in local:
        if name not in LOCAL_SETTINGS:
            near = difflib.get_close_matches(name, LOCAL_SETTINGS, n=1)
            raise InvalidInput(
                f"there is no node setting {name!r}",
                f"Did you mean `{near[0]}`?" if near else "There are: " + ", ".join(LOCAL_SETTINGS) + ".",
            )
    units = "systemd" if files.below(root, RUN_SYSTEMD).is_dir() else config.units
    changes: dict[str, Any] = {"units": units, **local}
    return replace(config, **changes)


def _check(options: CreateOptions) -> None:
    validate.check_cluster_name(options.cluster)
    validate.check_node_id(options.node)
    validate.check_networks(options.networks)
    validate.check_addresses(options.node, options.addresses, options.networks)
    timing.profile(options.profile)
    if Role.MANAGEMENT not in options.roles:
        raise InvalidInput(
            f"the first node {options.node!r} does not have the role `management`",
            "The first node carries the store and the panel: give it the role.",
        )
    if not Path(options.shared_root).is_absolute():
        raise InvalidInput(
            f"the shared storage {options.shared_root!r} is not an absolute path",
            "Give the directory where every node has the shared storage mounted, like /shared.",
        )


def _seed(options: CreateOptions, cluster_id: str, member: ManagementMember) -> dict[str, bytes]:
    """Key → stored value of everything a new cluster knows."""
    node = NodeSpec(options.node, options.roles, dict(options.addresses), options.failure_domain)
    panel = InstanceSpec(
        id="panel/admin", kind="panel", service="admin", exclusivity=Exclusivity.ADVISORY, role=Role.MANAGEMENT
    )
    values: dict[str, object] = {
        keys.CLUSTER: ClusterSpec(
            options.cluster, cluster_id, options.profile, options.networks, shared_root=options.shared_root
        ),
        keys.node_spec(node.id): node,
        keys.fence(node.id): Fence(epoch=1),
        keys.MANAGEMENT: ManagementSpec(nodes=(node.id,), members=(member,)),
        keys.user(ADMIN): users.make_user(ADMIN, options.password),
        keys.service(panel.kind, panel.service): ServiceSpec(panel.kind, panel.service),
        keys.instance(panel.id): panel,
    }
    return {key: codec.encode(value) for key, value in values.items()}


def seed_text(seed: Mapping[str, bytes]) -> bytes:
    return msgspec.json.encode([(key, msgspec.Raw(value)) for key, value in seed.items()])


def _batches(seed: Mapping[str, bytes]) -> Iterator[list[Put]]:
    """Transactions that etcd takes; the last one holds what others wait for."""
    last = [Put(key, value) for key, value in seed.items() if key.startswith(LAST)]
    batch: list[Put] = []
    size = 0
    for key, value in seed.items():
        if key.startswith(LAST):
            continue
        if len(batch) == BATCH_OPS or size + len(value) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(Put(key, value))
        size += len(key) + len(value)
    if batch and len(batch) + len(last) > BATCH_OPS:
        yield batch
        batch = []
    yield [*batch, *last]


async def apply_seed(store: Store, path: Path) -> bool:
    """Plant the seed file into the empty store, then remove the file. False: there is none any more. What makes a cluster of
    it, and nodes members, comes last and in one transaction: before that nobody acts on the rest.

    Safe to repeat after any failure. Raises StoreError as the store does, ConfigError if the file is damaged, and Conflict
    if the store belongs to another cluster.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return False
    try:
        seed = {key: bytes(value) for key, value in msgspec.json.decode(text, type=list[tuple[str, msgspec.Raw]])}
        wanted = codec.decode(seed[keys.CLUSTER], ClusterSpec, keys.CLUSTER)
    except (msgspec.DecodeError, KeyError, StoreError) as error:
        raise ConfigError(
            f"{path} is damaged: {error!r}",
            "Nothing was lost yet: remove /etc/holdfast and the state directory, then create the cluster anew.",
        ) from error
    result = None
    for puts in _batches(seed):
        result = await store.txn([Compare(keys.CLUSTER, 0)], puts, [Get(keys.CLUSTER)])
        if not result.succeeded:
            break
    assert result is not None, "a seed holds the cluster"
    if not result.succeeded:
        entry = result.gets[keys.CLUSTER]
        present = codec.decode(entry.value, ClusterSpec, keys.CLUSTER) if entry else None
        if present is None or present.cluster_id != wanted.cluster_id:
            raise Conflict(
                f"the store holds cluster {present.name if present else '?'!r} already, not the new {wanted.name!r}",
                f"Check the endpoints in node.toml. If this node belongs to that cluster, remove {path}.",
            )
    path.unlink(missing_ok=True)
    return True
