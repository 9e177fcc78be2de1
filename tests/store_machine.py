"""A hypothesis state machine over the Store port; what makes and disturbs the store is given by a `Rig`."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.errors import StoreError, StoreFull, StoreLeaseGone, StoreUnavailable, StoreUnknownOutcome
from holdfast.ports import Compare, Delete, Get, Op, Put, Snapshot, Store, TxnResult, WatchBatch
from store_model import End, Watched, World, Worlds, Write

T = TypeVar("T")
CLIENTS = 3
KEYS = ("a", "b", "c/1", "c/2", "c/3")
PREFIXES = ("", "c/", "a")
LEASE_S = 3600
MOST_ON_THE_WAY = 3
MOST_WATCHES = 3

OPS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(["put", "put", "lease", "delete", "get"]), st.binary(max_size=2)),
    max_size=3,
    unique_by=lambda op: op[0],
)
COMPARES = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(["now", "now", "now", "none", "old"])),
    max_size=2,
    unique_by=lambda compare: compare[0],
)
Draft = tuple[list[tuple[str, str]], list[tuple[str, str, bytes]], list[tuple[str, str, bytes]]]
WRITES = st.tuples(COMPARES, OPS, OPS)
CLIENT = st.integers(0, CLIENTS - 1)


class Rig(Protocol):
    """Clients of one store, and the loop they live in."""

    clients: Sequence[Store]
    short_s: float | None
    """A time-out that calls keep while nothing is wrong."""

    def run(self, call: Awaitable[T]) -> T: ...

    def follow(self, client: int, prefix: str) -> "Follower": ...

    def settle(self) -> None:
        """Let watches deliver what is on its way."""
        ...

    def troubled(self, client: int) -> bool:
        """Its calls may fail, and its watches lag."""
        ...

    def close(self) -> None: ...


class Follower(Protocol):
    """A watch that somebody reads."""

    client: int

    def batches(self) -> list[WatchBatch]:
        """What came since the last question."""
        ...

    def end(self) -> None: ...


class StoreMachine(RuleBasedStateMachine):
    """Subclasses say which rig, and add the anomalies it can produce."""

    def make_rig(self) -> Rig:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.rig = self.make_rig()
        self.worlds = Worlds(self.rig.run(self.rig.clients[0].list("")))
        self.watches: list[tuple[Follower, Watched]] = []
        self.leases: list[int] = []
        self.full = False

    def teardown(self) -> None:
        self.rig.close()

    # --- calls

    def attempt(self, client: int, call: Awaitable[T]) -> T | StoreError:
        """The answer, or the error; an error needs a reason."""
        troubled = self.rig.troubled(client)
        result = self.rig.run(_answer(call))
        if isinstance(result, StoreFull):
            assert self.full, "a store with space left said that it is full"
        elif isinstance(result, StoreError) and not isinstance(result, StoreLeaseGone):
            assert troubled, f"nothing is wrong, but: {result!r}"
            assert isinstance(result, StoreUnavailable | StoreUnknownOutcome)
        return result

    def write(self, draft: Draft) -> Write:
        compares, then, otherwise = draft
        newest = self.worlds.all[-1]
        stands = {"now": newest.mod_revision, "none": lambda _key: 0, "old": lambda key: newest.mod_revision(key) - 1}
        return Write(
            tuple(Compare(key, max(0, stands[which](key))) for key, which in compares),
            tuple(self._op(*op) for op in then),
            tuple(self._op(*op) for op in otherwise),
        )

    def _op(self, key: str, what: str, value: bytes) -> Op:
        if what == "lease" and self.leases:
            return Put(key, value, self.leases[sum(value) % len(self.leases)])
        if what == "delete":
            return Delete(key)
        return Get(key) if what == "get" else Put(key, value)

    def record(self, answers: Sequence[tuple[Write, TxnResult | StoreError]]) -> None:
        """Make sense of the answers to writes that were under way together."""
        certain: list[tuple[Write, TxnResult | None]] = []
        for write, answer in answers:
            if isinstance(answer, StoreUnknownOutcome):
                self.worlds.may_happen(write)
            elif isinstance(answer, StoreLeaseGone):
                certain.append((write, None))
            elif isinstance(answer, TxnResult):
                certain.append((write, answer))
        self.worlds.raced(certain)

    # --- rules

    def may_stay_unknown(self) -> bool:
        """Each outcome that may stay unknown multiplies the histories to be remembered."""
        return len(self.worlds.on_the_way) < MOST_ON_THE_WAY

    @precondition(lambda self: self.may_stay_unknown())
    @rule(client=CLIENT, draft=WRITES, short=st.booleans())
    def txn(self, client: int, draft: Draft, short: bool) -> None:
        write = self.write(draft)
        store = self.rig.clients[client]
        timeout = self.rig.short_s if short else None
        answer = self.attempt(client, store.txn(write.compare, write.then, write.otherwise, timeout=timeout))
        self.record([(write, answer)])

    @precondition(lambda self: self.may_stay_unknown())
    @rule(drafts=st.lists(WRITES, min_size=2, max_size=3))
    def race(self, drafts: list[Draft]) -> None:
        """Several clients write at once: some order explains what they were told."""
        writes = [self.write(draft) for draft in drafts]
        calls = [
            _answer(store.txn(write.compare, write.then, write.otherwise))
            for store, write in zip(self.rig.clients, writes, strict=False)
        ]
        troubled = [self.rig.troubled(client) for client in range(CLIENTS)]
        answers = self.rig.run(_together(calls))
        for client, answer in enumerate(answers):
            fine = isinstance(answer, TxnResult | StoreLeaseGone) or (isinstance(answer, StoreFull) and self.full)
            assert fine or troubled[client], f"nothing is wrong, but: {answer!r}"
        self.record(list(zip(writes, answers, strict=True)))

    @rule(client=CLIENT, key=st.sampled_from(KEYS))
    def get(self, client: int, key: str) -> None:
        answer = self.attempt(client, self.rig.clients[client].get(key))
        if not isinstance(answer, StoreError):
            self.worlds.saw(f"get {key}: {answer}", lambda w: w if w.entries.get(key) == answer else None)

    @rule(client=CLIENT, prefix=st.sampled_from(PREFIXES))
    def list(self, client: int, prefix: str) -> None:
        answer = self.attempt(client, self.rig.clients[client].list(prefix))
        if isinstance(answer, Snapshot):
            self.worlds.saw(
                f"list {prefix}: {answer}",
                lambda w: w if (w.below(prefix), w.revision) == (answer.entries, answer.revision) else None,
            )

    @precondition(lambda self: len(self.watches) < MOST_WATCHES)
    @rule(client=CLIENT, prefix=st.sampled_from(PREFIXES))
    def watch(self, client: int, prefix: str) -> None:
        self.watches.append((self.rig.follow(client, prefix), Watched(prefix)))

    @precondition(lambda self: self.watches)
    @rule()
    def end_watch(self) -> None:
        self.watches.pop(0)[0].end()

    @precondition(lambda self: len(self.leases) < 2)
    @rule(client=CLIENT)
    def lease(self, client: int) -> None:
        answer = self.attempt(client, self.rig.clients[client].lease(LEASE_S))
        if not isinstance(answer, StoreError):
            self.leases.append(answer)
            self.worlds.saw(f"lease {answer}", lambda w: _with_lease(w, answer))

    @precondition(lambda self: self.leases)
    @rule(client=CLIENT)
    def keep_alive(self, client: int) -> None:
        lease = self.leases[-1]
        answer = self.attempt(client, self.rig.clients[client].keep_alive(lease))
        if isinstance(answer, bool):
            self.worlds.saw(f"keep alive: {answer}", lambda w: w if (lease in w.leases) == answer else None)

    @precondition(lambda self: self.leases and self.may_stay_unknown())
    @rule(client=CLIENT)
    def revoke(self, client: int) -> None:
        lease = self.leases.pop(0)
        answer = self.attempt(client, self.rig.clients[client].revoke(lease))
        if isinstance(answer, StoreUnknownOutcome):
            self.worlds.may_happen(End(lease))
        elif answer is None:
            self.worlds.saw("revoke", lambda w: w.end(lease))

    # --- what must always hold

    @invariant()
    def watches_deliver_every_change_in_order_or_a_snapshot(self) -> None:
        self.let_watches_catch_up()
        for follower, watched in self.watches:
            if not self.rig.troubled(follower.client):
                self.worlds.saw(
                    f"a quiet watch that shows {watched.view}", lambda w, seen=watched: w if seen.shows(w) else None
                )

    def let_watches_catch_up(self) -> None:
        self.rig.settle()
        self.take_batches()

    def take_batches(self) -> None:
        for follower, watched in self.watches:
            for batch in follower.batches():
                self.worlds.saw(f"watch of {watched.prefix!r}: {batch}", watched.explains(batch))
                watched.take(batch)


async def _answer(call: Awaitable[T]) -> T | StoreError:
    try:
        return await call
    except StoreError as error:
        return error


async def _together(calls: Sequence[Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*calls))


def _with_lease(world: World, lease: int) -> World | None:
    return None if lease in world.leases else replace(world, leases=world.leases | {lease})
