"""A small cluster whose nodes can serve iSCSI, with files of its own in place of the shared storage."""

from collections.abc import Mapping
from pathlib import Path

from api_world import NETWORKS, build, put

from holdfast.clock import SystemClock
from holdfast.core.model import ClusterSpec
from holdfast.ports import Store
from holdfast.services.iscsi import report
from holdfast.services.iscsi.files import VolumeFiles
from holdfast.services.iscsi.report import Guest, NodeReport
from holdfast.services.storage import MARKER
from holdfast.store import keys

CLIENT = "iqn.2026-01.com.example:client1"
SECRET = "correct.horse.12"
TGT = {"lio": "the kernel has no LIO (target_core_mod).", "tgt": ""}
BOTH = {"lio": "", "tgt": ""}
NONE = {"lio": "the kernel has no LIO (target_core_mod).", "tgt": "/usr/sbin/tgtd is not on this node."}


class NoDevices(VolumeFiles):
    """Block devices need root: it is said what there is."""

    def __init__(self, devices: Mapping[str, int] | None = None) -> None:
        super().__init__(SystemClock())
        self.devices = dict(devices or {})

    async def device_size(self, root: str, path: str, *, unused: bool) -> int:
        if path in self.devices:
            return self.devices[path]
        return await super().device_size(root, path, unused=unused)


def say(
    root: Path,
    node: str,
    engines: Mapping[str, str] = TGT,
    *,
    paths: Mapping[str, Mapping[int, str]] | None = None,
    guests: tuple[Guest, ...] = (),
    problems: Mapping[str, str] | None = None,
) -> None:
    """A node's report."""
    states = {group: dict(units) for group, units in (paths or {}).items()}
    report.write(
        str(root), NodeReport(node, dict(engines), dict(problems or {}), states, guests, "2026-01-01T00:00:00Z")
    )


async def with_storage(store: Store, root: Path) -> None:
    """n1 to n5; n1 to n3 have tgt, n4 has no engine, n5 has said nothing."""
    await build(store)
    await storage(store, root)


async def storage(store: Store, root: Path) -> None:
    """The same for a cluster that is there."""
    await put(store, {keys.CLUSTER: ClusterSpec("demo", "c1", networks=NETWORKS, shared_root=str(root))})
    (root / MARKER).touch()
    for node in ("n1", "n2", "n3"):
        say(root, node)
    say(root, "n4", NONE)
