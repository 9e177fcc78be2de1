"""What the clients of the memory store share: keys, revisions, history and leases, and what may befall them."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from holdfast.errors import StoreFull, StoreLeaseGone, StoreRejected, StoreUnavailable
from holdfast.ports import Change, Clock, Compare, Delete, Entry, Op, Put, Snapshot, TxnResult
from holdfast.store.checks import puts


@dataclass(frozen=True, slots=True)
class Backup:
    """A saved state, for a restore."""

    entries: dict[str, Entry]
    revision: int
    leases: dict[int, int]


@dataclass(slots=True)
class _Lease:
    ttl_s: int
    deadline: float
    keys: set[str] = field(default_factory=set)


class MemoryCluster:
    """The shared state: keys, revisions, history, leases. The clock measures leases only; without one that of the
    first client is taken."""

    def __init__(self, clock: Clock | None = None, *, history_limit: int = 10_000) -> None:
        self.clock = clock
        self.cluster_id = 1
        self.incarnation = 0
        """Grows with each restore: watches of an older one lost their continuity."""
        self.revision = 1
        self.compacted = 0
        """Changes up to this revision are forgotten."""
        self.full = False
        """True: the NOSPACE alarm is raised; puts and new leases are refused, reads and deletions work."""
        self.leases_overstay = False
        """True: no lease expires by itself, as after a leader change that re-armed them all."""
        self.on_commit: Callable[[tuple[Change, ...]], None] = lambda _changes: None
        """Called at each change, for whoever plays the world around the store."""
        self._history_limit = history_limit
        self._entries: dict[str, Entry] = {}
        self._history: deque[tuple[int, tuple[Change, ...]]] = deque()
        self._leases: dict[int, _Lease] = {}
        self._next_lease = 1000
        self._late: deque[Callable[[], object]] = deque()
        self._watchers: dict[asyncio.Event, None] = {}  # in the order of subscription: runs are repeatable

    # --- what clients do ---

    def get(self, key: str) -> Entry | None:
        self.expire_leases()
        return self._entries.get(key)

    def list(self, prefix: str) -> Snapshot:
        self.expire_leases()
        keys = sorted(key for key in self._entries if key.startswith(prefix))
        return Snapshot(tuple(self._entries[key] for key in keys), self.revision)

    def txn(self, compare: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op]) -> TxnResult:
        self.expire_leases()
        if self.full and puts(then, otherwise):
            raise StoreFull("the store is full and takes no writes", "Free space or raise its quota, then disarm it.")
        succeeded = all(self._mod_revision(c.key) == c.mod_revision for c in compare)
        branch = then if succeeded else otherwise
        for op in branch:
            if isinstance(op, Put) and op.lease and op.lease not in self._leases:
                raise StoreLeaseGone(f"the lease {op.lease} of the key {op.key!r} is gone", "Ask for a new lease.")
        changes: list[Change] = []
        gets: dict[str, Entry | None] = {}
        for op in branch:
            if isinstance(op, Put):
                changes.append(self._put(op))
            elif isinstance(op, Delete):
                changes.extend(self._delete(op.key))
            else:
                gets[op.key] = self._entries.get(op.key)
        self._commit(changes)
        return TxnResult(succeeded, self.revision, gets)

    def grant(self, ttl_s: int) -> int:
        self.expire_leases()
        if self.full:
            raise StoreFull("the store is full and grants no leases", "Free space or raise its quota, then disarm it.")
        self._next_lease += 1
        self._leases[self._next_lease] = _Lease(ttl_s, self._now() + ttl_s)
        return self._next_lease

    def keep_alive(self, lease: int) -> bool:
        self.expire_leases()
        found = self._leases.get(lease)
        if found is not None:
            found.deadline = self._now() + found.ttl_s
        return found is not None

    # --- what the caller makes happen ---

    def expire(self, lease: int) -> None:
        """End a lease now, early or not, and delete its keys in one revision. Unknown leases are ignored."""
        found = self._leases.pop(lease, None)
        if found is not None:
            self._commit([change for key in sorted(found.keys) for change in self._delete(key)])

    def expire_leases(self) -> None:
        """End the leases whose time is up. Called by every operation and by waiting watches."""
        if self.leases_overstay or not self._leases:
            return
        now = self._now()
        for lease in [number for number, lease in self._leases.items() if lease.deadline <= now]:
            self.expire(lease)

    def compact(self, revision: int | None = None) -> None:
        """Forget the history up to `revision` (all of it by default); watches that lag behind get a snapshot."""
        self.compacted = max(self.compacted, self.revision if revision is None else min(revision, self.revision))
        while self._history and self._history[0][0] <= self.compacted:
            self._history.popleft()
        self.wake()

    def backup(self) -> Backup:
        return Backup(dict(self._entries), self.revision, {n: lease.ttl_s for n, lease in self._leases.items()})

    def restore(self, backup: Backup, *, foreign: bool = False) -> None:
        """Return to a saved state: the revision goes back and watches get a snapshot. `foreign` also changes the cluster
        id, which clients that know the former one refuse with StoreRejected, as they do with etcd."""
        self._entries = dict(backup.entries)
        self.revision = backup.revision
        self.compacted = backup.revision
        self._history.clear()
        self._leases = {number: _Lease(ttl_s, self._now() + ttl_s) for number, ttl_s in backup.leases.items()}
        for entry in self._entries.values():
            if entry.lease in self._leases:
                self._leases[entry.lease].keys.add(entry.key)
        self.incarnation += 1
        self.cluster_id += foreign
        self.wake()

    @property
    def late_writes(self) -> int:
        """How many writes are under way whose senders have given up."""
        return len(self._late)

    def deliver_late(self, count: int | None = None) -> None:
        """Apply writes that are under way, oldest first, though nobody waits for them any more."""
        for _ in range(len(self._late) if count is None else min(count, len(self._late))):
            try:
                self._late.popleft()()
            except (StoreUnavailable, StoreRejected):
                continue  # refused; nobody is there to be told

    # --- between cluster and clients ---

    def send_late(self, write: Callable[[], object]) -> None:
        self._late.append(write)

    def attach(self, clock: Clock) -> None:
        if self.clock is None:
            self.clock = clock

    def changes_after(self, revision: int, until: int) -> tuple[Change, ...]:
        """The history in (revision, until]; the caller has compared with `compacted`."""
        # Each commit raises the revision by one, so the place of a revision is known.
        first = max(0, revision + 1 - self._history[0][0]) if self._history else 0
        found: deque[Change] = deque()
        for position in range(first, len(self._history)):
            number, changes = self._history[position]
            if number > until:
                break
            found.extend(changes)
        return tuple(found)

    def subscribe(self) -> asyncio.Event:
        event = asyncio.Event()
        self._watchers[event] = None
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        self._watchers.pop(event, None)

    # --- inside ---

    def _now(self) -> float:
        return self.clock.now() if self.clock is not None else 0.0

    def _mod_revision(self, key: str) -> int:
        entry = self._entries.get(key)
        return entry.mod_revision if entry else 0

    def _put(self, op: Put) -> Change:
        revision = self.revision + 1
        old = self._entries.get(op.key)
        entry = Entry(op.key, op.value, revision, old.create_revision if old else revision, op.lease)
        self._detach(old)
        if op.lease:
            self._leases[op.lease].keys.add(op.key)
        self._entries[op.key] = entry
        return Change(op.key, entry, revision)

    def _delete(self, key: str) -> tuple[Change, ...]:
        old = self._entries.pop(key, None)
        self._detach(old)
        return (Change(key, None, self.revision + 1),) if old else ()

    def _detach(self, entry: Entry | None) -> None:
        if entry is not None and entry.lease in self._leases:
            self._leases[entry.lease].keys.discard(entry.key)

    def _commit(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        self.revision += 1
        assert all(change.revision == self.revision for change in changes)
        done = tuple(changes)
        self._history.append((self.revision, done))
        self.on_commit(done)
        if len(self._history) > self._history_limit:
            self.compacted = self._history.popleft()[0]
        self.wake()

    def wake(self) -> None:
        """Let every waiting watch look again."""
        for event in self._watchers:
            event.set()
