"""What people see of backup clusters: their gateways and how they fare, and what a client of one is told."""

from dataclasses import dataclass

from holdfast.api.backup_view import BackupClusterView
from holdfast.api.operations import checks
from holdfast.api.status import UNKNOWN, ClusterStatus
from holdfast.services.backup_gateway.cluster import KIND, instance_id
from holdfast.services.gateway_ha import ha_off


@dataclass(frozen=True, slots=True)
class GatewayView:
    home: str
    """Its own node."""
    home_state: str
    address: str
    node: str
    """Where it is now."""
    state: str
    """A word of InstanceState, `unplaced` or `unknown`."""
    healthy: bool
    why: str
    """What it waits for, or what is wrong, with its back-end above all."""


@dataclass(frozen=True, slots=True)
class Line:
    """One cluster in the list."""

    name: str
    state: str
    """`ok`; `degraded`: some gateway does not serve; `down`: none does; `stopped`; `deleting`."""
    url: str
    nodes: tuple[str, ...]
    gateways: tuple[int, int]
    """(healthy, all)"""
    ha: bool
    backend: str
    users: int


@dataclass(frozen=True, slots=True)
class Picture:
    line: Line
    cluster: BackupClusterView
    ha_off: str
    """Why its high availability is off; empty: it is on."""
    gateways: tuple[GatewayView, ...]


def listed(status: ClusterStatus) -> list[Line]:
    known = [_line(status, cluster, _gateways(status, cluster)) for cluster in status.backup_clusters]
    there = {line.name for line in known}
    gone = [service.name for service in status.services if service.kind == KIND and service.name not in there]
    return [*known, *(Line(name, "deleting", "", (), (0, 0), ha=False, backend="", users=0) for name in gone)]


def show(status: ClusterStatus, name: str) -> Picture:
    """Raises NotFound."""
    cluster = find(status, name)
    gateways = _gateways(status, cluster)
    why_off = ha_off(KIND, len(cluster.addresses), status.management)
    return Picture(_line(status, cluster, gateways), cluster, why_off, tuple(gateways))


def find(status: ClusterStatus, name: str) -> BackupClusterView:
    """Raises NotFound."""
    known = {cluster.name: cluster for cluster in status.backup_clusters}
    if name not in known:
        raise checks.not_found("backup cluster", name, known)
    return known[name]


def url(cluster: BackupClusterView) -> str:
    return f"https://{cluster.domain}:{cluster.port}/"


def _gateways(status: ClusterStatus, cluster: BackupClusterView) -> list[GatewayView]:
    there = {instance.id: instance for instance in status.instances}
    found = []
    for home, address in sorted(cluster.addresses.items()):
        instance = there.get(instance_id(cluster.name, home))
        node = status.node(home)
        state = str(node.state) if node else UNKNOWN
        if instance is None:
            found.append(GatewayView(home, state, address, "", UNKNOWN, healthy=False, why="its record is missing"))
            continue
        why = instance.waiting or ("" if instance.healthy else instance.detail)
        found.append(GatewayView(home, state, address, instance.node, instance.state, instance.healthy, why))
    return found


def _line(status: ClusterStatus, cluster: BackupClusterView, gateways: list[GatewayView]) -> Line:
    healthy = sum(gateway.healthy for gateway in gateways)
    if all(gateway.state == "stopped" for gateway in gateways):
        state = "stopped"
    elif not healthy:
        state = "down"
    else:
        state = "ok" if healthy == len(gateways) else "degraded"
    return Line(
        cluster.name,
        state,
        url(cluster),
        tuple(sorted(cluster.addresses)),
        (healthy, len(gateways)),
        ha=not ha_off(KIND, len(cluster.addresses), status.management),
        backend=cluster.backend,
        users=len(cluster.users),
    )
