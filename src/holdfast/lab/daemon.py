"""labd: the lab's daemon, run as `python -m holdfast.lab.daemon NAME STATE_DIR`.

It holds the hosts, serves their watchdogs and BMCs, and takes requests on a unix socket, one JSON object per connection:
{"do": "status"} → {"ok": true, "result": …} or {"ok": false, "error": …, "advice": …}. If it is killed, the next `up`
finds and removes everything by name.
"""

import json
import logging
import os
import signal
import socketserver
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError, InvalidInput
from holdfast.lab import cgroups, kernel, storage
from holdfast.lab.bmc import RedfishBmc, listening_socket, make_certificate
from holdfast.lab.emulated.host import EmulatedHost
from holdfast.lab.eventlog import EventLog
from holdfast.lab.fault import Fault
from holdfast.lab.faults import Faults
from holdfast.lab.forward import PanelForward
from holdfast.lab.host import Host
from holdfast.lab.layout import CLIENT, PANEL_ADDRESS, Layout, cgroup_name, make_layout
from holdfast.lab.machines import MachineWeights
from holdfast.lab.network import Switch
from holdfast.lab.options import LabOptions

log = logging.getLogger(__name__)
BMC_USER = "admin"


class BmcPower:
    """What a BMC can do to its node."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def state(self) -> str:
        return "on" if self._host.on else "off"

    def on(self) -> None:
        self._host.power_on("bmc")

    def off(self) -> None:
        self._host.power_off("bmc")

    def graceful(self) -> None:
        if self._host.on:
            self._host.shut_down()


class LabDaemon:
    """One lab. `start` builds everything, `stop` takes everything down; both are called once."""

    def __init__(self, layout: Layout, options: LabOptions, bmc_password: str) -> None:
        self._layout = layout
        self._options = options
        self._forward: PanelForward | None = None
        self._weights: MachineWeights | None = None
        self._events = EventLog(layout.events_file)
        self._switch = Switch(layout)
        self._hosts = {
            h.name: (EmulatedHost if h.shell_port else Host)(layout, h, self._switch, self._events, options)
            for h in layout.hosts.values()
        }
        self._bmc_password = bmc_password
        self._bmcs: dict[str, RedfishBmc] = {}
        self._faults = Faults(self._hosts, self._bmcs, self._switch, self._events)
        self.ended = threading.Event()

    def start(self) -> None:
        group = cgroups.mount_point() / cgroup_name(self._layout.name) / "labd"
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").write_text("0")
        kernel.become_subreaper()
        cpu = cgroups.make_cpu_groups(cgroup_name(self._layout.name))
        if cpu is not None:
            self._weights = MachineWeights(group.parent, cpu / "machines")
            self._weights.start()
        self._layout.shared_dir.mkdir(exist_ok=True)
        if self._options.shared_mib:
            storage.make_small(self._layout.shared_dir, self._layout.shared_image, self._options.shared_mib)
        self._switch.build(h.layout.bmc_address for h in self._hosts.values() if h.layout.bmc_address)
        for host in self._hosts.values():
            if host.layout.bmc_address:
                self._start_bmc(host)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda host: host.power_on("lab up"), self._hosts.values()))
        if self._options.panel_port:
            self._start_forward(self._options.panel_port)
        self._events.write("lab-up", nodes=len(self._layout.nodes))

    def _start_forward(self, port: int) -> None:
        targets = [PANEL_ADDRESS, *(self._layout.hosts[n].address("management") for n in self._layout.nodes)]
        try:
            self._forward = PanelForward(port, self._layout.hosts[CLIENT].netns, targets)
        except OSError as error:
            raise HoldfastError(
                f"port {port} of 127.0.0.1 cannot be used for the panel: {error.strerror}",
                "Choose another: --panel-port",
            ) from error

    def _start_bmc(self, host: Host) -> None:
        name, address = host.layout.name, host.layout.bmc_address
        cert, key = make_certificate(self._layout.state_dir / "bmc", address, name)
        listener = listening_socket(address, 443, f"/run/netns/{self._layout.switch_netns}")
        power = BmcPower(host)
        bmc = RedfishBmc(
            address, 443, power, BMC_USER, self._bmc_password, cert, key, listener=listener, graceful=power.graceful
        )
        bmc.start()
        self._bmcs[name] = bmc

    def stop(self) -> None:
        """Power everything off and remove namespaces; what it cannot remove, `cleanup.sweep` does."""
        self._events.write("lab-down")
        self._faults.end()
        if self._weights is not None:
            self._weights.stop()
        if self._forward is not None:
            self._forward.stop()
        for bmc in self._bmcs.values():
            bmc.stop()
        for host in self._hosts.values():
            host.power_off("lab down")
        self._switch.destroy()
        self.ended.set()

    def handle(self, request: dict[str, Any]) -> Any:
        """Answer one request. Raises HoldfastError."""
        what = request.pop("do", "")
        if what == "status":
            return [h.describe() | {"faults": self._faults.active(h.layout.name)} for h in self._hosts.values()]
        if what == "fail":
            return {"boottime": self._faults.fail(Fault(**request))}
        if what == "heal":
            return {"boottime": self._faults.heal(request["node"])}
        if what == "note":
            return {"boottime": self._events.write(request["kind"], request.get("node", ""), request.get("detail", ""))}
        if what == "down":
            return self.stop()
        raise InvalidInput(
            f"the lab daemon does not know `{what}`", "Is it of another version? Run lab down and lab up."
        )


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, path: Path, lab: LabDaemon) -> None:
        self.lab = lab
        # Nobody may connect before the server's own bind has set the mode.
        mask = os.umask(0o077)
        try:
            super().__init__(str(path), _Request)
        finally:
            os.umask(mask)


class _Request(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return
        answer: dict[str, Any]
        try:
            answer = {"ok": True, "result": self.server.lab.handle(json.loads(line))}
        except HoldfastError as error:
            answer = {"ok": False, "error": error.message, "advice": error.advice}
        except Exception as error:
            log.exception("request failed: %s", line)
            answer = {"ok": False, "error": f"the lab daemon failed: {error!r}", "advice": "See labd.log."}
        try:
            self.wfile.write(json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:
            log.warning("nobody waited for the answer to %s", line)


def main() -> None:
    # What its starter left open, such as a lock, would live as long as the lab.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    name, state_dir = sys.argv[1], Path(sys.argv[2])
    saved = json.loads((state_dir / "lab.json").read_text())
    options = LabOptions(**saved["options"])
    layout = make_layout(name, state_dir, options.nodes, options.emulated)
    lab = LabDaemon(layout, options, saved["bmc_password"])
    try:
        lab.start()
    except HoldfastError as error:
        sys.exit(str(error))
    with _Server(layout.control_socket, lab) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=lab.stop).start())
        lab.ended.wait()
        server.shutdown()


if __name__ == "__main__":
    main()
