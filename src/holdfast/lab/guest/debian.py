"""Debian packages for guests: downloaded once, by apt-get, and unpacked. Not installed: nothing of them runs here."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.lab.guest.cpio import Member

_TIMEOUT_S = 300
_LIBRARIES = ("lib", "usr/lib", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
"""Where the loader looks by itself, in packages and in guests."""


class GuestError(HoldfastError):
    """The guest cannot be built, started or heard."""


@dataclass(frozen=True, slots=True)
class Software:
    """What of Debian a guest has, besides its kernel."""

    packages: tuple[str, ...]
    """Packages that this machine need not have."""
    files: tuple[str, ...]
    """Patterns below the packages' root. The libraries that they link come along: the packages', else this machine's."""
    local: tuple[str, ...] = ()
    """Files of this machine that link nothing, with a leading slash."""


def members(software: Software, directory: Path) -> list[Member]:
    """Its files for a guest's first file system. `directory` keeps the packages. Raises GuestError."""
    roots = [fetch(package, directory) for package in software.packages]
    files: dict[str, Path] = {}
    for pattern in software.files:
        found = {f"/{file.relative_to(root)}": file for root in roots for file in root.glob(pattern)}
        if not found:
            raise GuestError(
                f"no package of {', '.join(software.packages)} has {pattern}", f"Remove them from {directory}."
            )
        files |= found
    files |= _libraries([file for file in files.values() if file.read_bytes()[:4] == b"\x7fELF"], roots)
    files |= {path: Path(path) for path in software.local}
    directories = {str(parent) for path in files for parent in Path(path).parents} - {"/"}
    return [Member(each[1:]) for each in sorted(directories)] + [
        Member(path[1:], source.read_bytes()) for path, source in files.items()
    ]


def _libraries(programs: Sequence[Path], roots: list[Path]) -> dict[str, Path]:
    """Path in the guest → the library there."""
    where = ":".join(str(root / each) for root in roots for each in _LIBRARIES)
    listing = run(["env", f"LD_LIBRARY_PATH={where}", "ldd", *map(str, programs)])
    if "not found" in listing:
        missing = sorted(set(re.findall(r"(\S+) => not found", listing)))
        raise GuestError(f"libraries of a guest are missing here: {', '.join(missing)}", "Run scripts/setup.")
    found = {}
    for path in set(re.findall(r"(/\S+) \(0x", listing)):
        root = next((root for root in roots if Path(path).is_relative_to(root)), Path("/"))
        found[f"/{Path(path).relative_to(root)}"] = Path(path)
    return found


def fetch(package: str, directory: Path) -> Path:
    """The package, unpacked and kept in `directory`. Raises GuestError."""
    final = directory / f"{package}.unpacked"
    if final.exists():
        return final
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=temporary)
        files = list(Path(temporary).glob("*.deb"))
        if len(files) != 1:
            raise GuestError(f"apt-get downloaded {len(files)} files for {package}", "Try `apt-get update`.")
        unpacked = Path(temporary) / "unpacked"
        run(["dpkg-deb", "-x", str(files[0]), str(unpacked)])
        unpacked.rename(final)
    return final


def run(command: list[str], cwd: str | None = None) -> str:
    """What the command prints. Raises GuestError."""
    if shutil.which(command[0]) is None:
        raise GuestError(
            f"`{command[0]}` is not installed", "Run scripts/setup, which lists the Debian packages needed."
        )
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise GuestError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-500:]}", "See the message.")
    return done.stdout
