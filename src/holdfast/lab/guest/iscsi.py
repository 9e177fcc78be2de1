"""Linux's own iSCSI client in an emulated machine: open-iscsi, multipathd and the kernel's initiator, as Debian has them,
with the settings and the commands that `holdfast iscsi client-config` gives to operators."""

import base64
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from holdfast.lab.guest.debian import GuestError, Software
from holdfast.lab.guest.image import FULL_KERNEL_PACKAGE, VIRTIO, GuestImage, Recipe, build
from holdfast.lab.guest.machine import Event, Machine
from holdfast.services.iscsi import client_config
from holdfast.services.iscsi.engine import Account

BOOT_TIMEOUT_S = 90.0
COMMAND_TIMEOUT_S = 60.0
_LOGS = "/run/{}.log"
_PATHS = "multipathd show paths raw format '%d %i %t %T %p %w'"
_SESSIONS = (
    "for s in /sys/class/iscsi_session/session*; do h=$(readlink -f $s/device); h=${h%/session*}; "
    "c=$(echo $h/session*/connection*/iscsi_connection/*); "
    "echo ${h##*/host} $(cat $s/state $c/persistent_address $c/persistent_port); done"
)

ISCSI_CLIENT = Recipe(
    "iscsi",
    "iscsi.sh",
    (
        *VIRTIO,
        *(f"drivers/scsi/{each}" for each in ("scsi_common", "scsi_mod", "scsi_transport_iscsi", "libiscsi")),
        *("drivers/scsi/libiscsi_tcp", "drivers/scsi/iscsi_tcp"),
        *("crypto/crct10dif_common", "crypto/crct10dif_generic", "lib/crc-t10dif", "lib/crc64"),
        *("crypto/crc64_rocksoft_generic", "lib/crc64-rocksoft", "block/t10-pi", "drivers/scsi/sd_mod"),
        *("drivers/md/dm-mod", "drivers/scsi/device_handler/scsi_dh_alua", "drivers/md/dm-multipath"),
        *("drivers/md/dm-round-robin", "drivers/md/dm-service-time", "crypto/crc32c_generic"),
    ),
    Software(
        (
            *("open-iscsi", "libopeniscsiusr", "libisns0", "libkmod2", "multipath-tools", "kpartx", "dmsetup"),
            *("libdevmapper1.02.1", "libaio1", "liburcu8", "libjson-c5", "libgcc-s1", "udev"),
        ),
        (
            *("sbin/iscsid", "sbin/iscsiadm", "sbin/multipathd", "sbin/multipath", "sbin/kpartx", "sbin/dmsetup"),
            *("lib/multipath/libchecktur.so", "lib/multipath/libprioalua.so", "lib/multipath/libprioconst.so"),
            *("bin/udevadm", "lib/udev/scsi_id", "lib/udev/kpartx_id", "lib/udev/rules.d/5[56]-dm*.rules"),
            *("lib/udev/rules.d/60-persistent-storage.rules", "lib/udev/rules.d/60-multipath.rules"),
            *("lib/udev/rules.d/95-dm-notify.rules", "lib/x86_64-linux-gnu/libgcc_s.so.1"),  # for pthread_cancel
        ),
        ("/bin/busybox",),
    ),
    ("stamps.c",),
    FULL_KERNEL_PACKAGE,
)


@dataclass(frozen=True, slots=True)
class ClientPath:
    """A disk at one portal, as multipathd sees it."""

    disk: str
    portal: str
    dm: str
    """What the device-mapper thinks of it: `active` or `failed`; `undef` without a map."""
    checker: str
    """What multipathd found: `ready`, `ghost` (standby), `faulty`, …"""
    priority: str
    wwid: str

    @property
    def serves(self) -> bool:
        return self.dm == "active" and self.checker == "ready"


class GuestIscsiClient(Machine):
    """See `Machine`. Log in, start writers on volumes by their WWID, stop them, read what they found."""

    memory_mib = 320

    def __init__(self, netns: Path | str, ip: str, *, image: GuestImage | None = None) -> None:
        super().__init__(netns, ip)
        self._image = image
        self._numbers = itertools.count(1)
        self._writers: dict[str, int] = {}
        """Name of a writer → the number of its command."""

    def start(self) -> None:
        """Boot; returns when it takes commands. Raises GuestError."""
        try:
            self.boot(self._image or build(recipe=ISCSI_CLIENT), {})
            self.wait_for(lambda event: event.get("event") == "up", BOOT_TIMEOUT_S, "that it is up")
        except BaseException:
            self.kill()
            raise

    # --- commands

    def spawn(self, command: str) -> int:
        """Start a shell command of one line there; its number. Lines of JSON that it says itself go to `>&3`."""
        assert "\n" not in command, command
        number = next(self._numbers)
        self.say(f"{number} {command}")
        return number

    def run(self, command: str, timeout: float = COMMAND_TIMEOUT_S, *, check: bool = True) -> str:
        """What the command prints. Raises GuestError, also if it fails and `check`."""
        number = self.spawn(command)
        status = self._status(number, timeout, command)
        output = "\n".join(event["out"] for event in self.events() if event.get("id") == number and "out" in event)
        if status and check:
            raise GuestError(f"`{command}` failed in the guest ({status}): {output}", self.console_tail())
        return output

    def _status(self, number: int, timeout: float, what: str) -> int:
        ended = self.wait_for(lambda e: e.get("id") == number and "status" in e, timeout, f"the end of `{what}`")
        return int(ended["status"])

    def put(self, path: str, text: str) -> None:
        """Write a file there. Raises GuestError."""
        self.run(f"echo {base64.b64encode(text.encode()).decode()} | base64 -d > {path}")

    # --- paths

    def login(
        self,
        portals: Iterable[str],
        iqn: str,
        initiator: str,
        *,
        engine: str,
        chap: Account | None = None,
        mutual: Account | None = None,
        iscsid: dict[str, str] | None = None,
    ) -> None:
        """Do what `client-config` tells, once per guest. `iscsid`: settings to be tried instead. Raises GuestError."""
        told = client_config.client_config(iqn, engine, portals)
        settings = {**told.iscsid, **(iscsid or {})}
        if chap:
            settings |= client_config.chap_settings(
                chap.user, mutual.user if mutual else "", chap.secret, mutual.secret if mutual else ""
            )
        self.put("/etc/multipath.conf", told.multipath)
        self.put("/etc/iscsi/iscsid.conf", client_config.iscsid_conf(settings))
        self.put("/etc/iscsi/initiatorname.iscsi", f"InitiatorName={initiator}\n")
        for daemon in ("iscsid -f", "multipathd -d -s -v2"):
            self.spawn(f"exec {daemon} >> {_LOGS.format(daemon.split()[0])} 2>&1")
        self._until("multipathd show daemon", "multipathd answers")
        for command in told.commands:
            if command.startswith("iscsiadm"):
                self.run(command)
        if script := client_config.scan_script(engine):
            self.spawn(f"while sleep {client_config.SCAN_S}; do {script}; done")

    def _until(self, command: str, what: str) -> None:
        end = time.monotonic() + COMMAND_TIMEOUT_S
        while self._status(self.spawn(command), COMMAND_TIMEOUT_S, command):
            if time.monotonic() > end:
                raise GuestError(f"the guest never said that {what}", self.console_tail())
            time.sleep(0.1)

    def sessions(self) -> dict[int, tuple[str, str]]:
        """SCSI host number → (portal, state of the session: LOGGED_IN, FAILED or FREE)."""
        found = {}
        for line in self.run(_SESSIONS, check=False).splitlines():
            match line.split():
                case [host, state, address, port]:
                    found[int(host)] = (f"[{address}]:{port}" if ":" in address else f"{address}:{port}", state)
        return found

    def paths(self) -> list[ClientPath]:
        """Every disk that is there, by portal. Raises GuestError."""
        sessions = self.sessions()
        found = []
        for line in self.run(_PATHS).splitlines():
            match line.split():
                case [disk, address, dm, checker, priority, wwid] if ":" in address:
                    portal, _ = sessions.get(int(address.partition(":")[0]), ("", ""))
                    found.append(ClientPath(disk, portal, dm, checker, priority, wwid))
        return sorted(found, key=lambda path: (path.wwid, path.portal))

    def logs(self) -> str:
        """What iscsid, multipathd and the kernel said."""
        files = " ".join(_LOGS.format(each) for each in ("iscsid", "multipathd"))
        return self.run(f"tail -n 200 {files}; dmesg | tail -n 100", check=False)

    # --- writing

    def write(self, wwid: str, *, name: str = "w", blocks: int = 256, period_s: float = 0.02) -> None:
        """Start the writer `name` on the multipath disk of the volume `wwid` (`names.wwid`); returns when the first write
        was acknowledged. Raises GuestError."""
        assert name not in self._writers, f"the writer {name} runs"
        disk = f"/dev/mapper/3{wwid}"
        self._until(f"test -b {disk}", f"it has {disk}")
        first = len(self.events())
        self._writers[name] = self.spawn(
            f"echo $$ > /run/{name}.pid; exec stamps {name} {disk} {blocks} {round(period_s * 1000)} >&3"
        )
        self.wait_for(lambda e: e.get("run") == name and "acked" in e, COMMAND_TIMEOUT_S, "a first write", first)

    def acked(self, name: str = "w") -> int:
        """How many writes were acknowledged, as said last: at most 0.2 s ago, if none stalls."""
        return next((int(e["acked"]) for e in reversed(self.events()) if e.get("run") == name and "acked" in e), 0)

    def wait_written(self, more: int, timeout: float = COMMAND_TIMEOUT_S, name: str = "w") -> None:
        """`more` writes have been acknowledged since now. Raises GuestError."""
        wanted, first = self.acked(name) + more, len(self.events())
        self.wait_for(
            lambda e: e.get("run") == name and e.get("acked", 0) >= wanted, timeout, f"{more} more writes", first
        )

    def stalls(self, longer_s: float = 0.5, name: str = "w") -> list[tuple[float, float]]:
        """(when it ended, in this machine's CLOCK_BOOTTIME, how long) of the writer's stalls, in seconds."""
        return [
            (e["host_t"], e["stall"]) for e in self.events() if e.get("run") == name and e.get("stall", 0) > longer_s
        ]

    def stop_writing(self, name: str = "w", timeout: float = COMMAND_TIMEOUT_S) -> Event:
        """Stop, read everything back. The summary: acked, read_back, lost, torn, stale, errors, max_stall_s, max_stall_t
        (when it began). Raises GuestError."""
        first = len(self.events())
        self.run(f"kill -TERM $(cat /run/{name}.pid)")
        summary = self.wait_for(lambda e: e.get("run") == name and "read_back" in e, timeout, "a summary", first)
        self._status(self._writers.pop(name), timeout, name)
        return summary
