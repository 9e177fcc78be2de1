"""A small iSCSI target in this process, for what tgt does not do: access states of paths (ALUA), and lies.

One LUN (1), no authentication, data of a command at once (RFC 7143: ImmediateData) and no more than 64 KiB of it. Several
targets may share one `Disk`; they stand for nodes with the same storage.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from holdfast.services.iscsi.scsi import Access

TARGET = "iqn.2026-01.test.holdfast:double"
BLOCK_BYTES = 512
_MOST = 65536
_LOGIN, _LOGOUT, _COMMAND, _NOP = 0x03, 0x06, 0x01, 0x00
_ANSWERS = {
    "HeaderDigest": "None",
    "DataDigest": "None",
    "AuthMethod": "None",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
}
_ANSWERS |= {"MaxBurstLength": str(_MOST), "FirstBurstLength": str(_MOST), "MaxRecvDataSegmentLength": str(_MOST)}
_ANSWERS |= {"MaxConnections": "1", "MaxOutstandingR2T": "1", "ErrorRecoveryLevel": "0"}
_ANSWERS |= {"DefaultTime2Wait": "0", "DefaultTime2Retain": "0", "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes"}


class Refused(Exception):
    """Ends in CHECK CONDITION with this sense."""

    def __init__(self, key: int, asc: int, ascq: int) -> None:
        self.sense = bytes([0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0])


@dataclass
class Disk:
    wwid: str = "600140500000000000000000000000bb"
    data: bytearray = field(default_factory=lambda: bytearray(1 << 20))


@dataclass
class DiskTarget:
    """One path. What is set takes effect with the next command."""

    disk: Disk
    group: int
    access: Access = Access.OPTIMIZED
    caching: int = 0x00
    """Byte 2 of the caching page: 0x04 with a volatile write cache."""
    fua: bool = True
    attentions: list[tuple[int, int]] = field(default_factory=list)
    """(ASC, ASCQ) that the next commands are answered with."""
    silent: bool = False
    """Takes commands and answers nothing."""
    drop_writes: bool = False
    halve_writes: bool = False
    cached: bytes | None = None
    """What it reads from instead of the disk, like a page cache that nobody told of another node's writes."""
    seen: list[str] = field(default_factory=list)
    """Hexadecimal operation code of each command, with `+fua`."""
    portal: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Connection(self, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def execute(self, cdb: bytes, sent: bytes) -> bytes:
        code = cdb[0]
        self.seen.append(f"{code:02x}" + ("+fua" if code in (0x88, 0x8A) and cdb[1] & 8 else ""))
        if code == 0x12:
            return self._inquiry(cdb)
        if code == 0xA3:
            return struct.pack(">IBBHBBBBI", 12, self.access, 0x0F, self.group, 0, 0, 0, 1, self.group)
        if self.attentions:
            raise Refused(6, *self.attentions.pop(0))
        if code == 0x1A:
            return bytes([23, 0, 0x10 if self.fua else 0, 0, 0x08, 18, self.caching]) + bytes(17)
        if code == 0x9E:
            return struct.pack(">QI20x", len(self.disk.data) // BLOCK_BYTES - 1, BLOCK_BYTES)
        if not self.access.serves:
            raise Refused(2, 0x04, {Access.TRANSITIONING: 0x0A, Access.STANDBY: 0x0B}.get(self.access, 0x0C))
        if code in (0x00, 0x91):
            return b""
        if code in (0x88, 0x8A):
            return self._move(code, cdb, sent)
        raise Refused(5, 0x20, 0)

    def _move(self, code: int, cdb: bytes, sent: bytes) -> bytes:
        start, length = (number * BLOCK_BYTES for number in struct.unpack_from(">QI", cdb, 2))
        if start + length > len(self.disk.data):
            raise Refused(5, 0x21, 0)
        if code == 0x88:
            return bytes((self.disk.data if self.cached is None else self.cached)[start : start + length])
        assert len(sent) == length
        kept = 0 if self.drop_writes else length // 2 if self.halve_writes else length
        self.disk.data[start : start + kept] = sent[:kept]
        return b""

    def _inquiry(self, cdb: bytes) -> bytes:
        if not cdb[1] & 1:
            return bytes([0, 0, 6, 2, 31, 0x10, 0, 2]) + b"HOLDFASTDOUBLE          0001"
        if cdb[2] == 0x80:
            return bytes([0, 0x80, 0, 4]) + b"sn-1"
        if cdb[2] == 0x83:
            group = struct.pack(">BBBBHH", 0x51, 0x95, 0, 4, 0, self.group)
            page = bytes([1, 3, 0, 16]) + bytes.fromhex(self.disk.wwid) + group
            return struct.pack(">BBH", 0, 0x83, len(page)) + page
        raise Refused(5, 0x24, 0)


class _Connection:
    def __init__(self, target: DiskTarget, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.target, self.reader, self.writer = target, reader, writer
        self.status_number, self.next_command = 1, 0

    async def run(self) -> None:
        while True:
            header, data = await self._receive()
            code = header[0] & 0x3F
            if self.target.silent:
                continue
            if code == _LOGIN:
                self._log_in(header, data)
            elif code == _COMMAND:
                self._command(header, data)
            elif code == _LOGOUT:
                self._send(0x26, 0x80, header)
                return
            elif code == _NOP:
                self._send(0x20, 0x80, header, rest=b"\xff" * 4)
            await self.writer.drain()

    async def _receive(self) -> tuple[bytes, bytes]:
        header = await self.reader.readexactly(48)
        length = int.from_bytes(header[5:8])
        data = await self.reader.readexactly(length + -length % 4)
        number = int.from_bytes(header[24:28])
        self.next_command = number if header[0] & 0x40 else number + 1
        return header, data[:length]

    def _log_in(self, header: bytes, data: bytes) -> None:
        asked = dict(pair.split("=", 1) for pair in data.decode().split("\0") if "=" in pair)
        answer = {key: _ANSWERS[key] for key in asked if key in _ANSWERS} | {"TargetPortalGroupTag": "1"}
        text = "".join(f"{key}={value}\0" for key, value in answer.items()).encode()
        wrong = asked.get("TargetName", TARGET) != TARGET
        self._send(0x23, header[1], header, text, tail=b"\2\3" if wrong else b"", session=header[8:14] + b"\0\1")

    def _command(self, header: bytes, sent: bytes) -> None:
        wanted = int.from_bytes(header[20:24])
        data = sense = b""
        try:
            data = self.target.execute(header[32:48], sent)[:wanted]
        except Refused as error:
            sense = struct.pack(">H", len(error.sense)) + error.sense
        if data:
            self._send(0x25, 0x80, header, data, rest=b"\xff" * 4, status=False)
        short = wanted - len(data) if header[1] & 0x40 else 0
        flags, status = 0x82 if short else 0x80, 2 if sense else 0
        self._send(0x21, flags, header, sense, response=status, tail=bytes(8) + struct.pack(">I", short))

    def _send(
        self,
        code: int,
        flags: int,
        asked: bytes,
        data: bytes = b"",
        *,
        response: int = 0,
        session: bytes = bytes(8),
        rest: bytes = bytes(4),
        status: bool = True,
        tail: bytes = b"",
    ) -> None:
        head = bytes([code, flags, 0, response, 0]) + len(data).to_bytes(3) + session + asked[16:20] + rest
        numbers = struct.pack(">III", self.status_number, self.next_command, self.next_command + 32)
        self.status_number += status
        self.writer.write((head + numbers + tail).ljust(48, b"\0") + data + bytes(-len(data) % 4))


@asynccontextmanager
async def serving(*targets: DiskTarget) -> AsyncIterator[None]:
    """Each listens on a port of its own until the end."""
    servers = []
    try:
        for target in targets:
            server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
            servers.append(server)
            target.portal = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield
    finally:
        for server in servers:
            server.close()
