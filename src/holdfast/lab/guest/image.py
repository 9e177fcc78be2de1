"""Builds guests: Debian's kernel as it is, and an initramfs of the modules it needs and one static program of ours.

Kept in HOLDFAST_CACHE (default /var/cache/holdfast) and built again only if a source changed. Packages for the guest (its
kernel, the QEMU guest agent) are downloaded once, by apt-get, and not installed: nothing of them may run on this machine.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.lab.guest.cpio import Member, archive

CACHE = Path("/var/cache/holdfast")
KERNEL_PACKAGE = "linux-image-cloud-amd64"
"""A package that only depends on the present kernel's; the cloud kernel is small and has the NFS client."""
FULL_KERNEL_PACKAGE = "linux-image-amd64"
"""Ten times as large: it also has 9p, drivers for watchdogs, and the SCSI device handlers that ALUA needs."""

_VIRTIO = (
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
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a guest is made of."""

    name: str
    source: str
    """Its program, a C file beside this one."""
    modules: tuple[str, ...]
    """In the order in which they are loaded (each after those it depends on)."""
    agent: bool = False
    """With Debian's QEMU guest agent, and this machine's libraries for it; its program starts it."""
    kernel: str = KERNEL_PACKAGE

    def fingerprint(self) -> bytes:
        sources = b"".join((_HERE / file).read_bytes() for file in (self.source, "machine.h"))
        return sources + repr((self.modules, self.agent)).encode()


NFS_CLIENT = Recipe(
    "nfs",
    "guest.c",
    (
        *_VIRTIO,
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
VM = Recipe("vm", "vm.c", (*_VIRTIO, "drivers/block/virtio_blk", "drivers/input/evdev", "drivers/acpi/button"))
"""A machine for the kind `vm`: boots by kernel and initrd, needs 96 MiB and a disk of 4 MiB or more."""
VM_WITH_AGENT = replace(VM, name="vm-agent", agent=True)
AGENT_PACKAGE = "qemu-guest-agent"
AGENT = "usr/sbin/qemu-ga"
VM_COMMAND_LINE = (
    "console=ttyS0 quiet loglevel=4 tsc=reliable no_timer_check nokaslr mitigations=off random.trust_cpu=on"
)
"""To it belong hvm.name=NAME hvm.ip=ADDRESS/PREFIX (see vm.c)."""
_TIMEOUT_S = 300


class GuestError(HoldfastError):
    """The guest cannot be built, started or heard."""


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
            agent = _agent(directory) if recipe.agent else None
            _write(initrd, _initrd(kernel, recipe, agent))
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
    package = _package_name(wanted)

    def check(unpacked: Path) -> None:
        modules = next((unpacked / "lib/modules").iterdir(), None)
        if modules is None or not (modules / "kernel/fs/nfs/nfsv4.ko").exists():
            raise GuestError(f"the package {package} has no NFS client", "Use another kernel package.")

    return _download(package, directory, check)


def _agent(directory: Path) -> Path:
    """The guest agent's program."""
    kept = directory / f"{AGENT_PACKAGE}.unpacked"
    return (kept if kept.exists() else _download(AGENT_PACKAGE, directory)) / AGENT


def _download(package: str, directory: Path, check: Callable[[Path], None] = lambda _: None) -> Path:
    """The package, unpacked and kept. `check` raises where it is not what is needed."""
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        _run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=temporary)
        files = list(Path(temporary).glob("*.deb"))
        if len(files) != 1:
            raise GuestError(f"apt-get downloaded {len(files)} files for {package}", "Try `apt-get update`.")
        unpacked = Path(temporary) / "unpacked"
        _run(["dpkg-deb", "-x", str(files[0]), str(unpacked)])
        check(unpacked)
        final = directory / f"{package}.unpacked"
        unpacked.rename(final)
    return final


def _package_name(wanted: str) -> str:
    listing = _run(["apt-cache", "depends", wanted])
    found = re.search(r"Depends: (linux-image-\S+)", listing)
    if not found:
        raise GuestError(f"apt knows no package {wanted}", "Run `apt-get update`; the guest needs Debian on amd64.")
    return found[1]


def _vmlinuz(kernel: Path) -> Path:
    return next((kernel / "boot").glob("vmlinuz-*"))


def _initrd(kernel: Path, recipe: Recipe, agent: Path | None) -> bytes:
    modules = next((kernel / "lib/modules").iterdir()) / "kernel"
    with tempfile.TemporaryDirectory() as temporary:
        program = Path(temporary) / "init"
        _run(["gcc", "-static", "-O2", "-Wall", "-s", "-o", str(program), str(_HERE / recipe.source), "-lpthread"])
        members = [Member("init", program.read_bytes()), Member("modules")]
        names = []
        for module in recipe.modules:
            source, stripped = modules / f"{module}.ko", Path(temporary) / "module.ko"
            if not source.exists():
                raise GuestError(
                    f"the kernel {kernel.name} has no module {module}", "Remove it from the cache and try again."
                )
            _run(["strip", "--strip-debug", "-o", str(stripped), str(source)])
            names.append(source.name)
            members.append(Member(f"modules/{source.name}", stripped.read_bytes()))
    members.append(Member("modules/order", "\n".join(names).encode() + b"\n"))
    return archive([*members, *(_with_libraries(agent) if agent else [])])


def _with_libraries(agent: Path) -> list[Member]:
    """The agent and, under the names that its loader looks for, this machine's libraries, which QEMU itself needs too."""
    listing = _run(["ldd", str(agent)])
    if "not found" in listing:
        raise GuestError(f"a library of {agent} is missing here: {listing}", "Run scripts/setup.")
    files = {path: Path(path) for path in re.findall(r"(/\S+) \(0x", listing)} | {f"/{AGENT}": agent}
    directories = {str(parent) for path in files for parent in Path(path).parents} - {"/"}
    members = [Member(each[1:]) for each in sorted(directories)]
    return members + [Member(path[1:], source.read_bytes()) for path, source in files.items()]


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def _run(command: list[str], cwd: str | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise GuestError(
            f"`{command[0]}` is not installed", "Run scripts/setup, which lists the Debian packages needed."
        )
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise GuestError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-500:]}", "See the message.")
    return done.stdout
