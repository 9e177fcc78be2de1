"""The fresh machine: a minimal Debian 12 with systemd, made once by mmdebstrap and kept in HOLDFAST_CACHE.

Machines have no network but the cluster's own. So apt's lists and the packages that Holdfast depends on lie in apt's cache,
as after `apt-get --download-only`: installing then needs no mirror, and takes what the package's own Depends name.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

CONTROL = Path(__file__).parents[2] / "packaging" / "debian" / "control"
SYSTEM = ("systemd", "systemd-sysv", "udev", "dbus", "kmod", "iproute2", "util-linux", "procps")
_TIMEOUT_S = 400
_DOWNLOAD = 'chroot "$1" apt-get -qq -y --install-recommends --download-only install'


def wanted() -> list[str]:
    """What Depends and Recommends name, without versions."""
    fields = {}
    for line in CONTROL.read_text().rpartition("\n\n")[2].splitlines():
        if not line.startswith(" "):
            name, _, value = line.partition(":")
            fields[name] = value
        else:
            fields[name] += line
    words = ",".join(fields[name] for name in ("Depends", "Recommends")).split(",")
    return sorted({word.split()[0] for word in words if word.split() and not word.strip().startswith("${")})


def root() -> Path:
    """The directory; made now if it is not there. Needs root and, for that once, the network."""
    packages = wanted()
    key = hashlib.sha256(" ".join((_DOWNLOAD, *SYSTEM, *packages)).encode()).hexdigest()[:12]
    directory = Path(os.environ.get("HOLDFAST_CACHE") or "/var/cache/holdfast") / "install"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        final = directory / f"bookworm-{key}"
        if not final.exists():
            making = directory / "making"
            shutil.rmtree(making, ignore_errors=True)
            _make(making, packages)
            making.rename(final)
        return final


def _make(target: Path, packages: list[str]) -> None:
    download = f"{_DOWNLOAD} {' '.join(packages)}"
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(SYSTEM)}"),
        *("--skip=cleanup/apt,cleanup/reproducible", '--aptopt=Acquire::Languages "none"'),
        *(f"--dpkgopt=path-exclude=/usr/share/{unused}/*" for unused in ("locale", "man")),
        *('--customize-hook=rm -f "$1"/var/cache/apt/archives/*.deb', f"--customize-hook={download}"),
        *("bookworm", str(target)),
    ]
    subprocess.run(command, check=True, timeout=_TIMEOUT_S)
