"""Live migration of a machine to another node, from the node on which it runs: peer to peer through libvirt.
Both connections, libvirt to libvirt and QEMU to QEMU, are TLS with the certificates of the two nodes.

Two locks decide where it runs, virtlockd's lease and QEMU's own lock of the image: the source gives them up when its
processor stands, and whoever runs the guest holds them. So after a failed attempt a machine that runs here holds them and
none runs on the other node; one that stands here may run there.
"""

import asyncio
from collections.abc import Callable

import structlog

import libvirt
from holdfast.core.model import InstanceSpec
from holdfast.errors import DriverError
from holdfast.ports import Clock, Runner
from holdfast.services.vm import files
from holdfast.services.vm.domains import Domains
from holdfast.services.vm.libvirtd import Libvirtd, LibvirtFailed, LibvirtSilent

log = structlog.get_logger("holdfast.vm")

READY_S = 10.0
"""How long the other node may take to be ready (its holder, its daemon)."""
RETRY_S = 0.2
LIMIT_S = 3600.0
ABORT_S = 10.0
SETTLE_S = 10.0
"""How long libvirt may take to put a machine back to work after a failed attempt."""
FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_TLS
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    # Memory that changes faster than it is sent: the guest is slowed down until it ends.
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
    # libvirt knows a few shared file systems by name; that the disks are on one is checked at each start.
    | libvirt.VIR_MIGRATE_UNSAFE
)


class Migration:
    """See the module's text. `address_of` gives a node's management address."""

    def __init__(self, daemon: Libvirtd, domains: Domains, clock: Clock, address_of: Callable[[str], str]) -> None:
        self._daemon = daemon
        self._domains = domains
        self._clock = clock
        self._address_of = address_of

    async def run(self, instance: InstanceSpec, to: str, runner: Runner) -> bool:
        """True: it was handed over. False: nobody here can tell. Raises DriverError if it certainly runs here as before."""
        name, end = instance.service, self._clock.now() + READY_S
        while True:
            try:
                await self._attempt(name, to)
                return True
            except LibvirtFailed as error:
                if not await self._runs_here(name):
                    return False
                if not _not_ready(error) or self._clock.now() > end:
                    raise DriverError(
                        f"{instance.id} was not handed over to {to}: {error.message}", "It runs here as before."
                    ) from error
                await self._clock.sleep(RETRY_S)
            except LibvirtSilent:
                return False
            except asyncio.CancelledError:
                await asyncio.shield(self._abort(name))
                raise

    async def _attempt(self, name: str, to: str) -> None:
        host = self._address_of(to)
        host = f"[{host}]" if ":" in host else host
        uri = f"qemu+tls://{host}:{files.MIGRATION_PORT}/system?pkipath={files.PKI}&mode=legacy"
        await self._daemon.call_alone(
            lambda connection: connection.lookupByName(name).migrateToURI3(uri, {}, FLAGS),
            what=f"migrate {name} to {to}",
            timeout=LIMIT_S,
        )

    async def _runs_here(self, name: str) -> bool:
        """Whether libvirt has put it back to work here."""
        end = self._clock.now() + SETTLE_S
        while self._clock.now() < end:
            try:
                state = await self._domains.state(name)
            except DriverError as error:
                log.warning("libvirt not asked after a migration", error=str(error))
                return False
            if state.running or not state.active:
                return state.running
            await self._clock.sleep(RETRY_S)
        return False

    async def _abort(self, name: str) -> None:
        """Break off what is under way. Whoever called it off stops or starts the machine next."""
        try:
            await self._daemon.call(
                lambda connection: connection.lookupByName(name).abortJob(), what=f"abort {name}", timeout=ABORT_S
            )
        except DriverError as error:
            log.info("migration not aborted", error=str(error))


def _not_ready(error: LibvirtFailed) -> bool:
    """The other node may be ready in a moment: its hook or its wrapper still refuses, or its daemon starts. Or an attempt
    that was called off is just ending."""
    text = error.message
    return any(word in text for word in ("does not permit", "onnection refused", "another migration job"))
