"""A shared storage that is full is there: what it holds goes on being served."""

import os
import socket
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import DriverError
from holdfast.services.storage import MARKER, SharedStorage

FULL = Path("/dev/full")
"""Every write to it says that there is no space left (full(4))."""


def full(root: Path) -> SharedStorage:
    (root / MARKER).touch()
    (root / f".holdfast-write-check-{socket.gethostname()}").symlink_to(FULL)
    return SharedStorage(str(root), SystemClock())


async def test_a_full_storage_is_there(tmp_path: Path) -> None:
    await full(tmp_path).check(timeout=30)
    assert not (tmp_path / f".holdfast-write-check-{socket.gethostname()}").exists()


async def test_one_that_is_not_mounted_is_not_however_full(tmp_path: Path) -> None:
    storage = full(tmp_path)
    (tmp_path / MARKER).unlink()
    with pytest.raises(DriverError, match="is not mounted"):
        await storage.check(timeout=30)


async def test_one_that_cannot_be_written_for_another_reason_is_not_to_be_used(tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    (tmp_path / f".holdfast-write-check-{socket.gethostname()}").mkdir()
    with pytest.raises(DriverError, match=os.strerror(21)):
        await SharedStorage(str(tmp_path), SystemClock()).check(timeout=30)
