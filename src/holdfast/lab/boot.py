"""Run as `python -m holdfast.lab.boot SPEC`: the process that becomes a lab host's init.

It enters the host's control group and network namespace, makes the other namespaces, builds the root file system and
executes tini. Its first child is process 1 of the host; it reports that child's process id and ends.
"""

import json
import os
import shutil
import socket
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from holdfast.lab import kernel, storage

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "fuse", "kvm", "net/tun", "loop-control")
_LOOPS = tuple(f"loop{i}" for i in range(8))
_OUR_STATE = ("etc/holdfast", "var/lib/holdfast", "var/log/holdfast")
"""Of the machine's own Holdfast, if it has one: not on the nodes."""


@dataclass(frozen=True, slots=True)
class BootSpec:
    """All that a host needs to know to boot."""

    name: str
    netns: str
    disk: str
    cgroup: str
    """Absolute path of its version-2 group."""
    cpu_group: str
    """Absolute path of its version-1 cpu group, or empty."""
    machine_id: str
    boot_id: str
    shared: str
    state_dir: str
    """The lab's own directory, hidden from the host."""
    report_fd: int
    init: tuple[str, ...]
    environment: dict[str, str]
    hosts_file: str
    resolv_conf: str
    binds: tuple[str, ...] = ()
    """Directories of the machine shown read-only, coherently with later changes (an overlay's lower layer is not)."""
    watchdog_data: str = ""
    """mount(2) data of the watchdog's FUSE device; empty: no watchdog."""
    clock_offset_s: int = 0
    cores: int = 0
    """What the host believes to have, as LXCFS would show it; 0: what the machine has."""
    memory_mib: int = 0
    shared_lost: bool = False
    """The shared storage is lost for this host: see storage.py."""
    base: str = "/"
    """Root directory that the host begins with. Another one than the machine's has systemd as its init."""
    extra_files: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "BootSpec":
        raw: dict[str, Any] = json.loads(text)
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        return cls(**values)


def main() -> None:
    spec = BootSpec.from_json(sys.argv[1])
    for group in filter(None, (spec.cgroup, spec.cpu_group)):
        (Path(group) / "cgroup.procs").write_text("0")
    kernel.enter_netns(spec.netns)
    kernel.unshare(
        kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWCGROUP
    )
    if spec.clock_offset_s:
        kernel.unshare(kernel.CLONE_NEWTIME)
        offsets = f"monotonic {spec.clock_offset_s} 0\nboottime {spec.clock_offset_s} 0\n"
        Path("/proc/self/timens_offsets").write_text(offsets)
    ready_r, ready_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready_r)
        _become_init(spec, ready_w)
    os.close(ready_w)
    failure = os.read(ready_r, 4096).decode()
    if failure:
        sys.exit(f"{spec.name}: {failure}")
    os.write(spec.report_fd, str(pid).encode())


def _become_init(spec: BootSpec, ready_w: int) -> None:
    """Build the root and execute init. The pipe closes silently at exec, or carries the reason of the failure."""
    try:
        os.set_inheritable(ready_w, False)
        _build_root(spec)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.umask(0o022)
        for fd in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208 - Path.iterdir keeps one open
            if fd > 2 and fd != ready_w:
                try:
                    os.set_inheritable(fd, False)
                except OSError:
                    continue
        os.execve(spec.init[0], spec.init, spec.environment)  # noqa: S606 - this is the point
    except BaseException as error:
        os.write(ready_w, f"{error!r}".encode())
        os._exit(1)


def _build_root(spec: BootSpec) -> None:
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    socket.sethostname(spec.name)
    root = Path(spec.disk) / "root"
    upper, work = Path(spec.disk) / "upper", Path(spec.disk) / "work"
    fresh = not upper.exists()
    for directory in (root, upper, work):
        directory.mkdir(parents=True, exist_ok=True)
    kernel.mount("overlay", root, "overlay", data=f"lowerdir={spec.base},upperdir={upper},workdir={work}")
    if fresh:
        _clean_disk(root)
    _mount_devices(root / "dev", spec.watchdog_data)
    plain = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", root / "run", "tmpfs", plain, "mode=755,size=256m")
    kernel.mount("tmpfs", root / "tmp", "tmpfs", plain, "mode=1777,size=1g")
    (root / "run/lock").mkdir()
    # After /tmp, for the checkout may lie there; before the state directory is hidden, for what is bound may lie below it.
    for target, source in [("shared", spec.shared), *((path.lstrip("/"), path) for path in spec.binds)]:
        (root / target).mkdir(parents=True, exist_ok=True)
        kernel.bind(source, root / target, read_only=target != "shared")
    if spec.shared_lost:
        storage.lose(root / "shared")
    _hide(root, spec.state_dir)
    _mount_proc_and_sys(root, spec.boot_id, read_only=spec.base != "/")
    _show_size(root, spec.cores, spec.memory_mib)
    _write_etc(root, spec)
    os.chdir(root)
    kernel.pivot_root_here()


def _clean_disk(root: Path) -> None:
    for path in _OUR_STATE:
        if (root / path).is_dir():
            shutil.rmtree(root / path)


def _hide(root: Path, directory: str) -> None:
    """Cover the lab's own directory, or the nodes would see each other's disks through the overlay."""
    target = root / directory.lstrip("/")
    if target.is_dir():
        kernel.mount("tmpfs", target, "tmpfs", kernel.MS_RDONLY, "mode=700,size=4k")


def _mount_devices(dev: Path, watchdog_data: str) -> None:
    kernel.mount("tmpfs", dev, "tmpfs", kernel.MS_NOSUID, "mode=755,size=16m")
    for name in (*_DEVICES, *_LOOPS):
        if Path("/dev", name).exists():
            (dev / name).parent.mkdir(exist_ok=True)
            (dev / name).touch()
            kernel.bind(Path("/dev", name), dev / name)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    kernel.mount("devpts", dev / "pts", "devpts", data="newinstance,ptmxmode=0666,mode=620")
    kernel.mount("tmpfs", dev / "shm", "tmpfs", data="mode=1777")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, target in links.items():
        (dev / name).symlink_to(target)
    if watchdog_data:
        (dev / "watchdog").touch()
        kernel.mount("lab-watchdog", dev / "watchdog", "fuse", kernel.MS_NOSUID | kernel.MS_NODEV, watchdog_data)


def _mount_proc_and_sys(root: Path, boot_id: str, *, read_only: bool) -> None:
    """`read_only`: /sys, as systemd wants it where devices are not its own to manage (systemd.io/CONTAINER_INTERFACE)."""
    proc = root / "proc"
    kernel.mount("proc", proc, "proc")
    boot_id_file = root / "run/.boot_id"
    boot_id_file.write_text(boot_id + "\n")
    # A node that wants to reboot must not reboot the machine, nor change settings that are not its own network's.
    if (proc / "sysrq-trigger").exists():
        kernel.bind("/dev/null", proc / "sysrq-trigger")
    kernel.bind(proc / "sys", proc / "sys", read_only=True)
    kernel.bind(proc / "sys/net", proc / "sys/net")
    kernel.mount("", proc / "sys/net", flags=kernel.MS_BIND | kernel.MS_REMOUNT)
    kernel.bind(boot_id_file, proc / "sys/kernel/random/boot_id", read_only=True)
    kernel.mount("sysfs", root / "sys", "sysfs", kernel.MS_RDONLY if read_only else 0)
    kernel.mount("cgroup2", root / "sys/fs/cgroup", "cgroup2")


def _show_size(root: Path, cores: int, memory_mib: int) -> None:
    """Cover what the kernel says of cores and memory. For programs that look there only: nothing is limited."""
    shown: dict[str, str] = {}
    if cores:
        shown["sys/devices/system/cpu/online"] = f"0-{cores - 1}"
    if memory_mib:
        lines = Path("/proc/meminfo").read_text().splitlines(keepends=True)
        shown["proc/meminfo"] = "".join(_meminfo_line(line, memory_mib * 1024) for line in lines)
    for name, text in shown.items():
        cover = root / "run" / f".{Path(name).name}"
        cover.write_text(text)
        kernel.bind(cover, root / name, read_only=True)


def _meminfo_line(line: str, total_kib: int) -> str:
    name, _, rest = line.partition(":")
    if name not in ("MemTotal", "MemFree", "MemAvailable"):
        return line
    return f"{name}: {total_kib if name == 'MemTotal' else min(total_kib, int(rest.split()[0]))} kB\n"


def _write_etc(root: Path, spec: BootSpec) -> None:
    files = {
        "etc/hostname": spec.name + "\n",
        "etc/machine-id": spec.machine_id + "\n",
        "etc/hosts": spec.hosts_file,
        "etc/resolv.conf": spec.resolv_conf,
        **spec.extra_files,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be a link to somewhere else
        path.write_text(text)


if __name__ == "__main__":
    main()
