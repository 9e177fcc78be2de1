"""Linux's own NFS client in an emulated machine: locks a file, appends and fsyncs records, opens new files, verifies."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

from holdfast.lab.guest.image import GuestError, GuestImage, build
from holdfast.lab.guest.wire import Wire

BOOT_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
_KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=4 tsc=reliable no_timer_check nokaslr mitigations=off random.trust_cpu=on panic=-1"
)


class GuestNfsClient:
    """One guest on the network of the namespace `netns`, mounting `server`:/`volume` with the address `ip`.

    All methods block. Events are the guest's lines as dicts, each with `host_t`, when it arrived (CLOCK_BOOTTIME seconds of
    this machine); the guest's own times `t` are of its own CLOCK_BOOTTIME.
    """

    def __init__(
        self,
        netns: Path | str,
        ip: str,
        server: str,
        volume: str,
        *,
        file: str = "guest",
        interval_s: float = 0.02,
        opens_s: float = 0.2,
        image: GuestImage | None = None,
    ) -> None:
        self._wire = Wire(Path(netns), ip, f"hfg{os.getpid() % 100000:05d}{id(self) // 64 % 100:02d}")
        self._server, self._volume, self._file = server, volume, file
        self._interval_s, self._opens_s = interval_s, opens_s
        self._image = image
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self._events: list[dict[str, Any]] = []
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Boot, mount, lock; returns when the first record was acknowledged. Raises GuestError."""
        image = self._image or build()
        self._directory = Path(tempfile.mkdtemp(prefix="holdfast-guest-"))
        try:
            self._wire.up()
            self._wire.answer_for(self._server)
            self._process = subprocess.Popen(
                self._wire.command(*self._qemu(image)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
            self._reader.start()
            self.wait_for(lambda event: event.get("n", -1) >= 0, BOOT_TIMEOUT_S, "the first record")
        except BaseException:
            self.kill()
            raise

    def _qemu(self, image: GuestImage) -> list[str]:
        assert self._directory is not None
        settings = {
            "name": f"{self._file}-{self._wire.address}".replace(":", "-"),
            "ip": self._wire.address,
            "plen": self._wire.prefix_length,
            "server": self._server,
            "export": f"/{self._volume}",
            "file": self._file,
            "interval_ms": round(self._interval_s * 1000),
            "opens_ms": round(self._opens_s * 1000),
        }
        append = " ".join([_KERNEL_ARGUMENTS, *(f"hf.{name}={value}" for name, value in settings.items())])
        hardware = self._wire.address.packed[-3:]
        mac = ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0x00, *hardware))
        return [
            *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,tb-size=128", "-cpu", "max", "-m", "256"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", append),
            *("-serial", f"file:{self._directory / 'console'}"),
            *("-netdev", f"tap,id=n0,ifname={self._wire.tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n0,mac={mac},romfile="),
            *("-device", "virtio-serial-pci", "-chardev", "stdio,id=c0,signal=off"),
            *("-device", "virtserialport,chardev=c0,name=holdfast"),
        ]

    def events(self) -> list[dict[str, Any]]:
        """Everything the guest has said so far."""
        with self._changed:
            return list(self._events)

    def acked(self) -> int:
        """How many records were acknowledged so far."""
        return sum(1 for event in self.events() if "n" in event)

    def wait_for(self, condition: Any, timeout: float, what: str) -> dict[str, Any]:
        """The first event for which `condition(event)` holds. Raises GuestError."""
        end = time.monotonic() + timeout
        seen = 0
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
                    raise GuestError(f"the guest did not report {what} within {timeout:g} s", self._console_tail())
                self._changed.wait(min(left, 0.5))

    def stop(self) -> dict[str, Any]:
        """Stop writing, verify, switch off. The guest's summary: acked, lost, torn, max_stall_s, opens, max_open_s, errors;
        and lock_lost, what its kernel said about locks. Raises GuestError."""
        process = self._process
        if process is None or process.stdin is None:
            raise GuestError("the guest does not run", "Start it first.")
        try:
            process.stdin.write(b"stop\n")
            process.stdin.flush()
            summary = self.wait_for(lambda event: event.get("event") == "summary", STOP_TIMEOUT_S, "a summary")
            process.wait(10)
            return {**summary, "lock_lost": [line for line in self.console().splitlines() if "reclaim" in line.lower()]}
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GuestError(f"the guest could not be stopped: {error}", self._console_tail()) from None
        finally:
            self.kill()

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
        self._wire.down()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def console(self) -> str:
        """What the guest's kernel printed."""
        if self._directory is None or not (self._directory / "console").exists():
            return ""
        return (self._directory / "console").read_text(errors="replace")

    def _console_tail(self) -> str:
        return "Its console ends with: " + " | ".join(self.console().splitlines()[-5:])

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                arrived = time.clock_gettime(time.CLOCK_BOOTTIME)
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                with self._changed:
                    self._events.append({**event, "host_t": arrived})
                    self._changed.notify_all()
