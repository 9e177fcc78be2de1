"""The kernel's configfs, as the LIO engine uses it: directories are objects, small files are their settings.

Documentation/filesystems/configfs.rst in Linux. Making a directory makes what stands in it; a call may wait in the kernel
for as long as commands are under way.
"""

import errno
import os
from pathlib import Path

ROOT = Path("/sys/kernel/config/target")


class Configfs:
    """The real one. All paths are relative to `root`; what is there already is left, what is gone is passed over."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    def make(self, path: str) -> bool:
        """A directory; whether it is new."""
        try:
            (self.root / path).mkdir()
        except FileExistsError:
            return False
        return True

    def remove(self, path: str) -> None:
        try:
            (self.root / path).rmdir()
        except FileNotFoundError:
            return

    def write(self, path: str, value: str) -> None:
        """A setting, in one write and without a line end, which the kernel would take for a part of some names."""
        descriptor = os.open(self.root / path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)

    def read(self, path: str) -> str:
        return (self.root / path).read_text().rstrip("\n\0 ")

    def link(self, path: str, target: str) -> None:
        try:
            (self.root / path).symlink_to(self.root / target)
        except FileExistsError:
            return

    def unlink(self, path: str) -> None:
        try:
            (self.root / path).unlink()
        except FileNotFoundError:
            return

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def children(self, path: str) -> list[str]:
        """Names of the directories in it; none if it is gone."""
        try:
            return sorted(entry.name for entry in os.scandir(self.root / path) if entry.is_dir(follow_symlinks=False))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return []
            raise

    def links(self, path: str) -> dict[str, str]:
        """Name → what it leads to, relative to the root."""
        try:
            found = [entry.name for entry in os.scandir(self.root / path) if entry.is_symlink()]
        except FileNotFoundError:
            return {}
        return {name: os.path.relpath((self.root / path / name).resolve(), self.root.resolve()) for name in found}
