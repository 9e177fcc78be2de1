"""The libvirt daemon of this node, and the connection to it.

Daemon and virtlockd are *system* units: no machine runs in their groups (files.py), so they may be killed and started again
at any time, and survive the node's deadline, which ends the machines. A daemon that does not answer is killed and started
anew; it finds the machines again by its own records.
"""

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

import libvirt
from holdfast.core import rights
from holdfast.errors import DriverError
from holdfast.ports import Clock, Runner, Unit
from holdfast.services.storage import SharedStorage
from holdfast.services.threads import TookTooLong, in_thread
from holdfast.services.vm import files
from holdfast.services.vm.files import Place

log = structlog.get_logger("holdfast.vm")

T = TypeVar("T")

UNIT = "vm-libvirtd"
LOCK_UNIT = "vm-virtlockd"
LIBVIRTD = "/usr/sbin/libvirtd"
VIRT_ADMIN = "/usr/bin/virt-admin"
VIRTLOCKD = "/usr/sbin/virtlockd"
START_S = 20.0
"""The first start of a daemon asks every emulator what it can do, about a second on an idle machine."""
CALL_S = 15.0
HANGS_S = 5.0
"""A daemon that gives a new connection no answer for so long hangs."""
STORAGE_S = 3.0
_POLL_S = 0.05
_PAUSE_S = 0.5
"""Between two starts of a daemon that ends at once."""
_PKI = {
    ("cacert", "ca-cert"): "ca",
    ("clientcert", "client-cert", "server-cert"): "cert",
    ("clientkey", "client-key", "server-key"): "key",
    ("cacrl", "ca-crl"): "crl",
}
"""Names that libvirt and QEMU look for → the node's own file."""
_DIRECTORIES = ("etc/hooks", "etc/pki", "run/holdfast", "lib", "cache", "tls", "health", "holders")


class LibvirtFailed(DriverError):
    """libvirt answered that it could not. `code` is libvirt's own (VIR_ERR_…)."""

    def __init__(self, message: str, advice: str, code: int) -> None:
        super().__init__(message, advice)
        self.code = code


class LibvirtSilent(DriverError):
    """libvirt did not answer in time: what was asked may happen, may have happened, or not."""


class Libvirtd:
    """See the module's text. Safe to use from several tasks of one event loop."""

    def __init__(
        self, place: Place, storage: SharedStorage, runner: Runner, clock: Clock, qemu: str = files.QEMU
    ) -> None:
        self.place = place
        self._storage = storage
        self._runner = runner
        self._clock = clock
        self._qemu = qemu
        self._uri = f"qemu+unix:///system?mode=legacy&socket={place.socket}"
        self._lock = asyncio.Lock()
        self._connection: libvirt.virConnect | None = None
        self._recovering: asyncio.Task[None] | None = None
        self._read: tuple[int, ...] = ()
        """Stamp of the certificates that the daemon has read."""
        self._told = ""
        # libvirt-python prints each error on standard error unless somebody takes it.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)

    async def call(
        self, work: Callable[[libvirt.virConnect], T], *, what: str, timeout: float = CALL_S, start: bool = True
    ) -> T:
        """Run `work` with the connection, in a thread. Raises LibvirtFailed, LibvirtSilent, DriverError. `start`: bring the
        daemon up if it does not run, which may take START_S more."""
        try:
            async with self._clock.timeout(START_S if start else timeout):
                connection = await self._connected(start=start)
        except TimeoutError:
            raise _silent("connect", timeout) from None
        try:
            return await self._in_thread(lambda: work(connection), timeout, what)
        except LibvirtSilent:
            self.recover()
            raise
        except libvirt.libvirtError as error:
            if not connection.isAlive() and self._connection is connection:
                self._connection = None
            raise self._failed(what, error) from error

    def _failed(self, what: str, error: libvirt.libvirtError) -> LibvirtFailed:
        message = f"libvirt could not {what}: {error.get_error_message()}"
        return LibvirtFailed(message, f"Look at {self._runner.log_path(UNIT)}.", error.get_error_code())

    async def ensure(self) -> None:
        """Have both daemons up, and answering. Raises DriverError."""
        async with self._lock:
            await self._bring_up()
        await self.call(lambda connection: connection.isAlive(), what="answer")
        await self._follow_certificates()

    async def call_alone(self, work: Callable[[libvirt.virConnect], T], *, what: str, timeout: float) -> T:
        """As `call`, for what takes long, on a connection of its own: a call on the same one, such as the one that is to
        break it off, waits for it (measured with libvirt 9)."""
        await self._connected(start=True)

        def body() -> T:
            connection = libvirt.open(self._uri)
            try:
                return work(connection)
            finally:
                connection.close()

        try:
            return await self._in_thread(body, timeout, what)
        except libvirt.libvirtError as error:
            raise self._failed(what, error) from error

    def recover(self) -> "asyncio.Task[None]":
        """In the background: bring the daemon up; one that hangs is killed first. Machines run on."""
        if self._recovering is None or self._recovering.done():
            self._recovering = asyncio.create_task(self._recover())
        return self._recovering

    async def _recover(self) -> None:
        try:
            if UNIT in await self._runner.running() and await self._hangs():
                log.warning("libvirtd does not answer: it is started again")
                self._connection = None
                await self._runner.stop(UNIT, grace_s=0.0)
            connection = await self._connected(start=True)
            await self._in_thread(connection.isAlive, CALL_S, "answer")
        except (DriverError, libvirt.libvirtError) as error:
            log.warning("libvirtd not recovered", error=str(error))

    async def _hangs(self) -> bool:
        """Whether it leaves a new connection without a word. One domain's trouble alone disturbs no other."""
        try:
            await self._in_thread(lambda: libvirt.open(self._uri).close(), HANGS_S, "answer")
        except LibvirtSilent:
            return True
        except libvirt.libvirtError:  # it is ending, or just beginning
            return False
        return False

    async def close(self) -> None:
        """Let go of the daemon; it goes on."""
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.gather(self._recovering, return_exceptions=True)
        self._connection = None

    async def _connected(self, *, start: bool) -> libvirt.virConnect:
        connection = self._connection
        if connection is not None:
            return connection
        async with self._lock:
            if self._connection is None:
                self._connection = await self._connect(start=start)
            return self._connection

    async def _bring_up(self) -> None:
        running = await self._runner.running()
        if UNIT in running and LOCK_UNIT in running:
            return
        await self._storage.check(timeout=STORAGE_S)  # an empty mount point must not get a lock space
        await self._in_thread(self._write_files, CALL_S, "write libvirt's settings")
        if UNIT in running and LOCK_UNIT not in running:
            # It told the one that is gone where the leases are, and would not tell the next.
            self._connection = None
            await self._runner.stop(UNIT, grace_s=0.0)
            running.remove(UNIT)
        await self._start(LOCK_UNIT, VIRTLOCKD, (), running)
        await self._until((self.place.base / "run" / "virtlockd-sock").is_socket, LOCK_UNIT)
        listen = ("--listen",) if self.place.listen else ()
        if UNIT not in running:
            self._read = self._stamp()
        await self._start(UNIT, LIBVIRTD, listen, running)

    async def _start(self, unit: str, program: str, options: tuple[str, ...], running: list[str]) -> None:
        if unit in running:
            return
        name = Path(program).name
        socket = "virtlockd-sock" if unit == LOCK_UNIT else "libvirt-sock"
        (self.place.base / "run" / socket).unlink(missing_ok=True)
        paths = ("--config", f"{files.LIBVIRT_ETC}/{name}.conf", "--pid-file", f"{files.LIBVIRT_RUN}/{name}.pid")
        argv = files.enter(self.place, program, *paths, *options)
        may = rights.VIRTLOCKD if unit == LOCK_UNIT else rights.LIBVIRTD
        await self._runner.start(Unit(unit, argv, strict=False, rights=may))

    async def _until(self, ready: Callable[[], bool], unit: str) -> None:
        end = self._clock.now() + START_S
        while not ready():
            if self._clock.now() > end or unit not in await self._runner.running():
                raise DriverError(f"{unit} did not start", f"Look at its log {self._runner.log_path(unit)}.")
            await self._clock.sleep(_POLL_S)

    async def _connect(self, *, start: bool) -> libvirt.virConnect:
        """Raises DriverError. A daemon that ends meanwhile (killed, or unable to begin) is started again until START_S."""
        end = self._clock.now() + START_S
        while True:
            if start:
                await self._bring_up()
            try:
                return await self._in_thread(lambda: libvirt.open(self._uri), START_S, "connect")
            except libvirt.libvirtError as error:
                if not start or self._clock.now() > end:
                    raise DriverError(
                        f"the libvirt daemon of this node cannot be reached: {error.get_error_message()}",
                        f"Look at its log {self._runner.log_path(UNIT)}.",
                    ) from error
            await self._clock.sleep(_POLL_S if UNIT in await self._runner.running() else _PAUSE_S)

    async def _in_thread(self, work: Callable[[], T], timeout: float, what: str) -> T:
        """Raises what `work` raises, LibvirtSilent."""
        try:
            return await in_thread(work, self._clock, timeout, name="libvirt")
        except TookTooLong:
            self._connection = None
            raise _silent(what, timeout) from None

    # --- files ----------------------------------------------------------------------------------------------------------

    def _write_files(self) -> None:
        base = self.place.base
        for name in _DIRECTORIES:
            (base / name).mkdir(parents=True, exist_ok=True)
        self.place.leases.mkdir(parents=True, exist_ok=True)
        self.place.log_dir.mkdir(parents=True, exist_ok=True)
        for name, (text, mode) in files.files(self.place, self._qemu, _identity(self._qemu)).items():
            path = base / "etc" / name
            # Left alone where it is right: its age tells libvirt whether it knows the emulator.
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
            path.chmod(mode)
        links = {f"etc/pki/{name}.pem": target for names, target in _PKI.items() for name in names}
        links |= {f"tls/{name}": target for name, target in files.TLS_FILES.items()}
        for where, target in links.items():
            link = base / where
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            if file := getattr(self.place, target):
                link.symlink_to(file)

    async def _follow_certificates(self) -> None:
        """Have the daemon read certificate, authorities and revocations again when they have changed. QEMU and libvirt as a
        client read them for each migration; machines and migrations that are under way go on."""
        stamp = self._stamp()
        if not self.place.listen or stamp == self._read:
            return
        argv = files.enter(self.place, VIRT_ADMIN, "-c", "libvirtd:///system", "server-update-tls", "libvirtd")

        def update() -> str:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=CALL_S)
            return "" if done.returncode == 0 else " ".join(done.stderr.split()) or f"status {done.returncode}"

        try:
            problem = await self._in_thread(update, CALL_S, "read its certificate again")
        except (OSError, subprocess.TimeoutExpired, LibvirtSilent) as error:
            problem = str(error)
        if problem:
            if problem != self._told:
                log.warning("libvirtd has not read the certificates again", error=problem)
            self._told = problem
            return
        self._read, self._told = stamp, ""
        log.info("libvirtd has read the certificates again")

    def _stamp(self) -> tuple[int, ...]:
        """Changes with the files."""
        named = (self.place.ca, self.place.cert, self.place.key, self.place.crl)
        try:
            return tuple(Path(name).stat().st_mtime_ns for name in named if name)
        except OSError:
            return self._read


def _silent(what: str, timeout: float) -> LibvirtSilent:
    return LibvirtSilent(
        f"libvirt did not {what} within {timeout:g} s", "It is asked again; a daemon that hangs is restarted."
    )


def _identity(qemu: str) -> str:
    """Changes when the program does."""
    try:
        found = Path(qemu).resolve().stat()
    except OSError as error:
        raise DriverError(f"QEMU is not at {qemu}: {error}", "Install the package qemu-system-x86.") from error
    return f"{os.path.realpath(qemu)} {found.st_size} {found.st_mtime_ns}"
