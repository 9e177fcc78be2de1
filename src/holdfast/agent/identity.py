"""Who this node is: its boot and its machine."""

import hashlib
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of one run of the agent."""

    session: str
    """New for each run of the agent."""
    boot_id: str
    """New for each boot of the node."""
    machine_id: str
    """The machine with its hardware; a clone of its disk has another one."""


def read_identity(macs: Iterable[str]) -> Identity:
    """Identity from the kernel and the machine's files; `macs` are the hardware addresses of the cluster interfaces."""
    return Identity(session=uuid.uuid4().hex, boot_id=_boot_id(), machine_id=_machine_id(macs))


def _boot_id() -> str:
    """The kernel's boot_id together with the start of process 1, so that a restarted container counts as a reboot too."""
    kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    # Field 22 of /proc/PID/stat (proc(5)); the command in field 2 may hold spaces, so count from its closing bracket.
    started = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    return f"{kernel}:{started}"


def _machine_id(macs: Iterable[str]) -> str:
    parts = [_read("/etc/machine-id"), _read("/sys/class/dmi/id/product_uuid"), *sorted(macs)]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def capacity() -> tuple[float, int]:
    """(cores, memory in MiB) of this machine, read anew each time: both can change while it runs."""
    return float(online_cores(_read("/sys/devices/system/cpu/online"))), memory_mib(_read("/proc/meminfo"))


def online_cores(text: str) -> int:
    """Cores in a list like `0-3,6` (sysfs, cpu/online); the count that Python knows where there is none."""
    ends = [part.partition("-") for part in text.split(",") if part]
    return sum(int(last or first) - int(first) + 1 for first, _, last in ends) or os.cpu_count() or 1


def memory_mib(text: str) -> int:
    """MemTotal of /proc/meminfo (proc(5)), which is in KiB."""
    total = next((line.split()[1] for line in text.splitlines() if line.startswith("MemTotal:")), "")
    if total:
        return int(total) // 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1 << 20)
