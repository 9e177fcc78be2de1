"""One host of the lab, a node or the client, as the lab daemon sees it: its power, its watchdog, its cables."""

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.lab import cgroups, kernel
from holdfast.lab.boot import BootSpec
from holdfast.lab.enter import SEARCH_PATH
from holdfast.lab.eventlog import EventLog
from holdfast.lab.layout import BMC_CA, CLIENT, NETWORKS, HostLayout, Layout
from holdfast.lab.network import Switch
from holdfast.lab.options import LabOptions
from holdfast.lab.watchdog import FuseWatchdog

_DEATH_S = 15.0
_MOST_RESOLVERS = 3
"""The C library asks no more."""
_INIT = Path(__file__).with_name("init.sh")
_NOT_OURS = "-sys_module,-sys_time,-sys_rawio,-syslog,-mac_admin,-mac_override"
_SYSTEMD = ("/usr/bin/setpriv", f"--bounding-set={_NOT_OURS}", f"--inh-caps={_NOT_OURS}", "/sbin/init")
"""It would set the machine's clock and load modules into its kernel."""
_SYSTEMD_POWER_OFF = signal.SIGRTMIN + 4
"""See systemd(1), Signals."""


class BootFailed(HoldfastError):
    """A host of the lab did not come up."""


class Host:
    """Power on boots it, power off kills it at once; its disk (the overlay's upper directory) survives both.

    Safe for threads. Whoever acts later on something it saw keeps the `boots` number and checks it again under the lock,
    so that a late watchdog or timer never hits the next boot.
    """

    def __init__(self, layout: Layout, host: HostLayout, switch: Switch, events: EventLog, options: LabOptions) -> None:
        self.layout = host
        self._lab = layout
        self._switch = switch
        self._events = events
        self._options = options
        self._lock = threading.RLock()
        self._watchdog: FuseWatchdog | None = None
        self._reaped = threading.Event()
        """Process 1 of the present boot has been waited for."""
        self.pid = 0
        self.boots = 0
        self.cut: set[str] = set()
        """Networks whose cable is pulled."""
        self.shared_lost = False
        self.on = False
        self.cgroup = cgroups.mount_point() / host.cgroup

    # --- power

    def power_on(self, why: str = "") -> None:
        """Boot. Does nothing if it is on. Raises BootFailed."""
        with self._lock:
            if self.on:
                return
            self._events.write("power-on", self.layout.name, why)
            cgroups.remove_tree(self.cgroup)
            self.cgroup.mkdir(parents=True)
            self._switch.unplug(self.layout)
            self._switch.plug(self.layout, self.cut)
            self.boots += 1
            try:
                self.pid = self._boot()
            except BaseException:
                self._switch.unplug(self.layout)
                raise
            self.on = True
            self._reaped = threading.Event()
            threading.Thread(target=self._reap, args=(self.pid, self.boots, self._reaped), daemon=True).start()
            self._events.write("booted", self.layout.name, boots=self.boots, pid=self.pid)

    def power_off(self, why: str = "", *, only_boot: int | None = None) -> bool:
        """Cut the power: the cables go dead first, so that no FIN or RST of a dying process leaks, then every process.

        Returns only when all are dead; False if it was off already, or on a later boot than `only_boot`.
        """
        with self._lock:
            if not self.on or only_boot not in (None, self.boots):
                return False
            started = kernel.boottime()
            self._switch.set_ports(self.layout, [n.name for n in NETWORKS], up=False)
            cgroups.kill(self.cgroup)
            cgroups.wait_empty(self.cgroup, _DEATH_S)
            dead_at = self._after_death()
            self._events.write("power-off", self.layout.name, why, at=started, dead_at=round(dead_at, 6))
            return True

    def _after_death(self) -> float:
        """Tidy up behind a dead host; returns the boottime at which it was known to be dead."""
        if not self._reaped.wait(_DEATH_S):
            raise HoldfastError(f"process 1 of {self.layout.name} does not end", "Is somebody tracing a process of it?")
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None
        # Off is reported as soon as it is true; the cables take the kernel some 30 ms more.
        self.on = False
        self.pid = 0
        dead_at = kernel.boottime()
        self._switch.unplug(self.layout)
        return dead_at

    def _reap(self, pid: int, boot: int, reaped: threading.Event) -> None:
        """Wait for process 1 to end; if nobody cut the power, the host has shut itself down (or wants a reboot)."""
        status = 0
        with suppress(ChildProcessError):
            _, status = os.waitpid(pid, 0)
        reaped.set()
        with self._lock:
            if not self.on or self.boots != boot:
                return
            cgroups.wait_empty(self.cgroup, _DEATH_S)
            self._after_death()
        reboots = self._wants_reboot(status)
        self._events.write("reboot" if reboots else "shutdown", self.layout.name, status=status)
        if reboots:
            self.power_on("reboot")

    def _wants_reboot(self, status: int) -> bool:
        """What process 1 ended with. reboot(2) inside a process namespace ends it by SIGHUP (restart) or SIGINT (halt)."""
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGHUP

    def shut_down(self) -> None:
        """Ask for a graceful end, as the power button does."""
        os.kill(self.pid, _SYSTEMD_POWER_OFF if self._base else signal.SIGTERM)

    @property
    def _base(self) -> str:
        """Directory that the host's root begins with, other than the machine's own."""
        return self._options.base if self.layout.is_node else ""

    def _watchdog_fired(self, boot: int) -> None:
        """Runs in its own thread: the watchdog's own thread must stay free to be stopped."""
        self._events.write("watchdog-fired", self.layout.name, boots=boot)
        if not self.power_off("watchdog", only_boot=boot) or self._options.watchdog_reset != "reboot":
            return

        def boot_again() -> None:
            with self._lock:
                if self.boots == boot:  # nobody switched it on and off meanwhile
                    self.power_on("watchdog reset")

        timer = threading.Timer(self._options.reboot_delay_s, boot_again)
        timer.daemon = True
        timer.start()

    # --- booting

    def _boot(self) -> int:
        """Start the boot process and return the process id of the host's process 1."""
        boot, name = self.boots, self.layout.name
        keep: list[int] = []
        if self._options.watchdog and self.layout.is_node:

            def fired() -> None:
                threading.Thread(target=self._watchdog_fired, args=(boot,), daemon=True).start()

            self._watchdog = FuseWatchdog(fired)
            keep.append(self._watchdog.fileno())
        report_r, report_w = os.pipe()
        self.layout.disk.mkdir(parents=True, exist_ok=True)
        try:
            with (self.layout.disk / "console.log").open("ab") as console:
                started = subprocess.Popen(
                    [sys.executable, "-m", "holdfast.lab.boot", self._boot_spec(report_w).to_json()],
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    pass_fds=[*keep, report_w],
                    start_new_session=True,
                )
            os.close(report_w)
            started.wait(30)
            text = os.read(report_r, 32).decode()
        finally:
            os.close(report_r)
        if started.returncode != 0 or not text:
            if self._watchdog is not None:
                self._watchdog.stop()
                self._watchdog = None
            tail = (self.layout.disk / "console.log").read_text(errors="replace").strip().splitlines()[-1:]
            raise BootFailed(
                f"{name} did not boot: {' '.join(tail)}", "See its console.log in the lab's state directory."
            )
        if self._watchdog is not None:
            self._watchdog.start()
        return int(text)

    def _boot_spec(self, report_fd: int) -> BootSpec:
        layout, lab = self.layout, self._lab
        cpu = cgroups.cpu_group(layout.cgroup.partition("/")[0])
        cores, memory_mib = self._options.sizes.get(layout.name, (0, 0))
        scripts = Path(sys.executable).parent
        environment = {
            "PATH": SEARCH_PATH,
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "HOLDFAST_BIN": str(scripts),
            # Nodes run the code that the lab runs, as long as it lives.
            **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
        }
        init = ("/usr/bin/tini", "--", "/bin/sh", str(_INIT))
        if layout.name == CLIENT:
            init = ("/usr/bin/tini", "--", "/bin/sleep", "infinity")
        if self._base:
            init, environment = _SYSTEMD, {"PATH": SEARCH_PATH, "container": "holdfast-lab"}
        return BootSpec(
            name=layout.name,
            netns=layout.netns,
            disk=str(layout.disk),
            cgroup=str(self.cgroup),
            cpu_group=str(cpu / "nodes") if cpu else "",
            machine_id=layout.machine_id,
            boot_id=str(uuid.uuid4()),
            shared=str(lab.shared_dir),
            state_dir=str(lab.state_dir),
            report_fd=report_fd,
            init=init,
            environment=environment,
            hosts_file=hosts_file(lab),
            resolv_conf=_resolvers(lab) if layout.name == CLIENT else "# Nodes know each other by /etc/hosts.\n",
            binds=() if self._base else checkout_directories(),
            watchdog_data=self._watchdog.mount_data() if self._watchdog else "",
            clock_offset_s=int(self._options.clock_offsets.get(layout.name, 0)),
            cores=cores,
            memory_mib=memory_mib,
            shared_lost=self.shared_lost,
            base=self._base or "/",
            extra_files=_bmc_certificates(lab),
        )

    # --- faults that live here because they must be repeated at the next boot

    def cut_networks(self, networks: set[str], cut: bool) -> None:
        with self._lock:
            self.cut = self.cut | networks if cut else self.cut - networks
            if self.on:
                self._switch.set_ports(self.layout, networks, up=not cut)

    def lose_shared(self, lost: bool) -> None:
        with self._lock:
            if self.shared_lost == lost:
                return
            self.shared_lost = lost
            if self.on:
                argv = [sys.executable, "-m", "holdfast.lab.storage", str(self.pid), "lose" if lost else "restore"]
                subprocess.run(argv, check=True, timeout=30, stdin=subprocess.DEVNULL)

    def while_on(self, action: Callable[[], None]) -> None:
        """Do something to the running host; it cannot lose its power meanwhile. Raises HoldfastError if it is off."""
        with self._lock:
            if not self.on:
                raise HoldfastError(f"{self.layout.name} is off", f"Switch it on: holdfast lab heal {self.layout.name}")
            action()

    def describe(self) -> dict[str, Any]:
        """For `status`. Takes no lock: it must answer while a power change is under way."""
        watchdog = self._watchdog
        state: dict[str, Any] = {
            "name": self.layout.name,
            "power": "on" if self.on else "off",
            "pid": self.pid,
            "boots": self.boots,
            "addresses": {p.network.name: [a.partition("/")[0] for a in p.addresses] for p in self.layout.ports},
            "netns": self.layout.netns,
            "cgroup": str(self.cgroup),
            "bmc": f"https://{self.layout.bmc_address}/" if self.layout.bmc_address else "",
        }
        if watchdog is not None:
            state["watchdog"] = {"armed": watchdog.armed, "open": watchdog.is_open, "timeout_s": watchdog.timeout_s}
        return state


def hosts_file(lab: Layout) -> str:
    """/etc/hosts of every host."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for host in lab.hosts.values():
        management = next(p for p in host.ports if p.network.name == "management")
        lines += [f"{address.partition('/')[0]} {host.name}" for address in management.addresses]
    return "\n".join(lines) + "\n"


def _resolvers(lab: Layout) -> str:
    """/etc/resolv.conf of the client host: it asks the cluster's own name servers."""
    servers = [lab.hosts[node].address("public") for node in lab.nodes[:_MOST_RESOLVERS]]
    return "".join(f"nameserver {server}\n" for server in servers) + "options timeout:1 attempts:3\n"


def _bmc_certificates(lab: Layout) -> dict[str, str]:
    """What each node trusts its peers' BMCs by: BMC_CA of layout.py on every host."""
    return {BMC_CA.format(node=n).lstrip("/"): (lab.state_dir / f"bmc/{n}.crt").read_text() for n in lab.nodes}


def checkout_directories() -> tuple[str, ...]:
    """The directories this Python and this Holdfast run from, unless the overlay's lower layer shows them well enough."""
    source = Path(__file__).resolve().parents[3]
    chosen: list[Path] = []
    for path in (source, Path(sys.prefix)):
        system = path in (Path("/"), Path("/usr"), Path("/usr/local")) or Path("/usr") in path.parents
        if not system and not any(path.is_relative_to(other) for other in chosen):
            chosen.append(path)
    return tuple(str(path) for path in chosen)
