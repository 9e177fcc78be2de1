"""What is asked of libvirt about one domain, each with a time limit. Errors: LibvirtFailed, LibvirtSilent, DriverError."""

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import libvirt
import libvirt_qemu
from holdfast.services.vm.libvirtd import CALL_S, Libvirtd, LibvirtFailed

T = TypeVar("T")

CREATE_S = 30.0
AGENT_S = 1


@dataclass(frozen=True, slots=True)
class DomainState:
    """libvirt's state and reason of a domain; (0, 0) of one it does not know."""

    state: int = 0
    reason: int = 0

    @property
    def running(self) -> bool:
        return self.state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED)

    @property
    def active(self) -> bool:
        """It has a QEMU."""
        return self.state not in (0, libvirt.VIR_DOMAIN_SHUTOFF)

    @property
    def paused(self) -> bool:
        return self.state == libvirt.VIR_DOMAIN_PAUSED

    @property
    def half_started(self) -> bool:
        """Somebody ended between its creation and its first step, or a migration to here has not ended."""
        reasons = (libvirt.VIR_DOMAIN_PAUSED_STARTING_UP, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
        return self.paused and (self.reason in reasons or self.reason == libvirt.VIR_DOMAIN_PAUSED_USER)

    @property
    def storage_error(self) -> bool:
        return self.paused and self.reason == libvirt.VIR_DOMAIN_PAUSED_IOERROR

    @property
    def paused_by_somebody(self) -> bool:
        return self.paused and self.reason == libvirt.VIR_DOMAIN_PAUSED_USER

    @property
    def ended_by_guest(self) -> bool:
        return self.state == libvirt.VIR_DOMAIN_SHUTOFF and self.reason == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN


class Domains:
    """By name; the daemon is brought up where it is needed."""

    def __init__(self, daemon: Libvirtd) -> None:
        self._daemon = daemon

    async def _on(
        self,
        name: str,
        action: Callable[[libvirt.virDomain], T],
        what: str,
        timeout: float = CALL_S,
        start: bool = True,
    ) -> T:
        return await self._daemon.call(
            lambda connection: action(connection.lookupByName(name)),
            what=f"{what} {name}",
            timeout=timeout,
            start=start,
        )

    async def state(self, name: str, *, timeout: float = CALL_S, start: bool = True) -> DomainState:
        try:
            state, reason = await self._on(name, lambda domain: domain.state(), "look at", timeout, start)
        except LibvirtFailed as error:
            if error.code == libvirt.VIR_ERR_NO_DOMAIN:
                return DomainState()
            raise
        return DomainState(state, reason)

    async def define(self, xml: str) -> None:
        await self._daemon.call(lambda connection: connection.defineXML(xml), what="take the machine's description")

    async def create_paused(self, name: str) -> None:
        """QEMU is there, its processor stands, its disks are locked."""
        flags = libvirt.VIR_DOMAIN_START_PAUSED
        await self._on(name, lambda domain: domain.createWithFlags(flags), "start", CREATE_S)

    async def resume(self, name: str, *, timeout: float = CALL_S) -> None:
        await self._on(name, lambda domain: domain.resume(), "run", timeout)

    async def reset_or_resume(self, name: str, state: DomainState) -> None:
        if state.running:
            await self._on(name, lambda domain: domain.reset(), "reset")
        else:
            await self.resume(name)

    async def press_power_button(self, name: str, *, timeout: float) -> None:
        flags = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
        await self._on(name, lambda domain: domain.shutdownFlags(flags), "shut down", timeout, start=False)

    async def agent_answers(self, name: str) -> bool:
        """The guest agent inside answers a ping."""

        def ping(domain: libvirt.virDomain) -> None:
            # The command's own limit does not count for the handshake before it, which is 5 s by default.
            domain.agentSetResponseTimeout(AGENT_S, 0)
            libvirt_qemu.qemuAgentCommand(domain, '{"execute": "guest-ping"}', AGENT_S, 0)

        try:
            await self._on(name, ping, "ask the agent of", AGENT_S + 1)
        except LibvirtFailed:
            return False
        return True

    async def port_open(self, name: str, port: str, *, timeout: float) -> bool:
        """Whether a program in the guest has opened the virtio-serial port. QEMU closes it at each reset, also at one by the
        guest itself. True where libvirt does not know."""
        xml = await self._on(name, lambda domain: domain.XMLDesc(0), "look at", timeout, start=False)
        for target in ET.fromstring(xml).findall("devices/channel/target"):  # noqa: S314 - libvirt's own
            if target.get("name") == port:
                return target.get("state") != "disconnected"
        return True

    async def forget(self, name: str, *, timeout: float) -> None:
        """Of a machine whose QEMU is gone: end it for libvirt too, and remove its description."""

        def forget(domain: libvirt.virDomain) -> None:
            with contextlib.suppress(libvirt.libvirtError):  # it may have noticed by itself
                domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)

        try:
            await self._on(name, forget, "forget", timeout, start=False)
        except LibvirtFailed as error:
            if error.code != libvirt.VIR_ERR_NO_DOMAIN:
                raise
