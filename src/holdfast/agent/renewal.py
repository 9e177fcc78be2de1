"""This node's beat in the store: read, and renewed by compare-and-swap. What follows from an attempt is the session's."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import structlog

from holdfast import __version__
from holdfast.agent.identity import Identity
from holdfast.core.model import Beat, BeatPhase, Fence, WatchdogAttestation
from holdfast.core.timing import Timing
from holdfast.errors import StoreError
from holdfast.ports import Clock, Compare, Entry, Get, Put, Store
from holdfast.store import keys
from holdfast.store.codec import decode, encode

log = structlog.get_logger("holdfast.agent")


class Outcome(StrEnum):
    """Of one attempt to write the beat."""

    COMMITTED = "committed"
    CLAIMED = "claimed"
    """The fence record changed: a claim of this node is committed."""
    FOREIGN = "foreign"
    """Somebody else wrote this node's beat: its identity is used twice."""
    UNKNOWN = "unknown"
    """Not committed as far as is known; extends nothing."""
    BEHIND = "behind"
    """An earlier attempt with an unknown outcome was applied after all; it extends nothing, the next attempt will."""

    @property
    def settled(self) -> bool:
        """It is known how the node stands; else only another attempt tells."""
        return self not in (Outcome.UNKNOWN, Outcome.BEHIND)


@dataclass(frozen=True, slots=True)
class Attempt:
    outcome: Outcome
    sent_at: float
    """CLOCK_BOOTTIME, seconds, read before the beat was sent."""


Capacity = Callable[[], tuple[float, int]]
"""Cores and MiB of memory that the node has now."""


class Renewal:
    """The beat of one session of one node."""

    def __init__(
        self, node: str, store: Store, clock: Clock, timing: Timing, identity: Identity, capacity: Capacity
    ) -> None:
        self._node = node
        self._store = store
        self._clock = clock
        self._timing = timing
        self._identity = identity
        self._capacity = capacity
        self._sequence = 0
        self.fence_revision = 0
        """mod_revision of the fence record that this session acknowledged; 0 before the first join."""
        self._beat_revision = 0
        self._known = False

    async def read(self, *, joining: bool) -> tuple[Fence | None, Beat | None]:
        """Linearizable read of both records; also learns their revisions. The fence record outlives the node's removal, so
        that an id that is used again gets a higher epoch: a node without a specification has none. Raises StoreError."""
        fence_key, beat_key, spec_key = keys.fence(self._node), keys.beat(self._node), keys.node_spec(self._node)
        result = await self._store.txn([], [Get(fence_key), Get(beat_key), Get(spec_key)], timeout=self._timing.Q)
        fence = result.gets[fence_key] if result.gets[spec_key] else None
        beat = result.gets[beat_key]
        # While a session lives its fence revision is what it acknowledged: only a join may take a newer one.
        if joining:
            self.fence_revision = fence.mod_revision if fence else 0
        known = decode(beat.value, Beat, beat_key) if beat else None
        if joining or known is None or known.session == self._identity.session:
            self._beat_revision = beat.mod_revision if beat else 0
        self._known = True
        return (decode(fence.value, Fence, fence_key) if fence else None), known

    async def write(
        self,
        phase: BeatPhase,
        fence_epoch: int,
        *,
        watchdog: WatchdogAttestation | None = None,
        leaving: str = "",
        paused: bool = False,
    ) -> Attempt:
        """Write the beat once."""
        if not self._known:
            try:
                await self.read(joining=False)
            except StoreError:
                return Attempt(Outcome.UNKNOWN, self._clock.now())
        cpu, memory_mib = self._capacity()
        beat = Beat(
            session=self._identity.session,
            boot_id=self._identity.boot_id,
            machine_id=self._identity.machine_id,
            sequence=self._sequence + 1,
            fence_epoch=fence_epoch,
            phase=phase,
            watchdog=watchdog,
            cpu=cpu,
            memory_mib=memory_mib,
            leaving=leaving,
            paused=paused,
            version=__version__,
        )
        fence_key, beat_key = keys.fence(self._node), keys.beat(self._node)
        sent_at = self._clock.now()  # BEFORE sending: validity is counted from here, never from the reply
        try:
            result = await self._store.txn(
                [Compare(fence_key, self.fence_revision), Compare(beat_key, self._beat_revision)],
                [Put(beat_key, encode(beat))],
                [Get(fence_key), Get(beat_key)],
                timeout=self._timing.Q,
            )
        except StoreError as error:
            self._known = False
            log.warning("beat not committed as far as known", error=str(error))
            return Attempt(Outcome.UNKNOWN, sent_at)
        if not result.succeeded:
            return Attempt(self._explain_failure(result.gets[fence_key], result.gets[beat_key]), sent_at)
        self._sequence += 1
        self._beat_revision = result.revision
        return Attempt(Outcome.COMMITTED, sent_at)

    def _explain_failure(self, fence: Entry | None, beat: Entry | None) -> Outcome:
        if fence is None or fence.mod_revision != self.fence_revision:
            return Outcome.CLAIMED
        known = decode(beat.value, Beat, beat.key) if beat else None
        if known is not None and known.session != self._identity.session:
            self._known = False
            return Outcome.FOREIGN
        self._beat_revision = beat.mod_revision if beat else 0
        return Outcome.BEHIND
