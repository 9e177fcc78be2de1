"""QEMU's monitor protocol, as far as the lab needs it: why an emulated node went off."""

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path


class Monitor:
    """Listens to one QEMU, in a thread of its own, until that ends (QMP, docs/interop/qmp-spec.txt in QEMU)."""

    def __init__(self, path: Path) -> None:
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._link.connect(str(path))
        self.watchdog_fired = False
        self.reset = False
        """The machine was reset, by whatever: QEMU ended with it (`-no-reboot`)."""
        self._thread = threading.Thread(target=self._listen, name="qemu-monitor", daemon=True)
        self._link.sendall(b'{"execute": "qmp_capabilities"}\n')
        self._thread.start()

    def _listen(self) -> None:
        with suppress(OSError), self._link, self._link.makefile("rb") as lines:
            for line in lines:
                said = json.loads(line)
                self.watchdog_fired |= said.get("event") == "WATCHDOG"
                if said.get("event") == "SHUTDOWN":
                    self.reset |= said["data"]["reason"] in ("guest-reset", "host-qmp-system-reset")

    def end(self) -> None:
        """Returns when all that it said was heard; call it after its end."""
        self._thread.join(5)
