"""Whose turn it is to start the member of the store anew, whether others are there, and whether this one still counts."""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from holdfast.config import Tls
from holdfast.core.model import ManagementSpec
from holdfast.core.restored import Restored
from holdfast.errors import HoldfastError
from holdfast.ports import Clock
from holdfast.store import keys
from holdfast.store.codec import decode
from holdfast.store.etcd import EtcdStore

ANSWER_S = 1.0


def my_turn(node: str, spec: ManagementSpec, trusts: Mapping[str, tuple[str, ...]], wanted: tuple[str, ...]) -> bool:
    """One after the other, in the order of their names: those before this one have said that they are done. While members
    come and go nobody starts anew."""
    members = sorted(member.node for member in spec.members)
    if any(member.state != "voter" for member in spec.members) or set(members) != set(spec.nodes):
        return False
    return all(trusts.get(other) == wanted for other in members if other < node)


async def answers(url: str) -> bool:
    """Whether somebody listens there: a member that is away must not be joined by a second one."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(ANSWER_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def restored_at(url: str, tls: Tls, clock: Clock) -> Restored | None:
    """What the store behind this one endpoint says of the last restore; None: nothing, or nobody answers."""
    store = EtcdStore((url,), tls, clock=clock)
    try:
        entry = await store.get(keys.RESTORED, timeout=ANSWER_S)
        return decode(entry.value, Restored, entry.key) if entry else None
    except HoldfastError:
        return None
    finally:
        await store.close()
