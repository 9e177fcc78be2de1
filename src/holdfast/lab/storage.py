"""Loss of the shared storage for one host: every access to /shared fails with ENOTCONN, as with a dead network file system.

It is a FUSE mount whose server is gone, laid over the real directory. What a process opened before stays usable, so a
service that holds its files open notices only when it opens the next one.

A shared storage that can be full is an ext4 file system in a file.

Run as `python -m holdfast.lab.storage PID lose|restore` to do it in the mount namespace of a process.
"""

import os
import subprocess
import sys
from pathlib import Path

from holdfast.lab import kernel

MOUNT_POINT = Path("/shared")


def make_small(directory: Path, image: Path, mib: int) -> None:
    """Mount a file system of so many MiB on the directory; `cleanup` takes it away. Raises CalledProcessError."""
    with image.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True, timeout=60)
    subprocess.run(["mount", "-o", "loop", str(image), str(directory)], check=True, timeout=60)


def lose(mount_point: Path, fuse: int | None = None) -> None:
    """Cover the mount point. `fuse`: an open /dev/fuse, else it is opened here."""
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC) if fuse is None else fuse
    data = f"fd={fd},rootmode=40755,user_id=0,group_id=0,allow_other"
    kernel.mount("lab-lost-storage", mount_point, "fuse", kernel.MS_NOSUID | kernel.MS_NODEV, data)
    os.close(fd)


def restore(mount_point: Path) -> None:
    kernel.umount(mount_point, kernel.MNT_DETACH)


def main() -> None:
    pid, action = int(sys.argv[1]), sys.argv[2]
    fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    kernel.setns(os.pidfd_open(pid), kernel.CLONE_NEWNS)
    if action == "lose":
        lose(MOUNT_POINT, fuse)
    else:
        restore(MOUNT_POINT)


if __name__ == "__main__":
    main()
