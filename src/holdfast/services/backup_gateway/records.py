"""What backup gateways need of the store and of the node's secrets: the seam to the agent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.services.backup_gateway.cluster import BackupCluster, BackupUser


@dataclass(frozen=True, slots=True)
class Records:
    """As the agent's copy of the store has it."""

    clusters: Callable[[], Mapping[str, BackupCluster]]
    users: Callable[[str], Mapping[str, BackupUser]]
    """Of a cluster."""
    unlock: Callable[[str], bytes]
    """What is stored encrypted with the cluster secret. Raises ConfigError."""
    certify: Callable[[str, Sequence[str]], tuple[bytes, bytes]]
    """Common name, names and addresses → certificate and key (PEM) by the cluster's authority. Raises ConfigError."""
    still_good: Callable[[bytes], bool] = lambda _certificate: True
    """Whether a certificate (PEM) of `certify` can go on: the same authority signs still, and it does not end soon."""
