"""Driver of NFS volumes (port Driver): one NFS-Ganesha per volume, as a strict unit.

The order that keeps the stall short: the server listens *before* its address is on the node (a refused connection costs a
Linux client 3 s), then the address comes and is announced, then the clients of the former owner are reset by tickle ACKs.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from holdfast.core import rights
from holdfast.core.model import InstanceSpec
from holdfast.errors import DriverError, HoldfastError
from holdfast.ports import Clock, Runner, StepRecorder, Unit
from holdfast.services import quota
from holdfast.services.cold import ColdDriver
from holdfast.services.nfs import clients, host, recovery, tcp
from holdfast.services.nfs.clients import ClientMemory
from holdfast.services.nfs.config import KIND, PORT, RECOVERY_ID, NfsVolume, from_instance, ganesha_config
from holdfast.services.storage import SharedStorage, write_atomically
from holdfast.services.warm import NothingWarm, each

log = structlog.get_logger("holdfast.nfs")

GANESHA = "/usr/bin/ganesha.nfsd"
STORAGE_TIMEOUT_S = 3.0
LISTEN_TIMEOUT_S = 10.0
POLL_S = 0.005
TICKLE_AT_S = (0.02, 0.1, 0.3, 0.7, 1.5, 3.0)
"""Repetitions after the first tickle: it is lost while the client still has the dead node's hardware address."""
TIDY_EVERY_S = 10.0
_LOG_WORDS = (":FATAL", ":CONFIG :CRIT", ":FSAL :CRIT", ":DISP :FATAL")
"""Of a log, what may explain why a server did not start."""


class NfsDriver(ColdDriver, NothingWarm):
    """See the module's text. `shared_root` is the shared storage, `run_dir` a private directory of this node."""

    kind = KIND

    def __init__(self, runner: Runner, clock: Clock, shared_root: str, run_dir: str, ganesha: str = GANESHA) -> None:
        self._runner = runner
        self._clock = clock
        self._storage = SharedStorage(shared_root, clock)
        self._run_dir = Path(run_dir) / "nfs"
        self._ganesha = ganesha
        self._memory: dict[str, ClientMemory] = {}
        self._allowed: dict[str, Callable[[], bool]] = {}
        self._tickling: dict[str, asyncio.Task[None]] = {}
        self._tidied: dict[str, float] = {}

    # --- start ------------------------------------------------------------------------------------------------------

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        """Let servers listen on addresses that are not here yet, and have the program in the page cache."""
        return await each(instances, self._prepare_one)

    async def _prepare_one(self, instance: InstanceSpec) -> None:
        from_instance(instance)
        host.make_ready()
        host.warm(Path(self._ganesha).resolve())

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        """Serve the volume, or adopt the server that runs. Raises DriverError, InvalidInput."""
        volume = from_instance(instance)
        self._allowed[instance.id] = allowed
        if instance.id in await self._runner.running():
            if not self._config_path(volume).exists():
                raise DriverError(
                    f"a server of {instance.id} runs here without its configuration file",
                    "Stop it, then start it again.",
                )
            await self._apply_config(instance, volume)
        else:
            host.make_ready()
            await self._prepare_storage(instance, volume, allowed)
            await self._spawn(instance, volume, allowed)
        await self._until_listening(instance)
        steps.step("server")

    async def _prepare_storage(self, instance: InstanceSpec, volume: NfsVolume, allowed: Callable[[], bool]) -> None:
        """One trip to the shared storage: is it there, make what is missing, tidy, read the former clients."""
        await self._storage.check(timeout=STORAGE_TIMEOUT_S)
        if not volume.path.startswith(f"{self._storage.root}/"):
            raise DriverError(
                f"{instance.id} lies at {volume.path}, outside the shared storage {self._storage.root}",
                "Create the volume anew with `holdfast nfs`.",
            )
        _ask(allowed, instance)

        def work() -> frozenset[tcp.Peer]:
            _make_directories(volume)
            recovery.tidy_before_start(Path(volume.recovery))
            return clients.load(_clients_file(volume))

        former = await self._storage.run(work, timeout=STORAGE_TIMEOUT_S, what=f"preparing {volume.base}")
        self._memory[instance.id] = memory = ClientMemory()
        memory.adopt_former(former, self._clock.now())

    async def _spawn(self, instance: InstanceSpec, volume: NfsVolume, allowed: Callable[[], bool]) -> None:
        assert instance.address is not None
        self._run_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(self._config_path(volume), ganesha_config(volume, instance.address.ip).encode())
        unit = self._unit(instance, volume, allowed)
        _ask(allowed, instance)
        await self._runner.start(unit)

    def _unit(self, instance: InstanceSpec, volume: NfsVolume, allowed: Callable[[], bool]) -> Unit:
        files = ("-f", str(self._config_path(volume)), "-p", str(self._pid_path(volume)))
        # -F: in the foreground; paths must be absolute, or ganesha ends without a word.
        argv = (self._ganesha, "-F", *files, "-L", "STDOUT", "-I", str(RECOVERY_ID))
        return Unit(instance.id, argv, strict=True, allowed=allowed, rights=rights.NFS)

    async def _until_listening(self, instance: InstanceSpec) -> None:
        assert instance.address is not None
        deadline = self._clock.now() + LISTEN_TIMEOUT_S
        polls = 0
        while not tcp.listening(instance.address.ip, PORT):
            polls += 1
            if polls % 20 == 0 and instance.id not in await self._runner.running():
                raise DriverError(f"the server of {instance.id} ended before it listened", self._log_hint(instance.id))
            if self._clock.now() > deadline:
                raise DriverError(
                    f"the server of {instance.id} does not listen after {LISTEN_TIMEOUT_S:g} s",
                    self._log_hint(instance.id),
                )
            await self._clock.sleep(POLL_S)

    # --- while it runs ----------------------------------------------------------------------------------------------

    async def address_up(self, instance: InstanceSpec) -> None:
        """Reset the connections that clients had to the former owner of the address."""
        self._stop_tickling(instance.id)
        if instance.id in self._memory:
            with contextlib.suppress(OSError):
                self._tickle(instance)
            self._tickling[instance.id] = asyncio.create_task(self._tickle_again(instance))

    def _tickle(self, instance: InstanceSpec) -> bool:
        """One round; False when every former client is back."""
        assert instance.address is not None
        ip = instance.address.ip
        waiting = self._memory[instance.id].waiting(tcp.clients_of(ip, PORT))
        if waiting:
            tcp.tickle(ip, PORT, waiting)
        return bool(waiting)

    async def _tickle_again(self, instance: InstanceSpec) -> None:
        began = self._clock.now()
        for at in TICKLE_AT_S:
            await self._clock.sleep(began + at - self._clock.now())
            try:
                if not self._tickle(instance):
                    return
            except OSError as error:
                log.warning("clients not reset", instance=instance.id, error=str(error))

    async def tick(self, instance: InstanceSpec) -> None:
        """Remember the connected clients, and let the server forget those that are gone for long. Never raises for that:
        it only makes a later failover quicker."""
        volume = from_instance(instance)
        assert instance.address is not None
        memory = self._memory.setdefault(instance.id, ClientMemory())
        now = self._clock.now()
        wanted = memory.look(tcp.clients_of(instance.address.ip, PORT), now)
        try:
            if wanted != memory.saved:
                file = _clients_file(volume)
                await self._hint(lambda: clients.save(file, wanted), f"writing {file}")
                memory.saved = wanted
            if now - self._tidied.get(instance.id, 0.0) >= TIDY_EVERY_S:
                self._tidied[instance.id] = now
                directory, ip = Path(volume.recovery), instance.address.ip

                def tidy() -> None:
                    absent = memory.absent(recovery.recorded_clients(directory))
                    recovery.forget(directory, absent, lambda: {peer.ip for peer in tcp.clients_of(ip, PORT)})

                await self._hint(tidy, f"tidying {directory}")
        except HoldfastError as error:
            log.warning("clients not remembered", instance=instance.id, error=str(error))

    async def _hint(self, work: Callable[[], None], what: str) -> None:
        await self._storage.run(work, timeout=STORAGE_TIMEOUT_S / 3, what=what)

    async def reconfigure(self, instance: InstanceSpec) -> None:
        """Access rules are reloaded in place (SIGHUP), the size is applied; anything else restarts the server in place.
        A size that cannot be enforced is no reason to interrupt the service. Raises DriverError, InvalidInput."""
        volume = from_instance(instance)
        await self._apply_config(instance, volume)
        data, what = Path(volume.path), f"setting the size of {volume.name}"
        try:
            await self._storage.run(lambda: quota.set_limit(data, volume.size), timeout=STORAGE_TIMEOUT_S, what=what)
        except HoldfastError as error:
            log.warning("size not enforced", volume=volume.name, error=str(error))

    async def _apply_config(self, instance: InstanceSpec, volume: NfsVolume) -> None:
        assert instance.address is not None
        path = self._config_path(volume)
        new = ganesha_config(volume, instance.address.ip)
        old = path.read_text() if path.exists() else ""
        if _fixed_part(new) != _fixed_part(old):
            await self._restart(instance, grace_s=2.0)
        elif new != old:
            write_atomically(path, new.encode())
            os.kill(self._pid(instance, volume), signal.SIGHUP)

    async def restart_hung(self, instance: InstanceSpec) -> None:
        """Kill it and start it again in place, if it still may run here. Raises DriverError."""
        await self._restart(instance, grace_s=0.0)

    async def _restart(self, instance: InstanceSpec, *, grace_s: float) -> None:
        volume = from_instance(instance)
        allowed = self._allowed.get(instance.id, lambda: False)
        await self._runner.stop(instance.id, grace_s=grace_s)
        await self._prepare_storage(instance, volume, allowed)
        await self._spawn(instance, volume, allowed)
        await self._until_listening(instance)

    def _pid(self, instance: InstanceSpec, volume: NfsVolume) -> int:
        """The server's process id, believed only if that process really has this volume's configuration file."""
        try:
            pid = int(self._pid_path(volume).read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            arguments = []
        if os.fsencode(self._config_path(volume)) not in arguments:
            raise DriverError(f"the server of {instance.id} was not found", "Move the volume, or restart it.")
        return pid

    # --- stop -------------------------------------------------------------------------------------------------------

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        """SIGTERM, after `grace_s` SIGKILL; returns when no process of it is left. Needs only the instance's id."""
        self._stop_tickling(instance.id)
        await self._runner.stop(instance.id, grace_s=grace_s)
        for kept in (self._memory, self._allowed, self._tidied):
            kept.pop(instance.id, None)

    async def running(self) -> list[str]:
        return [name for name in await self._runner.running() if name.startswith(f"{KIND}/")]

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        await self._runner.wait_exit(instance.id)
        return False

    def _stop_tickling(self, instance_id: str) -> None:
        task = self._tickling.pop(instance_id, None)
        if task is not None:
            task.cancel()

    def _config_path(self, volume: NfsVolume) -> Path:
        return self._run_dir / f"{volume.name}.conf"

    def _pid_path(self, volume: NfsVolume) -> Path:
        return self._run_dir / f"{volume.name}.pid"

    def _log_hint(self, name: str) -> str:
        path = self._runner.log_path(name)
        with contextlib.suppress(OSError):
            lines = Path(path).read_text(errors="replace").splitlines()[-200:]
            bad = [line.rpartition("] ")[2] for line in lines if any(word in line for word in _LOG_WORDS)]
            if bad:
                return f"Its log {path} ends with: {bad[-1]}"
        return f"Look at its log {path}."


def _ask(allowed: Callable[[], bool], instance: InstanceSpec) -> None:
    if not allowed():
        raise DriverError(f"the start of {instance.id} was abandoned", "This node may not run it any more.")


def _clients_file(volume: NfsVolume) -> Path:
    return Path(volume.base) / "clients.json"


def _fixed_part(config: str) -> list[str]:
    """The lines that cannot be changed while the server runs: all but the access rules."""
    return [line for line in config.splitlines() if not line.startswith("  CLIENT ")]


def _make_directories(volume: NfsVolume) -> None:
    """Make data and recovery directory, and set the size. Only a volume that is new is refused for a size that cannot be
    enforced: one with data must come back after a failover."""
    data = Path(volume.path)
    new = not data.exists()
    data.parent.mkdir(parents=True, exist_ok=True)
    if new and volume.size is not None:
        quota.require(data.parent)
    Path(volume.recovery).mkdir(mode=0o700, exist_ok=True)
    if new:
        data.mkdir()
        data.chmod(0o777)  # who may write is decided by the volume's access rules
        quota.tag(data)
    if volume.size is not None:
        try:
            quota.set_limit(data, volume.size)
        except (OSError, quota.QuotaUnsupported) as error:
            if new:
                raise
            log.warning("size not enforced", volume=volume.name, error=str(error))
