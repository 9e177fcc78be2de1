"""Power fencing through any agent of the fence-agents project (IPMI, PDUs, hypervisors, clouds…).

The agents' interface (FenceAgentAPI.md of ClusterLabs/fence-agents): options as `name=value` lines on standard input,
action among them; exit status 0 is success, for action=status 0 means on and 2 means off.
"""

import asyncio
import contextlib
import os
import re
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path

from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import FenceError, InvalidInput
from holdfast.fencing.power import options
from holdfast.ports import PowerReading

AGENT_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin")

_NAME = re.compile(r"fence_[a-z0-9_]+")
_OPTION = re.compile(r"[a-z0-9_]+")
_OURS = ("agent", "action", "debug", "debug_file", "verbose", "quiet", "delay")
"""Set by Holdfast, harmful to fencing, or writing secrets to files."""
_NO_POWER = {
    "fence_ack_manual": "it asks a person",
    "fence_brocade": "it cuts storage, not power",
    "fence_cisco_mds": "it cuts storage, not power",
    "fence_crosslink": "it is a heuristic",
    "fence_dummy": "it is a test agent and switches nothing",
    "fence_evacuate": "it moves machines and switches nothing",
    "fence_heuristics_ping": "it is a heuristic",
    "fence_ifmib": "it cuts a network port, not power",
    "fence_kdump": "it only listens for a crash message",
    "fence_mpath": "it cuts storage, not power",
    "fence_sanbox2": "it cuts storage, not power",
    "fence_sbd": "it cannot read a power state back",
    "fence_scsi": "it cuts storage, not power",
}
_EXIT_ON, _EXIT_OFF = 0, 2
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C", "PYTHONWARNINGS": "ignore"}


class AgentFence:
    """Port PowerFence. Options: agent (e.g. fence_ipmilan) and the agent's own by their long names with underscores.

    Every action runs in a process group of its own that is killed on time-out and on cancellation, and `off` returns only
    when it has ended: no late action is left behind on this side.
    """

    def __init__(self, device: FenceDeviceSpec, directories: Sequence[str] = AGENT_DIRECTORIES) -> None:
        self._name = options.required(device, "agent")
        self._program = _find(device, self._name, directories)
        self._options = {name: value for name, value in device.options.items() if name != "agent"}
        for name, value in self._options.items():
            _check_option(device, name, value)
        # The agents wait seconds after switching before they look; Holdfast reads the state back itself.
        self._options.setdefault("power_wait", "0")
        self._secrets = [v for n, v in self._options.items() if "passw" in n or "secret" in n or "token" in n]

    async def read(self, *, timeout: float) -> PowerReading:
        status, output = await self._run("status", timeout)
        said = output.strip().rsplit("\n", 1)[-1][:200]
        if status == _EXIT_ON:
            return PowerReading("on", said)
        # 2 is also how interpreters and option parsers fail: "off" must be said in words, too.
        if status == _EXIT_OFF and re.search(r"\boff\b", output, re.IGNORECASE):
            return PowerReading("off", said)
        if status == _EXIT_OFF:
            return PowerReading("unknown", f"{self._name} ended with status 2 (off) without saying so: {said!r}")
        raise self._failed("status", status, output)

    async def off(self, *, timeout: float) -> None:
        await self._act("off", timeout)

    async def on(self, *, timeout: float) -> None:
        await self._act("on", timeout)

    async def close(self) -> None:
        """Nothing is kept open between actions."""

    async def _act(self, action: str, timeout: float) -> None:
        status, output = await self._run(action, timeout)
        if status != 0:
            raise self._failed(action, status, output)

    async def _run(self, action: str, timeout: float) -> tuple[int, str]:
        """Exit status and output. Raises FenceError on time-out; the agent is dead then."""
        # The action comes first: an agent that sees only a part of its input must not fall back to its default, reboot.
        lines = [f"{name}={value}\n" for name, value in {"action": action, **self._options}.items()]
        process = await asyncio.create_subprocess_exec(
            self._program, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True, env=_ENVIRONMENT, cwd="/"
        )
        try:
            async with asyncio.timeout(timeout):
                out, err = await process.communicate("".join(lines).encode())
        except TimeoutError:
            raise FenceError(
                f"{self._name} did not end within {timeout:g} s (action {action}) and was killed",
                "Check that the device is reachable; its own login and shell time-outs may be too long.",
            ) from None
        finally:
            await _end(process)
        assert process.returncode is not None
        output = (out + b"\n" + err).decode(errors="replace") if process.returncode else out.decode(errors="replace")
        return process.returncode, self._without_secrets(output)

    def _failed(self, action: str, status: int, output: str) -> FenceError:
        said = [line.strip() for line in output.splitlines() if line.strip()]
        reason = said[-1][:200] if said else "it says nothing"
        return FenceError(
            f"{self._name} failed (action {action}, exit status {status}): {reason}",
            "Check address, user name, password and plug of the fence device.",
        )

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            if secret:
                text = text.replace(secret, "***")
        return text


async def _end(process: Process) -> None:
    """Kill the whole group and see it dead, however often this is cancelled meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    cancelled: asyncio.CancelledError | None = None
    while process.returncode is None:
        try:
            await process.wait()
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _find(device: FenceDeviceSpec, name: str, directories: Sequence[str]) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"fence device `{device.name}`: {name!r} is not the name of a fence agent", "E.g. agent=fence_ipmilan."
        )
    if name in _NO_POWER:
        raise InvalidInput(
            f"fence device `{device.name}`: {name} proves no power-off, because {_NO_POWER[name]}",
            "Use an agent that switches power and can read the power state.",
        )
    for directory in directories:
        program = Path(directory) / name
        if os.access(program, os.X_OK) and program.is_file():
            return str(program)
    raise InvalidInput(
        f"fence device `{device.name}`: there is no fence agent {name} on this node",
        "Install the package fence-agents on every management node, or correct the name.",
    )


def _check_option(device: FenceDeviceSpec, name: str, value: str) -> None:
    where = f"fence device `{device.name}`: option `{name}`"
    if not _OPTION.fullmatch(name):
        raise InvalidInput(
            f"{where} is not an option's name", "Use the long names with underscores, e.g. ssl_insecure."
        )
    if name in _OURS:
        raise InvalidInput(f"{where} cannot be set", "Holdfast sets it itself, or it would harm fencing.")
    if name.endswith(("_path", "_script")):
        # Whoever may describe a fence device shall not thereby run programs as root on the management nodes.
        raise InvalidInput(f"{where} would run a program of your choice as root, and is refused")
    if "\n" in value or "\r" in value or "\0" in value:
        raise InvalidInput(f"{where} holds a line break")
