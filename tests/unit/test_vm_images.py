"""Disk images by the real qemu-img: what is accepted, and that nothing is overwritten or left half-made."""

import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast.errors import Conflict, DriverError, HoldfastError, InvalidInput
from holdfast.services.vm.images import QemuImages

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-utils")
MIB = 1 << 20


def make(path: Path, *options: str, kind: str = "qcow2") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, *options, str(path), "4M"], check=True, timeout=30)
    return str(path)


async def test_an_image_is_known_by_its_format_and_size(tmp_path: Path) -> None:
    images, root = QemuImages(), str(tmp_path)
    found = await images.inspect(make(tmp_path / "a.qcow2"), root)
    assert (found.format, found.size) == ("qcow2", 4 * MIB)
    assert (await images.inspect(make(tmp_path / "b.img", kind="raw"), root)).format == "raw"
    (tmp_path / "link").symlink_to(tmp_path / "a.qcow2")
    assert (await images.inspect(str(tmp_path / "link"), root)).path == str(tmp_path / "a.qcow2")


async def test_an_image_and_all_it_is_made_of_lie_on_the_shared_storage(tmp_path: Path) -> None:
    images, root = QemuImages(), str(tmp_path / "shared")
    base = make(tmp_path / "outside.qcow2")
    above = make(tmp_path / "shared/above.qcow2", "-b", base, "-F", "qcow2")
    (tmp_path / "shared/link").symlink_to(base)
    for path in (base, above, f"{root}/../outside.qcow2", f"{root}/link", root, f"{root}/none"):
        with pytest.raises(InvalidInput):
            await images.inspect(path, root)
    with pytest.raises(InvalidInput, match="format vmdk"):
        await images.inspect(make(tmp_path / "shared/v.vmdk", kind="vmdk"), root)


async def test_disks_are_made_copied_and_removed_and_never_replace_a_file(tmp_path: Path) -> None:
    images, told = QemuImages(), list[float]()
    disk, copy = tmp_path / "vm/web/disk0.qcow2", tmp_path / "vm/web/disk1.qcow2"
    await images.create(str(disk), 4 * MIB)
    await images.copy(str(disk), str(copy), told.append)
    assert told[-1] == 100.0
    assert (await images.inspect(str(copy), str(tmp_path))).size == 4 * MIB
    for making in (images.create(str(disk), MIB), images.copy(str(disk), str(copy), told.append)):
        with pytest.raises(Conflict, match="exists already"):
            await making
    assert sorted(path.name for path in disk.parent.iterdir()) == ["disk0.qcow2", "disk1.qcow2"]
    for path in (disk, copy, copy):
        await images.remove(str(path))
    assert not disk.parent.exists()


async def test_what_qemu_img_refuses_is_said_in_its_words_and_leaves_nothing(tmp_path: Path) -> None:
    images = QemuImages()
    with pytest.raises(HoldfastError, match="qemu-img"):
        await images.copy(str(tmp_path / "none"), str(tmp_path / "x/disk0.qcow2"), lambda _percent: None)
    assert list((tmp_path / "x").iterdir()) == []
    with pytest.raises(DriverError, match="not installed"):
        await QemuImages("qemu-img-that-is-not-there").create(str(tmp_path / "y.qcow2"), MIB)
