"""What parts of S3 clusters need of the store and of the node's secrets: the seam to the agent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from holdfast.errors import DriverError
from holdfast.services.s3.config import S3Cluster, S3User
from holdfast.services.s3.users import key_table

Keys = Mapping[str, Mapping[str, str]]
"""Access key → its secret and owner."""


@dataclass(frozen=True, slots=True)
class Records:
    """As the agent's copy of the store has it."""

    clusters: Callable[[], Mapping[str, S3Cluster]]
    users: Callable[[str], Mapping[str, S3User]]
    """Of a cluster."""
    secret: Callable[[], bytes]
    """The cluster secret of this node. Raises ConfigError."""

    def cluster(self, name: str) -> S3Cluster:
        """Raises DriverError."""
        found = self.clusters().get(name)
        if found is None:
            raise DriverError(
                f"this node does not know the S3 cluster {name}",
                "It was deleted, or the store was not read yet: look at `holdfast s3 list`.",
            )
        return found

    def keys(self, cluster: S3Cluster) -> Keys:
        """Every access key that may be used now. Raises ConfigError."""
        users = self.users(cluster.name)
        return key_table(cluster, (users[name] for name in sorted(users)), self.secret())
