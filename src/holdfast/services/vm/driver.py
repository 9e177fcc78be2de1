"""Driver of virtual machines (port Driver): one QEMU per machine, through this node's libvirt daemon.

Each machine has a strict unit of its own. It begins with a *holder*, a process that does nothing: Runner starts it when
the machine may start here, QEMU then enters its group (files.py), and the holder goes when the machine runs. So the
control group tells what runs and what may start, the guard kills it whole at the deadline, and libvirt's word is never
needed to know that a machine has stopped.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from holdfast.core.model import InstanceSpec
from holdfast.core.rights import NOTHING
from holdfast.errors import DriverError
from holdfast.ports import Clock, Runner, StepRecorder, Unit
from holdfast.services.storage import SharedStorage, write_atomically
from holdfast.services.vm import files
from holdfast.services.vm.config import AGENT_PORT, HEARTBEAT_PORT, KIND, VmConfig, from_instance
from holdfast.services.vm.domain import domain_xml
from holdfast.services.vm.domains import Domains, DomainState
from holdfast.services.vm.files import Place
from holdfast.services.vm.health import Health
from holdfast.services.vm.libvirtd import CALL_S, Libvirtd, LibvirtFailed, LibvirtSilent
from holdfast.services.vm.migration import Migration
from holdfast.services.vm.shared import SharedWork
from holdfast.services.warm import NothingWarm, each

log = structlog.get_logger("holdfast.vm")

STORAGE_S = 3.0
LOOK_S = 1.5
FORGET_S = 3.0
"""How long a stop waits for libvirt to notice the end; it has ended then already."""
WARM_S = 60.0
HOLDER_S = 5.0
OUTCOME_S = 15.0
"""How long libvirt may take to say why a machine ended."""
POLL_S = 0.05
CONSOLE_BYTES = 10 << 20
"""A console's log above this is moved to <log>.1 (replacing it) when its machine starts."""


class VmDriver(NothingWarm):
    """See the module's text. `hardware` says whether guests run on the processor itself (KVM)."""

    kind = KIND

    def __init__(
        self,
        place: Place,
        runner: Runner,
        clock: Clock,
        *,
        hardware: bool | None = None,
        address_of: Callable[[str], str] = str,
        qemu: str = files.QEMU,
    ) -> None:
        self._place = place
        self._runner = runner
        self._clock = clock
        self._hardware = has_kvm() if hardware is None else hardware
        self._storage = SharedStorage(place.shared_root, clock)
        self._shared = SharedWork(place, self._storage, clock)
        self._libvirt = Libvirtd(place, self._storage, runner, clock, qemu)
        self._domains = Domains(self._libvirt)
        self._migration = Migration(self._libvirt, self._domains, clock, address_of)
        self._health: dict[str, Health] = {}
        self._allowed: dict[str, Callable[[], bool]] = {}
        self._warm = False
        self._ending: set[str] = set()
        """Ids of what is being stopped or restarted by Holdfast: its end is not the guest's own will."""

    # --- start ------------------------------------------------------------------------------------------------------

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        """Have this node's daemons up, and libvirt know what QEMU can do: it asks before the first start, for seconds."""
        return await each(instances, self._ensure_warm)

    async def _ensure_warm(self, instance: InstanceSpec) -> None:
        from_instance(instance)
        await self._libvirt.ensure()
        if not self._warm:
            kind = "kvm" if self._hardware else "qemu"
            await self._libvirt.call_alone(
                lambda connection: connection.getDomainCapabilities(files.EMULATOR, "x86_64", "q35", kind),
                what="ask QEMU what it can do",
                timeout=WARM_S,
            )
            self._warm = True

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        """Run the machine, or adopt the one that runs. Raises DriverError, InvalidInput."""
        config = from_instance(instance)
        self._allowed[instance.id] = allowed
        if instance.id in await self._runner.running() and not await self._adopt(instance):
            await self.stop(instance, 0.0)
            self._allowed[instance.id] = allowed
        if instance.id not in await self._runner.running():
            await self._run(instance, config, allowed)
        await self._watch(instance, config)
        steps.step("server")

    async def _adopt(self, instance: InstanceSpec) -> bool:
        """True if its machine runs here (or stands for a reason that is no half start) and is ours from now on."""
        try:
            state = await self._domains.state(instance.service)
        except LibvirtSilent:  # a daemon that hangs is no reason to end a machine that runs
            await self._libvirt.recover()
            state = await self._domains.state(instance.service)
        if not state.active or state.half_started or not self._in_its_group(instance):
            return False
        await self._release_holder(instance)
        return True

    async def _run(self, instance: InstanceSpec, config: VmConfig, allowed: Callable[[], bool]) -> None:
        """Every step asks again; whatever goes wrong, nothing of it stays."""
        xml = domain_xml(instance, config, kvm=self._hardware)
        await self._check_files(instance, config)
        try:
            await self._hold(instance, allowed)
            await self._domains.define(xml)
            _ask(allowed, instance)
            await self._domains.create_paused(instance.service)
            if not self._in_its_group(instance):
                raise DriverError(
                    f"QEMU of {instance.id} did not start in its control group",
                    f"Look at {self._place.log_dir}/qemu/{instance.service}.log.",
                )
            _ask(allowed, instance)
            await self._domains.resume(instance.service)
            await self._release_holder(instance)
        except BaseException:
            await asyncio.shield(self.stop(instance, 0.0))
            raise

    async def _check_files(self, instance: InstanceSpec, config: VmConfig) -> None:
        """The shared storage is there, and so is what the machine needs of it."""
        await self._storage.check(timeout=STORAGE_S)
        wanted = [disk.path for disk in config.disks] + [path for path in (config.kernel, config.initrd) if path]

        def missing() -> list[str]:
            return [path for path in wanted if not Path(path).is_file()]

        lost = await self._storage.run(missing, timeout=STORAGE_S, what=f"looking for the disks of {instance.id}")
        if lost:
            raise DriverError(f"{instance.id}: {', '.join(lost)} does not exist", "Restore it, or edit the machine.")

    async def _hold(self, instance: InstanceSpec, allowed: Callable[[], bool]) -> None:
        """From now on, and only while its holder lives, the machine may start on this node."""
        await self._libvirt.ensure()
        console = self._place.console(instance.service)
        if console.exists() and console.stat().st_size > CONSOLE_BYTES:
            console.replace(console.with_name(console.name + ".1"))
        await self._domains.forget(instance.service, timeout=CALL_S)  # how it ended the last time is past
        fifo = self._place.holder(instance.service)
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo, 0o600)
        argv = ("sh", "-c", 'read -r _ <"$1"', "holdfast-holder", str(fifo))
        _ask(allowed, instance)
        await self._runner.start(Unit(instance.id, argv, strict=True, allowed=allowed, rights=NOTHING))

    async def _release_holder(self, instance: InstanceSpec) -> None:
        """Let the holder end; QEMU alone is the unit now, or its end would not be seen. Raises DriverError."""
        end = self._clock.now() + HOLDER_S
        while len(self._processes(instance)) > 1:
            if self._clock.now() > end:
                raise DriverError(
                    f"the group of {instance.id} has other processes than QEMU", "It is stopped and started again."
                )
            with contextlib.suppress(OSError):  # it has not opened its end yet, or not any more
                fifo = os.open(self._place.holder(instance.service), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                os.write(fifo, b"go\n")
                os.close(fifo)
            await self._clock.sleep(POLL_S)

    def _processes(self, instance: InstanceSpec) -> list[str]:
        try:
            return self._place.group(instance.service).joinpath("cgroup.procs").read_text().split()
        except OSError:
            return []

    def _in_its_group(self, instance: InstanceSpec) -> bool:
        """QEMU's process, by libvirt's record of it, is where the guard would kill it."""
        try:
            pid = (self._place.base / "run" / "qemu" / f"{instance.service}.pid").read_text().strip()
        except OSError:
            return False
        return pid in self._processes(instance)

    # --- while it runs ----------------------------------------------------------------------------------------------

    async def address_up(self, instance: InstanceSpec) -> None:
        """A machine brings its own addresses."""

    async def _watch(self, instance: InstanceSpec, config: VmConfig) -> None:
        old, new = self._health.pop(instance.id, None), Health(instance, config, self._place, self._clock)
        if old is not None:
            await old.close()
            if old.config.heartbeat == config.heartbeat:
                new.heartbeat.go_on_from(old.heartbeat)
        self._health[instance.id] = new
        self._write_health(instance, "")

    async def tick(self, instance: InstanceSpec) -> None:
        """Look at the machine, and write down for the probe what is wrong. A daemon that hangs is restarted and nothing is
        held against the machine for it."""
        health = self._health.get(instance.id)
        if health is None:
            return
        lost_s = self._shared.lost_s()
        self._shared.publish_console(instance.service)
        try:
            state = await self._look(instance, health)
        except DriverError as error:
            log.warning("libvirt not asked", error=str(error))
            self._libvirt.recover()
            self._write_health(instance, health.problem(None, lost_s))
            return
        if state.storage_error and health.config.on_storage_loss == "ignore":
            await self._go_on_after_storage_loss(instance)
        self._write_health(instance, health.problem(state, lost_s))

    async def _look(self, instance: InstanceSpec, health: Health) -> DomainState:
        state = await self._domains.state(instance.service, timeout=LOOK_S, start=False)
        heartbeat, kind = health.heartbeat, health.config.heartbeat
        if kind == "agent" and state.running and await self._domains.agent_answers(instance.service):
            heartbeat.heard()
        heartbeat.look(could_beat=state.running)
        port = HEARTBEAT_PORT if kind == "port" else AGENT_PORT
        if heartbeat.quiet and not await self._domains.port_open(instance.service, port, timeout=LOOK_S):
            heartbeat.begin_anew()  # it boots, whoever wished that: the count begins with its first beat
        return state

    async def _go_on_after_storage_loss(self, instance: InstanceSpec) -> None:
        with contextlib.suppress(DriverError):
            await self._storage.check(timeout=STORAGE_S / 3)
            if self._allowed.get(instance.id, _no)():
                await self._domains.resume(instance.service, timeout=LOOK_S)

    def _write_health(self, instance: InstanceSpec, problem: str) -> None:
        found = {"problem": problem, "at": self._clock.now()}
        write_atomically(self._place.health(instance.service), json.dumps(found).encode())

    async def reconfigure(self, instance: InstanceSpec) -> None:
        """Policies and heartbeat limits count at once. Cores, memory, disks and cards belong to the machine that was
        started: they change with its next start, for nobody's guest is rebooted for a wish. Raises InvalidInput."""
        config = from_instance(instance)
        if instance.id in self._health:
            await self._watch(instance, config)

    async def restart_hung(self, instance: InstanceSpec) -> None:
        """What follows from a failed health check, by the machine's policies: a guest that hangs is reset, one that was
        paused goes on, and whatever cannot is killed and started again if it still may run here. Raises DriverError."""
        config = from_instance(instance)
        allowed = self._allowed.get(instance.id, _no)
        health = self._health.get(instance.id)
        try:
            state = await self._domains.state(instance.service)
            if state.storage_error and config.on_storage_loss == "ignore":
                return
            lost = health is not None and health.storage_lost(self._shared.lost_s())
            if state.running and config.on_hang == "ignore" and not lost:
                return
            if (state.running or state.paused_by_somebody) and not lost:
                _ask(allowed, instance)
                await self._domains.reset_or_resume(instance.service, state)
                if health is not None:
                    health.heartbeat.begin_anew()
                return
        except (LibvirtFailed, LibvirtSilent) as error:
            log.warning("not reset: it is killed", instance=instance.id, error=str(error))
        self._ending.add(instance.id)
        try:
            await self.stop(instance, 0.0)
            self._allowed[instance.id] = allowed
            await self._run(instance, config, allowed)
            await self._watch(instance, config)
        finally:
            self._ending.discard(instance.id)

    # --- live migration ---------------------------------------------------------------------------------------------

    async def migrate(self, instance: InstanceSpec, to: str) -> None:
        """See the port. The locks of the disks decide where it runs: a machine that runs here after a failed attempt has
        them all, so none runs on `to`."""
        self._ending.add(instance.id)
        try:
            if not await self._migration.run(instance, to, self._runner):
                if await self._powered_off(instance):
                    raise DriverError(f"{instance.id} powered itself off while it was handed over", "It stays off.")
                log.warning("outcome of the migration unknown: what is left here is ended", instance=instance.id)
            await self.stop(instance, 0.0)
        finally:
            self._ending.discard(instance.id)

    async def receive(self, instance: InstanceSpec, allowed: Callable[[], bool]) -> None:
        """See the port: the holder is what waits."""
        from_instance(instance)
        self._allowed[instance.id] = allowed
        if instance.id in await self._runner.running():
            return
        await self._storage.check(timeout=STORAGE_S)
        await self._hold(instance, allowed)

    # --- stop -------------------------------------------------------------------------------------------------------

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        """Power button, after `grace_s` SIGKILL of the group; returns when the group is empty. Needs only the instance's id,
        and of libvirt nothing."""
        first = instance.id not in self._ending
        self._ending.add(instance.id)
        self._place.holder(instance.service).unlink(missing_ok=True)  # from here on its end is not the guest's own will
        try:
            if grace_s > 0 and instance.id in await self._runner.running():
                await self._power_button(instance, grace_s)
            await self._runner.stop(instance.id, grace_s=0.0)
            await self._forget(instance)
        finally:
            if first:
                self._ending.discard(instance.id)

    async def _power_button(self, instance: InstanceSpec, grace_s: float) -> None:
        end = self._clock.now() + grace_s
        try:
            await self._domains.press_power_button(instance.service, timeout=min(grace_s, CALL_S))
            async with self._clock.timeout(max(0.0, end - self._clock.now())):
                await self._runner.wait_exit(instance.id)
        except (DriverError, TimeoutError) as error:
            log.info("not shut down in time: it is killed", instance=instance.id, reason=str(error))

    async def _forget(self, instance: InstanceSpec) -> None:
        """Let libvirt notice the end, so that the leases of the disks are free, and take the domain off its list."""
        name = instance.service
        health = self._health.pop(instance.id, None)
        if health is not None:
            await health.close()
        self._allowed.pop(instance.id, None)
        self._place.health(name).unlink(missing_ok=True)
        try:
            await self._domains.forget(name, timeout=FORGET_S)
        except DriverError as error:
            log.warning("libvirt still knows a machine that ended", instance=instance.id, error=str(error))

    async def close(self) -> None:
        """Let go of everything; it goes on."""
        for health in self._health.values():
            await health.close()
        self._health.clear()
        await self._shared.close()
        await self._libvirt.close()

    async def running(self) -> list[str]:
        return [name for name in await self._runner.running() if name.startswith(f"{KIND}/")]

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        """See the port. libvirt remembers why QEMU ended; where it does not, the end counts as a failure."""
        await self._runner.wait_exit(instance.id)
        return instance.id not in self._ending and await self._powered_off(instance)

    async def _powered_off(self, instance: InstanceSpec) -> bool:
        """Its guest ended it, its owner wants that so, and nobody has taken note of it yet: from when it may start to when
        Holdfast ends it, its holder's file is there, also where the agent was away meanwhile."""
        if not self._place.holder(instance.service).exists() or from_instance(instance).on_power_off != "stop":
            return False
        with contextlib.suppress(DriverError):
            return await self._ended_by_guest(instance.service)
        return False

    async def _ended_by_guest(self, name: str) -> bool:
        """libvirt hears of the end a moment after the kernel, on a busy node some seconds."""
        end = self._clock.now() + OUTCOME_S
        while (state := await self._domains.state(name, start=False)).active and self._clock.now() < end:
            await self._clock.sleep(POLL_S)
        return state.ended_by_guest


def has_kvm() -> bool:
    """Whether guests can run on this processor. /dev/kvm alone says little: where the processor has no virtualization of its
    own, it may take every call and never run a guest."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return Path("/dev/kvm").exists() and bool({"vmx", "svm"} & set(flags))


def _no() -> bool:
    return False


def _ask(allowed: Callable[[], bool], instance: InstanceSpec) -> None:
    if not allowed():
        raise DriverError(f"the start of {instance.id} was abandoned", "This node may not run it any more.")
