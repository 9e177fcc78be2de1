"""Run as `python -m holdfast.lab.enter PID CGROUP CPU_GROUP TIME -- COMMAND…`: a command inside a lab host.

This process enters the host's namespaces but stays out of its control group: it survives the host's power-off and
reaps the command, without which the host's process 1 could not finish dying. The command goes into the control group.
"""

import os
import signal
import sys
from pathlib import Path

from holdfast.lab import kernel

NOT_STARTED = 125
"""Exit status when the host cannot be entered (it died meanwhile)."""

SEARCH_PATH = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH inside a host: Holdfast's own commands first."""


def main() -> None:
    pid, cgroup, cpu_group, with_time, _dashes, *command = sys.argv[1:]
    try:
        groups = [os.open(Path(g) / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for g in (cgroup, cpu_group) if g]
        kinds = kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWNET
        kinds |= kernel.CLONE_NEWPID | kernel.CLONE_NEWCGROUP | (kernel.CLONE_NEWTIME if with_time == "1" else 0)
        kernel.setns(os.pidfd_open(int(pid)), kinds)
        os.chdir("/")
    except OSError as error:
        os.write(2, f"holdfast lab: the host cannot be entered: {error}\n".encode())
        sys.exit(NOT_STARTED)
    parent_died_r, parent_died_w = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(parent_died_w)
        _run(command, groups, parent_died_r)
    os.close(parent_died_r)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda n, _frame: os.kill(child, n))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the command as well
    os.write(parent_died_w, b"x")
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _run(command: list[str], groups: list[int], go: int) -> None:
    try:
        kernel.die_with_parent(signal.SIGKILL)
        if not os.read(go, 1):  # the parent was dead before that took effect
            os._exit(NOT_STARTED)
        for fd in groups:
            os.write(fd, b"0")
        os.environ["PATH"] = SEARCH_PATH
        os.execvp(command[0], command)  # noqa: S606 - this is the point
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127)


if __name__ == "__main__":
    main()
