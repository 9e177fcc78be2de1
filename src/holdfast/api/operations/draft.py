"""The unit of work of every operation: read, check, collect writes, commit them in one transaction.

All operations rewrite the key `spec/serial` and compare it, so two operators can never interleave; every key that is
written or relied upon is compared too, so the manager's and the agents' writes cannot be overwritten unseen.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from holdfast.api.operations import audited, foresight
from holdfast.api.operations.actor import Actor
from holdfast.api.operations.following import goals_of, kind_of
from holdfast.api.operations.terms import (
    ANSWERS_TTL_S,
    ORDINARY,
    Idempotency,
    Outcome,
    PreconditionFailed,
    Replayed,
    Terms,
    fits,
    tag,
)
from holdfast.api.task_model import Task
from holdfast.clock import SystemClock
from holdfast.core.history import Event, GuaranteeWord, Severity
from holdfast.core.model import ClusterSpec, InstanceSpec, ManagementSpec, NodeSpec, ServiceSpec
from holdfast.errors import Conflict, StoreUnavailable, StoreUnknownOutcome
from holdfast.ports import Compare, Delete, Entry, Op, Put, Store
from holdfast.store import codec, keys
from holdfast.store.view import Listing

__all__ = ["Actor", "Draft", "Outcome", "aside", "transact"]

T = TypeVar("T")

ATTEMPTS = 8
SPEC = "spec/"
PLACING = (keys.NODES, keys.PLACEMENTS, keys.STATUSES, "requests/", "manager/")
"""What placing depends on beside SPEC."""
SECRET = ("secret_key", "password", "token", "bundle")
"""Names in Outcome.data of what was made for this commit: without it they open nothing, so a dry run does not show them."""


@dataclass(frozen=True, slots=True)
class _Serial:
    token: str
    operator: str = ""
    operation: str = ""


class Draft:
    """Everything under spec/ at one revision, and the writes collected so far."""

    def __init__(self, store: Store, entries: tuple[Entry, ...], revision: int) -> None:
        self.store = store
        self.revision = revision
        self._entries: dict[str, Entry | None] = {entry.key: entry for entry in entries}
        self._compare: dict[str, int] = {}
        self._ops: dict[str, Op] = {}
        self._events: list[Event] = []
        self.warnings: list[str] = []
        self.data: dict[str, Any] = {}
        self.guarantee: GuaranteeWord | None = None
        """What the cluster survives afterwards, once somebody has asked (`admit`)."""
        self.task = ""
        """The task that the operation itself has begun, if it has."""

    @classmethod
    async def open(cls, store: Store) -> "Draft":
        snapshot = await store.list(SPEC)
        return cls(store, snapshot.entries, snapshot.revision)

    # --- reading ---

    def spec(self, key: str, kind: type[T]) -> T | None:
        """A value under spec/ as it was at the draft's revision."""
        assert key.startswith(SPEC), key
        entry = self._entries.get(key)
        return None if entry is None else codec.decode(entry.value, kind, key)

    def specs(self, prefix: str, kind: type[T]) -> list[T]:
        return [
            codec.decode(entry.value, kind, key)
            for key, entry in sorted(self._entries.items())
            if key.startswith(prefix) and entry is not None
        ]

    @property
    def cluster(self) -> ClusterSpec:
        cluster = self.spec(keys.CLUSTER, ClusterSpec)
        if cluster is None:
            raise Conflict("there is no cluster in this store yet", "Create one with `holdfast cluster create`.")
        return cluster

    @property
    def management(self) -> ManagementSpec:
        return self.spec(keys.MANAGEMENT, ManagementSpec) or ManagementSpec(nodes=())

    @property
    def nodes(self) -> dict[str, NodeSpec]:
        return {spec.id: spec for spec in self.specs(keys.NODE_SPECS, NodeSpec)}

    @property
    def instances(self) -> dict[str, InstanceSpec]:
        return {spec.id: spec for spec in self.specs(keys.INSTANCES, InstanceSpec)}

    @property
    def services(self) -> list[ServiceSpec]:
        return self.specs(keys.SERVICES, ServiceSpec)

    def entry(self, key: str) -> Entry | None:
        """What is known of a key: listed under spec/, or fetched before."""
        return self._entries.get(key)

    async def fetch(self, key: str, *, rely: bool = False) -> Entry | None:
        """A key outside spec/. `rely`: the operation runs again if it has changed until the commit."""
        entry = self._entries[key] = await self.store.get(key)
        if rely:
            self.rely(key)
        return entry

    async def read(self, key: str, kind: type[T], *, rely: bool = False) -> T | None:
        """The value of `fetch`, decoded."""
        entry = await self.fetch(key, rely=rely)
        return None if entry is None else codec.decode(entry.value, kind, key)

    def mod_revision(self, key: str) -> int:
        entry = self._entries.get(key)
        return 0 if entry is None else entry.mod_revision

    def tag(self, matched: Sequence[str]) -> str:
        """Of the object that consists of these keys under spec/ (`Terms.matched`)."""
        below = tuple(key for key in matched if key.endswith("/"))
        return tag(
            self.mod_revision(key) for key in self._entries if key in matched or (below and key.startswith(below))
        )

    # --- writing ---

    def match(self, terms: Terms) -> None:
        """Rely on the object's being as the caller has seen it. Raises PreconditionFailed."""
        if not terms.if_match:
            return
        present = self.tag(terms.matched)
        if not fits(terms.if_match, present):
            raise PreconditionFailed(present)
        for key in terms.matched:
            if not key.endswith("/"):
                self.rely(key)  # what is below a prefix changes together with these, or with SERIAL

    def rely(self, key: str) -> None:
        """Compare the key with what was read (or with its absence)."""
        self._compare[key] = self.mod_revision(key)

    def put(self, key: str, value: object, lease: int = 0) -> None:
        self.rely(key)
        self._ops[key] = Put(key, codec.encode(value), lease)

    def delete(self, key: str) -> None:
        self.rely(key)
        self._ops[key] = Delete(key)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def note(self, kind: str, text: str) -> None:
        """A warning for the cluster's history, written with the commit."""
        self._events.append(Event(kind, SystemClock().wall(), text, Severity.WARNING))

    async def before_and_after(self) -> tuple[Listing, Listing]:
        """All records that placing depends on: as they are, and as they will be with what was collected so far."""
        entries = {key: entry for key, entry in self._entries.items() if entry is not None}
        for prefix in PLACING:
            entries |= {entry.key: entry for entry in (await self.store.list(prefix)).entries}
        after = dict(entries)
        for key, op in self._ops.items():
            if isinstance(op, Put):
                after[key] = Entry(key, op.value, self.revision + 1, self.revision + 1)
            else:
                after.pop(key, None)
        return Listing(entries), Listing(after)

    async def follow(self, actor: Actor, text: str) -> str:
        """Write down the task that says how far the change is; the id, or empty where there is nothing to wait for."""
        if self.task:
            return self.task
        for key in [key for key in self._ops if key.startswith(keys.MOVES)]:
            placement = keys.placement(key.removeprefix(keys.MOVES))
            if placement not in self._entries:
                await self.fetch(placement)
        before = Listing({key: entry for key, entry in self._entries.items() if entry is not None})
        goals = goals_of(before, self._ops)
        task_id = actor.terms.task
        old = await self.read(keys.task(task_id), Task) if task_id else None
        if old is not None:
            self.put(keys.task(task_id), replace(old, text=text, goals=goals, process=""))
        elif goals:
            task_id = self.begin(Task(kind_of(before, goals), text, actor.name, SystemClock().wall(), goals))
        return task_id

    def begin(self, task: Task) -> str:
        """Write a new task down; its id."""
        # One change is made upon each revision at most: the id is new, and ids are in the order of the changes.
        task_id = f"{self.revision:08d}"
        self.put(keys.task(task_id), task)
        return task_id

    async def commit(self, actor: Actor, text: str) -> int | None:
        """The revision of the commit, or None if something relied upon has changed. An unknown outcome is resolved by
        re-reading; if it stays unknown StoreUnknownOutcome is raised."""
        serial = _Serial(secrets.token_hex(8), f"{actor.name} ({actor.via})" if actor.via else actor.name, text)
        self.put(keys.SERIAL, serial)
        await self._record(actor, text)
        self._audit(actor, text)
        compare = [Compare(key, revision) for key, revision in sorted(self._compare.items())]
        try:
            result = await self.store.txn(compare, list(self._ops.values()))
        except StoreUnknownOutcome as error:
            with suppress(StoreUnavailable):
                entry = await self.store.get(keys.SERIAL)
                if entry is not None and codec.decode(entry.value, _Serial, keys.SERIAL).token == serial.token:
                    return entry.mod_revision
            raise StoreUnknownOutcome(
                "the store did not say whether the change was applied",
                "Look at `holdfast status` before you repeat it.",
            ) from error
        return result.revision if result.succeeded else None

    async def _record(self, actor: Actor, text: str) -> None:
        """An event in the cluster's history, right behind the newest one (the plain numbers are the manager's)."""
        events = (await self.store.list(keys.EVENTS)).entries
        newest = max((entry.key for entry in events), default=keys.event(0))[: len(keys.event(0))]
        key = f"{newest}-{self.mod_revision(keys.SERIAL):020d}"
        said = Event("operator", SystemClock().wall(), f"{actor.name}: {text}")
        for number, event in enumerate([said, *self._events]):
            place = f"{key}-{number}" if number else key
            self._ops[place] = Put(place, codec.encode(event))

    def _audit(self, actor: Actor, text: str) -> None:
        """The record of this very change, in the same transaction."""
        values = {
            key: (entry.value if (entry := self._entries.get(key)) else None, op.value if isinstance(op, Put) else None)
            for key, op in self._ops.items()
        }
        changes, more = audited.changes_of(values)
        said = audited.entry_of(actor, "change", text, SystemClock().wall())
        key = keys.audit(self.revision, secrets.token_hex(4))
        self._ops[key] = Put(key, codec.encode(replace(said, changes=changes, more=more)))


async def transact(store: Store, actor: Actor, operation: Callable[[Draft], Awaitable[str]]) -> Outcome:
    """Run `operation` on a fresh draft and commit what it collected; again from the start when something it relied upon
    has changed. It returns the sentence that says what was done. Errors it raises leave everything unchanged.

    The actor's terms are kept: a dry run commits nothing and tells what the cluster would survive, an object that has
    changed is not touched (PreconditionFailed), and a request that was answered before is not done again (Replayed)."""
    terms = actor.terms
    for _ in range(ATTEMPTS):
        await replay(store, terms.idempotency)
        draft = await Draft.open(store)
        draft.match(terms)
        text = await operation(draft)
        outcome = Outcome(text, 0, tuple(draft.warnings), draft.data, draft.guarantee)
        if terms.dry_run:
            return await _foreseen(draft, outcome)
        outcome = replace(outcome, task=await draft.follow(actor, text))
        revision = await _commit(draft, actor, outcome)
        if revision is not None:
            return replace(outcome, revision=revision)
    raise Conflict("the cluster's settings changed again and again meanwhile", "Nothing was changed. Try again.")


def aside(actor: Actor) -> Actor:
    """Who makes a further transaction of the same request, one that does not answer it."""
    return replace(actor, terms=ORDINARY)


async def replay(store: Store, idempotency: Idempotency | None) -> None:
    """Raises Replayed if this request was answered before, KeyReused if another one was."""
    entry = await store.get(idempotency.key) if idempotency else None
    if idempotency and entry:
        raise Replayed(idempotency.first_answer(entry))


async def _commit(draft: Draft, actor: Actor, outcome: Outcome) -> int | None:
    """The answer to a request that may come again is written with what it tells about."""
    idempotency = actor.terms.idempotency
    if idempotency is None:
        return await draft.commit(actor, outcome.text)
    lease = await draft.store.lease(ANSWERS_TTL_S)
    draft.put(idempotency.key, idempotency.record(outcome, SystemClock().wall()), lease)
    revision = await draft.commit(actor, outcome.text)
    if revision is None:
        await draft.store.revoke(lease)
    return revision


async def _foreseen(draft: Draft, outcome: Outcome) -> Outcome:
    guarantee = outcome.guarantee
    if guarantee is None:
        _, after = await draft.before_and_after()
        guarantee = await foresight.guarantee(after, draft.revision)
    data = {name: value for name, value in outcome.data.items() if name not in SECRET}
    return replace(outcome, data=data, guarantee=guarantee)
