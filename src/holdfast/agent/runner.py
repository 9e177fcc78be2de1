"""Units as processes in control groups of their own (port Runner). They outlive the agent; the next one finds them there."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import structlog

from holdfast import logs
from holdfast.agent.cgroup import Cgroup, escape
from holdfast.agent.launch import Launch, launch
from holdfast.config import NodeConfig
from holdfast.errors import DriverError, InvalidInput
from holdfast.ports import Unit

_log = structlog.get_logger(__name__)

LOG_LIMIT_BYTES = 10 * 1024 * 1024
"""A log above this is moved to <log>.1 (replacing it) when its unit starts."""

KILL_CONFIRM_S = 5.0
"""How long killed processes may take to vanish before the stop counts as unconfirmed."""

_BASE_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def _always() -> bool:
    return True


class CgroupRunner:
    """Below `config.cgroup`: `strict/<unit>` (killed by the guard at the deadline) and `system/<unit>`.

    Units get a clean environment (PATH, LANG and their own), no open files but their log, default signals, a session of
    their own and 65536 open files. They are children of the agent that started them and are reaped by it; after its death
    by the node's init.
    """

    def __init__(self, config: NodeConfig, *, kill_confirm_s: float = KILL_CONFIRM_S) -> None:
        self._groups = config.groups
        self._logs = Path(config.log_dir)
        self._speaks = {logs.FORMAT_VARIABLE: config.log_format, logs.HOST_VARIABLE: config.id}
        """For those units that are programs of Holdfast and do not read the node's configuration."""
        self._kill_confirm_s = kill_confirm_s
        self._locks: dict[str, asyncio.Lock] = {}
        self._starting: set[str] = set()
        self._children: dict[int, int] = {}
        """pid → pidfd of children that were not reaped yet."""

    async def start(self, unit: Unit) -> None:
        escape(unit.name)  # whether it can be a name at all
        group = Cgroup(self._groups.unit(unit.name, strict=unit.strict))
        async with self._lock(unit.name):
            if self._find(unit.name) is not None:
                return
            _check(unit)
            self._starting.add(unit.name)
            try:
                await self._launch(unit, group)
            finally:
                self._starting.discard(unit.name)

    async def stop(self, name: str, *, grace_s: float) -> None:
        async with self._lock(name):
            for group in map(Cgroup, self._groups.anywhere(name)):
                if group.populated():
                    await self._stop(name, group, grace_s)
                _remove(group)

    async def running(self) -> list[str]:
        """See the port. A unit that is just being started counts: it may run at any moment."""
        found = set(self._starting)
        for place in (*self._groups.all(strict=True), *self._groups.all(strict=False)):
            try:
                paths = [Path(entry.path) for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False)]
            except FileNotFoundError:
                continue
            names = ((self._groups.name_of(path), path) for path in paths)
            found |= {name for name, path in names if name is not None and Cgroup(path).populated()}
        return sorted(found)

    async def wait_exit(self, name: str) -> None:
        group = self._find(name)
        if group is not None:
            await group.wait_empty()

    def log_path(self, name: str) -> str:
        return str(self._logs / f"{escape(name)}.log")

    def close(self) -> None:
        """Let go of the children without touching them; only needed where the event loop ends before the process."""
        loop = asyncio.get_running_loop()
        for pidfd in self._children.values():
            loop.remove_reader(pidfd)
            os.close(pidfd)
        self._children.clear()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _find(self, name: str) -> Cgroup | None:
        """The unit's group that holds live processes."""
        groups = map(Cgroup, self._groups.anywhere(name))
        return next((group for group in groups if group.populated()), None)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def _launch(self, unit: Unit, group: Cgroup) -> None:
        self._prepare(group)
        output = _open_log(Path(self.log_path(unit.name)))
        try:
            env = {**_BASE_ENV, **self._speaks, **unit.env}
            what = Launch(unit.argv, env, group.path, unit.cwd, unit.rights, output)
            await self._execute(unit, group, what, unit.allowed or _always)
        except BaseException:
            # Whatever went wrong, nothing may be left that still waits for a go.
            group.kill()
            raise
        finally:
            os.close(output)

    def _prepare(self, group: Cgroup) -> None:
        group.create()

    async def _execute(self, unit: Unit, group: Cgroup, what: Launch, allowed: Callable[[], bool]) -> None:
        await launch(what, allowed, self._reap)

    def _reap(self, pid: int) -> None:
        """Wait for a child in the background, so that it leaves no zombie."""
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(pid)

        def reap() -> None:
            loop.remove_reader(pidfd)
            os.close(self._children.pop(pid))
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # somebody waited for all children
                return

        self._children[pid] = pidfd
        loop.add_reader(pidfd, reap)

    async def _stop(self, name: str, group: Cgroup, grace_s: float) -> None:
        # A frozen process does not handle SIGTERM, and thawing it would let it work on after it was frozen for a reason.
        if grace_s > 0 and not group.frozen():
            group.terminate()
            if await _empty_within(group, grace_s):
                return
            _log.warning("unit killed", unit=name, grace_s=grace_s)
        group.kill()
        if not await _empty_within(group, self._kill_confirm_s):
            pids = ", ".join(map(str, group.processes()))
            raise DriverError(
                f"unit {name} does not die: processes {pids} were killed and are still there",
                "They hang in the kernel, usually on storage that is gone; restore it, or reboot the node.",
            )


async def _empty_within(group: Cgroup, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await group.wait_empty()
    except TimeoutError:
        return not group.populated()
    return True


def _remove(group: Cgroup) -> None:
    try:
        group.remove()
    except OSError as error:
        if group.populated():
            raise DriverError(
                f"{group.path} got new processes while it was stopped: {error}", "Stop it again."
            ) from error


def _check(unit: Unit) -> None:
    """Raises InvalidInput or DriverError for what the launcher could only report in the log."""
    if not unit.argv:
        raise InvalidInput(f"unit {unit.name} has no program to run", "Give its command line.")
    path = unit.env.get("PATH", _BASE_ENV["PATH"])
    if shutil.which(unit.argv[0], path=path) is None:
        raise DriverError(f"unit {unit.name}: the program {unit.argv[0]} is not on this node", "Install its package.")


def _open_log(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_name(path.name + ".1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise DriverError(
            f"cannot open the log {path}: {error}", "Check space and permissions of the log directory."
        ) from error
