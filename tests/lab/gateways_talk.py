"""A cluster in a lab that serves S3 and backups under DNS names: what tests say to it as an operator.

n1 to n3 manage and serve the zone; n2 to n4 carry S3 and backup gateways. Whichever single node dies, the store lives; n3
and n4 may die at once. The client host asks the name servers of n1 to n3 (its /etc/resolv.conf, by the lab).
"""

from dataclasses import dataclass, field
from typing import Any

from cluster_talk import PANEL, Cluster

from holdfast.lab import LabOptions

MANAGERS, NODES = ("n1", "n2", "n3"), ("n2", "n3", "n4")
OPTIONS = LabOptions(nodes=4, profile="fast", ha=False, shared_mib=2048, sizes=dict.fromkeys(NODES, (4, 8192)))
"""One node has room for all that three carry."""
ZONE = "lab.test"
S3_ADDRESSES, S3_SERVER_ADDRESSES, BACKUP_ADDRESSES = (
    "10.78.0.151-10.78.0.159",
    "10.77.0.151-10.77.0.169",
    "10.78.0.171-10.78.0.179",
)
_ENABLE = ("ha", "enable", "--virtual-ip", PANEL, "--nodes", ",".join(MANAGERS))


@dataclass
class Gateways(Cluster):
    """The cluster, from the outside of its services."""

    said_without_ha: dict[str, str] = field(default_factory=dict)
    """Command → what it said before management was made highly available."""

    def serve_zone(self) -> None:
        """By the cluster's own name servers, on the clients' network."""
        self.do("dns", "zone", "create", ZONE)

    def make_managed(self) -> None:
        """Management nodes, and with them the zone's name servers."""
        self.do(*_ENABLE)

    def whole(self) -> None:
        """Every node is up, everything runs, and nothing is being recovered."""
        for node in self.lab.nodes:
            self.lab.heal(node)
        self.until(self._whole, "every node is up, and everything runs and is healthy")

    def _whole(self) -> bool:
        if not self.up(self.lab.nodes):
            return False
        status = self.status()
        return not status["open_incidents"] and all(_serves(i) for i in status["instances"])

    def places(self, prefix: str) -> dict[str, str]:
        """Instance → its node, of those whose names begin so; "" while it is not healthy there."""
        found = [i for i in self.status()["instances"] if i["id"].startswith(prefix)]
        return {i["id"]: str(i["node"]) if _serves(i) else "" for i in found}


def _serves(instance: dict[str, Any]) -> bool:
    return bool(instance["state"] == "running" and instance["healthy"] and not instance["moving_to"])
