"""The join bundle: everything a machine needs to become a member, in one file.

A gzipped tar with the authority's certificate, the node's certificate and key, the beat key, the cluster secret and the
node's configuration. It is as secret as a root password: whoever has it can join as that node and, because of the cluster
secret, issue certificates. (Narrowing that is planned; see docs/operating.md.)

It is made on a management node by whoever adds the node, and unpacked on the new machine by `holdfast node join`.
"""

import gzip
import io
import ipaddress
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from holdfast import config as node_config
from holdfast.bootstrap import files, pki, secrets
from holdfast.bootstrap.create import with_local_settings
from holdfast.config import NodeConfig
from holdfast.core.model import ClusterSpec, ManagementSpec, NodeSpec
from holdfast.errors import ConfigError, InvalidInput, NotFound
from holdfast.ports import Store
from holdfast.store import codec, keys

_T = TypeVar("_T")

CONFIG = "node.toml"
MEMBERS = (files.CA_CERT, files.NODE_CERT, files.NODE_KEY, files.BEAT_KEY, files.CLUSTER_SECRET, CONFIG)
"""Exactly these names stand in a bundle."""
MAX_FILE_BYTES = 64 * 1024
MAX_TAR_BYTES = 1024 * 1024


async def make_bundle(store: Store, node: NodeSpec, *, pki_dir: Path = files.PKI_DIR) -> bytes:
    """Issue the node's certificate and pack its bundle. To be called on a management node.

    `node` need not be in the store yet. Raises ConfigError where this node lacks the secrets, NotFound where the store holds
    no cluster, and StoreError.
    """
    cluster = await _read(store, keys.CLUSTER, ClusterSpec)
    management = await _read(store, keys.MANAGEMENT, ManagementSpec)
    authority = await load_authority(store, pki_dir)
    cert, key = pki.issue_node(authority, node.id, certificate_names(node, management))
    config = NodeConfig(
        id=node.id,
        cluster=cluster.name,
        addresses=dict(node.addresses),
        endpoints=tuple(member.client_url for member in management.members if member.state == "voter"),
    )
    return _pack(
        {
            files.CA_CERT: authority.cert_pem,
            files.NODE_CERT: cert,
            files.NODE_KEY: key,
            files.BEAT_KEY: secrets.read_secret(pki_dir / files.BEAT_KEY),
            files.CLUSTER_SECRET: secrets.read_secret(pki_dir / files.CLUSTER_SECRET),
            CONFIG: node_config.dump(config).encode(),
        }
    )


def certificate_names(node: NodeSpec, management: ManagementSpec) -> list[str]:
    """What a node's certificate is to be good for: its own addresses and the panel's, which may come to it."""
    texts = [*node.addresses.values(), *([management.virtual_ip] if management.virtual_ip else [])]
    return [str(ipaddress.ip_address(text)) for text in texts]  # in the spelling that certificates give back


async def load_authority(store: Store, pki_dir: Path = files.PKI_DIR) -> pki.Authority:
    """The cluster's authority, its key unlocked with this node's cluster secret."""
    secret = secrets.read_secret(pki_dir / files.CLUSTER_SECRET)
    locked = await _read(store, keys.CA_KEY, str)
    try:
        cert_pem = (pki_dir / files.CA_CERT).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be read: {error.strerror}", "Copy it from another member."
        ) from error
    return pki.Authority(cert_pem, secrets.unlock_key(locked, secret))


def join(bundle: bytes, root: Path = Path("/"), *, local: Mapping[str, str] | None = None) -> NodeConfig:
    """Unpack a bundle on the new machine. Everything is checked first; then all files appear, or none.

    `local`: keys of node.toml that are to differ on this machine (create.LOCAL_SETTINGS). Raises InvalidInput (not a bundle,
    damaged, tampered with), Conflict (the machine is a member already) or ConfigError (cannot be written).
    """
    contents = _unpack(bundle)
    config = with_local_settings(_config(contents.pop(CONFIG)), local or {})
    pki.check_node(contents[files.CA_CERT], contents[files.NODE_CERT], contents[files.NODE_KEY], config.id)
    for name in (files.BEAT_KEY, files.CLUSTER_SECRET):
        if len(contents[name]) != secrets.SECRET_BYTES:
            raise _not_a_bundle(f"{name} has {len(contents[name])} bytes")
    files.refuse_member(root, config.state_dir)
    text = node_config.dump(config).encode()
    files.install(
        root,
        files.pki_files(str(files.PKI_DIR), contents),
        files.NewFile(files.MARKER, text, files.PUBLIC_MODE),
    )
    return config


def _pack(contents: Mapping[str, bytes]) -> bytes:
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), files.SECRET_MODE
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(tar_bytes.getvalue(), mtime=0)


def _unpack(bundle: bytes) -> dict[str, bytes]:
    """Name → content. Names are compared with a list and never used as paths."""
    contents: dict[str, bytes] = {}
    try:
        decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # gzip format only
        tar_bytes = decompressor.decompress(bundle, MAX_TAR_BYTES)
        if not decompressor.eof:
            raise _not_a_bundle("it is cut off or too large")
        with tarfile.open(fileobj=io.BytesIO(tar_bytes), mode="r:") as tar:
            for info in tar:
                if not info.isreg() or info.name not in MEMBERS or info.name in contents:
                    raise _not_a_bundle(f"it holds an unexpected entry {info.name[:100]!r}")
                if info.size > MAX_FILE_BYTES:
                    raise _not_a_bundle(f"its {info.name} is too large")
                source = tar.extractfile(info)
                assert source is not None, "a regular file has content"
                contents[info.name] = source.read()
                if len(contents[info.name]) != info.size:
                    raise _not_a_bundle("it is cut off")
    except (zlib.error, tarfile.TarError, EOFError, UnicodeError) as error:
        raise _not_a_bundle(str(error)) from error
    missing = [name for name in MEMBERS if name not in contents]
    if missing:
        raise _not_a_bundle(f"it lacks {', '.join(missing)}")
    return contents


def _config(text: bytes) -> NodeConfig:
    with tempfile.TemporaryDirectory(prefix="holdfast-join-") as directory:
        path = Path(directory) / CONFIG
        path.write_bytes(text)
        try:
            return node_config.load(path)
        except ConfigError as error:
            raise _not_a_bundle(
                f"its node.toml cannot be used ({error.message.replace(str(path), 'node.toml')})"
            ) from error


def _not_a_bundle(why: str) -> InvalidInput:
    return InvalidInput(
        f"this is not a usable join bundle: {why}",
        "Make a new one with `holdfast node add` on a member of the cluster and copy it unchanged.",
    )


async def _read(store: Store, key: str, kind: type[_T]) -> _T:
    entry = await store.get(key)
    if entry is None:
        raise NotFound(f"the store has no {key}", "Is this the right cluster? Look at it with `holdfast status`.")
    return codec.decode(entry.value, kind, key)
