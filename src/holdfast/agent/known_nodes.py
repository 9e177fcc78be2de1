"""The nodes of the cluster as this one last knew them, kept on its disk for the case that the store is lost.

A backup knows nothing of nodes that were added since. A store restored from it would let strict instances start while
such a node still runs them: cut off, or frozen and thawed later. So whoever joins a restored store first tells it of every
node that it knew in the former life; such a node is then unheard there, like all others (core/restored.py), and nothing
strict starts before it has joined, too, or is proven dead. No node needs to be told of itself: the others know it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from holdfast.bootstrap.files import SECRET_MODE, replace_file
from holdfast.bootstrap.restore import unheard_node
from holdfast.core.model import Beat, NodeSpec
from holdfast.core.restored import KnownNode, KnownNodes, Restored, floor_of
from holdfast.errors import HoldfastError, StoreError
from holdfast.ports import Change, Compare, Get, Put, Store
from holdfast.store import keys
from holdfast.store.codec import decode, encode
from holdfast.store.mirror import Mirror

log = structlog.get_logger("holdfast.agent")


class Memory:
    """See the module's text."""

    def __init__(
        self, node: str, store: Store, mirror: Mirror, load: Callable[[], bytes | None], save: Callable[[bytes], None]
    ) -> None:
        """`node`: this one. `load`, `save`: the file on this node's disk; None: there is none yet."""
        self._node = node
        self._store = store
        self._mirror = mirror
        self._load = load
        self._save = save
        self._told = False
        self._changed = asyncio.Event()
        mirror.on_change(self._seen)
        mirror.on_resync(self._changed.set)

    def _seen(self, change: Change) -> None:
        key, entry = change.key, change.entry
        first = entry is not None and entry.create_revision == entry.mod_revision
        if key.startswith(keys.NODE_SPECS) or (first and key.startswith(keys.NODES)):
            self._changed.set()

    async def run(self) -> None:
        """For ever: keep what the store says of the nodes. What a former life said is kept until it is told."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                self._keep()
            except (HoldfastError, OSError) as error:
                log.warning("the nodes are not kept on the disk", error=str(error))

    def _keep(self) -> None:
        if not self._mirror.ready.is_set():
            return
        life = floor_of(self._mirror.read(keys.RESTORED, Restored))
        former = self._remembered()
        if former is not None and former.life < life and not self._told:
            return
        nodes = {
            keys.last_part(entry.key): KnownNode(
                decode(entry.value, NodeSpec, entry.key),
                entry.create_revision,
                self._mirror.read(keys.beat(keys.last_part(entry.key)), Beat),
            )
            for entry in self._mirror.below(keys.NODE_SPECS)
        }
        self._save(encode(KnownNodes(life, nodes)))

    def _remembered(self) -> KnownNodes | None:
        content = self._load()
        try:
            return decode(content, KnownNodes, "known nodes") if content else None
        except StoreError:
            return None  # damaged: nothing is known

    def was(self, machine_id: str) -> bool:
        """Was this node that machine, when it last beat?"""
        memory = self._remembered()
        mine = memory.nodes.get(self._node) if memory is not None else None
        return mine is not None and mine.beat is not None and mine.beat.machine_id == machine_id

    async def tell(self) -> None:
        """Before this node joins: what it knew in a former life of the store, and the store does not know. Raises
        StoreError; nothing is joined then."""
        if self._told:
            return
        memory = self._remembered()
        entry = (await self._store.txn([], [Get(keys.RESTORED)])).gets[keys.RESTORED]
        if memory is not None and entry is not None:
            life = decode(entry.value, Restored, entry.key)
            for known in memory.unknown_to(life):
                await self._tell_of(known, life)
        self._told = True
        self._changed.set()

    async def _tell_of(self, known: KnownNode, life: Restored) -> None:
        """Unless this life knows it, or knew it: the fence record of a node that was removed stays."""
        spec, fence = keys.node_spec(known.spec.id), keys.fence(known.spec.id)
        puts = [Put(key, value) for key, value in unheard_node(known, life.epoch_floor).items()]
        if (await self._store.txn([Compare(spec, 0), Compare(fence, 0)], puts)).succeeded:
            log.warning("the restored store did not know a node", node=known.spec.id)


def on_disk(path: Path) -> tuple[Callable[[], bytes | None], Callable[[bytes], None]]:
    """`load` and `save` of a file."""

    def load() -> bytes | None:
        return path.read_bytes() if path.exists() else None

    return load, lambda content: replace_file(path, content, SECRET_MODE)
