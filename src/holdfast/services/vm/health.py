"""What is wrong with one machine, if anything, from its state, its heartbeat and its owner's policies."""

from holdfast.core.model import InstanceSpec
from holdfast.ports import Clock
from holdfast.services.vm.config import VmConfig
from holdfast.services.vm.domains import DomainState
from holdfast.services.vm.files import Place
from holdfast.services.vm.heartbeat import Heartbeat


class Health:
    """One machine that runs here."""

    def __init__(self, instance: InstanceSpec, config: VmConfig, place: Place, clock: Clock) -> None:
        self.config = config
        self._id = instance.id
        socket = place.beats(instance.service) if config.heartbeat == "port" else None
        self.heartbeat = Heartbeat(clock, config.hang_s, socket)

    def storage_lost(self, lost_s: float) -> bool:
        """Whether its owner wants it to run elsewhere now that its node has not reached the storage for so long."""
        config = self.config
        return bool(config.disks) and config.on_storage_loss == "restart" and lost_s > config.storage_loss_s

    def problem(self, state: DomainState | None, lost_s: float) -> str:
        """ "" or one sentence. None: libvirt did not say, which is not the machine's fault."""
        if self.storage_lost(lost_s):
            return f"{self._id}: its node has not reached the shared storage for {lost_s:.0f} s"
        if state is not None and state.storage_error:
            return f"{self._id} is paused: its disk reported errors"
        if state is not None and not state.running:
            return f"{self._id} does not run (state {state.state}, reason {state.reason})"
        if self.heartbeat.hung:
            return f"the guest of {self._id} is silent for {self.heartbeat.silent_s():.0f} s"
        return ""

    async def close(self) -> None:
        await self.heartbeat.close()
