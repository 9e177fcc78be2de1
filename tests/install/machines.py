"""Three machines with Debian's own systemd as nodes of a lab, and the commands of the guide typed on them."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from guide import Block

from holdfast.lab import LabClient, LabOptions

HANG_S = 180.0
"""Bounds a command, and what is waited for."""
_SCP = re.compile(r"(?m)^(scp .*)$")
_POLL_S = 0.5
_LINES = 25
"""Of what a block says, from its end."""


class Failed(Exception):
    """The guide does not lead where it says."""


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def options(base: Path) -> LabOptions:
    return LabOptions(nodes=3, cluster=False, ha=True, base=str(base))


class Machines:
    def __init__(self, lab: LabClient) -> None:
        self.lab = lab

    def wait_booted(self) -> None:
        """systemd says so. (`degraded` would name a unit that failed.)"""
        for name in self.lab.nodes:
            state = self.until(lambda name=name: self._settled(name), f"{name} to boot")  # type: ignore[misc]
            if state != "running":
                raise Failed(f"{name} is {state}: {self.text(name, 'systemctl --failed --no-legend')}")

    def _settled(self, name: str) -> str:
        state = self.lab.exec(name, ["systemctl", "is-system-running"]).stdout.strip()
        return state if state in ("running", "degraded") else ""

    def copy(self, package: Path) -> None:
        """Put the package into /root of each machine in place of a former one, as the guide wants it."""
        for node in self.lab.nodes:
            self.text(node, "rm -f /root/holdfast_*.deb")
            with package.open("rb") as file:
                writer = self.lab.popen(node, ["sh", "-c", 'cat >"$0"', f"/root/{package.name}"], stdin=file)
                if writer.wait(HANG_S):
                    raise Failed(f"{package.name} could not be copied to {node}")

    def type_on_each(self, block: Block) -> None:
        """At the same time: an operator has three terminals."""
        with ThreadPoolExecutor(len(block.machines)) as pool:
            list(pool.map(lambda machine: self.type(block, machine), block.machines))

    def type(self, block: Block, machine: str) -> str:
        """The block's commands in a shell on the machine, from an empty environment as after a login; what they say.
        Copying between machines is done from outside: they have no SSH."""
        began = time.monotonic()
        done = subprocess.CompletedProcess([], 0, "", "")
        for part in _SCP.split(block.commands):
            if part.startswith("scp "):
                self._carry(machine, *part.split()[1:])
            elif part.strip() and not done.returncode:
                done = self.shell(machine, part)
        shown = [f"{machine}# {line}" for line in block.commands.strip().splitlines()]
        shown += [f"    {line}" for line in done.stdout.strip().splitlines()[-_LINES:]]
        say("\n".join([*shown, f"    ({time.monotonic() - began:.1f} s)"]))
        if done.returncode:
            raise Failed(f"on {machine}, exit status {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def _carry(self, machine: str, source: str, target: str) -> None:
        other, _, directory = target.partition(":")
        read = self.lab.popen(machine, ["cat", source], stdout=subprocess.PIPE)
        content = read.communicate(timeout=HANG_S)[0]
        write = self.lab.popen(other, ["sh", "-c", 'cat >"$0"', directory + Path(source).name], stdin=subprocess.PIPE)
        write.communicate(content, timeout=HANG_S)
        if read.returncode or write.returncode:
            raise Failed(f"{source} could not be carried from {machine} to {target}")

    def shell(self, machine: str, commands: str) -> "subprocess.CompletedProcess[str]":
        login = (
            "env",
            "-i",
            "HOME=/root",
            "USER=root",
            "LANG=C.UTF-8",
            "DEBIAN_FRONTEND=noninteractive",
            "COLUMNS=160",
        )
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return self.lab.exec(machine, [*login, path, "bash", "-euo", "pipefail", "-c", commands], timeout=HANG_S)

    def text(self, machine: str, commands: str) -> str:
        """What the commands say. Raises Failed."""
        done = self.shell(machine, commands)
        if done.returncode:
            raise Failed(f"on {machine}: {commands}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def status(self) -> dict[str, Any] | None:
        """What a machine that answers says of the cluster."""
        for node in self.lab.nodes:
            if self.lab.state(node)["power"] == "on":
                done = self.shell(node, "holdfast status --json")
                if done.returncode == 0:
                    status: dict[str, Any] = json.loads(done.stdout)
                    return status
        return None

    def instance(self, wanted: str) -> dict[str, Any]:
        """Empty while it is not known."""
        status = self.status()
        return next((each for each in (status or {}).get("instances", ()) if each["id"] == wanted), {})

    def serves(self, instance: str, elsewhere_than: str = "") -> str:
        """The node on which it is healthy."""

        def node() -> str:
            found = self.instance(instance)
            healthy = found and found["healthy"] and found["node"] != elsewhere_than
            return str(found["node"]) if healthy else ""

        return self.until(node, f"{instance} to be healthy")

    def until(self, look: Callable[[], str], what: str, bound_s: float = HANG_S) -> str:
        end = time.monotonic() + bound_s
        while not (found := look()):
            if time.monotonic() > end:
                raise Failed(f"after {bound_s:.0f} s still waiting for {what}")
            time.sleep(_POLL_S)
        return found

    def keep_journals(self, target: Path) -> None:
        """What guard and agent said, for a failure."""
        target.mkdir(parents=True, exist_ok=True)
        for node in self.lab.nodes:
            if self.lab.state(node)["power"] == "on":
                done = self.lab.exec(node, ["journalctl", "--no-pager", "-o", "short-monotonic"])
                (target / f"{node}.journal").write_text(done.stdout)
        self.lab.save_logs(target)
