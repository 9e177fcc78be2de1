"""What people see of S3 clusters: where their parts are and how they fare, how to connect, whether HA is on."""

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.api.operations import checks, s3_names
from holdfast.api.s3_view import S3ClusterView
from holdfast.api.status import UNKNOWN, ClusterStatus, InstanceView
from holdfast.services.gateway_ha import ha_off
from holdfast.services.s3.config import BACKGROUND, KIND, gateway_part, instance_id


@dataclass(frozen=True, slots=True)
class PartView:
    part: str
    kind: str
    """`name server`, `object server`, `gateway` or `background`."""
    node: str
    """Where it is placed; of a gateway that is away this is not its home."""
    home: str
    """A gateway's own node; empty for the others, which have none."""
    address: str
    state: str
    """A word of InstanceState, `unplaced` or `unknown`."""
    healthy: bool
    why: str
    """What it waits for, or what is wrong."""


@dataclass(frozen=True, slots=True)
class NodeLine:
    """A node of the cluster, and how much of it is there."""

    node: str
    state: str
    name_servers: int
    object_servers: int
    gateways: int
    """1, and one more for each node whose gateway it has taken over."""


@dataclass(frozen=True, slots=True)
class Line:
    """One cluster in the list: parts as (healthy, all)."""

    name: str
    state: str
    """`ok`; `degraded`: some part does not serve; `down`: no gateway does; `stopped`; `deleting`."""
    domain: str
    nodes: tuple[str, ...]
    name_servers: tuple[int, int]
    object_servers: tuple[int, int]
    gateways: tuple[int, int]
    ha: bool
    users: int


@dataclass(frozen=True, slots=True)
class Picture:
    line: Line
    cluster: S3ClusterView
    endpoint: str
    names: tuple[str, ...]
    """Under which clients find the gateways."""
    ha_off: str
    """Why its high availability is off; empty: it is on."""
    parts: tuple[PartView, ...]
    nodes: tuple[NodeLine, ...]
    notes: tuple[str, ...]
    """What does not work at the moment, and what that means for clients."""


def listed(status: ClusterStatus) -> list[Line]:
    known = [_line(status, cluster, _parts(status, cluster)) for cluster in status.s3_clusters]
    there = {line.name for line in known}
    gone = [service for service in status.services if service.kind == KIND and service.name not in there]
    nothing = (0, 0)
    return [
        *known,
        *(Line(service.name, "deleting", "", (), nothing, nothing, nothing, ha=False, users=0) for service in gone),
    ]


def show(status: ClusterStatus, name: str) -> Picture:
    """Raises NotFound."""
    cluster = find(status, name)
    parts = _parts(status, cluster)
    states = {node: view.state if (view := status.node(node)) else UNKNOWN for node in cluster.nodes}

    def count(node: str, kind: str) -> int:
        return sum(part.node == node and part.kind == kind for part in parts)

    nodes = [
        NodeLine(node, state, *(count(node, kind) for kind in ("name server", "object server", "gateway")))
        for node, state in states.items()
    ]
    line = _line(status, cluster, parts)
    return Picture(
        line,
        cluster,
        s3_names.endpoint(cluster.domain, cluster.gateway_port),
        (cluster.domain, f"*.{cluster.domain}"),
        ha_off(KIND, len(cluster.nodes), status.management),
        tuple(parts),
        tuple(nodes),
        tuple(_notes(line)),
    )


def users(status: ClusterStatus, name: str) -> object:
    return find(status, name).users


def find(status: ClusterStatus, name: str) -> S3ClusterView:
    """Raises NotFound."""
    known = {cluster.name: cluster for cluster in status.s3_clusters}
    if name not in known:
        raise checks.not_found("S3 cluster", name, known)
    return known[name]


def _parts(status: ClusterStatus, cluster: S3ClusterView) -> list[PartView]:
    there = {instance.id: instance for instance in status.instances}

    def view(part: str, kind: str, address: str = "", home: str = "") -> PartView:
        found = there.get(instance_id(cluster.name, part))
        return _part(part, kind, address, home, found)

    return [
        *(view(part, "name server", address) for part, address in _counted(cluster.name_servers)),
        *(view(part, "object server", address) for part, address in _counted(cluster.object_servers)),
        *(view(gateway_part(node), "gateway", address, node) for node, address in sorted(cluster.gateways.items())),
        view(BACKGROUND, "background"),
    ]


def _counted(servers: dict[str, str]) -> list[tuple[str, str]]:
    """os-2 before os-10."""
    return sorted(servers.items(), key=lambda item: (len(item[0]), item[0]))


def _part(part: str, kind: str, address: str, home: str, found: InstanceView | None) -> PartView:
    if found is None:
        return PartView(part, kind, "", home, address, UNKNOWN, healthy=False, why="its record is missing")
    why = found.waiting or ("" if found.healthy else found.detail)
    return PartView(part, kind, found.node, home, address, found.state, found.healthy, why)


def _line(status: ClusterStatus, cluster: S3ClusterView, parts: Iterable[PartView]) -> Line:
    def count(kind: str) -> tuple[int, int]:
        found = [part for part in parts if part.kind == kind]
        return sum(part.healthy for part in found), len(found)

    gateways = count("gateway")
    if all(part.state == "stopped" for part in parts):
        state = "stopped"
    elif not gateways[0]:
        state = "down"
    else:
        state = "ok" if all(part.healthy for part in parts) else "degraded"
    service = status.service(KIND, cluster.name)
    return Line(
        cluster.name,
        "deleting" if service is not None and service.deleting else state,
        cluster.domain,
        cluster.nodes,
        count("name server"),
        count("object server"),
        gateways,
        ha=not ha_off(KIND, len(cluster.nodes), status.management),
        users=len(cluster.users),
    )


def _notes(line: Line) -> Iterable[str]:
    if line.state == "stopped":
        yield f"It is stopped; start it with `holdfast service start s3/{line.name}`."
        return
    if line.state == "down":
        yield "No gateway serves: clients reach nothing."
    for what, kept, (healthy, total) in (
        ("name servers", "buckets", line.name_servers),
        ("object servers", "objects", line.object_servers),
    ):
        if healthy < total:
            yield (
                f"{total - healthy} of {total} {what} do not serve: requests for the {kept} they keep are answered with 503 "
                "until they do, and clients repeat them."
            )
