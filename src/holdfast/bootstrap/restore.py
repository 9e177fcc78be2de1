"""The cluster's state from a backup, after all management nodes were lost: on one node, as the beginning of a new store.

The store of a backup is old, and that is dangerous: what it says of nodes and placements is no longer so. So nothing of
that is believed (`as_restored`, docs/safety.md): the new store is another cluster to etcd, so that no process that knew the
old one speaks to it; every node has a fence epoch that was never used, so no placement counts; and every other node's last
beat is marked unheard, so that nothing strict is placed before each of them has joined anew, having stopped everything, or
is claimed.
"""

import base64
import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from holdfast import config as node_config
from holdfast import locks
from holdfast.bootstrap import bundle, files, pki, restore_trust, ring, trust
from holdfast.bootstrap.backup import Backup
from holdfast.bootstrap.create import LOCAL_SETTINGS, MEMBER_FILE, SEED_FILE, seed_text, url, with_local_settings
from holdfast.config import ETCD_CLIENT_PORT, ETCD_PEER_PORT, NodeConfig
from holdfast.core.history import Event, Severity
from holdfast.core.model import (
    Beat,
    Fence,
    InstanceSpec,
    ManagementMember,
    ManagementSpec,
    NodeSpec,
    Placement,
    Role,
)
from holdfast.core.restored import KnownNode, KnownNodes, Restored, floor_of, unheard_beat
from holdfast.errors import Conflict, InvalidInput, NotFound, StoreError
from holdfast.store import codec, keys
from holdfast.store.etcd import EtcdMember

_T = TypeVar("_T")

REACH_S = 2.0
EPOCH_STEP = 1_000_000_000
"""More than a life of a store uses up after its last backup."""
EPOCHS_PER_MS = 1000
"""Each epoch of a life is at most its floor and a revision more; no store commits so many of them. So the time of a restore
lies above all that a life has used which began earlier, and which the backup knows nothing of."""
OF_THE_MOMENT = (
    "manager/", keys.STATUSES, keys.SESSIONS, keys.DRILL_REQUESTS, keys.MOVES, keys.JOIN_TOKENS,
    keys.TOKEN_USES, keys.LOGIN_FAILURES, keys.PAUSE, keys.REPORTS,
)  # fmt: skip
"""What was said by processes that are gone, wishes that nobody has any more, and tokens that may have been used since."""
CACHED = ("management.json", "endpoints.json", "cluster.json", "etcd-trust.json", "dns.json")
"""What the agent remembers of the former store, in its state directory."""
RESTORED_FILE = "restored.json"
"""Which life of the store this node's member belongs to."""
KNOWN_FILE = "known-nodes.json"
"""The nodes as this one last knew them (agent/known_nodes.py)."""


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    wall: str
    """Now, ISO 8601 UTC."""
    wall_ms: int
    """Now, in milliseconds since 1970: two restores of one backup must not use the same epochs."""
    node: str = ""
    """Which node this machine is to be; empty: the one it is, or else where the backup was made."""
    machine_id: str = ""
    """Of this machine (agent.identity), to notice that it is another one than the node was."""
    replaces: bool = False
    """An operator's word that the machine which was this node is off for good."""
    local: Mapping[str, str] = field(default_factory=dict)
    """Keys of node.toml that differ on this machine."""


def as_restored(backup: Backup, node: str, options: RestoreOptions) -> dict[str, bytes]:
    """Key → value of the new store. Pure. Raises NotFound if the backup does not know the node."""
    old = backup.entries()
    if keys.node_spec(node) not in old:
        known = ", ".join(sorted(keys.last_part(key) for key in old if key.startswith(keys.NODE_SPECS)))
        raise NotFound(f"the backup knows no node {node!r}", f"Name one of {known} with --node.")
    floor = _floor(old, options.wall_ms)
    new = {key: value for key, value in old.items() if not key.startswith(OF_THE_MOMENT)}
    for key in [key for key in new if key.startswith(keys.NODES)]:
        if keys.last_part(key) != "health":
            del new[key]
    for key in [key for key in old if key.startswith(keys.NODE_SPECS)]:
        name = keys.last_part(key)
        new[keys.fence(name)] = codec.encode(Fence(epoch=floor))
        if name != node:
            new[keys.beat(name)] = codec.encode(unheard_beat(_read(old, keys.beat(name), Beat), floor))
    for key in [key for key in new if key.startswith(keys.PLACEMENTS)]:
        # Kept for what waits for its own node; of a fence epoch that no node has.
        placement = codec.decode(new[key], Placement, key)
        new[key] = codec.encode(Placement(placement.node, floor, 0, placement.goal, "as the backup had it"))
    _manage_from(new, old, node)
    former = _read(old, keys.RESTORED, Restored)
    times = former.times + 1 if former else 1
    new[keys.RESTORED] = codec.encode(
        Restored(options.wall, backup.wall, backup.revision, node, floor, times, floor_of(former))
    )
    text = f"the store was restored on {node} from the backup of {backup.wall}"
    newest = max((key for key in new if key.startswith(keys.EVENTS)), default=keys.event(0))
    new[f"{newest[: len(keys.event(0))]}-restored-{times}"] = codec.encode(
        Event("store-restored", options.wall, text, Severity.WARNING, node=node)
    )
    return new


def _floor(old: Mapping[str, bytes], wall_ms: int) -> int:
    """Above every epoch of every earlier life: of the one that was backed up, of what it became after the backup, and of
    other restores of the same backup, which began at another time."""
    used = [codec.decode(value, Fence, key).epoch for key, value in old.items() if key.endswith("/fence")]
    used += [codec.decode(value, Placement, key).epoch for key, value in old.items() if key.startswith(keys.PLACEMENTS)]
    former = _read(old, keys.RESTORED, Restored)
    return max(max([*used, floor_of(former)]) + EPOCH_STEP, wall_ms * EPOCHS_PER_MS)


def unheard_node(known: KnownNode, floor: int) -> dict[str, bytes]:
    """Key → value of a node that the backup does not know. It does not manage: the store's members are others."""
    name = known.spec.id
    roles = tuple(role for role in known.spec.roles if role is not Role.MANAGEMENT)
    return {
        keys.node_spec(name): codec.encode(replace(known.spec, roles=roles)),
        keys.fence(name): codec.encode(Fence(floor)),
        keys.beat(name): codec.encode(unheard_beat(known.beat, floor)),
    }


def known_here(content: bytes | None, new: Mapping[str, bytes]) -> dict[str, bytes]:
    """The nodes that this one knows (KNOWN_FILE) and the backup does not."""
    restored = _read(new, keys.RESTORED, Restored)
    assert restored is not None
    try:
        memory = codec.decode(content, KnownNodes, KNOWN_FILE) if content else KnownNodes(0)
    except StoreError:
        return {}
    found: dict[str, bytes] = {}
    for known in memory.unknown_to(restored):
        if keys.node_spec(known.spec.id) not in new:
            found |= unheard_node(known, restored.epoch_floor)
    return found


def _manage_from(new: dict[str, bytes], old: Mapping[str, bytes], node: str) -> None:
    """This node alone manages; the panel's address stays."""
    management = _read(old, keys.MANAGEMENT, ManagementSpec) or ManagementSpec(())
    spec = _read(old, keys.node_spec(node), NodeSpec)
    assert spec is not None
    address = spec.addresses["management"]
    member = ManagementMember(node, url(address, ETCD_PEER_PORT), url(address, ETCD_CLIENT_PORT), "voter")
    new[keys.MANAGEMENT] = codec.encode(replace(management, nodes=(node,), members=(member,)))
    for name in {node, *management.nodes}:
        known = _read(old, keys.node_spec(name), NodeSpec)
        if known is not None:
            others = tuple(role for role in known.roles if role is not Role.MANAGEMENT)
            roles = (Role.MANAGEMENT, *others) if name == node else others
            new[keys.node_spec(name)] = codec.encode(replace(known, roles=roles))
    panel = _read(old, keys.instance("panel/admin"), InstanceSpec)
    if panel is not None:
        new[keys.instance(panel.id)] = codec.encode(replace(panel, nodes=(node,)))


def _read(entries: Mapping[str, bytes], key: str, kind: type[_T]) -> _T | None:
    return codec.decode(entries[key], kind, key) if key in entries else None


# --- this machine ---------------------------------------------------------------------------------------------------


def choose_node(backup: Backup, options: RestoreOptions, root: Path = Path("/")) -> tuple[str, NodeConfig | None]:
    """(node, its present configuration). Raises Conflict if this machine is something else."""
    marker = files.below(root, files.MARKER)
    present = node_config.load(marker) if marker.exists() else None
    if present is not None and present.cluster != backup.cluster:
        raise Conflict(
            f"this machine belongs to the cluster {present.cluster}, the backup is of {backup.cluster}",
            "Restore it on a node of that cluster, or on a machine without Holdfast's files.",
        )
    node = options.node or (present.id if present else backup.node)
    if present is not None and present.id != node:
        raise Conflict(f"this machine is the node {present.id}, not {node}", f"Leave --node out, or go to {node}.")
    return node, present


def check_machine(backup: Backup, node: str, config: NodeConfig, options: RestoreOptions, root: Path) -> None:
    """Nothing of Holdfast runs here, and it is the machine that the node was. Raises Conflict."""
    strict = files.below(root, config.cgroup) / "strict"
    for group in (strict, strict.with_name("system")):
        events = group / "cgroup.events"
        if events.exists() and "populated 1" in events.read_text():
            raise Conflict(f"something runs in {group}", "Stop it first: systemctl stop holdfast-agent holdfast-guard.")
    lock = files.below(root, config.run_dir) / "agent.lock"
    if lock.exists():
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict("holdfast-agent runs here", "Stop it first: systemctl stop holdfast-agent.") from None
    beat = _read(backup.entries(), keys.beat(node), Beat)
    if beat is not None and options.machine_id and beat.machine_id != options.machine_id and not options.replaces:
        raise Conflict(
            f"this is another machine than {node} was when the backup was made. If that one still runs, what it executes "
            "is started a second time",
            "If it is off for good, say so with --replaces-dead-machine.",
        )


def restore(backup: Backup, options: RestoreOptions, root: Path = Path("/")) -> NodeConfig:
    """Put the beginning of the new store in place; guard and agent bring it to life. Raises Conflict, NotFound, ConfigError,
    InvalidInput. Safe to repeat: what a killed attempt left behind is overwritten."""
    node, present = choose_node(backup, options, root)
    new = as_restored(backup, node, options)
    spec = _read(new, keys.node_spec(node), NodeSpec)
    assert spec is not None
    address = spec.addresses["management"]
    config = NodeConfig(
        id=node,
        cluster=backup.cluster,
        addresses=dict(spec.addresses),
        endpoints=(url(address, ETCD_CLIENT_PORT),),
    )
    settings = {name: getattr(present, name) for name in LOCAL_SETTINGS} if present else {}
    config = with_local_settings(config, {**settings, **options.local}, root)
    check_machine(backup, node, config, options, root)
    pki_files = _pki(backup, spec, new, present, root, options)
    state = files.below(root, config.state_dir)
    with contextlib.suppress(FileNotFoundError):
        (state / "etcd").rename(state / f"etcd.before-{options.wall[:19].replace(':', '')}-{secrets.token_hex(2)}")
    known = state / KNOWN_FILE
    new |= known_here(known.read_bytes() if known.exists() else None, new)
    for name in CACHED:
        (state / name).unlink(missing_ok=True)
    peer = url(address, ETCD_PEER_PORT)
    # Another token makes it another cluster to etcd: its ids are made from it.
    token = f"{backup.cluster}-restored-{options.wall_ms}-{secrets.token_hex(4)}"
    member = EtcdMember(node, peer, config.endpoints[0], ((node, peer),), new=True, token=token)
    for path, content in (
        *((f"{files.PKI_DIR}/{name}", content) for name, content in pki_files.items()),
        (f"{config.state_dir}/{MEMBER_FILE}", codec.encode(member)),
        (f"{config.state_dir}/{SEED_FILE}", seed_text(new)),
        (f"{config.state_dir}/{RESTORED_FILE}", new[keys.RESTORED]),
        (files.MARKER, node_config.dump(config).encode()),
    ):
        public = path.endswith((files.CA_CERT, files.NODE_CERT, files.CRL, files.MARKER))
        place = files.below(root, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        files.replace_file(place, content, files.PUBLIC_MODE if public else files.SECRET_MODE)
    return config


def _pki(
    backup: Backup,
    spec: NodeSpec,
    new: dict[str, bytes],
    present: NodeConfig | None,
    root: Path,
    options: RestoreOptions,
) -> dict[str, bytes]:
    """Name → content. A machine that is this node keeps its key and certificate, and what it knows better than the backup;
    another one gets a certificate, which `new` then knows."""
    kept = {name: base64.b64decode(content) for name, content in backup.files.items()}
    own = files.below(root, str(files.PKI_DIR))
    if present is not None and restore_trust.belongs(kept, own, spec.id):
        return restore_trust.carry_on(new, kept, own, options.wall)
    with tempfile.TemporaryDirectory(prefix="holdfast-restore-") as directory:
        place = Path(directory)
        for name, content in kept.items():
            (place / name).write_bytes(content)
        secret = ring.read(place)
        locked = codec.decode(new[keys.CA_KEY], str, keys.CA_KEY)
    known = _read(new, keys.TRUST, trust.Trust)
    certificate = known.signing.encode() if known else kept[files.CA_CERT]
    key_pem = locks.unlock(locked, secret.cluster + secret.cluster_before)
    management = _read(new, keys.MANAGEMENT, ManagementSpec)
    assert management is not None
    names = bundle.certificate_names(spec, management)
    cert, key = pki.issue_node(pki.Authority(certificate, key_pem), spec.id, names)
    record = _read(new, keys.trust_node(spec.id), trust.NodeTrust) or trust.NodeTrust()
    issued = trust.with_issued(record.issued, cert, options.wall)
    new[keys.trust_node(spec.id)] = codec.encode(trust.NodeTrust(issued=issued))
    return {**kept, files.NODE_CERT: cert, files.NODE_KEY: key}


def addresses_of(backup: Backup, node: str) -> list[str]:
    """The node's own addresses, as the backup knows them."""
    spec = _read(backup.entries(), keys.node_spec(node), NodeSpec)
    return list(spec.addresses.values()) if spec else []


def other_nodes(backup: Backup, node: str) -> list[str]:
    names = [keys.last_part(key) for key, _ in backup.records if key.startswith(keys.NODE_SPECS)]
    return sorted(name for name in names if name != node)


def living_members(backup: Backup) -> list[str]:
    """Nodes whose member of the old store still takes connections."""
    management = _read(backup.entries(), keys.MANAGEMENT, ManagementSpec) or ManagementSpec(())
    return [member.node for member in management.members if _answers(member.client_url)]


def living_here(config: NodeConfig) -> bool:
    """This node's own member runs."""
    return _answers(url(config.management_address, ETCD_CLIENT_PORT))


def _answers(client_url: str) -> bool:
    parts = urlsplit(client_url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or ETCD_CLIENT_PORT), REACH_S).close()
    except OSError:
        return False
    return True


def forget(root: Path, state_dir: str) -> bool:
    """Remove this node's copy of a store that was restored elsewhere, so that it never comes back. False: it has none."""
    state = files.below(root, state_dir)
    had = (state / "etcd").exists() or (state / MEMBER_FILE).exists()
    (state / MEMBER_FILE).unlink(missing_ok=True)
    shutil.rmtree(state / "etcd", ignore_errors=True)
    for name in (*CACHED, RESTORED_FILE):
        (state / name).unlink(missing_ok=True)
    return had


def read_passphrase(file: Path) -> str:
    """The first line. Raises InvalidInput; a file that others can read is refused."""
    try:
        mode = file.stat().st_mode
        text = file.read_text().splitlines()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the passphrase file {file} cannot be read: {error}", "Check its name.") from error
    if mode & 0o077 and os.geteuid() == 0:
        raise InvalidInput(f"others can read the passphrase file {file}", f"chmod 600 {file}")
    return text
