"""What a machine needs to become a member; and the join bundle, all of it in one file for machines that reach no API.

A bundle is a gzipped tar with the authority's certificate, the node's certificate and key, the beat key, the
configuration, and for roles that need it the cluster secret. It is as secret as a root password: whoever has it can join as
that node. Where the machine reaches a management node a token (`bootstrap/token.py`) is better: with it the key never leaves
the machine.

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
from holdfast import locks
from holdfast.bootstrap import certificates, files, pki, ring, secrets
from holdfast.bootstrap.create import with_local_settings
from holdfast.bootstrap.trust import Trust, needs_secret
from holdfast.config import NodeConfig
from holdfast.core.model import ClusterSpec, ManagementSpec, NodeSpec
from holdfast.errors import ConfigError, InvalidInput, NotFound
from holdfast.locks import SECRET_BYTES
from holdfast.ports import Store
from holdfast.store import codec, keys

_T = TypeVar("_T")

CONFIG = "node.toml"
NEEDED = (files.CA_CERT, files.NODE_CERT, files.NODE_KEY, files.BEAT_KEY, CONFIG)
OPTIONAL = (files.CLUSTER_SECRET, files.CRL, files.GENERATION)
"""No other names stand in a bundle."""
MAX_FILE_BYTES = 64 * 1024
MAX_TAR_BYTES = 1024 * 1024


async def make_bundle(store: Store, node: NodeSpec, *, pki_dir: Path = files.PKI_DIR) -> bytes:
    """Issue the node's certificate and pack its bundle. To be called on a management node.

    `node` need not be in the store yet. Raises ConfigError where this node lacks the secrets, NotFound where the store holds
    no cluster, and StoreError.
    """
    shared = await shared_files(store, node, pki_dir=pki_dir)
    management = await _read(store, keys.MANAGEMENT, ManagementSpec)
    authority = await load_authority(store, pki_dir)
    cert, key = pki.issue_node(authority, node.id, certificate_names(node, management))
    return _pack({**shared, files.NODE_CERT: cert, files.NODE_KEY: key})


async def shared_files(store: Store, node: NodeSpec, *, pki_dir: Path = files.PKI_DIR) -> dict[str, bytes]:
    """File name → content of all that a node gets but its certificate and key. Raises as `make_bundle` does."""
    cluster = await _read(store, keys.CLUSTER, ClusterSpec)
    management = await _read(store, keys.MANAGEMENT, ManagementSpec)
    entry = await store.get(keys.TRUST)
    trust = codec.decode(entry.value, Trust, entry.key) if entry else None
    shared = ring.read(pki_dir)
    config = NodeConfig(
        id=node.id,
        cluster=cluster.name,
        addresses=dict(node.addresses),
        endpoints=tuple(member.client_url for member in management.members if member.state == "voter"),
    )
    found = {
        files.CA_CERT: trust.ca_file if trust else _ca_file(pki_dir),
        files.BEAT_KEY: shared.beat,
        files.GENERATION: str(shared.generation).encode(),
        CONFIG: node_config.dump(config).encode(),
    }
    if trust is not None and trust.crls:
        found[files.CRL] = trust.crl_file
    if needs_secret(node, management):
        found[files.CLUSTER_SECRET] = secrets.read_secret(pki_dir / files.CLUSTER_SECRET)
    return found


def issued_in(bundle: bytes) -> bytes:
    """The certificate in a bundle. Raises InvalidInput."""
    return _unpack(bundle)[files.NODE_CERT]


def certificate_names(node: NodeSpec, management: ManagementSpec) -> list[str]:
    """What a node's certificate is to be good for: its own addresses, and the panel's where the panel may come. Nobody else
    shall be able to pass for it."""
    panel = [management.virtual_ip] if management.virtual_ip and node.id in management.nodes else []
    # In the spelling that certificates give back.
    return [str(ipaddress.ip_address(text)) for text in [*node.addresses.values(), *panel]]


async def load_authority(store: Store, pki_dir: Path = files.PKI_DIR) -> pki.Authority:
    """The authority that signs, its key unlocked with this node's cluster secret. Raises ConfigError, NotFound."""
    secret = secrets.read_with_previous(pki_dir / files.CLUSTER_SECRET)
    locked = await _read(store, keys.CA_KEY, str)
    entry = await store.get(keys.TRUST)
    certificate = codec.decode(entry.value, Trust, entry.key).signing.encode() if entry else _ca_file(pki_dir)
    return pki.Authority(certificate, locks.unlock(locked, secret))


def _ca_file(pki_dir: Path) -> bytes:
    try:
        return (pki_dir / files.CA_CERT).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be read: {error.strerror}", "Copy it from another member."
        ) from error


def join(bundle: bytes, root: Path = Path("/"), *, local: Mapping[str, str] | None = None) -> NodeConfig:
    """Unpack a bundle on the new machine. Everything is checked first; then all files appear, or none.

    `local`: keys of node.toml that are to differ on this machine (create.LOCAL_SETTINGS). Raises InvalidInput (not a bundle,
    damaged, tampered with), Conflict (the machine is a member already) or ConfigError (cannot be written).
    """
    return install(_unpack(bundle), root, local=local)


def install(
    contents: dict[str, bytes], root: Path = Path("/"), *, local: Mapping[str, str] | None = None, again: bool = False
) -> NodeConfig:
    """Check all that a new node was given, and put it in place: all of it, or nothing. Raises as `join` does. `again`: the
    machine is this node already, and gets its certificate and the secrets anew."""
    present = dict(contents)
    config = with_local_settings(_config(present.pop(CONFIG)), local or {}, root)
    pki.check_node(present[files.CA_CERT], present[files.NODE_CERT], present[files.NODE_KEY], config.id)
    for name in (files.BEAT_KEY, files.CLUSTER_SECRET):
        if name in present and len(present[name]) != SECRET_BYTES:
            raise _not_a_bundle(f"{name} has {len(present[name])} bytes")
    if files.CRL in present:
        certificates.check_revocations(present[files.CRL], present[files.CA_CERT])
    marker = files.NewFile(files.MARKER, node_config.dump(config).encode(), files.PUBLIC_MODE)
    if again:
        config = files.refuse_stranger(root, config)
        for file in files.pki_files(str(files.PKI_DIR), present):
            files.replace_file(files.below(root, file.path), file.content, file.mode)
        return config
    files.refuse_member(root, config.state_dir)
    files.install(root, files.pki_files(str(files.PKI_DIR), present), marker)
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
                if not info.isreg() or info.name not in (*NEEDED, *OPTIONAL) or info.name in contents:
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
    missing = [name for name in NEEDED if name not in contents]
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
