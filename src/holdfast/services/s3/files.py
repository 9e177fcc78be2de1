"""The directory of an S3 cluster on the shared storage, as the node that serves the API sees it."""

import os
from pathlib import Path

from holdfast.errors import Conflict
from holdfast.ports import Clock
from holdfast.services.s3.config import cluster_path
from holdfast.services.storage import SharedStorage

TIMEOUT_S = 10.0
MODE = 0o755


class ClusterFiles:
    """Port `api.operations.s3_clusters.Files`. `root` is that of the shared storage; what takes longer than TIMEOUT_S is
    given up with DriverError."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def make(self, root: str, name: str) -> None:
        """The directory is there afterwards, empty, also after a power loss. Raises Conflict if something of a former
        cluster of that name is in it: another cluster could not read that, and would write over it."""
        storage = SharedStorage(root, self._clock)
        await storage.check(timeout=TIMEOUT_S)
        path = Path(cluster_path(root, name))
        await storage.run(lambda: _make(path), timeout=TIMEOUT_S, what=f"making {path}")


def _make(path: Path) -> None:
    for directory in (path.parent, path):
        directory.mkdir(mode=MODE, exist_ok=True)
        _sync(directory.parent)
    left = sorted(entry.name for entry in path.iterdir())
    if left:
        raise Conflict(
            f"{path} holds {', '.join(left[:5])} of a former S3 cluster",
            "Choose another name, or move that directory away if nobody needs what is in it.",
        )


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
