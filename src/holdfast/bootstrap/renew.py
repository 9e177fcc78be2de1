"""A node's certificate, issued anew when it has become good for too little.

The panel's virtual IP is unknown when the first nodes get their certificates, and becomes known by `ha enable`.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

from holdfast.bootstrap import files, pki
from holdfast.bootstrap.bundle import certificate_names, load_authority
from holdfast.config import NodeConfig
from holdfast.core.model import ManagementSpec, NodeSpec
from holdfast.errors import ConfigError
from holdfast.ports import Store


async def renew_certificate(
    store: Store, config: NodeConfig, node: NodeSpec, management: ManagementSpec, *, root: Path = Path("/")
) -> bool:
    """Replace certificate and key of this node if they lack one of its addresses; True if they were replaced.

    No daemon needs a restart: etcd, the store's client and the panel read the files again for new connections.
    Raises ConfigError where this node lacks the cluster secret, and StoreError.
    """
    wanted = certificate_names(replace(node, addresses=dict(config.addresses)), management)
    cert_path, key_path = (files.below(root, path) for path in (config.tls.cert, config.tls.key))
    try:
        present = pki.names_of(cert_path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{cert_path} cannot be used: {error}", "Restore it, or join the node anew.") from error
    if present.issuperset(wanted):
        return False
    authority = await load_authority(store, files.below(root, str(files.PKI_DIR)))
    cert, key = pki.issue_node(authority, config.id, wanted)
    # In a thread: a slow disk must not hold up the agent's beats.
    await asyncio.to_thread(_replace, (key_path, key), (cert_path, cert))
    return True


def _replace(key: tuple[Path, bytes], cert: tuple[Path, bytes]) -> None:
    """Key first: after a crash in between the old certificate still lacks the name, so the next call finishes the work."""
    files.replace_file(*key, files.SECRET_MODE)
    files.replace_file(*cert, files.PUBLIC_MODE)
