"""An emulated node as the lab daemon sees it: power, cables and faults as every host has them; its process 1 is QEMU."""

import shlex
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.lab import cgroups
from holdfast.lab.emulated import shell
from holdfast.lab.emulated.monitor import Monitor
from holdfast.lab.enter import SEARCH_PATH
from holdfast.lab.host import BootFailed, Host, hosts_file

MEMORY_MIB = 640
_KEPT = ("etc/holdfast", "var/lib/holdfast", "var/log/holdfast")
_QEMU_UP_S = 30.0
_KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=4 tsc=reliable no_timer_check nokaslr mitigations=off random.trust_cpu=on panic=-1"
)
_ENTER = 'echo $$ >"$0/cgroup.procs"; [ -z "$1" ] || echo $$ >"$1/cgroup.procs"; shift; exec "$@"'


class EmulatedHost(Host):
    """A reset, by its watchdog too, ends QEMU: then the cables are dead until it boots again, as with the others."""

    _monitor: Monitor | None = None

    def _boot(self) -> int:
        disk = self.layout.disk
        for kept in _KEPT:
            (disk / "upper" / kept).mkdir(parents=True, exist_ok=True)
        (disk / "boot.sh").write_text(self._boot_script())
        monitor = disk / "qemu.sock"
        monitor.unlink(missing_ok=True)
        cpu = cgroups.cpu_group(self.layout.cgroup.partition("/")[0])
        groups = [str(self.cgroup), str(cpu / "nodes") if cpu else ""]
        enter = ["nsenter", f"--net=/run/netns/{self._lab.switch_netns}"]
        with (disk / "qemu.log").open("ab") as log:
            qemu = subprocess.Popen(
                ["/bin/sh", "-c", _ENTER, *groups, *enter, *self._qemu(monitor)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + _QEMU_UP_S
        while True:
            with suppress(OSError):
                self._monitor = Monitor(monitor)
                break
            if qemu.poll() is not None or time.monotonic() > end:
                cgroups.kill(self.cgroup)
                tail = (disk / "qemu.log").read_text(errors="replace").strip().splitlines()[-1:]
                raise BootFailed(f"{self.layout.name} did not boot: {' '.join(tail)}", "Is qemu-system-x86 installed?")
            time.sleep(0.02)
        qemu.returncode = 0  # from here on `_reap` waits for it, and nobody else
        return qemu.pid

    def _wants_reboot(self, status: int) -> bool:
        monitor, self._monitor = self._monitor, None
        if monitor is None:
            return False
        monitor.end()
        if monitor.watchdog_fired:
            self._events.write("watchdog-fired", self.layout.name, boots=self.boots)
        return monitor.reset and not (monitor.watchdog_fired and self._options.watchdog_reset != "reboot")

    def shut_down(self) -> None:
        self._run("sh", "-c", "kill -TERM $(cat /run/holdfast-lab/init.pid)")

    def lose_shared(self, lost: bool) -> None:
        if lost:
            raise HoldfastError(
                f"{self.layout.name} is emulated: the lab cannot take its shared storage away", "Choose another node."
            )

    def _run(self, *argv: str) -> None:
        module = [sys.executable, "-m", shell.__name__, self._lab.switch_netns, str(self.layout.shell_port), "--"]
        subprocess.run([*module, *argv], check=False, timeout=30, stdin=subprocess.DEVNULL)

    # --- the machine

    def _qemu(self, monitor: Path) -> list[str]:
        lab, boot = self._lab, self._lab.emulated_dir
        words = [
            *("qemu-system-x86_64", "-name", f"holdfast-node-{self.layout.name}", "-M", "q35"),
            *("-accel", "tcg,tb-size=128", "-cpu", "max", "-m", str(MEMORY_MIB)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(boot / "vmlinuz"), "-initrd", str(boot / "initrd"), "-append", _KERNEL_ARGUMENTS),
            *("-chardev", f"file,id=console,path={self.layout.disk / 'console.log'},append=on"),
            *("-serial", "chardev:console", "-qmp", f"unix:{monitor},server=on,wait=off"),
        ]
        for tag, path, options in (
            ("root", Path("/"), ",readonly=on"),
            ("node", self.layout.disk, ""),
            ("shared", lab.shared_dir, ""),
        ):
            words += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{options}"]
            words += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        for port in self.layout.ports:
            words += ["-netdev", f"tap,id={port.name},ifname={port.name},script=no,downscript=no"]
            words += ["-device", f"virtio-net-pci,netdev={port.name},mac={port.mac},romfile="]
        forward = f"tcp:127.0.0.1:{self.layout.shell_port}-:{shell.PORT}"
        words += ["-netdev", f"user,id=shell,restrict=on,ipv6=off,hostfwd={forward}"]
        words += ["-device", "virtio-net-pci,netdev=shell,romfile="]
        for name in self._options.shared_disks:
            file = f"file={lab.shared_disk(name)},format=raw,if=none,id=disk-{name}"
            words += ["-drive", f"{file},cache=directsync,aio=native,file.locking=off"]
            words += ["-device", f"virtio-blk-pci,drive=disk-{name},share-rw=on,serial={name}"]
        if self._options.watchdog:
            words += ["-device", "i6300esb", "-action", "watchdog=reset"]
        return words

    def _boot_script(self) -> str:
        """What the node does after init.sh has given it its root: names, addresses, then as every node (lab/init.sh)."""
        layout, lab = self.layout, self._lab
        files = {
            "hostname": f"{layout.name}\n",
            "machine-id": f"{layout.machine_id}\n",
            "hosts": hosts_file(lab),
            "resolv.conf": "# There is no name server in the lab.\n",
        }
        environment = {
            "PATH": SEARCH_PATH,
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "HOLDFAST_BIN": str(Path(sys.executable).parent),
            "PYTHONPATH": str(lab.emulated_dir / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        lines = [f"hostname {layout.name}", "ip link set lo up"]
        for name, text in files.items():
            lines.append(f"rm -f /etc/{name}; printf %s {shlex.quote(text)} >/etc/{name}")
        for number, port in enumerate(layout.ports):
            lines.append(f"ip link set eth{number} up")
            for address in port.addresses:
                lines.append(f"ip addr add {address} dev eth{number} {'nodad' if ':' in address else 'brd +'}")
        shell_eth = f"eth{len(layout.ports)}"
        lines += [f"ip link set {shell_eth} up", f"ip addr add 10.0.2.15/24 dev {shell_eth}"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        lines += ["cd /", f"{sys.executable} -m {shell.__name__} serve &"]
        init = Path(__file__).parents[1] / "init.sh"
        lines += ["mkdir -p /run/holdfast-lab", f"sh {init} &", "echo $! >/run/holdfast-lab/init.pid", "wait $!"]
        return "\n".join([*lines, "sync", "echo o >/proc/sysrq-trigger", "sleep 60"]) + "\n"
