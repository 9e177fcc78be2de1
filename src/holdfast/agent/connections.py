"""Connections to this node's member of the store from machines that are no members of the cluster (any more).

etcd looks at the list of revoked certificates when a connection is made, never again. So when certificates are revoked,
connections that come from no present node are ended by the kernel (SOCK_DESTROY, Linux 4.5); nobody else notices.
"""

import ipaddress
import shutil
import subprocess

import structlog

from holdfast.config import ETCD_CLIENT_PORT, ETCD_PEER_PORT
from holdfast.services.nfs.tcp import ESTABLISHED, canonical, table

log = structlog.get_logger("holdfast.agent")

TIMEOUT_S = 5.0


def cut_strangers(members: set[str], ports: tuple[int, ...] = (ETCD_CLIENT_PORT, ETCD_PEER_PORT)) -> int:
    """End them; how many there were. `members`: addresses of the present nodes. Never raises."""
    known = {canonical(address) for address in members}
    strangers = [
        entry
        for entry in table()
        if entry.state == ESTABLISHED
        and entry.local.port in ports
        and entry.remote.ip not in known
        and not ipaddress.ip_address(entry.remote.ip).is_loopback
    ]
    program = shutil.which("ss")
    if strangers and program is None:
        log.error("connections of a removed node cannot be ended: there is no `ss` (package iproute2)")
        return 0
    for entry in strangers:
        assert program is not None
        where = ["src", _end(entry.local.ip, entry.local.port), "dst", _end(entry.remote.ip, entry.remote.port)]
        try:
            subprocess.run([program, "-K", "-tn", *where], capture_output=True, check=False, timeout=TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            log.error("a connection of a removed node was not ended", peer=entry.remote.ip, error=str(error))
    return len(strangers)


def _end(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
