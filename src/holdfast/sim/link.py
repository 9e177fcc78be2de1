"""The agent's side of the connection to the guard, as in fencing.guard.link: after a loss its last word is said again."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from holdfast.core.model import WatchdogAttestation
from holdfast.sim.guard import SimGuard

if TYPE_CHECKING:
    from holdfast.sim.machine import Machine

RECONNECT_S = 0.2

Word = Callable[[SimGuard], Awaitable[bool]]


class SimGuardLink:
    """Port GuardLink of one run of the agent: to whichever guard runs on the machine."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine
        self._guard = machine.guard
        self._last_word: Word | None = None
        self._unheard = False
        if self._guard is not None:
            self._guard.hello()

    @property
    def connected(self) -> bool:
        return self.present and not self._unheard

    @property
    def present(self) -> bool:
        return self._there() is not None

    async def again(self) -> None:
        """A new guard runs: say hello, and the last word, before anybody else asks it anything."""
        await self._machine.clock.sleep(RECONNECT_S)
        guard = self._machine.guard
        if guard is None or guard is self._guard or not guard.life.alive:
            return
        guard.hello()
        if self._last_word is not None:
            self._unheard = not await self._last_word(guard)
        self._guard = guard

    async def attest(self) -> WatchdogAttestation | None:
        guard = self._there()
        return await guard.attest() if guard is not None else None

    async def set_deadline(self, deadline: float, grace: float) -> bool:
        return await self._tell(lambda guard: guard.set_deadline(deadline, grace))

    async def set_idle(self) -> bool:
        def word(guard: SimGuard) -> Awaitable[bool]:
            return guard.set_idle()

        guard = self._there()
        if guard is None or not await word(guard):
            return False
        self._last_word, self._unheard = word, False
        return True

    async def pause(self) -> bool:
        return await self._tell(lambda guard: guard.pause())

    async def farewell(self, *, restart: bool) -> bool:
        guard = self._there()
        return guard is not None and await guard.farewell(restart=restart)

    async def _tell(self, word: Word) -> bool:
        """Remembered before it is acknowledged, for a guard that comes back must hear it."""
        self._last_word = word
        guard = self._there()
        self._unheard = guard is None or not await word(guard)
        return not self._unheard

    def _there(self) -> SimGuard | None:
        """The guard this link is connected to."""
        return self._guard if self._guard is not None and self._guard.life.alive else None
