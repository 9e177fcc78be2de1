"""The suite against the LIO engine: Debian's kernel in QEMU, with the engine, the suite and a volume all in one guest.

This machine's kernel may have no LIO. The guest is that of tests/lio with another program in it.
"""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from iscsi_suite import SUITE, Outcome

from holdfast.lab.guest import build
from holdfast.lab.guest.cpio import Member, archive

HERE = Path(__file__).parent
TIMEOUT_S = 3600
_FIRMWARE = re.compile(r"^.*\x1b\[2J")
"""The machine clears its screen once before the first line."""
DISK_MIB = 12
"""Fits into one of the guest's memory disks of 16 MiB."""


@dataclass
class Found:
    kernel: str
    reservations: dict[str, str] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    whole: bool = False
    """It came to the end."""


def run_in_guest(backing: str, wanted: str, tell: Callable[[str], None]) -> Found:
    """`backing`: "device" (iblock on a memory disk) or "file" (fileio on ext4 on a memory disk)."""
    lio, image = _tests_lio(), build()
    modules = next((image.kernel.parents[1] / "lib/modules").iterdir()) / "kernel"
    found = Found(image.kernel.name.removeprefix("vmlinuz-"))
    with tempfile.NamedTemporaryFile(prefix="holdfast-conformance-", dir="/var/tmp") as initrd:
        initrd.write(archive(lio.with_directories(_members(lio, modules, backing, wanted))))
        initrd.flush()
        for line in _boot(image.kernel, Path(initrd.name)):
            _hear(line.strip(), found, tell)
    return found


def _hear(line: str, found: Found, tell: Callable[[str], None]) -> None:
    kind, _, text = _FIRMWARE.sub("", line).partition(": ")
    if kind == "outcome":
        found.outcomes.append(Outcome(**json.loads(text)))
        tell(f"{found.outcomes[-1].result:<8} {found.outcomes[-1].test}")
    elif kind == "reservations":
        found.reservations = json.loads(text)
    elif line == "outcomes: all":
        found.whole = True
    elif line:
        tell(line)


def _boot(kernel: Path, initrd: Path) -> Iterator[str]:
    """What the guest says."""
    line = "console=ttyS0 quiet loglevel=3 tsc=reliable no_timer_check nokaslr mitigations=off random.trust_cpu=on"
    argv = ["qemu-system-x86_64", "-accel", "tcg,tb-size=128", "-cpu", "max", "-m", "1024", "-nographic", "-no-reboot"]
    argv = ["timeout", str(TIMEOUT_S), *argv, "-kernel", str(kernel), "-initrd", str(initrd), "-append", line]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as guest:
        assert guest.stdout is not None
        try:
            yield from guest.stdout
        finally:
            guest.terminate()


def _members(lio: ModuleType, modules: Path, backing: str, wanted: str) -> Iterator[Member]:
    boot = lio.BOOT.replace("inside.py", f"iscsi_lio_inside.py {backing} '{wanted}'")
    mounted = "dd if=/disk of=/dev/ram1 bs=1M 2>/dev/null; mount -t ext4 /dev/ram1 /volumes\n"
    yield Member("init", boot.replace("PYTHONHOME=", f"{mounted}PYTHONHOME=").encode())
    yield from (member for member in lio.members(modules) if member.path != "init")
    for script in ("iscsi_lio_inside.py", "iscsi_suite.py", "iscsi_reservations.py"):
        yield from lio.files(f"src/{script}", HERE / script)
    yield Member("volumes")
    yield Member("disk", _ext4())
    program = Path(f"/usr/bin/{SUITE}")
    yield from lio.files(f"bin/{SUITE}", program)
    said = subprocess.run(["ldd", str(program)], check=True, capture_output=True, text=True, timeout=60).stdout
    for library in re.findall(r"(/\S+) \(0x", said):
        yield from lio.files(library.lstrip("/"), Path(library))


def _ext4() -> bytes:
    with tempfile.NamedTemporaryFile() as disk:
        disk.truncate(DISK_MIB << 20)
        argv = ["/usr/sbin/mkfs.ext4", "-q", "-O", "^has_journal", disk.name]
        subprocess.run(argv, check=True, timeout=60)
        return Path(disk.name).read_bytes()


def _tests_lio() -> ModuleType:
    """It is a program, and so has no name to import it by."""
    spec = importlib.util.spec_from_file_location("tests_lio", HERE.parent / "tests/lio/__main__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tests_lio"] = module
    spec.loader.exec_module(module)
    return module
