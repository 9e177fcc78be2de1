"""Access keys of S3 users: made, locked for the store, and unlocked for the gateways.

A gateway must know the secret itself (signature version 4 is an HMAC with it), so it cannot be stored as a hash. The store
keeps it encrypted with the cluster secret, which is on the nodes and never in the store.
"""

import base64
import secrets
from collections.abc import Iterable, Mapping

from holdfast import locks
from holdfast.services.s3.config import AccessKey, S3Cluster, S3User

PROBE_OWNER = ".probe"
"""Owner id of what health checks write; no user's id begins with a dot."""
_ID_BYTES = 10
_SECRET_BYTES = 30


def new_key(cluster_secret: bytes, created: str = "") -> tuple[AccessKey, str]:
    """A new access key for the store, and its secret to be shown once."""
    identifier = "HF" + base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode("ascii").rstrip("=")
    secret = base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")
    return AccessKey(identifier, lock(secret, cluster_secret), created=created), secret


def new_owner() -> str:
    """An id that is never given twice."""
    return secrets.token_hex(16)


def lock(secret: str, cluster_secret: bytes) -> str:
    return locks.lock(secret.encode(), cluster_secret)


def unlock(locked: str, cluster_secret: bytes) -> str:
    """The secret. Raises ConfigError if it was locked with another cluster secret."""
    return locks.unlock(locked, cluster_secret).decode()


def key_table(cluster: S3Cluster, users: Iterable[S3User], cluster_secret: bytes) -> Mapping[str, Mapping[str, str]]:
    """Access key id → secret and owner, of every key that may be used: what a gateway reads. Raises ConfigError."""
    found = {cluster.probe.id: {"secret": unlock(cluster.probe.secret, cluster_secret), "owner": PROBE_OWNER}}
    for user in users:
        if not user.enabled:
            continue
        for key in user.keys:
            if key.enabled:
                found[key.id] = {"secret": unlock(key.secret, cluster_secret), "owner": user.owner}
    return found
