"""An emulated machine that is driven from outside: it says lines of JSON on a virtio-serial port, and hears lines there."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from holdfast.lab import cgroups
from holdfast.lab.guest.debian import GuestError
from holdfast.lab.guest.image import GuestImage
from holdfast.lab.guest.wire import Wire

Event = dict[str, Any]
_KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=4 tsc=reliable no_timer_check nokaslr mitigations=off random.trust_cpu=on panic=-1"
)


class Machine:
    """One guest on the network of the namespace `netns`, with the address `ip`.

    All methods block. Events are the guest's lines as dicts, each with `host_t`, when it arrived (CLOCK_BOOTTIME seconds of
    this machine); the guest's own times `t` are of its own CLOCK_BOOTTIME.
    """

    memory_mib = 256

    def __init__(self, netns: Path | str, ip: str) -> None:
        self.wire = Wire(Path(netns), ip, f"hfg{os.getpid() % 100000:05d}{id(self) // 64 % 100:02d}")
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self._events: list[Event] = []
        self._changed = threading.Condition()

    def start(self) -> None:
        """Boot; returns when the guest is ready. Raises GuestError."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def boot(self, image: GuestImage, settings: dict[str, Any]) -> None:
        """Start the machine; `settings` are what its program finds on the kernel's command line. Raises GuestError."""
        self._directory = Path(tempfile.mkdtemp(prefix="holdfast-guest-"))
        self.wire.up()
        network = {"ip": self.wire.address, "plen": self.wire.prefix_length}
        append = " ".join([_KERNEL_ARGUMENTS, *(f"hf.{name}={value}" for name, value in (network | settings).items())])
        self._process = subprocess.Popen(
            self.wire.command(*self._qemu(image, append)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        # As much of the processors as its host has: outside of a lab's group the lab's nodes leave it next to nothing.
        if group := cgroups.cpu_group_of_network(self.wire.netns):
            (group / "cgroup.procs").write_text(str(self._process.pid))
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _qemu(self, image: GuestImage, append: str) -> list[str]:
        hardware = self.wire.address.packed[-3:]
        mac = ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0x00, *hardware))
        return [
            *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,tb-size=128", "-cpu", "max"),
            *("-m", str(self.memory_mib), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", append),
            *("-serial", f"file:{self._console_file}"),
            *("-netdev", f"tap,id=n0,ifname={self.wire.tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n0,mac={mac},romfile="),
            *("-device", "virtio-serial-pci", "-chardev", "stdio,id=c0,signal=off"),
            *("-device", "virtserialport,chardev=c0,name=holdfast"),
        ]

    def events(self) -> list[Event]:
        """Everything the guest has said so far."""
        with self._changed:
            return list(self._events)

    def wait_for(self, condition: Callable[[Event], bool], timeout: float, what: str, first: int = 0) -> Event:
        """The first event for which `condition` holds, from the `first` on. Raises GuestError."""
        end = time.monotonic() + timeout
        seen = first
        with self._changed:
            while True:
                for event in self._events[seen:]:
                    if condition(event):
                        return event
                seen = len(self._events)
                left = end - time.monotonic()
                if (
                    left <= 0
                    or self._process is None
                    or (self._process.poll() is not None and not self._changed.wait(0.5))
                ):
                    raise GuestError(f"the guest did not report {what} within {timeout:g} s", self.console_tail())
                self._changed.wait(min(left, 0.5))

    def say(self, line: str) -> None:
        """Raises GuestError."""
        process = self._process
        if process is None or process.stdin is None:
            raise GuestError("the guest does not run", "Start it first.")
        try:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
        except OSError as error:
            raise GuestError(f"the guest does not run any more: {error}", self.console_tail()) from None

    def wait_end(self, timeout: float) -> None:
        """The guest switches itself off. Raises GuestError."""
        if self._process is not None:
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise GuestError("the guest could not be stopped", self.console_tail()) from None

    def kill(self) -> None:
        """Switch off at once and clean up. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
            self._reader.join()
        self.wire.down()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    @property
    def _console_file(self) -> Path:
        assert self._directory is not None, "the machine is on"
        return self._directory / "console"

    def console(self) -> str:
        """What the guest's kernel printed."""
        if self._directory is None or not self._console_file.exists():
            return ""
        return self._console_file.read_text(errors="replace")

    def console_tail(self) -> str:
        return "Its console ends with: " + " | ".join(self.console().splitlines()[-5:])

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                arrived = time.clock_gettime(time.CLOCK_BOOTTIME)
                try:
                    event = json.loads(line, strict=False)
                except ValueError:
                    continue
                with self._changed:
                    self._events.append({**event, "host_t": arrived})
                    self._changed.notify_all()
