"""A client that proves what it says: stamped blocks, written through to the medium over several paths, through failovers.

`python -m holdfast.services.iscsi.journal --portal IP:PORT --portal IP:PORT --target IQN --lun N --out FILE.jsonl` writes a
block of 4 KiB each 20 ms, round and round over a region, and logs each as it is acknowledged. Now and then it reads one
back. At SIGTERM (or after --for seconds) it reads everything back and prints a line of JSON. Used by tests and campaigns.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from holdfast.clock import SystemClock
from holdfast.errors import ConfigError, HoldfastError, InvalidInput
from holdfast.services.iscsi.multipath import MultipathClient, Timing
from holdfast.services.iscsi.session import Chap, Login

BLOCK_BYTES = 4096
SECTOR_BYTES = 512
RUN_BYTES = 8
_HEAD = struct.Struct(f">8s{RUN_BYTES}sQQQ")
_MAGIC = b"HoldfstJ"
_READ_BACK_EACH = 5
"""Writes between two reads."""
_BATCH = 32
"""Blocks that are read at once at the end."""

LOST, TORN, STALE = "lost", "torn", "stale"


def stamp(run: bytes, block: int, sequence: int) -> bytes:
    """A block's content. `run`: whose; `sequence`: as which write, from 1."""
    return b"".join(_sector(run, block, sequence, index) for index in range(BLOCK_BYTES // SECTOR_BYTES))


def _sector(run: bytes, block: int, sequence: int, index: int) -> bytes:
    """Its head, and a body computed from it: a sector that is not exactly this is not of this write."""
    head = _HEAD.pack(_MAGIC, run, block, sequence, index)
    return head + hashlib.shake_128(head).digest(SECTOR_BYTES - len(head))


def judge(data: bytes, run: bytes, block: int, acked: int, issued: int) -> str:
    """What is wrong with a block to which write `acked` was acknowledged last, and `issued` sent last; "" if nothing is.

    `lost`: no part is of this run. `torn`: parts are of different writes, or damaged. `stale`: it is an older write. Of a
    write that was sent and never acknowledged, all, parts or nothing may be there.
    """
    there = set()
    for index in range(BLOCK_BYTES // SECTOR_BYTES):
        sector = data[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES]
        sequence = _HEAD.unpack_from(sector)[3]
        there.add(sequence if sector == _sector(run, block, sequence, index) else None)
    if there <= {acked, issued}:
        return ""
    if there == {None}:
        return LOST
    return TORN if len(there) > 1 else STALE


@dataclass(slots=True)
class Journal:
    """What was acknowledged and what was found. Times in CLOCK_BOOTTIME seconds."""

    client: MultipathClient
    out: TextIO
    first: int = 0
    """Where its region begins, in blocks of BLOCK_BYTES."""
    blocks: int = 256
    run: bytes = field(default_factory=lambda: os.urandom(RUN_BYTES))
    clock: SystemClock = field(default_factory=SystemClock)
    written: int = 0
    read_back: int = 0
    acked: dict[int, int] = field(default_factory=dict)
    """Block → the last write to it that was acknowledged."""
    issued: dict[int, int] = field(default_factory=dict)
    """Block → the last write to it that was sent."""
    found: dict[str, set[int]] = field(default_factory=lambda: {LOST: set(), TORN: set(), STALE: set()})
    """What was wrong, live or at the end, with which blocks."""
    max_stall_s: float = 0.0
    """Longest time between two acknowledgements."""

    def __post_init__(self) -> None:
        """Raises InvalidInput if the region does not fit the disk."""
        disk = self.client.capacity
        if BLOCK_BYTES % disk.block_bytes:
            raise InvalidInput(f"Blocks of {disk.block_bytes} bytes do not fit into {BLOCK_BYTES}")
        if self.blocks < 1 or self.first < 0 or self._lba(self.first + self.blocks) > disk.blocks:
            raise InvalidInput(
                f"Blocks {self.first} to {self.first + self.blocks} of 4 KiB do not lie on the disk",
                "Give a region inside of it by --first and --blocks.",
            )

    def _lba(self, block: int) -> int:
        return block * (BLOCK_BYTES // self.client.capacity.block_bytes)

    async def write(self, interval_s: float, stop: asyncio.Event) -> None:
        """A block each `interval_s` until `stop`. Raises NoPath, ScsiError."""
        last = due = self.clock.now()
        while not stop.is_set():
            sent = self.clock.now()
            await self._write_next()
            now = self.clock.now()
            self.max_stall_s = max(self.max_stall_s, now - last)
            served = self.client.last
            assert served is not None
            self._log(n=self.written, block=self._block(self.written), sent=sent, acked=now, portal=served.portal)
            if self.written % _READ_BACK_EACH == 0:
                await self._read_back()
            last = now
            due = max(due + interval_s, now - interval_s)
            await self.clock.sleep(due - self.clock.now())

    def _block(self, sequence: int) -> int:
        return self.first + sequence % self.blocks

    async def _write_next(self) -> None:
        sequence = self.written + 1
        block = self._block(sequence)
        self.issued[block] = sequence
        await self.client.write(self._lba(block), stamp(self.run, block, sequence))
        self.acked[block] = self.written = sequence

    async def _read_back(self) -> None:
        """The newest block and an old one in turn: what a former path wrote is what a new one could have missed."""
        self.read_back += 1
        back = 0 if self.read_back % 2 else self.read_back * 7919 % len(self.acked)
        await self._check(self._block(self.written - back), 1)

    async def verify(self) -> None:
        """Read back everything."""
        block, end = self.first, self.first + self.blocks
        while block < end:
            count = min(_BATCH, end - block)
            await self._check(block, count)
            block += count

    async def _check(self, first: int, count: int) -> None:
        data = await self.client.read(self._lba(first), self._lba(count))
        for index, block in enumerate(range(first, first + count)):
            acked = self.acked.get(block)
            if acked is None:
                continue
            there = data[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]
            wrong = judge(there, self.run, block, acked, self.issued[block])
            if wrong:
                assert self.client.last is not None
                self.found[wrong].add(block)
                self._log(wrong=wrong, block=block, acked=acked, portal=self.client.last.portal, head=there[:40].hex())

    def summary(self) -> dict[str, object]:
        return {
            "run": self.run.hex(),
            "acked": self.written,
            "read_back": self.read_back,
            **{wrong: len(blocks) for wrong, blocks in self.found.items()},
            "max_stall_s": round(self.max_stall_s, 3),
            "switches": self.client.switches,
            "logins": {view.portal: view.logins for view in self.client.paths},
        }

    def _log(self, **values: float | str) -> None:
        rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()}
        print(json.dumps(rounded), file=self.out, flush=True)


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Write until told to stop; the summary."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    login = Login(options.target, options.initiator, *read_chap(options.chap))
    timing = Timing(patience=options.patience)
    with Path(options.out).open("w") as out:  # noqa: ASYNC230 - a local file, one short line at a time
        async with MultipathClient(options.portal, login, options.lun, wwid=options.wwid, timing=timing) as client:
            journal = Journal(client, out, options.first, options.blocks)
            writing = asyncio.create_task(journal.write(options.interval, stop))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(options.seconds or None):
                    await asyncio.wait([writing])
            stop.set()
            await writing
            await journal.verify()
            return {"wwid": client.wwid, **journal.summary()}


def read_chap(path: str) -> tuple[Chap | None, Chap | None]:
    """A file with lines `user`, `secret`, and for mutual CHAP the target's `user`, `secret`. Raises ConfigError."""
    if not path:
        return None, None
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"CHAP secrets cannot be read: {error}") from error
    if len(lines) not in (2, 4) or not all(lines):
        raise ConfigError(
            f"{path} has no CHAP secrets", "Write user and secret on lines of their own, then the target's."
        )
    return Chap(*lines[:2]), Chap(*lines[2:]) if len(lines) == 4 else None


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m holdfast.services.iscsi.journal", description=__doc__)
    made.add_argument("--portal", action="append", required=True, help="ADDRESS:PORT; once per path")
    made.add_argument("--target", required=True, help="the target's IQN")
    made.add_argument("--lun", type=int, required=True)
    made.add_argument("--initiator", default=f"iqn.2026-01.test.holdfast:{socket.gethostname()}", help="our name")
    made.add_argument("--chap", default="", help="file with user and secret, and the target's, each on a line")
    made.add_argument("--wwid", default="", help="the unit that is meant; without it, the one the first path shows")
    made.add_argument("--out", default="/dev/null", help="one JSON line per acknowledged block and per finding")
    made.add_argument("--first", type=int, default=0, help="where the region begins, in blocks of 4 KiB")
    made.add_argument("--blocks", type=int, default=256, help="how many blocks are written round and round")
    made.add_argument("--interval", type=float, default=0.02, help="seconds between blocks")
    made.add_argument("--for", dest="seconds", type=float, default=0.0, help="stop by itself after so many seconds")
    made.add_argument("--patience", type=float, default=120.0, help="seconds to wait for a path")
    return made


def main() -> None:
    try:
        summary = asyncio.run(run(parser().parse_args()))
    except HoldfastError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(1)
    print(json.dumps(summary), flush=True)
    sys.exit(2 if summary[LOST] or summary[TORN] or summary[STALE] else 0)


if __name__ == "__main__":
    main()
