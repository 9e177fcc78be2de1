"""A client that proves what it says: numbered records, stable writes, under a lock, through failovers of its server.

`python -m holdfast.services.nfs.journal --host IP --volume VOL --file NAME --out FILE.jsonl` writes one record each 20 ms
and logs each as it is acknowledged. At SIGTERM (or after --for seconds) it reads everything back and prints a line of JSON.
Used by the demo and the tests.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from holdfast.clock import SystemClock
from holdfast.errors import HoldfastError
from holdfast.services.nfs.client import LockLost, Nfs41Client, OpenFile
from holdfast.services.nfs.ops import NfsStatusError, Status
from holdfast.services.nfs.recovery import PROBE_OWNER

RECORD_BYTES = 64
WHOLE_FILE = 0xFFFFFFFFFFFFFFFF
"""As the length of a lock: to the end of the file, however far that is (RFC 8881, section 18.10.3)."""


def record(number: int, sent: float) -> bytes:
    """One line of RECORD_BYTES with a checksum; `sent` in CLOCK_BOOTTIME seconds."""
    body = f"{number:010d} {sent:.6f}".ljust(RECORD_BYTES - 10)
    return f"{body} {zlib.crc32(body.encode()):08x}\n".encode()


@dataclass(slots=True)
class Journal:
    """What was acknowledged and how long it took. Times in CLOCK_BOOTTIME seconds."""

    client: Nfs41Client
    file: OpenFile
    out: TextIO
    clock: SystemClock = field(default_factory=SystemClock)
    acked: list[bytes] = field(default_factory=list)
    max_stall_s: float = 0.0
    """Longest time between two acknowledgements."""
    opens: int = 0
    max_open_s: float = 0.0
    lock_lost: str = ""

    async def write(self, interval_s: float, stop: asyncio.Event) -> None:
        """One record per interval until `stop`. Ends early when the lock was lost."""
        last = self.clock.now()
        due = last
        while not stop.is_set():
            number = len(self.acked)
            sent = self.clock.now()
            data = record(number, sent)
            try:
                await self.client.write(self.file, number * RECORD_BYTES, data)
            except LockLost as error:
                self.lock_lost = error.message
                return
            now = self.clock.now()
            self.acked.append(data)
            self.max_stall_s = max(self.max_stall_s, now - last)
            self._log(n=number, sent=sent, acked=now)
            last = now
            due = max(due + interval_s, now - interval_s)
            await self.clock.sleep(due - now)

    async def open_new(self, path: str, interval_s: float, stop: asyncio.Event) -> None:
        """A new file per interval: what a server in its grace period holds up."""
        while not stop.is_set():
            began = self.clock.now()
            name = f"{path}.{self.opens}"
            opened = await self.client.open_rw(name)
            took = self.clock.now() - began
            self.opens += 1
            self.max_open_s = max(self.max_open_s, took)
            self._log(open=self.opens, sent=began, took=took)
            await self.client.close(opened)
            with contextlib.suppress(NfsStatusError):  # removed already, by a call whose answer died with its server
                await self.client.remove(name)
            await self.clock.sleep(interval_s)

    def _log(self, **values: float) -> None:
        print(json.dumps({key: round(value, 6) for key, value in values.items()}), file=self.out, flush=True)

    async def verify(self) -> tuple[int, int]:
        """(records that are gone, records that are there in part) among the acknowledged ones."""
        lost = torn = 0
        step = 4096
        for start in range(0, len(self.acked), step):
            wanted = self.acked[start : start + step]
            found = await self.client.read(self.file, start * RECORD_BYTES, len(wanted) * RECORD_BYTES)
            for i, data in enumerate(wanted):
                there = found[i * RECORD_BYTES : (i + 1) * RECORD_BYTES]
                if there != data:
                    gone = not there.strip(b"\0 \n")
                    lost, torn = lost + gone, torn + (not gone)
        return lost, torn


async def lock_is_held(host: str, port: int, path: str) -> bool:
    """Whether the server refuses the lock to somebody else. Under the name of a probe: nobody waits for this client."""
    async with Nfs41Client(host, port, owner=f"{PROBE_OWNER}-lock-check".encode()) as other:
        file = await other.open_rw(path, create=False)
        try:
            await other.lock(file, 0, WHOLE_FILE)
        except NfsStatusError as error:
            return error.status == Status.DENIED
        return False


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Write until told to stop; the summary."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    path = f"/{options.volume}/{options.file}"
    with Path(options.out).open("w") as out:  # noqa: ASYNC230 - a local file, one short line at a time
        # The same name in each run: servers remember every name until their next start (see recovery.py).
        owner = f"holdfast-journal-{socket.gethostname()}{path}".encode()
        async with Nfs41Client(options.host, options.port, owner=owner, patience_s=options.patience) as client:
            file = await client.open_rw(path)
            await client.lock(file, 0, WHOLE_FILE)
            journal = Journal(client, file, out)
            await _write_until(journal, options, path, stop)
            lost, torn = await journal.verify() if not journal.lock_lost else (0, 0)
            held = not journal.lock_lost and await lock_is_held(options.host, options.port, path)
            summary: dict[str, object] = {
                "acked": len(journal.acked),
                "lost": lost,
                "torn": torn,
                "max_stall_s": round(journal.max_stall_s, 3),
                "lock_kept": held,
                "opens": journal.opens,
                "max_open_s": round(journal.max_open_s, 3),
                "servers_met": client.recoveries,
            }
            if journal.lock_lost:
                summary["problem"] = journal.lock_lost
            await client.close(file)  # gives the lock back: the next run may begin at once
            return summary


async def _write_until(journal: Journal, options: argparse.Namespace, path: str, stop: asyncio.Event) -> None:
    tasks = [asyncio.create_task(journal.write(options.interval, stop))]
    if options.opens > 0:
        tasks.append(asyncio.create_task(journal.open_new(path, options.opens, stop)))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(options.seconds or None):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await asyncio.gather(*tasks)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m holdfast.services.nfs.journal", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=2049)
    parser.add_argument("--volume", required=True)
    parser.add_argument("--file", default="journal")
    parser.add_argument("--out", default="/dev/null", help="one JSON line per acknowledged record and per open")
    parser.add_argument("--interval", type=float, default=0.02, help="seconds between records")
    parser.add_argument("--opens", type=float, default=0.0, help="seconds between new files; 0: none")
    parser.add_argument("--for", dest="seconds", type=float, default=0.0, help="stop by itself after so many seconds")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds to wait for a server that is gone")
    try:
        summary = asyncio.run(run(parser.parse_args()))
    except HoldfastError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(1)
    print(json.dumps(summary), flush=True)
    sys.exit(0 if summary["lock_kept"] and not summary["lost"] and not summary["torn"] else 2)


if __name__ == "__main__":
    main()
