"""A backup of the cluster's state: every record of the store at one revision, and what opens it.

Kept are records and secrets, not data of services: those lie on the shared storage. What ends with a process (leases) is
left out. It is made on a management node, which has the cluster secret.
"""

import base64
import gzip
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from holdfast import __version__
from holdfast.bootstrap import files, sealed
from holdfast.core.model import ClusterSpec
from holdfast.errors import ConfigError, InvalidInput, NotFound
from holdfast.ports import Store
from holdfast.store import codec, keys

LIST_S = 30.0
"""All of a large store takes longer than an ordinary read."""
SUFFIX = ".hfbackup"
SHARED = (
    files.CA_CERT, files.CRL, files.GENERATION, files.BEAT_KEY, files.BEAT_PREVIOUS, files.CLUSTER_SECRET,
    files.CLUSTER_PREVIOUS,
)  # fmt: skip
"""What all nodes have. The rest belongs to the one node where the backup is made, a key that is about to replace its own
among it: another node gets its own."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds, opened."""

    cluster: str
    cluster_id: str
    wall: str
    """When it was made, ISO 8601 UTC."""
    node: str
    """Where."""
    revision: int
    version: str
    """Of Holdfast."""
    records: list[tuple[str, str]]
    """(key, base64 of the value), by key."""
    files: dict[str, str] = field(default_factory=dict)
    """Name in the pki directory → base64 of its content: authority, beat key, cluster secret."""

    def entries(self) -> dict[str, bytes]:
        return {key: base64.b64decode(value) for key, value in self.records}


async def make(store: Store, node: str, wall: str, *, pki_dir: Path = files.PKI_DIR) -> Backup:
    """Read everything. Raises StoreError, NotFound (no cluster in the store), ConfigError (this node lacks the secrets)."""
    snapshot = await store.list("", timeout=LIST_S)  # one read, so one revision
    found = {entry.key: entry.value for entry in snapshot.entries if not entry.lease}
    if keys.CLUSTER not in found:
        raise NotFound("the store has no cluster", "Make the backup on a management node of the cluster.")
    cluster = codec.decode(found[keys.CLUSTER], ClusterSpec, keys.CLUSTER)
    if not (pki_dir / files.CLUSTER_SECRET).exists():
        raise ConfigError("this node does not have the cluster secret", "Make the backup on a management node.")
    kept = [pki_dir / name for name in SHARED if (pki_dir / name).is_file()]
    try:
        shared = {path.name: base64.b64encode(path.read_bytes()).decode() for path in kept}
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}", "Run this as root.") from error
    records = [(key, base64.b64encode(value).decode()) for key, value in sorted(found.items())]
    return Backup(cluster.name, cluster.cluster_id, wall, node, snapshot.revision, __version__, records, shared)


def pack(backup: Backup, passphrase: str) -> bytes:
    """The file's content. Raises InvalidInput for a passphrase that is too short."""
    payload = gzip.compress(msgspec.json.encode(backup), mtime=0)
    about = {
        "cluster": backup.cluster,
        "made": backup.wall,
        "node": backup.node,
        "revision": backup.revision,
        "records": len(backup.records),
        "version": backup.version,
    }
    return sealed.seal(payload, passphrase, about)


def unpack(content: bytes, passphrase: str) -> Backup:
    """Raises InvalidInput: no backup, damaged, or another passphrase. Files are those of SHARED, whatever else it holds: no
    name of a backup is ever used as a path."""
    _, payload = sealed.unseal(content, passphrase)
    try:
        found = msgspec.json.decode(gzip.decompress(payload), type=Backup)
        return replace(found, files={name: found.files[name] for name in SHARED if name in found.files})
    except (msgspec.DecodeError, OSError, EOFError) as error:
        raise InvalidInput(f"this backup cannot be read: {error}", "Take an older one.") from error


def write(path: Path, content: bytes) -> None:
    """Readable by root only, complete or not at all. Raises ConfigError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace_file(path, content, files.SECRET_MODE)


def prune(directory: Path, cluster: str, keep: int) -> list[Path]:
    """Remove all but the newest `keep` of this cluster's backups there, by their names; which were removed."""
    found = sorted(directory.glob(f"{cluster}-*{SUFFIX}"), reverse=True)
    for path in found[keep:]:
        path.unlink(missing_ok=True)
    return found[keep:]
