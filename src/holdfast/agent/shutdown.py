"""Why this node's agent is asked to end: asks whoever shuts the machine down."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from holdfast.core.leaving import ShutdownKind

HINT_FILE = "shutdown-kind"
"""In the node's run directory; holds `reboot` or `shutdown`. For machines without systemd (the lab, containers)."""
ANSWER_S = 2.0
_REBOOTS = frozenset({"reboot.target", "kexec.target", "soft-reboot.target"})

Ask = Callable[[str], Awaitable[str]]
"""Runs a command (words without quotes) and gives what it printed; "" if that fails."""


async def shutdown_kind(run_dir: Path, ask: Ask | None = None) -> ShutdownKind:
    """A hint, then systemd's queue of jobs, then the run level of older systems; a plain shutdown if nobody says `reboot`.

    (systemctl(1): a reboot is a start job of reboot.target; runlevel(8): 6 is a reboot.)
    """
    ask = ask or _output
    hint = run_dir / HINT_FILE
    if hint.exists():
        word = hint.read_text().strip()
        hint.unlink()  # it speaks of this shutdown only
        return ShutdownKind.REBOOT if word == "reboot" else ShutdownKind.SHUTDOWN
    jobs = await ask("systemctl --no-legend --no-pager --plain list-jobs")
    if any(_REBOOTS.intersection(line.split()) and "start" in line.split() for line in jobs.splitlines()):
        return ShutdownKind.REBOOT
    if not jobs and (await ask("runlevel")).split()[-1:] == ["6"]:
        return ShutdownKind.REBOOT
    return ShutdownKind.SHUTDOWN


async def _output(command: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command.split(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(ANSWER_S):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""
    return out.decode(errors="replace")
