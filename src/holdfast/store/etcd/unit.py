"""How an etcd member is run: the command line for etcd 3.4 and newer, and what to warn about."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from holdfast.config import NodeConfig
from holdfast.core import rights
from holdfast.ports import Unit
from holdfast.store.checks import MAX_TXN_OPS

HEARTBEAT_MS = 50
ELECTION_MS = 400
"""A leader is missed after 400–800 ms: etcd draws the time anew for each round."""
DEFAULT_QUOTA_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class EtcdMember:
    """What a member must know of the cluster that it starts or joins."""

    name: str
    peer_url: str
    client_url: str
    initial_cluster: tuple[tuple[str, str], ...]
    """(name, peer URL) of every member including this one; of a joining one: of all members that etcd lists."""
    new: bool
    """True for the very first member; False for one that was added to a running cluster. Ignored once there is data."""
    member_id: str = ""
    """The id it was added under (hexadecimal); data of another id must be removed before a start. Empty: unknown."""
    token: str = ""
    """Of the very first member: with another one it is another cluster to etcd. Empty: the cluster's name."""


def etcd_unit(
    config: NodeConfig,
    member: EtcdMember,
    *,
    quota_bytes: int = DEFAULT_QUOTA_BYTES,
    snapshot_count: int = 10_000,
    crl: str = "",
) -> Unit:
    """The system unit of this node's member. Mutual TLS towards clients and peers when the URLs say https.

    The certificate must be good for both ends of a connection and name the member's address, 127.0.0.1 and ::1.
    `crl`: file with the list of revoked certificates. etcd reads it at each handshake; while it is missing or damaged nobody
    gets in, and open connections go on (tried with 3.4.23).
    """
    flags = {
        "name": member.name,
        "data-dir": str(Path(config.state_dir) / "etcd"),
        "listen-peer-urls": member.peer_url,
        "listen-client-urls": ",".join(dict.fromkeys((member.client_url, _loopback(member.client_url)))),
        "initial-advertise-peer-urls": member.peer_url,
        "advertise-client-urls": member.client_url,
        "initial-cluster": ",".join(f"{name}={url}" for name, url in member.initial_cluster),
        "initial-cluster-state": "new" if member.new else "existing",
        "initial-cluster-token": member.token or config.cluster,
        "heartbeat-interval": str(HEARTBEAT_MS),
        "election-timeout": str(ELECTION_MS),
        # A member that comes back must not depose a healthy leader.
        "pre-vote": "true",
        "strict-reconfig-check": "true",
        "snapshot-count": str(snapshot_count),
        "quota-backend-bytes": str(quota_bytes),
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "10m",
        "max-txn-ops": str(MAX_TXN_OPS),
        "logger": "zap",
        "log-outputs": "stderr",
    }
    if member.client_url.startswith("https:"):
        flags |= {
            "cert-file": config.tls.cert,
            "key-file": config.tls.key,
            "trusted-ca-file": config.tls.ca,
            "client-cert-auth": "true",
        } | ({"client-crl-file": crl} if crl else {})
    if member.peer_url.startswith("https:"):
        flags |= {
            "peer-cert-file": config.tls.cert,
            "peer-key-file": config.tls.key,
            "peer-trusted-ca-file": config.tls.ca,
            "peer-client-cert-auth": "true",
        } | ({"peer-crl-file": crl} if crl else {})
    # A proxy variable of the machine must never come between members.
    proxies = {name: "" for low in ("http_proxy", "https_proxy", "all_proxy") for name in (low, low.upper())}
    argv = (config.etcd, *(f"--{name}={value}" for name, value in flags.items()))
    env = {**proxies, "no_proxy": "*", "NO_PROXY": "*"}
    return Unit(name="etcd", argv=argv, env=env, strict=False, rights=rights.ETCD)


def _loopback(client_url: str) -> str:
    """The same port on the loopback address, for tools on the node itself."""
    parts = urlsplit(client_url)
    host = parts.hostname or ""
    if host in ("127.0.0.1", "::1", "localhost") or _is_any(host):
        return client_url
    return f"{parts.scheme}://127.0.0.1:{parts.port}"


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def version_warning(version: str) -> str:
    """One sentence why this etcd version should be replaced, or "" if there is nothing to say.

    Releases before 3.5.28 and 3.6.9 lack fixes of data inconsistency after a crash, of leases that expire early or
    overstay, and of watches that lose events; etcd 3.4 gets no fixes any more.
    """
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if not found:
        return f"etcd reports the version {version!r}, which Holdfast does not know; use 3.5.28, 3.6.9 or newer."
    number = tuple(int(part) for part in found.groups())
    wanted = (3, 6, 9) if number >= (3, 6, 0) else (3, 5, 28)
    if number >= wanted:
        return ""
    return (
        f"etcd {version} has known faults (leases that expire early or overstay, watches that lose events, data that "
        f"differs between members after a crash): use {'3.5.28, 3.6.9' if wanted == (3, 5, 28) else '3.6.9'} or newer "
        "in production."
    )
