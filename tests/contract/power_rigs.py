"""Real fence devices for the contract tests: a Redfish BMC and an IPMI BMC on loopback, and one in memory."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from holdfast.core.model import FenceDeviceSpec
from holdfast.fencing.power.memory import MemoryFence, MemoryPower
from holdfast.fencing.power.registry import PowerFenceRegistry
from holdfast.lab.bmc import BmcMode, RedfishBmc, make_certificate
from holdfast.ports import PowerFence

USER, PASSWORD = "admin", "right-horse-7"


class Switch(Protocol):
    def state(self) -> str: ...
    def on(self) -> None: ...
    def off(self) -> None: ...


@dataclass
class FileSwitch:
    """Power kept in a file that the IPMI simulator's chassis program reads and writes."""

    path: Path

    def state(self) -> str:
        return "on" if self.path.read_text().strip() == "1" else "off"

    def on(self) -> None:
        self.path.write_text("1\n")

    def off(self) -> None:
        self.path.write_text("0\n")


class Rig:
    """One device under test. `secret_in_spec` says whether a wrong password can be tried."""

    has_password = True

    def __init__(self, power: Switch, spec: FenceDeviceSpec) -> None:
        self.power = power
        self.spec = spec

    def open(self, **changes: str) -> PowerFence:
        return PowerFenceRegistry().open(replace(self.spec, options={**self.spec.options, **changes}))

    def make_unreachable(self) -> None:
        raise NotImplementedError


class MemoryRig(Rig):
    has_password = False

    def __init__(self) -> None:
        power = MemoryPower()
        super().__init__(power, FenceDeviceSpec("memory", "memory"))
        self._fence = MemoryFence(power)

    def open(self, **changes: str) -> PowerFence:
        return self._fence

    def make_unreachable(self) -> None:
        self._fence.mode = "unreachable"


class RedfishRig(Rig):
    bmc: RedfishBmc

    def make_unreachable(self) -> None:
        self.bmc.mode = BmcMode.UNREACHABLE


class IpmiRig(Rig):
    simulator: "subprocess.Popen[bytes]"

    def make_unreachable(self) -> None:
        self.simulator.send_signal(signal.SIGSTOP)


@contextmanager
def redfish(directory: Path, *, agent: bool) -> Iterator[RedfishRig]:
    """A lab BMC, reached by our own client or by Debian's fence_redfish."""
    cert, key = make_certificate(directory, "127.0.0.1")
    power = MemoryPower()
    bmc = RedfishBmc("127.0.0.1", 0, power, USER, PASSWORD, cert, key)
    bmc.start()
    own = {"url": f"https://127.0.0.1:{bmc.port}", "ca": str(cert)}
    debian = {"agent": "fence_redfish", "ip": "127.0.0.1", "ipport": str(bmc.port), "ssl_insecure": "1"}
    options = {"username": USER, "password": PASSWORD, **(debian if agent else own)}
    rig = RedfishRig(power, FenceDeviceSpec("bmc", "fence-agent" if agent else "redfish", options))
    rig.bmc = bmc
    try:
        yield rig
    finally:
        bmc.stop()


@contextmanager
def ipmi(directory: Path) -> Iterator[IpmiRig]:
    """OpenIPMI's BMC simulator, with a chassis program that keeps the power state in a file."""
    program = shutil.which("ipmi_sim")
    assert program, "the package openipmi is missing"
    power = FileSwitch(directory / "power")
    power.on()
    port = _free_udp_port()
    chassis = directory / "chassis"
    chassis.write_text(
        "#!/bin/sh\n"
        f'case "$1 $2" in\n"get power") read s < {power.path}; echo "power:$s" ;;\n'
        f'"set power") echo "$3" > {power.path} ;;\nesac\n'
    )
    chassis.chmod(0o755)
    (directory / "lan.conf").write_text(
        'name "hft"\nset_working_mc 0x20\n startlan 1\n'
        f"  addr 127.0.0.1 {port}\n  priv_limit admin\n  allowed_auths_admin md5\n"
        "  guid a123456789abcdefa123456789abcdef\n endlan\n"
        f' chassis_control "{chassis}"\n'
        f' user 2 true "{USER}" "{PASSWORD}" admin 10 md5\n'
    )
    (directory / "mc.emu").write_text(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n"
    )
    (directory / "state").mkdir()
    argv = [
        program,
        "-n",
        "-c",
        str(directory / "lan.conf"),
        "-f",
        str(directory / "mc.emu"),
        "-s",
        str(directory / "state"),
    ]
    with (directory / "ipmi_sim.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    # cipher 3: the simulator knows no RAKP-HMAC-SHA256.
    options = {"agent": "fence_ipmilan", "ip": "127.0.0.1", "ipport": str(port), "lanplus": "1", "cipher": "3"}
    rig = IpmiRig(power, FenceDeviceSpec("ipmi", "fence-agent", {**options, "username": USER, "password": PASSWORD}))
    rig.simulator = process
    try:
        yield rig
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
