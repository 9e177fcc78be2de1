"""LIO, accepted: `make test-lio`, or `.venv/bin/python tests/lio [engine | cluster [FAULT…]]`. Exit code 0: all was kept.

This machine's kernel may have no LIO. So Debian's boots in QEMU, under software emulation.

*engine*, no root: an initramfs that holds this Python, `holdfast`, libiscsi and the modules runs inside.py: the engine and
an initiator of it, on one small machine. The kernel's last words are shown after a failure.
*cluster*, root: a lab whose storage nodes are such machines, with the same agent and guard as any (lio_acceptance.py).
HOLDFAST_LAB_LOGS: a directory that keeps the nodes' logs.
"""

import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from holdfast.lab.guest import build
from holdfast.lab.guest.cpio import Member, archive

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
TIMEOUT_S = 600
PASSED = "inside: all kept"
MODULES = (
    "fs/configfs/configfs",
    "drivers/scsi/scsi_common",
    "drivers/target/target_core_mod",
    "drivers/target/target_core_iblock",
    "drivers/target/target_core_file",
    "drivers/target/iscsi/iscsi_target_mod",
    "drivers/block/brd",
    "fs/fuse/fuse",
)
BOOT = f"""\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mkdir /dev/shm; mount -t tmpfs shm /dev/shm
ip link set lo up
for module in {" ".join(Path(module).name for module in MODULES)}; do
    insmod /modules/$module.ko || echo "no module $module"
done
mount -t configfs configfs /sys/kernel/config
PYTHONHOME=/python PYTHONPATH=/src /python/bin/python3 /src/inside.py || dmesg | tail -n 30
poweroff -f
"""


def main() -> int:
    part, faults = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if part not in ("", "engine", "cluster"):
        sys.exit(__doc__)
    if part != "cluster" and engine():
        return 1
    if part == "engine":
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the lab is taken down
    from lio_acceptance import accept  # here: others use parts of this file

    logs = os.environ.get("HOLDFAST_LAB_LOGS")
    return accept(faults, Path(logs, "lio") if logs else None)


def engine() -> int:
    """The engine alone."""
    image = build()
    modules = next((image.kernel.parents[1] / "lib/modules").iterdir()) / "kernel"
    with tempfile.NamedTemporaryFile(prefix="holdfast-lio-", dir="/var/tmp") as initrd:
        initrd.write(archive(with_directories(members(modules))))
        initrd.flush()
        return boot(image.kernel, Path(initrd.name))


def boot(kernel: Path, initrd: Path) -> int:
    """Show what the guest says; whether it kept everything."""
    line = "console=ttyS0 quiet loglevel=3 tsc=reliable no_timer_check nokaslr mitigations=off random.trust_cpu=on"
    argv = ["qemu-system-x86_64", "-accel", "tcg,tb-size=128", "-cpu", "max", "-m", "1024", "-nographic", "-no-reboot"]
    argv = ["timeout", str(TIMEOUT_S), *argv, "-kernel", str(kernel), "-initrd", str(initrd), "-append", line]
    kept = False
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as guest:
        assert guest.stdout is not None
        for said in guest.stdout:
            print(said, end="", flush=True)
            kept |= said.strip() == PASSED
    return 0 if kept and guest.returncode == 0 else 1


def members(modules: Path) -> Iterator[Member]:
    yield Member("init", BOOT.encode())
    for empty in ("bin", "dev", "proc", "sys", "tmp", "etc/target/alua", "etc/target/pr"):
        yield Member(empty)
    yield from files("bin/busybox", Path("/bin/busybox"))
    for module in MODULES:
        yield from files(f"modules/{Path(module).name}.ko", modules / f"{module}.ko")
    for source in sorted((SOURCE / "holdfast").rglob("*.py")):
        yield from files(f"src/{source.relative_to(SOURCE)}", source)
    for script in (HERE / "inside.py", HERE.parent / "contract" / "slow_file.py"):
        yield from files(f"src/{script.name}", script)
    yield from python()


def python() -> Iterator[Member]:
    """This interpreter with its library, and what all that links to."""
    program = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    left_out = {"test", "site-packages", "dist-packages", "idlelib", "tkinter", "ensurepip", "lib2to3", "pydoc_data"}
    linked = {program, Path("/usr/lib/x86_64-linux-gnu/libiscsi.so.7")}
    yield from files("python/bin/python3", program)
    for directory, below, names in os.walk(library):
        below[:] = [name for name in below if name not in left_out and not name.startswith("config-")]
        for name in names:
            file = Path(directory, name)
            if (
                file.suffix == ".py"
                or file.suffix == ".so"
                or name.endswith(f"cpython-{sys.version_info[0]}{sys.version_info[1]}.pyc")
            ):
                yield from files(f"python/lib/{library.name}/{file.relative_to(library)}", file)
            if file.suffix == ".so":
                linked.add(file)
    said = subprocess.run(["ldd", *map(str, linked)], capture_output=True, text=True, timeout=60).stdout
    needed = {
        word for line in said.splitlines() for word in line.split() if word.startswith("/") and not word.endswith(":")
    }
    for file in sorted(needed | {"/usr/lib/x86_64-linux-gnu/libiscsi.so.7"}):
        yield from files(file.lstrip("/"), Path(file))


def files(name: str, source: Path) -> Iterator[Member]:
    yield Member(name, source.read_bytes())


def with_directories(found: Iterator[Member]) -> Iterator[Member]:
    """Parents first, each path once."""
    seen: set[str] = set()
    for member in found:
        for parent in reversed(Path(member.path).parents):
            if str(parent) not in (".", *seen):
                seen.add(str(parent))
                yield Member(str(parent))
        if member.path not in seen:
            seen.add(member.path)
            yield member


if __name__ == "__main__":
    sys.exit(main())
