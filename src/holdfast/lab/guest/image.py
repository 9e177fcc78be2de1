"""Builds guests: Debian's kernel as it is, and an initramfs of the modules it needs, a program or two of ours, and for some
guests software of Debian's (`debian.py`). Kept in HOLDFAST_CACHE (default /var/cache/holdfast), built again only if a source
changed.
"""

import fcntl
import hashlib
import os
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.lab.guest.cpio import Member, archive
from holdfast.lab.guest.debian import GuestError, Software, fetch, members, run

CACHE = Path("/var/cache/holdfast")
KERNEL_PACKAGE = "linux-image-cloud-amd64"
"""A package that only depends on the present kernel's; the cloud kernel is small and has the NFS client."""
FULL_KERNEL_PACKAGE = "linux-image-amd64"
"""Ten times as large: it also has 9p, drivers for watchdogs, and the SCSI device handlers that ALUA needs."""

VIRTIO = (
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/char/virtio_console",
)
"""For every guest that has a network and a port."""
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a guest is made of."""

    name: str
    source: str
    """What it runs first, a file beside this one: C, or a shell script for busybox."""
    modules: tuple[str, ...]
    """In the order in which they are loaded (each after those it depends on)."""
    software: Software | None = None
    programs: tuple[str, ...] = ()
    """More C files beside this one; each becomes a program in /bin."""
    kernel: str = KERNEL_PACKAGE

    def fingerprint(self) -> bytes:
        sources = b"".join((_HERE / file).read_bytes() for file in (self.source, "machine.h", *self.programs))
        return sources + repr((self.modules, self.software)).encode()


NFS_CLIENT = Recipe(
    "nfs",
    "guest.c",
    (
        *VIRTIO,
        "net/sunrpc/sunrpc",
        "fs/nfs_common/grace",
        "fs/lockd/lockd",
        "fs/netfs/netfs",
        "fs/fscache/fscache",
        "fs/nfs/nfs",
        "net/dns_resolver/dns_resolver",
        "fs/nfs/nfsv4",
    ),
)
VM = Recipe("vm", "vm.c", (*VIRTIO, "drivers/block/virtio_blk", "drivers/input/evdev", "drivers/acpi/button"))
"""A machine for the kind `vm`: boots by kernel and initrd, needs 96 MiB and a disk of 4 MiB or more."""
VM_WITH_AGENT = replace(VM, name="vm-agent", software=Software(("qemu-guest-agent",), ("usr/sbin/qemu-ga",)))
"""Its program starts the agent."""
VM_COMMAND_LINE = (
    "console=ttyS0 quiet loglevel=4 tsc=reliable no_timer_check nokaslr mitigations=off random.trust_cpu=on"
)
"""To it belong hvm.name=NAME hvm.ip=ADDRESS/PREFIX (see vm.c)."""


@dataclass(frozen=True, slots=True)
class GuestImage:
    kernel: Path
    initrd: Path


def build(cache: Path | None = None, recipe: Recipe = NFS_CLIENT) -> GuestImage:
    """The image, built if need be: about 5 s with the download, 1 s without, nothing if it is there. Raises GuestError."""
    directory = (cache or Path(os.environ.get("HOLDFAST_CACHE") or CACHE)) / "guest"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kernel = _kernel(directory, recipe.kernel)
        key = hashlib.sha256(kernel.name.encode() + recipe.fingerprint()).hexdigest()[:16]
        initrd = directory / f"initrd-{recipe.name}-{key}"
        if not initrd.exists():
            software = members(recipe.software, directory) if recipe.software else []
            _write(initrd, archive([*_own(kernel, recipe), *software]))
        return GuestImage(_vmlinuz(kernel), initrd)


@dataclass(frozen=True, slots=True)
class Kernel:
    """Debian's kernel as it is, for guests that bring their own initramfs."""

    image: Path
    modules: Path
    """The directory that has `fs`, `drivers` and so on."""


def kernel(package: str = KERNEL_PACKAGE, cache: Path | None = None) -> Kernel:
    """Downloaded if need be. Raises GuestError."""
    directory = (cache or Path(os.environ.get("HOLDFAST_CACHE") or CACHE)) / "guest"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unpacked = _kernel(directory, package)
    return Kernel(_vmlinuz(unpacked), next((unpacked / "lib/modules").iterdir()) / "kernel")


def _kernel(directory: Path, wanted: str) -> Path:
    """The unpacked kernel package that `wanted` depends on: the newest one kept, else downloaded."""
    flavour = re.escape(wanted.removeprefix("linux-image"))
    kept = sorted(p for p in directory.iterdir() if re.fullmatch(rf"linux-image-[\d.]+-\d+{flavour}\.unpacked", p.name))
    if kept:
        return kept[-1]
    return fetch(_package_name(wanted), directory)


def _package_name(wanted: str) -> str:
    listing = run(["apt-cache", "depends", wanted])
    found = re.search(r"Depends: (linux-image-\S+)", listing)
    if not found:
        raise GuestError(f"apt knows no package {wanted}", "Run `apt-get update`; the guest needs Debian on amd64.")
    return found[1]


def _vmlinuz(kernel: Path) -> Path:
    return next((kernel / "boot").glob("vmlinuz-*"))


def _own(kernel: Path, recipe: Recipe) -> list[Member]:
    """What the guest runs first, our programs, the kernel's modules and the order in which they are loaded."""
    modules = next((kernel / "lib/modules").iterdir()) / "kernel"
    with tempfile.TemporaryDirectory() as temporary:
        found = [Member("init", _program(recipe.source, temporary)), Member("modules"), Member("bin")]
        found += [Member(f"bin/{Path(each).stem}", _program(each, temporary)) for each in recipe.programs]
        names = []
        for module in recipe.modules:
            source, stripped = modules / f"{module}.ko", Path(temporary) / "module.ko"
            if not source.exists():
                raise GuestError(
                    f"the kernel {kernel.name} has no module {module}", "Remove it from the cache and try again."
                )
            run(["strip", "--strip-debug", "-o", str(stripped), str(source)])
            names.append(source.name)
            found.append(Member(f"modules/{source.name}", stripped.read_bytes()))
    return [*found, Member("modules/order", "\n".join(names).encode() + b"\n")]


def _program(source: str, temporary: str) -> bytes:
    if not source.endswith(".c"):
        return (_HERE / source).read_bytes()
    program = Path(temporary) / "program"
    run(["gcc", "-static", "-O2", "-Wall", "-s", "-o", str(program), str(_HERE / source), "-lpthread"])
    return program.read_bytes()


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
