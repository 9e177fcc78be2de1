"""Linux's own NFS client in an emulated machine: locks a file, appends and fsyncs records, opens new files, verifies."""

from pathlib import Path

from holdfast.lab.guest.image import GuestImage, build
from holdfast.lab.guest.machine import Event, Machine

BOOT_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0


class GuestNfsClient(Machine):
    """See `Machine`; mounts `server`:/`volume`."""

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
        super().__init__(netns, ip)
        self._server, self._image = server, image
        self._settings = {
            "name": f"{file}-{self.wire.address}".replace(":", "-"),
            "server": server,
            "export": f"/{volume}",
            "file": file,
            "interval_ms": round(interval_s * 1000),
            "opens_ms": round(opens_s * 1000),
        }

    def start(self) -> None:
        """Boot, mount, lock; returns when the first record was acknowledged. Raises GuestError."""
        try:
            self.boot(self._image or build(), self._settings)
            self.wire.answer_for(self._server)
            self.wait_for(lambda event: event.get("n", -1) >= 0, BOOT_TIMEOUT_S, "the first record")
        except BaseException:
            self.kill()
            raise

    def acked(self) -> int:
        """How many records were acknowledged so far."""
        return sum(1 for event in self.events() if "n" in event)

    def stop(self) -> Event:
        """Stop writing, verify, switch off. The guest's summary: acked, lost, torn, max_stall_s, opens, max_open_s, errors;
        and lock_lost, what its kernel said about locks. Raises GuestError."""
        try:
            self.say("stop")
            summary = self.wait_for(lambda event: event.get("event") == "summary", STOP_TIMEOUT_S, "a summary")
            self.wait_end(10)
            return {**summary, "lock_lost": [line for line in self.console().splitlines() if "reclaim" in line.lower()]}
        finally:
            self.kill()
