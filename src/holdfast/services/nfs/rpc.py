"""ONC RPC version 2 over TCP (RFC 5531): one call or reply per record. Pure."""

import struct
from dataclasses import dataclass

from holdfast.errors import DriverError
from holdfast.services.nfs.xdr import Packer, Unpacker

NFS_PROGRAM = 100003
NFS_VERSION = 4
PROC_NULL = 0
PROC_COMPOUND = 1

_CALL, _REPLY = 0, 1
_AUTH_NONE, _AUTH_SYS = 0, 1
_LAST_FRAGMENT = 0x80000000
_MAX_RECORD_BYTES = 32 << 20

_ACCEPT = {
    1: "program unavailable",
    2: "version not supported",
    3: "procedure unavailable",
    4: "garbage arguments",
    5: "system error",
}
_AUTH = {1: "bad credential", 2: "rejected credential", 5: "credential too weak"}


class RpcError(DriverError):
    """The server refused the call itself, before NFS looked at it; or what came is no RPC."""


@dataclass(frozen=True, slots=True)
class Credential:
    """AUTH_SYS: whom the client says it acts for (RFC 5531, appendix A)."""

    machine: str = "holdfast"
    uid: int = 0
    gid: int = 0

    def packed(self) -> bytes:
        return Packer().u32(0).text(self.machine).u32(self.uid).u32(self.gid).u32(0).packed()


def call(xid: int, procedure: int, body: bytes, credential: Credential | None = None) -> bytes:
    """A whole call as it goes over the wire, record mark included."""
    head = Packer().u32(xid).u32(_CALL).u32(2).u32(NFS_PROGRAM).u32(NFS_VERSION).u32(procedure)
    if credential is None:
        head.u32(_AUTH_NONE).u32(0)
    else:
        head.u32(_AUTH_SYS).opaque(credential.packed())
    head.u32(_AUTH_NONE).u32(0)
    record = head.packed() + body
    return struct.pack(">I", _LAST_FRAGMENT | len(record)) + record


def reply(record: bytes) -> tuple[int, Unpacker | RpcError]:
    """(xid, results or why the call was refused). Raises RpcError or XdrError if it is no RPC reply at all."""
    data = Unpacker(record)
    xid = data.u32()
    if data.u32() != _REPLY:
        raise RpcError("the server sent a call where a reply was expected", "Is this an NFS server?")
    if data.u32() != 0:
        reason = data.u32()
        detail = (
            f"RPC version {data.u32()} to {data.u32()} wanted"
            if reason == 0
            else _AUTH.get(code := data.u32(), f"code {code}")
        )
        return xid, RpcError(f"the server denied the call: {detail}", "Check the volume's access rules.")
    data.u32()
    data.opaque()
    status = data.u32()
    if status != 0:
        what = _ACCEPT.get(status, f"status {status}")
        return xid, RpcError(f"the server did not run the call: {what}", "NFS 4.1 is needed.")
    return xid, data


class RecordReader:
    """Joins record fragments of a byte stream (RFC 5531, section 11)."""

    def __init__(self) -> None:
        self._stream = bytearray()
        self._record = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add what was received; returns the records that became complete. Raises RpcError on an absurd length."""
        self._stream += data
        complete: list[bytes] = []
        while len(self._stream) >= 4:
            (mark,) = struct.unpack_from(">I", self._stream)
            length = mark & ~_LAST_FRAGMENT
            if length + len(self._record) > _MAX_RECORD_BYTES:
                raise RpcError(f"the server announces a record of {length} bytes", "Is this an NFS server?")
            if len(self._stream) < 4 + length:
                break
            self._record += self._stream[4 : 4 + length]
            del self._stream[: 4 + length]
            if mark & _LAST_FRAGMENT:
                complete.append(bytes(self._record))
                self._record.clear()
        return complete
