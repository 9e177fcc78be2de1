"""What an emulated node boots: Debian's full kernel, an initramfs with the modules it needs, and the code as it is now."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.lab.guest.cpio import Member, archive
from holdfast.lab.guest.image import FULL_KERNEL_PACKAGE, Kernel, kernel
from holdfast.lab.layout import Layout

MODULES = (
    *("virtio_pci", "virtio_net", "virtio_blk", "9pnet_virtio", "9p", "overlay", "crc32c_generic"),
    *("i6300esb", "nf_tables", "fuse", "bridge", "8021q"),
    *("target_core_mod", "target_core_iblock", "target_core_file", "iscsi_target_mod"),
)
BUSYBOX = Path("/bin/busybox")
_INIT = Path(__file__).with_name("init.sh")
_TARGET = ("etc", "etc/target", "etc/target/alua", "etc/target/pr")
"""LIO looks for them when it is loaded."""
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


def load_order(directory: Path, wanted: tuple[str, ...]) -> list[Path]:
    """These modules and those they depend on, in the order in which they can be loaded (`depends=`, see modinfo(8))."""
    files = {_plain(path.stem): path for path in directory.rglob("*.ko")}
    order: dict[str, Path] = {}

    def add(name: str) -> None:
        if name in order or name not in files:  # what is not a file is a part of the kernel
            return
        depends = _DEPENDS.search(files[name].read_bytes())
        for other in depends[1].decode().split(",") if depends else ():
            add(_plain(other))
        order[name] = files[name]

    for name in wanted:
        add(_plain(name))
    return list(order.values())


def _plain(module: str) -> str:
    return module.replace("-", "_")


def initramfs(found: Kernel) -> bytes:
    """busybox, the modules and init.sh, which goes on with the node's own root."""
    order = load_order(found.modules, MODULES)
    directories = ("bin", "dev", "proc", "sys", "modules", "lower", "memory", "node", "new", *_TARGET)
    files = {"init": _INIT, "bin/busybox": BUSYBOX, **{f"modules/{path.name}": path for path in order}}
    return archive(
        [
            *(Member(directory) for directory in directories),
            *(Member(name, path.read_bytes()) for name, path in files.items()),
            Member("modules/order", "".join(f"{path.name}\n" for path in order).encode()),
        ]
    )


def build(lab: Layout, disks: dict[str, int]) -> None:
    """Make what emulated nodes need: kernel, initramfs, code, and shared disks (name → MiB). Raises HoldfastError."""
    if not BUSYBOX.exists():
        raise HoldfastError(f"{BUSYBOX} is missing", "Run scripts/setup, which lists the Debian packages needed.")
    found = kernel(FULL_KERNEL_PACKAGE)
    directory = lab.emulated_dir
    directory.mkdir(exist_ok=True)
    (directory / "vmlinuz").symlink_to(found.image)
    (directory / "initrd").write_bytes(initramfs(found))
    _snapshot(directory / "src")
    for name, mib in disks.items():
        disk = lab.shared_disk(name)
        disk.parent.mkdir(exist_ok=True)
        with disk.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, mib << 20)


def _snapshot(target: Path) -> None:
    """A compiled copy of this code: compiling it anew in each emulated process would take half a minute."""
    source = Path(__file__).resolve().parents[2]
    shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(target)], env=environment, check=True, timeout=120)
