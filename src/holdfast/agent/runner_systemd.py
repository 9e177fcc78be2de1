"""Units as transient services of systemd (port Runner), where it is process 1: `systemctl` shows them, and they outlive the
agent as services of their own.

systemd only makes the control group and executes the launcher in it. Everything else stays as it is with groups of the
agent's own (`agent/runner.py`): what runs is read from the groups, they are stopped and killed through the kernel, without
systemd's help, and the agent itself is asked at the last moment. See `launch`.
"""

import asyncio
import contextlib
import secrets
import shlex
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from holdfast.agent.cgroup import Cgroup
from holdfast.agent.launch import NO_FILES, Launch
from holdfast.agent.runner import KILL_CONFIRM_S, CgroupRunner
from holdfast.config import NodeConfig
from holdfast.core.rights import AGENT, Rights
from holdfast.errors import DriverError
from holdfast.groups import slice_of
from holdfast.owners import user_of
from holdfast.ports import Unit

ANSWER_S = 10.0
"""A launcher that comes later than this finds nobody who would give it its go."""
TRIES, RETRY_S = 100, 0.05
"""For systemd to forget the last service of that name."""
_ALREADY = ("already exists", "was already loaded", "has a fragment file")

#: Descriptors 0 and 1 lead to the agent, 2 to the log. $1 directory. The go has the environment.
_SCRIPT = """
echo in >&0
read -r word environment <&0 && [ "$word" = go ] || exit 125
exec </dev/null >&2
cd "$1" || exit 126
shift
eval "exec env -i $environment \\"\\$@\\""
"""

_PROPERTIES = (
    # At a shutdown of the node the agent ends first, and has confirmed every stop then; systemd ends what is left.
    "DefaultDependencies=no",
    "Before=holdfast-agent.service",
    "ExitType=cgroup",  # it runs as long as anything runs in its group
    "CollectMode=inactive-or-failed",  # and is forgotten then
    "OOMPolicy=continue",
    "TasksMax=infinity",
    f"LimitNOFILE={NO_FILES}",
    "IgnoreSIGPIPE=no",
)


AS_THE_AGENT = (
    f"CapabilityBoundingSet={' '.join(AGENT)}",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_ALG AF_VSOCK",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=~@clock @cpu-emulation @module @obsolete @reboot @swap",
    "SystemCallErrorNumber=EPERM",
)
"""What units have of the agent's service where the agent starts them (packaging/systemd/holdfast-agent.service, with the
reasons), they are to have of their own here, unless their rights say something narrower of the same."""


def make_runner(config: NodeConfig) -> CgroupRunner:
    """The one that this node is configured for."""
    return SystemdRunner(config) if config.groups.systemd else CgroupRunner(config)


class SystemdRunner(CgroupRunner):
    """Below holdfast-strict.slice and holdfast-system.slice. Units that an agent without systemd left in groups of their own
    are found, adopted and stopped as before."""

    def __init__(self, config: NodeConfig, *, kill_confirm_s: float = KILL_CONFIRM_S) -> None:
        super().__init__(config, kill_confirm_s=kill_confirm_s)
        self._sockets = Path(config.run_dir) / "launch"

    async def _execute(self, unit: Unit, group: Cgroup, what: Launch, allowed: Callable[[], bool]) -> None:
        for _ in range(TRIES):
            try:
                return await launch(unit, group, what, allowed, self.log_path(unit.name), self._sockets)
            except _StillKnown:
                # The last service of this name has ended, and systemd has not noticed yet.
                if group.populated():
                    raise
                await asyncio.sleep(RETRY_S)
        raise _not_started(what, "systemd does not forget the last service of that name")

    def _prepare(self, group: Cgroup) -> None:
        """systemd makes it."""


class _StillKnown(DriverError):
    """A service of that name is loaded still."""


async def launch(unit: Unit, group: Cgroup, what: Launch, allowed: Callable[[], bool], log: str, sockets: Path) -> None:
    """Start the service; returns when its launcher, inside the group, is about to execute the program. Raises DriverError.

    systemd starts a service when it likes: late, when it is busy, or when the node was frozen between the request and its
    execution. So what it executes is a launcher, whose standard input systemd connects to a socket of the agent; each start
    has a socket of its own, which is gone as soon as the start was given up, or the agent has ended. A launcher that comes
    too late is connected to nothing and executes nothing. One that comes in time is looked for in the group, where the guard
    would kill it; only then the session is asked, and only then it gets its go.
    """
    path = sockets / f"{secrets.token_hex(8)}.sock"
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(path, stack))
        asking = asyncio.create_task(_systemd_run(unit, what, log, path, group))
        accepting = asyncio.create_task(asyncio.get_running_loop().sock_accept(listener))
        try:
            await asyncio.wait([asking, accepting], timeout=ANSWER_S, return_when=asyncio.FIRST_EXCEPTION)
            if asking.done():
                asking.result()
            if not accepting.done():
                raise _not_started(what, "systemd did not start its launcher in time")
            connection, _ = accepting.result()
            with connection:
                await _hand_over(connection, group, what, allowed)
        except (OSError, TimeoutError) as error:
            raise _not_started(what, f"its launcher was killed in {group.path}") from error
        finally:
            for task in (asking, accepting):
                task.cancel()
            await asyncio.gather(asking, accepting, return_exceptions=True)


def _listen(path: Path, stack: contextlib.ExitStack) -> socket.socket:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        stack.callback(path.unlink, missing_ok=True)
        path.chmod(0o600)
        listener.listen(1)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise DriverError(f"{path} cannot be opened: {error.strerror}", "Check the run directory.") from error
    return listener


def _narrowed(rights: Rights) -> tuple[str, ...]:
    """Each property once: systemd would join those of one name."""
    found = dict(text.split("=", 1) for text in (*AS_THE_AGENT, *rights.hardening))
    if rights.capabilities is not None:
        found["CapabilityBoundingSet"] = " ".join(rights.capabilities)
    if user := user_of(rights):
        found |= {"User": user, "SupplementaryGroups": " ".join(rights.groups)}
        found["AmbientCapabilities"] = " ".join(rights.capabilities or ())
    return tuple(f"{name}={value}" for name, value in found.items())


async def _systemd_run(unit: Unit, what: Launch, log: str, path: Path, group: Cgroup) -> None:
    """Raises DriverError where systemd refuses."""
    properties = (
        *_PROPERTIES,
        *_narrowed(unit.rights),
        f"StandardInput=file:{path}",
        f"StandardOutput=file:{path}",  # the same, or systemd would open it for reading only
        f"StandardError=append:{log}",
    )
    argv = [
        "systemd-run",
        "--quiet",
        "--no-block",
        f"--unit={group.path.name}",
        f"--slice={slice_of(strict=unit.strict)}",
        f"--description=Holdfast: {unit.name}",
        *(f"--property={text}" for text in properties),
        "--",
        *("/bin/sh", "-c", _escaped(_SCRIPT), "holdfast-launch", _escaped(what.cwd)),
        *map(_escaped, what.argv),
    ]
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said = (await process.communicate())[0].decode(errors="replace").strip()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        kind = _StillKnown if any(words in said for words in _ALREADY) else DriverError
        raise kind(
            f"{what.argv[0]} was not started: systemd refuses ({said})", "See `systemctl status` and the journal."
        )


def _escaped(text: str) -> str:
    """systemd expands variables in the command lines of services (systemd.service(5), Command lines)."""
    return text.replace("$", "$$")


async def _hand_over(connection: socket.socket, group: Cgroup, what: Launch, allowed: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    async with asyncio.timeout(ANSWER_S):
        if not (await loop.sock_recv(connection, 16)).startswith(b"in"):
            raise _not_started(what, "its launcher ended")
    if pid not in group.processes():
        raise _not_started(what, f"its launcher is not in {group.path}")
    if not allowed():
        raise DriverError(
            f"{what.argv[0]} was not started: this node may not run it any more",
            "It runs again where the manager places it next.",
        )
    environment = shlex.join(f"{name}={value}" for name, value in what.env.items())
    # The launcher closes its end just before it executes the program.
    async with asyncio.timeout(ANSWER_S):
        await loop.sock_sendall(connection, f"go {environment}\n".encode())
        await loop.sock_recv(connection, 16)


def _not_started(what: Launch, why: str) -> DriverError:
    return DriverError(
        f"{what.argv[0]} was not started: {why}", "See the unit's log, and `journalctl -u holdfast-agent`."
    )
