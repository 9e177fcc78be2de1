"""A node of Holdfast under a systemd that is process 1: guard and agent as services, as in a real installation."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from own_systemd import OwnSystemd

HANG_S = 90.0
PROGRAMS = Path(sys.executable).parent
HOLDFAST = str(PROGRAMS / "holdfast")
PACKAGING = Path(__file__).parents[3] / "packaging"
SHARED = "/run/shared"
NETWORK = (
    "ip link add br-public type bridge && ip address add 10.77.0.11/24 dev br-public && ip link set br-public up"
    " && ip address add 10.78.0.11/24 dev br-public && ip link add m0 type veth peer name m1"
    " && ip link set m0 master br-public up && ip link set m1 up && echo ten-characters-long >/etc/password"
)
CREATE = (
    HOLDFAST, "cluster", "create", "demo", "--node", "n1", "--network", "management=10.77.0.0/24", "--network",
    "public=10.78.0.0/24", "--address", "management=10.77.0.11", "--address", "public=10.78.0.11", "--password-file",
    "/etc/password", "--shared", SHARED, "--set", "units=systemd", "--set", "watchdog=/dev/none",
    "--set", "cgroup=/sys/fs/cgroup/holdfast", "--no-start",
)  # fmt: skip
USERS = ("systemd-sysusers", str(PACKAGING / "debian/holdfast.sysusers"))
_LEFT_OUT = ("After=", "Wants=", "Conflicts=", "Before=", "WantedBy=", "ConditionPathExists=")
"""Of the package's unit: the rest of a machine, which is not there."""


class SystemdNode:
    """`n1`, alone. What it says as an operator, and what its systemd knows."""

    def __init__(self, systemd: OwnSystemd) -> None:
        self.systemd = systemd

    def begin(self, shared: Path | None = None, *, users: bool = True) -> None:
        """Until it is up. `shared`: what is to be its shared storage."""
        self.must("sh", "-c", NETWORK)
        if users:
            self.must(*USERS)
            # The Python that runs the tests may lie in the home of root, where nobody else may enter.
            self.must("mkdir", "/run/root.upper", "/run/root.work")
            options = "lowerdir=/root,upperdir=/run/root.upper,workdir=/run/root.work"
            self.must("mount", "-t", "overlay", "-o", options, "overlay", "/root")
            self.must("chmod", "o+x", "/root")
        self.must("mkdir", "-p", SHARED)
        if shared is not None:
            self.must("mount", "--bind", str(shared), SHARED)
        self.must("sh", "-c", 'umask 077; exec "$@"', "sh", *CREATE)  # as the guide has it
        lines = (PACKAGING / "systemd/holdfast-agent.service").read_text().splitlines()
        kept = [line for line in lines if not line.startswith(_LEFT_OUT)]
        unit = "\n".join(kept).replace("/usr/lib/holdfast/bin", str(PROGRAMS))
        unit = unit.replace("[Service]", "DefaultDependencies=no\n[Service]\nStandardError=append:/var/log/agent.log")
        self.must("sh", "-c", 'printf "%s\n" "$1" >/etc/systemd/system/holdfast-agent.service', "sh", unit)
        self.must("systemctl", "daemon-reload")
        guard = (
            "DefaultDependencies=no",
            "Restart=always",
            "RestartSec=0.2",
            "StandardError=append:/var/log/guard.log",
        )
        self.must(
            "systemd-run", "--unit=holdfast-guard", *(f"-p{text}" for text in guard), str(PROGRAMS / "holdfast-guard")
        )
        self.must("systemctl", "start", "holdfast-agent")
        self.until(self.up, "n1 is up")

    def must(self, *argv: str, timeout: float = HANG_S) -> str:
        done = self.systemd.run(argv, timeout)
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout

    def do(self, *words: str) -> str:
        """As an operator."""
        return self.must(HOLDFAST, *words)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + HANG_S
        while not condition():
            assert time.monotonic() < end, (what, self.systemd.run(["tail", "-n9", "/var/log/agent.log"]).stdout)
            time.sleep(0.2)

    def up(self) -> bool:
        done = self.systemd.run([HOLDFAST, "status", "--json"])
        if done.returncode != 0:
            return False
        return ("n1", "up") in {(node["id"], node["state"]) for node in json.loads(done.stdout)["nodes"]}

    def healthy(self) -> dict[str, bool]:
        """Instance → whether it runs and is healthy."""
        found = json.loads(self.do("status", "--json"))["instances"]
        return {one["id"]: one["state"] == "running" and bool(one["healthy"]) for one in found}

    def main_pid(self, service: str) -> int:
        """Of a service of systemd; 0: it does not run."""
        return int(self.must("systemctl", "show", "--value", "--property=MainPID", service))

    def crash_agent(self) -> None:
        """Kill it; returns when its successor is up."""
        before, admitted = self.main_pid("holdfast-agent.service"), self._admitted()
        self.must("systemctl", "kill", "--signal=KILL", "holdfast-agent")
        self.until(lambda: self.main_pid("holdfast-agent.service") not in (0, before), "systemd starts the agent anew")
        self.until(
            lambda: self._admitted() > admitted, "it is admitted"
        )  # what is known of n1 may still be of the former
        self.until(self.up, "n1 is up again")

    def _admitted(self) -> int:
        """How often an agent was."""
        return int(self.systemd.run(["grep", "-c", "cause=admitted", "/var/log/agent.log"]).stdout or 0)

    def rights_of(self, pid: int) -> dict[str, str]:
        """Of /proc/PID/status: Uid, Groups, CapBnd …"""
        lines = self.must("cat", f"/proc/{pid}/status").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
