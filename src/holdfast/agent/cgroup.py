"""A unit's control group (cgroup v2): what is in it, waiting until it is empty, killing it.

Only the files every cgroup v2 has are used (cgroup.procs, .events, .kill, .freeze): no controller needs to be enabled.
Kernel documentation: Documentation/admin-guide/cgroup-v2.rst. cgroup.kill exists since Linux 5.14.
"""

import asyncio
import os
import select
import signal
from pathlib import Path

from holdfast import groups
from holdfast.errors import DriverError, InvalidInput

_MAX_NAME = 200
LOOK_S = 0.25


def escape(name: str) -> str:
    """`groups.escape`. Raises InvalidInput for what is too long or empty."""
    escaped = groups.escape(name)
    if not escaped or len(escaped) > _MAX_NAME:
        raise InvalidInput(f"`{name}` cannot name a unit", f"Use 1 to {_MAX_NAME} plain characters.")
    return escaped


class Cgroup:
    """One control group with everything below it. The kernel is the only memory: nothing is cached."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        """Make an empty, thawed group; one that is left over and empty is replaced. Raises DriverError."""
        advice = "Holdfast needs cgroup version 2 (see `cgroup` in /etc/holdfast/node.toml) and root."
        try:
            self.remove()
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DriverError(f"cannot create the control group {self.path}: {error}", advice) from error
        if not (self.path / "cgroup.procs").exists():
            self.path.rmdir()
            raise DriverError(f"{self.path} is not inside a cgroup version 2 file system", advice)

    def populated(self) -> bool:
        """Whether a live process is in it or below it. A zombie does not count: it executes nothing."""
        return self._event("populated")

    def frozen(self) -> bool:
        return self._event("frozen") or self._read("cgroup.freeze") == "1"

    def processes(self) -> list[int]:
        """Process ids in it and below it."""
        pids: list[int] = []
        for group in self._subtree():
            try:
                pids += [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
            except OSError:  # the group went away
                continue
        return pids

    def terminate(self) -> None:
        """SIGTERM to every process in it."""
        handles: dict[int, int] = {}
        try:
            for pid in self.processes():
                try:
                    handles[pid] = os.pidfd_open(pid)
                except ProcessLookupError:
                    continue
            # Read again: a pid that is still listed now belongs to the process its handle refers to.
            for pid in self.processes():
                if pid in handles:
                    try:
                        signal.pidfd_send_signal(handles[pid], signal.SIGTERM)
                    except ProcessLookupError:
                        continue
        finally:
            for handle in handles.values():
                os.close(handle)

    def kill(self) -> None:
        """SIGKILL to every process in it and below it, frozen and forking ones included. Raises DriverError."""
        try:
            (self.path / "cgroup.kill").write_text("1")
        except FileNotFoundError:
            if self.path.exists():
                raise DriverError(f"{self.path} has no cgroup.kill", "Run Linux 5.14 or newer.") from None
        except OSError as error:
            if self.populated():
                raise DriverError(f"cannot kill {self.path}: {error}", "The agent must run as root.") from error

    async def wait_empty(self) -> None:
        """Return as soon as it is empty or gone, told by the kernel (cgroup.events raises POLLPRI on each change)."""
        try:
            events = os.open(self.path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        loop = asyncio.get_running_loop()
        empty: asyncio.Future[None] = loop.create_future()
        # An epoll of its own: the event loop would ask for readability, which cgroup.events always has.
        watch = select.epoll()

        def look() -> None:
            watch.poll(0)
            # Reading also re-arms the notification.
            if not _populated_in(events) and not empty.done():
                empty.set_result(None)

        try:
            watch.register(events, select.EPOLLPRI)
            loop.add_reader(watch.fileno(), look)
            look()
            while not empty.done():
                # The kernel does not tell when somebody (systemd) removes the group in the moment in which it gets empty.
                await asyncio.wait([empty], timeout=LOOK_S)
                look()
        finally:
            loop.remove_reader(watch.fileno())
            watch.close()
            os.close(events)

    def remove(self) -> None:
        """Remove the empty group with the groups below it; nothing happens if it is gone. Raises OSError if populated."""
        for group in reversed(self._subtree()):
            try:
                group.rmdir()
            except FileNotFoundError:
                continue

    def _subtree(self) -> list[Path]:
        """The group and those below it, parents first."""
        found = [self.path]
        for group in found:
            try:
                found += [Path(child.path) for child in os.scandir(group) if child.is_dir(follow_symlinks=False)]
            except FileNotFoundError:
                continue
        return found

    def _event(self, name: str) -> bool:
        return f"{name} 1" in self._read("cgroup.events").splitlines()

    def _read(self, file: str) -> str:
        try:
            return (self.path / file).read_text().strip()
        except (FileNotFoundError, OSError):
            # ENODEV: removed while it was being read.
            return ""


def _populated_in(events: int) -> bool:
    try:
        return b"populated 1" in os.pread(events, 4096, 0)
    except OSError:  # ENODEV: the group was removed, so it was empty
        return False
