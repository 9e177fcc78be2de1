"""What a store may answer: a dictionary with revisions, and each way in which an unknown outcome may have gone.

A `World` is one possible history. `Worlds` holds all that explain what was seen so far; an answer that none of them explains
is no answer of a linearizable store.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

from holdfast.ports import Change, Compare, Delete, Entry, Op, Put, Snapshot, TxnResult, WatchBatch


@dataclass(frozen=True)
class Write:
    """One transaction."""

    compare: tuple[Compare, ...] = ()
    then: tuple[Op, ...] = ()
    otherwise: tuple[Op, ...] = ()


@dataclass(frozen=True)
class End:
    """A lease is revoked, or ends by itself."""

    lease: int


Happening = Write | End


@dataclass(frozen=True)
class World:
    """One possible history of the store."""

    revision: int
    log: tuple[Change, ...] = ()
    """Every change since the beginning."""
    leases: frozenset[int] = frozenset()
    pending: tuple[Happening, ...] = ()
    """May still happen, at any moment or never."""
    entries: Mapping[str, Entry] = field(default_factory=dict, compare=False)
    """Follows from the log."""

    def commit(self, write: Write) -> tuple["World", TxnResult] | None:
        """The world after this transaction and what it answers; None if it names a lease that is gone."""
        succeeded = all(self.mod_revision(c.key) == c.mod_revision for c in write.compare)
        ops = write.then if succeeded else write.otherwise
        if any(isinstance(op, Put) and op.lease and op.lease not in self.leases for op in ops):
            return None
        entries, revision = dict(self.entries), self.revision + 1
        changes: list[Change] = []
        gets: dict[str, Entry | None] = {}
        for op in ops:
            old = entries.get(op.key)
            if isinstance(op, Put):
                created = old.create_revision if old else revision
                entries[op.key] = Entry(op.key, op.value, revision, created, op.lease)
                changes.append(Change(op.key, entries[op.key], revision))
            elif not isinstance(op, Delete):
                gets[op.key] = old
            elif old:
                del entries[op.key]
                changes.append(Change(op.key, None, revision))
        after = self._with(entries, changes)
        return after, TxnResult(succeeded, after.revision, gets)

    def end(self, lease: int) -> "World":
        """Without the lease and its keys."""
        gone = sorted(key for key, entry in self.entries.items() if entry.lease == lease and lease in self.leases)
        left = {key: entry for key, entry in self.entries.items() if key not in gone}
        after = self._with(left, [Change(key, None, self.revision + 1) for key in gone])
        return replace(after, leases=self.leases - {lease})

    def _with(self, entries: Mapping[str, Entry], changes: Sequence[Change]) -> "World":
        if not changes:
            return self
        return replace(self, revision=self.revision + 1, log=(*self.log, *changes), entries=entries)

    def after(self, happening: Happening) -> "World":
        if isinstance(happening, End):
            return self.end(happening.lease)
        result = self.commit(happening)
        return result[0] if result else self

    def futures(self) -> Iterator["World"]:
        """This world, and each one in which some of what is pending has happened by now, in any order."""
        yield self
        for index, happening in enumerate(self.pending):
            rest = (*self.pending[:index], *self.pending[index + 1 :])
            yield from replace(self.after(happening), pending=rest).futures()

    def mod_revision(self, key: str) -> int:
        entry = self.entries.get(key)
        return entry.mod_revision if entry else 0

    def below(self, prefix: str) -> tuple[Entry, ...]:
        return tuple(self.entries[key] for key in sorted(self.entries) if key.startswith(prefix))

    def at(self, revision: int, prefix: str) -> tuple[Change, ...] | None:
        """A snapshot at that revision, as a watch delivers it; None if the revision has not come yet."""
        if revision > self.revision:
            return None
        state: dict[str, Change] = {}
        for change in self.log:
            if change.revision <= revision and change.key.startswith(prefix):
                state.pop(change.key, None)
                if change.entry is not None:
                    state[change.key] = change
        return tuple(state[key] for key in sorted(state))

    def between(self, after: int, until: int, prefix: str) -> tuple[Change, ...] | None:
        """The changes in (after, until]; None if `until` has not come yet."""
        if until > self.revision:
            return None
        return tuple(c for c in self.log if after < c.revision <= until and c.key.startswith(prefix))


class Worlds:
    """All histories that explain what was seen."""

    def __init__(self, start: Snapshot) -> None:
        log = tuple(Change(entry.key, entry, entry.mod_revision) for entry in start.entries)
        self.all: list[World] = [World(start.revision, log, entries={entry.key: entry for entry in start.entries})]
        self.on_the_way: list[Happening] = []
        """Everything that became pending since nothing was."""

    def saw(self, what: object, explain: Callable[[World], World | None]) -> None:
        """Keep what explains an answer; `explain` gives the world after it, or None."""
        kept = self._filter(self.all, explain)
        assert kept, f"no history explains {what}; before it: {self}"
        self.all = kept

    @staticmethod
    def _filter(worlds: list[World], explain: Callable[[World], World | None]) -> list[World]:
        kept: dict[World, None] = {}
        for world in worlds:
            for future in world.futures():
                after = explain(future)
                if after is not None:
                    kept[after] = None
        return list(kept)

    def raced(self, answers: Sequence[tuple[Write, TxnResult | None]]) -> None:
        """Transactions that were under way together and their answers (None: the lease was gone), in whatever order."""
        kept: dict[World, None] = {}
        for order in permutations(answers):
            worlds = self.all
            for write, result in order:
                worlds = self._filter(worlds, lambda world, w=write, r=result: _explain(world, w, r))  # type: ignore[misc]
            kept |= dict.fromkeys(worlds)
        assert kept, f"no order explains {answers}; before it: {self}"
        self.all = list(kept)

    def may_happen(self, happening: Happening) -> None:
        """From now on, at any moment or never."""
        self.on_the_way.append(happening)
        self.all = list(dict.fromkeys(replace(world, pending=(*world.pending, happening)) for world in self.all))

    def nothing_is_pending(self) -> None:
        """Whatever has not happened by now never will."""
        self.all = self._filter(self.all, lambda world: replace(world, pending=()))
        self.on_the_way.clear()

    def restored(self, saved: Sequence[World], revision: int) -> None:
        """The store went back to what it was at that revision; what is on the way may hit that."""
        pending = tuple(self.on_the_way)
        self.all = self._filter(
            list(saved), lambda world: replace(world, pending=pending) if world.revision == revision else None
        )

    def leases(self) -> list[int]:
        """Those that may be alive, oldest first."""
        return sorted(set().union(*(world.leases for world in self.all)))

    def __str__(self) -> str:
        return " or ".join(
            f"revision {w.revision} {[(e.key, e.value, e.mod_revision) for e in w.below('')]} pending {w.pending}"
            for w in self.all
        )


def _explain(world: World, write: Write, answer: TxnResult | None) -> World | None:
    result = world.commit(write)
    if answer is None or result is None:
        return world if answer is None and result is None else None
    after, expected = result
    return after if answer == expected else None


@dataclass
class Watched:
    """What one watch delivered."""

    prefix: str
    revision: int = -1
    """Up to which it is complete; negative: the next batch must be a snapshot."""
    view: dict[str, Entry] = field(default_factory=dict)

    def explains(self, batch: WatchBatch) -> Callable[[World], World | None]:
        """In which worlds this batch is every change since the last one, in order, or a snapshot."""
        since = self.revision

        def explain(world: World) -> World | None:
            if batch.snapshot:
                expected = world.at(batch.revision, self.prefix)
                given = tuple(sorted(batch.changes, key=lambda change: change.key))
            else:
                expected, given = world.between(since, batch.revision, self.prefix), batch.changes
            return world if given == expected else None

        return explain

    def take(self, batch: WatchBatch) -> None:
        assert batch.snapshot or 0 <= self.revision <= batch.revision, f"{batch} after revision {self.revision}"
        if batch.snapshot:
            self.view.clear()
        for change in batch.changes:
            if change.entry is None:
                self.view.pop(change.key, None)
            else:
                self.view[change.key] = change.entry
        self.revision = batch.revision

    def shows(self, world: World) -> bool:
        """It has caught up with this world."""
        return tuple(self.view[key] for key in sorted(self.view)) == world.below(self.prefix)
