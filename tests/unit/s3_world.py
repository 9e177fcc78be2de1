"""A small cluster with a shared storage of its own, on which S3 clusters can be made."""

from pathlib import Path

from api_world import NETWORKS, ROOT, build, put

from holdfast.api.operations import s3_clusters
from holdfast.api.operations.draft import Draft, Outcome
from holdfast.api.operations.s3_clusters import NewCluster
from holdfast.clock import SystemClock
from holdfast.core.model import ClusterSpec
from holdfast.ports import Store
from holdfast.services.s3.config import S3Cluster
from holdfast.services.s3.files import ClusterFiles
from holdfast.services.storage import MARKER
from holdfast.store import keys

SECRET = bytes(range(32))
DOMAIN = "s3.example.lan"
NODES = ("n1", "n2", "n3")
GATEWAYS = "10.78.0.151-10.78.0.159"
SERVERS = "10.77.0.120-10.77.0.159"


async def storage(store: Store, root: Path) -> None:
    """A cluster that is there gets a shared storage."""
    await put(store, {keys.CLUSTER: ClusterSpec("demo", "c1", networks=NETWORKS, shared_root=str(root))})
    (root / MARKER).touch()


async def with_storage(store: Store, root: Path) -> None:
    """n1 to n5, up."""
    await build(store)
    await storage(store, root)


def files() -> ClusterFiles:
    return ClusterFiles(SystemClock())


def wish(**changes: object) -> NewCluster:
    wanted: dict[str, object] = {
        "name": "main",
        "nodes": NODES,
        "domain": DOMAIN,
        "gateway_addresses": [GATEWAYS],
        "server_addresses": [SERVERS],
        **changes,
    }
    return NewCluster(**wanted)  # type: ignore[arg-type]


async def create(store: Store, **changes: object) -> Outcome:
    return await s3_clusters.create(store, ROOT, wish(**changes), files=files(), secret=SECRET)


async def record(store: Store, name: str = "main") -> S3Cluster:
    return s3_clusters.find(await Draft.open(store), name)
