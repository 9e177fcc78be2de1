"""The directories of a cluster on the shared storage, and which part has which device.

    <shared>/s3/<cluster>/<part>/dev/<device>/…   what Swift stores
    <shared>/s3/<cluster>/<part>/work             where the server tries whether it can write
    <shared>/s3/<cluster>/<part>/.holdfast-part   says that this is the shared storage and no empty mount point
    <shared>/s3/<cluster>/moving/<device>         a device that no part has

The cluster's own directory is made with its record. All devices are made at once, in `moving`, by whichever part starts
first; from there on they are only renamed. So a device is in exactly one place at any time, and one that cannot be found is
never made anew, empty. `dev` is read-only for the servers: a request that is under way when a device is taken away cannot
make an empty one in its place.
"""

import contextlib
import os
import shutil
from pathlib import Path

from holdfast.errors import DriverError
from holdfast.services.s3.config import S3Cluster, cluster_path
from holdfast.services.s3.layout import DEVICES, MARKER, MOVING, WORK

_ALWAYS = ".holdfast-devices"
"""Keeps `moving` from ever being empty, and so from being replaced by a second one."""


class PartDirectory:
    """One name or object server's directory. Everything here may block: it belongs into a thread."""

    def __init__(self, shared_root: Path, cluster: S3Cluster, part: str) -> None:
        self._cluster = cluster
        self._root = Path(cluster_path(str(shared_root), cluster.name))
        self._part = self._root / part
        self._wanted = frozenset(cluster.servers[part].devices)

    @property
    def devices(self) -> Path:
        return self._part / DEVICES

    def present(self) -> frozenset[str]:
        try:
            return frozenset(entry.name for entry in self.devices.iterdir())
        except FileNotFoundError:
            return frozenset()

    def too_many(self) -> bool:
        """It has devices that another part is to have, and must be stopped to let go of them."""
        return bool(self.present() - self._wanted)

    def give(self) -> None:
        """Only while no server of the part runs: what one writes must not change its place under it."""
        for device in sorted(self.present() - self._wanted):
            _rename(self.devices / device, self._root / MOVING / device)

    def take(self) -> frozenset[str]:
        """Whatever there is for this part. Returns what still is elsewhere."""
        missing = self._wanted - self.present()
        for device in sorted(missing):
            with contextlib.suppress(FileNotFoundError):
                _rename(self._root / MOVING / device, self.devices / device)
        return self._wanted - self.present()

    def make(self) -> None:
        """What is missing of the directories. Raises OSError, DriverError."""
        self._check_passage()
        self._make_devices()
        self._part.mkdir(mode=0o755, exist_ok=True)
        self.devices.mkdir(exist_ok=True)
        self.devices.chmod(0o555)
        work = self._part / WORK
        work.mkdir(exist_ok=True)
        os.chown(work, self._cluster.uid, self._cluster.gid)
        marker = self._part / MARKER
        if not marker.exists():
            marker.write_text("This directory belongs to Holdfast.\n")
            marker.chmod(0o644)
            _sync(self._part)
            _sync(self._root)

    def _make_devices(self) -> None:
        """All of the cluster, once: made aside and put in place by one rename, which fails if another node was faster."""
        moving = self._root / MOVING
        if moving.exists():
            return
        if not self._root.exists():
            raise DriverError(
                f"{self._root}, which was made with S3 cluster {self._cluster.name}, is not on the shared storage",
                "Mount the right storage there. An empty one must not be served: clients would be told that nothing exists.",
            )
        aside = self._root / f".{MOVING}-{self._part.name}"  # a part is on one node only
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o755)
        (aside / _ALWAYS).touch()
        for server in self._cluster.servers.values():
            for device in server.devices:
                (aside / device).mkdir(mode=0o755)
                os.chown(aside / device, self._cluster.uid, self._cluster.gid)
        _sync(aside)
        try:
            aside.rename(moving)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            if not moving.exists():
                raise
        _sync(self._root)
        _sync(self._root.parent)

    def _check_passage(self) -> None:
        """A user without privileges must be able to come here. Raises DriverError."""
        if not self._cluster.uid:
            return
        for directory in [*reversed(self._root.parents)]:
            if directory.exists() and not directory.stat().st_mode & 0o001:
                raise DriverError(
                    f"user {self._cluster.uid}, as whom S3 cluster {self._cluster.name} runs, may not enter {directory}",
                    f"Allow it with `chmod o+x {directory}`.",
                )


def _rename(source: Path, target: Path) -> None:
    source.rename(target)
    _sync(target.parent)
    _sync(source.parent)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
