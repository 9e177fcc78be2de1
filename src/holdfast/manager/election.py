"""Who leads: one manager at a time by compare-and-swap on `manager/term`.

Leadership is only an optimisation. Two managers that both believe to lead are harmless, since every write of a manager
compares the term's mod_revision: the older one can write nothing. No lease and no lock is involved.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from holdfast.core.observers import Suspicion
from holdfast.errors import StoreError
from holdfast.ports import Change, Clock, Compare, Op, Put, Store, TxnResult
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.manager")

REFRESH_S = 0.5
"""How often the leader renews its sign of life."""
TAKE_OVER_S = 3.0
"""A standby takes over after so long without a sign of life, even if nobody misses the leader's node."""
CAMPAIGN_S = 0.3
"""Time-out of one campaign: while the store elects its own leader a write is lost, and the next one must come soon."""
OUTAGE_S = 2.0
"""A gap this long between two renewals means that the leader may have been blind; it starts its observations anew."""
UNSEEN_S = 5.0
"""A leader whose committed sign of life does not come back through its watch for so long hears nothing of the cluster (the
watch is silently dead), and leaves the lead to others. Whoever hears as little cannot take it: its campaign compares a term
that is out of date."""


class LostLeadership(Exception):
    """Another manager has a higher term. Internal: never reaches a person."""


@dataclass(frozen=True, slots=True)
class Term:
    """Record of the leading manager (key manager/term)."""

    term: int
    node: str
    session: str


@dataclass(frozen=True, slots=True)
class Alive:
    """The leader's sign of life (key manager/alive)."""

    term: int
    sequence: int


class Election:
    """One manager's view of the leadership. `suspicion(node)` is what this manager's own aggregation of reports says."""

    def __init__(
        self,
        store: Store,
        mirror: Mirror,
        clock: Clock,
        node: str,
        session: str,
        suspicion: Callable[[str], Suspicion | None],
        gone: Callable[[str], bool],
    ) -> None:
        """`gone(node)`: the store says that the node was released or claimed."""
        self._store = store
        self._mirror = mirror
        self._clock = clock
        self._node = node
        self._session = session
        self._suspicion = suspicion
        self._gone = gone
        self._alive_seen_at = clock.now()
        self._sequence = 0
        self._renewed_at = clock.now()
        self._unseen_since: float | None = None
        """When the first sign of life was committed that the watch has not delivered yet."""
        self.term = 0
        self.term_revision = 0
        mirror.on_change(self._changed)

    def _changed(self, change: Change) -> None:
        if change.key == keys.MANAGER_ALIVE:
            self._alive_seen_at = self._clock.now()
            self._unseen_since = None

    def next_look(self) -> float:
        """When a standby has to look again, if nothing happens before: when the leader's sign of life is overdue."""
        now, due = self._clock.now(), self._alive_seen_at + TAKE_OVER_S + 0.01
        return due if due > now else now + CAMPAIGN_S

    @property
    def silence_s(self) -> float:
        """Since the leader's last sign of life came in; also of this manager's own while it leads."""
        return self._clock.now() - self._alive_seen_at

    def leader(self) -> Term | None:
        """Who leads, as far as the mirror knows."""
        value = self._mirror.value(keys.MANAGER_TERM)
        return decode(value, Term, keys.MANAGER_TERM) if value else None

    async def try_take_over(self) -> bool:
        """Campaign if there is reason to. True if this manager leads now."""
        current = self._mirror.entries.get(keys.MANAGER_TERM)
        leader = self.leader()
        if leader is not None and not self._should_replace(leader):
            return False
        # A manager whose own node is missed leaves the lead to others, as long as there may be one.
        if self._suspicion(self._node) is not None and self._clock.now() - self._alive_seen_at <= TAKE_OVER_S:
            return False
        new = Term((leader.term if leader else 0) + 1, self._node, self._session)
        try:
            result = await self._store.txn(
                [Compare(keys.MANAGER_TERM, current.mod_revision if current else 0)],
                [Put(keys.MANAGER_TERM, encode(new)), Put(keys.MANAGER_ALIVE, encode(Alive(new.term, 0)))],
                timeout=CAMPAIGN_S,
            )
        except StoreError as error:
            # The outcome may be unknown: the mirror will show whether we won; a term of ours is then replaced by the next.
            log.info("campaign without result", error=str(error))
            return False
        if result.succeeded:
            self.term, self.term_revision = new.term, result.revision
            self._renewed_at, self._sequence, self._unseen_since = self._clock.now(), 0, None
            log.info("leading", term=new.term, node=self._node)
        return result.succeeded

    def _should_replace(self, leader: Term) -> bool:
        if leader.session in ("", self._session):
            return True
        if leader.node != self._node and self._gone(leader.node):
            return True
        silent_for = self._clock.now() - self._alive_seen_at
        suspicion = self._suspicion(leader.node)
        if leader.node != self._node and suspicion is not None and self._alive_seen_at <= suspicion.since + REFRESH_S:
            return True
        return silent_for > TAKE_OVER_S

    async def renew(self) -> bool:
        """Sign of life. False if the renewals had a gap: observations must start anew. Raises LostLeadership."""
        self._sequence += 1
        await self.commit([], [Put(keys.MANAGER_ALIVE, encode(Alive(self.term, self._sequence)))], timeout=1.0)
        now = self._clock.now()
        gap, self._renewed_at = now - self._renewed_at, now
        if self._unseen_since is None:
            self._unseen_since = now
        unseen_s = now - self._unseen_since
        if unseen_s > UNSEEN_S:
            await self.resign()
            raise LostLeadership(f"the watch has delivered nothing for {unseen_s:.0f} s")
        return gap <= OUTAGE_S

    def blind(self) -> bool:
        """The store did not take a sign of life for so long that what is known may be old: decide nothing until it did."""
        return self._clock.now() - self._renewed_at > OUTAGE_S

    async def resign(self) -> None:
        """Hand over at once, on a clean shutdown. Best effort."""
        if not self.term_revision:
            return
        try:
            await self.commit([], [Put(keys.MANAGER_TERM, encode(Term(self.term, "", "")))], timeout=1.0)
        except (StoreError, LostLeadership) as error:
            log.info("could not resign", error=str(error))

    async def commit(self, compare: Sequence[Compare], ops: Sequence[Op], *, timeout: float | None = None) -> TxnResult:
        """A write of this manager: compares the term besides `compare`. Raises LostLeadership if the term is not ours any
        more, StoreError as the store does. An unsuccessful result means that another comparison failed."""
        result = await self._store.txn([Compare(keys.MANAGER_TERM, self.term_revision), *compare], ops, timeout=timeout)
        if not result.succeeded:
            entry = await self._store.get(keys.MANAGER_TERM, timeout=timeout)
            if entry is None or entry.mod_revision != self.term_revision:
                raise LostLeadership(f"term {self.term} is over")
        return result
