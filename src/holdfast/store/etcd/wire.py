"""Between etcd's bytes and the port's entries."""

from holdfast.ports import Change, Entry
from holdfast.store.etcd import rpc_pb2 as pb


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all keys with this prefix (etcd's convention; a zero byte means "to the end")."""
    for position in range(len(prefix) - 1, -1, -1):
        if prefix[position] < 0xFF:
            return prefix[:position] + bytes([prefix[position] + 1])
    return b"\0"


def entry_of(kv: pb.KeyValue, root: str) -> Entry:
    return Entry(kv.key.decode().removeprefix(root), kv.value, kv.mod_revision, kv.create_revision, kv.lease)


def change_of(event: pb.Event, root: str) -> Change:
    key = event.kv.key.decode().removeprefix(root)
    entry = entry_of(event.kv, root) if event.type == pb.Event.PUT else None
    return Change(key, entry, event.kv.mod_revision)
