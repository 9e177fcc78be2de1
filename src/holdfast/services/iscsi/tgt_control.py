"""The control socket of tgtd: what tgtadm (tgt 1.0.85) says to it, without a process per question and without secrets in
command lines, where every user of the node could read them.

A question is one connection: a header, words for it, an answer. **The connection is made before the question may be asked**:
one that was delayed for minutes can reach only the daemon that was there at the time, and nothing when that has been killed.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from holdfast.errors import DriverError
from holdfast.ports import Clock

ANSWER_S = 5.0
"""tgtd answers within a millisecond; its one thread never waits for storage except to open a file."""
NO_LUN = 2**64 - 1
_HEADER = struct.Struct("<ii64sIiQQIIIIII")
"""mode, operation, driver, length, target, session, LUN, connection, host, device type, direction, pack, force."""
_ANSWER = struct.Struct("<II")
_DRIVER = b"iscsi"
_MOST_BYTES = 4 * 1024 * 1024


class Mode(IntEnum):
    SYSTEM, TARGET, LUN, PORTAL = 0, 1, 2, 3
    CONNECTION, ACCOUNT = 6, 7


class Op(IntEnum):
    NEW, DELETE, SHOW, BIND, UNBIND, UPDATE = range(6)


class Code(IntEnum):
    """What it answers (those that are told apart)."""

    OK = 0
    NO_TARGET = 4
    NO_LUN = 5
    NO_SESSION = 6
    NO_CONNECTION = 7
    LUN_ACTIVE = 20
    PREVENT_REMOVAL = 24
    OTHER = -1

    @classmethod
    def _missing_(cls, value: object) -> "Code":
        return cls.OTHER


@dataclass(frozen=True, slots=True)
class Ask:
    mode: Mode
    op: Op
    tid: int = -1
    words: str = ""
    """As tgtd parses them: `key=value,key=value`."""
    lun: int = NO_LUN
    sid: int = 0
    cid: int = 0
    outgoing: bool = False

    def encode(self) -> bytes:
        words = self.words.encode() + b"\0" if self.words else b""
        length = _HEADER.size + len(words)
        header = _HEADER.pack(
            self.mode, self.op, _DRIVER, length, self.tid, self.sid, self.lun, self.cid, 0, 0, self.outgoing, 0, 0
        )
        return header + words

    def __str__(self) -> str:
        """Without the words: there may be a secret among them."""
        lun = "" if self.lun == NO_LUN else f" {self.lun}"
        return f"{self.op.name.lower()} {self.mode.name.lower()}{lun}"


class TgtRefused(DriverError):
    """tgtd answered that it did not do it."""

    def __init__(self, ask: Ask, number: int) -> None:
        super().__init__(f"tgtd refused to {ask}: error {number}", "Look at its log.")
        self.code = Code(number)


class TgtSilent(DriverError):
    """No answer: what was asked may have happened, or not."""


class TgtControl:
    """Safe to use from several tasks."""

    def __init__(self, socket_path: Path, clock: Clock, answer_s: float = ANSWER_S) -> None:
        self._answer_s = answer_s
        self._path = socket_path
        self._clock = clock

    async def ask(self, ask: Ask, *, allowed: Callable[[], bool] | None = None) -> str:
        """What it answers. Raises TgtRefused, TgtSilent, and DriverError if `allowed`, asked with the connection made and
        right before the question leaves, says no."""
        try:
            async with self._clock.timeout(self._answer_s):
                return await self._ask(ask, allowed)
        except (OSError, TimeoutError) as error:
            raise TgtSilent(
                f"tgtd did not answer to {ask}: {error or f'nothing came within {self._answer_s:g} s'}",
                "It is asked again; if it hangs, this node's iSCSI paths are ended.",
            ) from error

    async def _ask(self, ask: Ask, allowed: Callable[[], bool] | None) -> str:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, str(self._path))
            if allowed is not None and not allowed():
                raise DriverError(
                    f"tgtd was not asked to {ask}: this node may not do it any more",
                    "It is done where the manager places it next.",
                )
            await loop.sock_sendall(connection, ask.encode())
            code, length = _ANSWER.unpack(await self._exactly(connection, _ANSWER.size))
            if code != Code.OK:
                raise TgtRefused(ask, code)
            if not _ANSWER.size <= length <= _MOST_BYTES:
                raise OSError(f"an answer of {length} bytes makes no sense")
            return (await self._exactly(connection, length - _ANSWER.size)).rstrip(b"\0").decode("utf-8", "replace")

    async def _exactly(self, connection: socket.socket, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = b""
        while len(data) < size:
            more = await loop.sock_recv(connection, size - len(data))
            if not more:
                raise OSError("it hung up")
            data += more
        return data
