"""A small cluster that can have backup clusters, with a back-end that is only in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from api_world import ROOT, FakeProbe

from holdfast.api.operations import backup_clusters
from holdfast.api.operations.backup_clusters import NewCluster
from holdfast.api.operations.draft import Outcome
from holdfast.bootstrap.secrets import new_secret
from holdfast.errors import DriverError
from holdfast.ports import Store
from holdfast.services.backup_gateway.check import check_local
from holdfast.services.backup_gateway.config import Local, parse_backend

SECRET = new_secret()
RANGE = "10.78.0.171-10.78.0.179"
S3 = "s3:https://objects.example.lan/bucket"
KEYS = {"access_key": "AK", "secret_key": "very-secret"}


class FakeBackends:
    """Refuses those that it was told of."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def check(self, root: str, backend: str, credentials: Mapping[str, str]) -> None:
        parsed = parse_backend(backend, credentials, "/mnt")
        if isinstance(parsed, Local):
            check_local(root, parsed.path)
        self.asked.append((backend, dict(credentials)))
        if backend in self.refused:
            raise DriverError(f"the back-end {backend} cannot be used from n1: it refuses", "Check it.")

    def authority(self) -> str:
        return "-----BEGIN CERTIFICATE-----\n"


async def nowhere(_name: str) -> frozenset[str]:
    """No name is known."""
    return frozenset()


async def create(
    store: Store,
    nodes: Sequence[str] = ("n1", "n2", "n3"),
    *,
    name: str = "main",
    backends: FakeBackends | None = None,
    probe: FakeProbe | None = None,
    **more: Any,
) -> Outcome:
    fields: dict[str, Any] = {"domain": f"{name}.example.lan", "addresses": [RANGE], "backend": "local:/shared/backup"}
    wish = NewCluster(name, nodes, **{**fields, **more})
    return await backup_clusters.create(
        store,
        ROOT,
        wish,
        backends=backends or FakeBackends(),
        secret=SECRET,
        probe=probe or FakeProbe(),
        resolve=nowhere,
    )
