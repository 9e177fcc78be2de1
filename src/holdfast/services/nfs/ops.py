"""NFSv4.1 operations (RFC 8881, sections 15 and 18): arguments and results as data. Pure.

Only what our own client uses. Each function returns an `Op`: number, encoded arguments, and how to read its result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from holdfast.errors import DriverError
from holdfast.services.nfs.xdr import Packer, Unpacker, XdrError

READ_ACCESS = 1
READ_WRITE_ACCESS = 3
_WANT_NO_DELEGATION = 0x0400
EXCHANGE_CONFIRMED = 0x80000000
"""EXCHGID4_FLAG_CONFIRMED_R: the server still knows this client, so its state is alive and need not be reclaimed."""
FILE_SYNC = 2
WRITE_LOCK = 2


class Status(IntEnum):
    """nfsstat4 (RFC 8881, section 15.1): those the client treats in a special way."""

    OK = 0
    NOENT = 2
    IO = 5
    ACCESS = 13
    EXIST = 17
    ROFS = 30
    DQUOT = 69
    STALE = 70
    DELAY = 10008
    DENIED = 10010
    EXPIRED = 10011
    GRACE = 10013
    STALE_CLIENTID = 10022
    STALE_STATEID = 10023
    BAD_STATEID = 10025
    NO_GRACE = 10033
    RECLAIM_BAD = 10034
    RECLAIM_CONFLICT = 10035
    BADSESSION = 10052
    BADSLOT = 10053
    COMPLETE_ALREADY = 10054
    CONN_NOT_BOUND_TO_SESSION = 10055
    SEQ_MISORDERED = 10063
    RETRY_UNCACHED_REP = 10068
    SEQ_FALSE_RETRY = 10076
    DEADSESSION = 10078


class NfsStatusError(DriverError):
    """An NFS operation answered with an error status."""

    def __init__(self, operation: str, status: int) -> None:
        name = Status(status).name if status in Status._value2member_map_ else str(status)
        super().__init__(f"NFS {operation} answered {name}", "Look at the volume's access rules and the server's log.")
        self.operation = operation
        self.status = status


@dataclass(frozen=True, slots=True)
class Op:
    number: int
    name: str
    arguments: bytes
    decode: Callable[[Unpacker], Any]


@dataclass(frozen=True, slots=True)
class StateId:
    """stateid4: names an open or a set of locks."""

    sequence: int
    other: bytes

    def pack(self, into: Packer) -> Packer:
        return into.u32(self.sequence).fixed(self.other)


@dataclass(frozen=True, slots=True)
class Attributes:
    type: int
    """nfs_ftype4: 1 regular file, 2 directory."""
    size: int
    fileid: int
    mode: int


@dataclass(frozen=True, slots=True)
class ExchangeResult:
    client_id: int
    sequence: int
    flags: int


def compound(ops: Sequence[Op]) -> bytes:
    """Arguments of the COMPOUND procedure, minor version 1."""
    out = Packer().text("").u32(1).u32(len(ops))
    return out.packed() + b"".join(Packer().u32(op.number).packed() + op.arguments for op in ops)


def compound_results(data: Unpacker, ops: Sequence[Op]) -> tuple[list[Any], NfsStatusError | None]:
    """Results of the operations that succeeded, in order, and the error of the one that did not."""
    status = data.u32()
    data.opaque()
    count = data.u32()
    if count > len(ops):
        raise XdrError(f"{len(ops)} operations were sent, {count} answered", "Look at the server's log.")
    results: list[Any] = []
    for op in ops[:count]:
        number, op_status = data.u32(), data.u32()
        if op_status != Status.OK:
            return results, NfsStatusError(op.name, op_status)
        if number != op.number:
            raise XdrError(f"operation {number} answered instead of {op.name}", "Look at the server's log.")
        results.append(op.decode(data))
    return results, NfsStatusError("COMPOUND", status) if status != Status.OK else None


# --- clients and sessions -------------------------------------------------------------------------------------------


def exchange_id(owner: bytes, verifier: bytes) -> Op:
    """Who we are. The same owner with the same verifier is the same incarnation, also towards a restarted server."""

    def decode(data: Unpacker) -> ExchangeResult:
        result = ExchangeResult(data.u64(), data.u32(), data.u32())
        if data.u32() != 0:
            raise XdrError("the server wants state protection nobody asked for", "Look at the server's log.")
        data.u64()
        data.opaque()
        data.opaque()
        for _ in range(data.u32()):
            data.opaque()
            data.opaque()
            data.u64()
            data.u32()
        return result

    arguments = Packer().fixed(verifier).opaque(owner).u32(0).u32(0).u32(0)
    return Op(42, "EXCHANGE_ID", arguments.packed(), decode)


def create_session(client_id: int, sequence: int, slots: int) -> Op:
    """A session with `slots` requests at once and no back channel (so that the server grants no delegations)."""

    def attributes(requests: int) -> bytes:
        return Packer().u32(0).u32(1 << 20).u32(1 << 20).u32(4096).u32(16).u32(requests).u32(0).packed()

    def channel(data: Unpacker) -> int:
        values = [data.u32() for _ in range(6)]
        data.array(data.u32)
        return values[5]

    def decode(data: Unpacker) -> tuple[bytes, int]:
        session = data.fixed(16)
        data.u32()
        data.u32()
        granted = channel(data)
        channel(data)
        return session, granted

    arguments = Packer().u64(client_id).u32(sequence).u32(0).fixed(attributes(slots)).fixed(attributes(1))
    arguments.u32(0x40000000).u32(1).u32(0)
    return Op(43, "CREATE_SESSION", arguments.packed(), decode)


def sequence(session: bytes, sequence_id: int, slot: int, highest: int, cache: bool) -> Op:
    """First in each compound: makes retries harmless and renews the lease. Decodes to the server's status flags."""

    def decode(data: Unpacker) -> int:
        data.fixed(16)
        for _ in range(4):
            data.u32()
        return data.u32()

    arguments = Packer().fixed(session).u32(sequence_id).u32(slot).u32(highest).boolean(cache)
    return Op(53, "SEQUENCE", arguments.packed(), decode)


def _nothing(data: Unpacker) -> None:
    return None


def _stateid(data: Unpacker) -> StateId:
    return StateId(data.u32(), data.fixed(12))


def _change(data: Unpacker) -> None:
    data.boolean()
    data.u64()
    data.u64()


def reclaim_complete() -> Op:
    return Op(58, "RECLAIM_COMPLETE", Packer().boolean(False).packed(), _nothing)


def destroy_session(session: bytes) -> Op:
    return Op(44, "DESTROY_SESSION", session, _nothing)


def destroy_clientid(client_id: int) -> Op:
    return Op(57, "DESTROY_CLIENTID", Packer().u64(client_id).packed(), _nothing)


# --- names and attributes -------------------------------------------------------------------------------------------


def put_root() -> Op:
    return Op(24, "PUTROOTFH", b"", _nothing)


def put_handle(handle: bytes) -> Op:
    return Op(22, "PUTFH", Packer().opaque(handle).packed(), _nothing)


def get_handle() -> Op:
    return Op(10, "GETFH", b"", lambda data: data.opaque())


def lookup(name: str) -> Op:
    return Op(15, "LOOKUP", Packer().text(name).packed(), _nothing)


def remove(name: str) -> Op:
    return Op(28, "REMOVE", Packer().text(name).packed(), _change)


_TYPE, _SIZE, _FILEID, _MODE = 1, 4, 20, 33


def get_attributes() -> Op:
    def decode(data: Unpacker) -> Attributes:
        present = data.bitmap()
        values = Unpacker(data.opaque())
        read = {_TYPE: values.u32, _SIZE: values.u64, _FILEID: values.u64, _MODE: values.u32}
        got = {bit: read[bit]() for bit in present if bit in read}
        return Attributes(got.get(_TYPE, 0), got.get(_SIZE, 0), got.get(_FILEID, 0), got.get(_MODE, 0))

    return Op(9, "GETATTR", Packer().bitmap((_TYPE, _SIZE, _FILEID, _MODE)).packed(), decode)


# --- opens, data and locks ------------------------------------------------------------------------------------------


def _open_head(client_id: int, owner: bytes) -> Packer:
    access = READ_WRITE_ACCESS | _WANT_NO_DELEGATION
    return Packer().u32(0).u32(access).u32(0).u64(client_id).opaque(owner)


def _open_result(data: Unpacker) -> StateId:
    stateid = _stateid(data)
    _change(data)
    data.u32()
    data.bitmap()
    delegation = data.u32()
    if delegation == 3:
        if data.u32() in (1, 2):
            data.boolean()
    elif delegation != 0:
        raise XdrError("the server granted a delegation nobody asked for", "Look at the server's log.")
    return stateid


def open_file(client_id: int, owner: bytes, name: str, *, create: bool, mode: int = 0o644) -> Op:
    """Open for reading and writing in the current directory; `create` makes it if it is not there (UNCHECKED4)."""
    arguments = _open_head(client_id, owner).u32(1 if create else 0)
    if create:
        arguments.u32(0).bitmap((_MODE,)).opaque(Packer().u32(mode).packed())
    return Op(18, "OPEN", arguments.u32(0).text(name).packed(), _open_result)


def open_reclaim(client_id: int, owner: bytes) -> Op:
    """Take back an open that the server's former incarnation knew (CLAIM_PREVIOUS); current handle = the file."""
    arguments = _open_head(client_id, owner).u32(0).u32(1).u32(0)
    return Op(18, "OPEN", arguments.packed(), _open_result)


def close_file(stateid: StateId) -> Op:
    return Op(4, "CLOSE", stateid.pack(Packer().u32(0)).packed(), _stateid)


def write(stateid: StateId, offset: int, data: bytes) -> Op:
    """A write that is on stable storage when it is answered (FILE_SYNC4). Decodes to (bytes written, stability)."""

    def decode(result: Unpacker) -> tuple[int, int]:
        written = result.u32(), result.u32()
        result.fixed(8)
        return written

    arguments = stateid.pack(Packer()).u64(offset).u32(FILE_SYNC).opaque(data)
    return Op(38, "WRITE", arguments.packed(), decode)


def read(stateid: StateId, offset: int, count: int) -> Op:
    """Decodes to (end of file reached, data)."""
    arguments = stateid.pack(Packer()).u64(offset).u32(count)
    return Op(25, "READ", arguments.packed(), lambda data: (data.boolean(), data.opaque()))


def lock_first(opened: StateId, client_id: int, owner: bytes, offset: int, length: int, *, reclaim: bool) -> Op:
    """First write lock of a lock owner on a file."""
    arguments = Packer().u32(WRITE_LOCK).boolean(reclaim).u64(offset).u64(length).boolean(True)
    opened.pack(arguments.u32(0)).u32(0).u64(client_id).opaque(owner)
    return Op(12, "LOCK", arguments.packed(), _stateid)


def lock_more(locks: StateId, offset: int, length: int, *, reclaim: bool) -> Op:
    """One more write lock of the same owner on the same file."""
    arguments = Packer().u32(WRITE_LOCK).boolean(reclaim).u64(offset).u64(length).boolean(False)
    return Op(12, "LOCK", locks.pack(arguments).u32(0).packed(), _stateid)


def unlock(locks: StateId, offset: int, length: int) -> Op:
    arguments = locks.pack(Packer().u32(WRITE_LOCK).u32(0)).u64(offset).u64(length)
    return Op(14, "LOCKU", arguments.packed(), _stateid)
