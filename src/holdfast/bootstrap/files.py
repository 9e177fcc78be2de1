"""Putting a set of files in place so that either all of them count or none does.

The node's configuration file is the *marker*: a node is a member of a cluster exactly if it is there. It is written last;
what a killed attempt left behind before that is overwritten by the next one.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast import owners
from holdfast.config import DEFAULT_PATH, NodeConfig, load
from holdfast.errors import ConfigError, Conflict

MARKER = str(DEFAULT_PATH)
PKI_DIR = Path("/etc/holdfast/pki")
CA_CERT = "ca.crt"
NODE_CERT = "node.crt"
NODE_KEY = "node.key"
BEAT_KEY = "beat.key"
CLUSTER_SECRET = "cluster.secret"  # noqa: S105 (a file name)
BEAT_PREVIOUS = "beat.previous"
CLUSTER_PREVIOUS = "cluster.previous"
"""What came before, while it still counts (ring.py)."""
GENERATION = "generation"
"""Of the shared secrets."""
SEALING_KEY = "seal.key"
CRL = "crl.pem"
"""The revoked certificates (certificates.py)."""

SECRET_MODE = 0o600
PUBLIC_MODE = 0o644


@dataclass(frozen=True, slots=True)
class NewFile:
    path: str
    """Absolute, as the node sees it."""
    content: bytes
    mode: int


def pki_files(pki_dir: str, contents: dict[str, bytes]) -> list[NewFile]:
    """The files of the pki directory with their modes: certificates for everybody, keys and secrets for root."""
    return [
        NewFile(f"{pki_dir}/{name}", content, PUBLIC_MODE if name in (CA_CERT, NODE_CERT, CRL) else SECRET_MODE)
        for name, content in contents.items()
    ]


def below(root: Path, path: str) -> Path:
    """A node's absolute path as it is seen from here, where the node's root directory is `root`."""
    return root / path.lstrip("/")


def refuse_member(root: Path, state_dir: str) -> None:
    """Raise Conflict if the node belongs to a cluster, or still holds the store of a former one."""
    marker = below(root, MARKER)
    if marker.exists():
        raise Conflict(
            f"this node belongs to a cluster already: {marker} exists",
            "Look at it with `holdfast status`. To give the node to another cluster, take it out of this one "
            "(`holdfast node remove`), stop holdfast-agent, and remove /etc/holdfast and the state directory.",
        )
    store = below(root, state_dir) / "etcd"
    if store.is_dir() and any(store.iterdir()):
        raise Conflict(
            f"{store} holds the store of a former cluster",
            "If nobody needs it any more, remove that directory; otherwise move it away.",
        )


def refuse_stranger(root: Path, config: NodeConfig) -> NodeConfig:
    """The configuration of this machine if it is this node of this cluster already. Raises Conflict, ConfigError."""
    present = load(below(root, MARKER))
    if (present.id, present.cluster) != (config.id, config.cluster):
        raise Conflict(
            f"this machine is node {present.id} of the cluster {present.cluster}, not {config.id} of {config.cluster}",
            "Make the token for the node that this machine is.",
        )
    return present


def install(root: Path, files: Sequence[NewFile], marker: NewFile) -> None:
    """Write `files`, then `marker`. Raises ConfigError, and then nothing of it is left."""
    placed: list[Path] = []
    staged: list[tuple[Path, Path]] = []
    try:
        for file in [*files, marker]:
            staged.append(_stage(root, file))
        for temporary, path in staged:
            temporary.replace(path)
            placed.append(path)
        for directory in {path.parent for path in placed}:
            _sync_directory(directory)
    except BaseException as error:
        for path in [*placed, *(temporary for temporary, _ in staged)]:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ConfigError(
                f"{error.filename or root} cannot be written: {error.strerror}", "Run this as root on the node itself."
            ) from error
        raise


def _stage(root: Path, file: NewFile) -> tuple[Path, Path]:
    """Write the content under a temporary name beside its place; (temporary, final)."""
    path = below(root, file.path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    temporary = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    with os.fdopen(descriptor, "wb") as sink:
        os.fchmod(descriptor, file.mode)
        if path.name.startswith(NODE_KEY):
            owners.let_read(temporary)  # the store's member runs as a user of its own
        sink.write(file.content)
        sink.flush()
        os.fsync(descriptor)
    return temporary, path


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Replace one file atomically. Raises ConfigError."""
    try:
        temporary, final = _stage(Path("/"), NewFile(str(path), content, mode))
        temporary.replace(final)
        _sync_directory(final.parent)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", "Run this as root on the node itself."
        ) from error
