"""A client that proves what it says: small objects over several buckets, each overwritten, deleted and read back, through
failovers.

`python -m holdfast.services.s3.journal --endpoint http://s3.example.lan --keys FILE --out FILE.jsonl` writes as any
application with an SDK does (boto3, signature version 4, the bucket's name before the domain), and logs each PUT and DELETE
as it is acknowledged. At SIGTERM (or after --for seconds) it reads every object back, looks for each in the listings, and
prints a line of JSON. Used by tests, campaigns and benchmarks.

Its objects are in *lanes*: objects that are written one after another by one thread. What one lane waits for holds up no
other one. A test that knows the rings makes a lane of the objects that the same servers keep.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TextIO

from holdfast.clock import SystemClock
from holdfast.errors import ConfigError, HoldfastError
from holdfast.services.s3.client import Denied, Gone, NoAnswer, S3Client, read_keys

SIZE_BYTES = 512
RUN_CHARACTERS = 16
RETRY_S = 0.2
"""Between two attempts."""
_DELETE_EACH, _READ_EACH = 5, 3
_VERIFY_THREADS = 4

LOST, TORN, STALE, UNLISTED, GHOST, DENIED = "lost", "torn", "stale", "unlisted", "ghost", "denied"
FINDINGS = (LOST, TORN, STALE, UNLISTED, GHOST, DENIED)
"""An acknowledged object that is not there; is damaged; is an older one, or one that was deleted; is not listed as it is; a
deleted one that is listed; a request refused for good, which an application would not repeat."""


def content(run: str, bucket: str, key: str, number: int) -> bytes:
    """What an object holds after write `number`, from 1, to it. It begins with all that says which one it is."""
    head = f"{run} {bucket}/{key} {number}\n".encode()
    return head + hashlib.shake_128(head).digest(SIZE_BYTES)


def judge(data: bytes | None, run: str, bucket: str, key: str, number: int) -> str:
    """What is wrong with an object (None: there is none) whose last acknowledged write is `number` (0: its deletion);
    "" if nothing is."""
    if data is None or not number:
        return "" if data is None and not number else LOST if number else STALE
    if data == content(run, bucket, key, number):
        return ""
    words = data.partition(b"\n")[0].decode(errors="replace").split()
    older = len(words) == 3 and words[2].isdecimal() and data == content(run, bucket, key, int(words[2]))
    return STALE if older else TORN


@dataclass(frozen=True, slots=True)
class Lane:
    """Objects that are written one after another."""

    name: str
    bucket: str
    keys: tuple[str, ...]


def lanes_of(buckets: int, lanes: int, keys: int) -> list[Lane]:
    """So many lanes of so many objects, evenly over so many buckets."""
    return [
        Lane(f"lane-{i}", f"journal-{i % buckets}", tuple(f"lane-{i}/object-{k}" for k in range(keys)))
        for i in range(lanes)
    ]


class Objects(Protocol):
    """What a journal asks of its client (S3Client has it all)."""

    def make_bucket(self, bucket: str) -> None: ...

    def put(self, bucket: str, key: str, data: bytes) -> None: ...

    def get(self, bucket: str, key: str) -> bytes: ...

    def delete(self, bucket: str, key: str) -> None: ...

    def listing(self, bucket: str) -> dict[str, tuple[int, str]]: ...


@dataclass(slots=True)
class Journal:
    """What was acknowledged and what was found. Times in CLOCK_BOOTTIME seconds."""

    client: Objects
    lanes: Sequence[Lane]
    out: TextIO
    patience_s: float = 120.0
    """It gives up when one request was not served for so long."""
    run: str = field(default_factory=lambda: os.urandom(RUN_CHARACTERS // 2).hex())
    clock: SystemClock = field(default_factory=SystemClock)
    stop: threading.Event = field(default_factory=threading.Event)
    state: dict[tuple[str, str], int] = field(default_factory=dict)
    """(bucket, key) → the last write to it that was acknowledged; 0: the last one deleted it."""
    acked: int = 0
    read_back: int = 0
    found: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in FINDINGS})
    """What was wrong, live or at the end, with which objects."""
    repeated: Counter[str] = field(default_factory=Counter)
    """Why requests were repeated."""
    stalls: dict[str, float] = field(default_factory=dict)
    """Lane → its longest request, repetitions included, in seconds."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # --- while it runs

    def prepare(self) -> None:
        """Make its buckets. Raises NoAnswer, Denied."""
        for bucket in sorted({lane.bucket for lane in self.lanes}):
            self._asked(bucket, "", "create", partial(self.client.make_bucket, bucket))

    def write(self, interval_s: float) -> None:
        """Every lane, a request each `interval_s`, until `stop`. Raises NoAnswer."""
        failed: list[HoldfastError] = []

        def work(lane: Lane, delay_s: float) -> None:
            try:
                self.stop.wait(delay_s)  # else all of them would always ask at the same time
                self._write_lane(lane, interval_s)
            except HoldfastError as error:
                failed.append(error)
                self.stop.set()

        threads = [
            threading.Thread(target=work, args=(lane, index * interval_s / len(self.lanes)), daemon=True)
            for index, lane in enumerate(self.lanes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def _write_lane(self, lane: Lane, interval_s: float) -> None:
        number, due = 0, self.clock.now()
        while not self.stop.is_set():
            number += 1
            self._next(lane, number)
            if number % _READ_EACH == 0:
                self._check(lane.bucket, lane.keys[number * 7919 % len(lane.keys)])
            now = self.clock.now()
            due = max(due + interval_s, now - interval_s)
            self.stop.wait(due - now)

    def _next(self, lane: Lane, number: int) -> None:
        bucket, key = lane.bucket, lane.keys[number % len(lane.keys)]
        delete = number % _DELETE_EACH == 0 and self.state.get((bucket, key), 0) > 0
        sent = self.clock.now()
        if delete:
            tries, tried = self._asked(bucket, key, "delete", lambda: self.client.delete(bucket, key))
        else:
            data = content(self.run, bucket, key, number)
            tries, tried = self._asked(bucket, key, "put", lambda: self.client.put(bucket, key, data))
        now = self.clock.now()
        with self._lock:
            self.state[bucket, key] = 0 if delete else number
            self.acked += 1
            self.stalls[lane.name] = max(self.stalls.get(lane.name, 0.0), now - sent)
            self._log(lane=lane.name, key=key, sent=sent, tried=tried, acked=now, tries=tries)

    def _asked(self, bucket: str, key: str, what: str, ask: Callable[[], object]) -> tuple[int, float]:
        """Repeat a request until it is acknowledged; how often it was sent, and when the last time. What nobody answered
        may have been done: the same request again does the same."""
        began, tries = self.clock.now(), 0
        while True:
            tries += 1
            tried = self.clock.now()
            try:
                ask()
            except Denied as error:  # an application would give up here
                self._find(DENIED, bucket, key, f"{what}: {error.message}")
                reason: HoldfastError = error
            except NoAnswer as error:
                self._repeat(what, bucket, key, error)
                reason = error
            else:
                return tries, tried
            if self.clock.now() - began > self.patience_s:
                raise reason
            threading.Event().wait(RETRY_S)

    def _repeat(self, what: str, bucket: str, key: str, error: NoAnswer) -> None:
        with self._lock:
            self.repeated[error.kind] += 1
            self._log(repeats=what, key=f"{bucket}/{key}", at=self.clock.now(), why=error.message)

    # --- reading back

    def _check(self, bucket: str, key: str) -> None:
        """Read one object. Its lane writes nothing meanwhile. Raises NoAnswer."""
        number = self.state.get((bucket, key))
        if number is None:
            return
        read: list[bytes | None] = []

        def ask() -> None:
            try:
                read[:] = [self.client.get(bucket, key)]
            except Gone:
                read[:] = [None]

        self._asked(bucket, key, "get", ask)
        data = read[0]
        with self._lock:
            self.read_back += 1
        wrong = judge(data, self.run, bucket, key, number)
        if wrong:
            head = "" if data is None else data.partition(b"\n")[0].decode(errors="replace")
            self._find(wrong, bucket, key, f"acknowledged as {number}, found {head!r}")

    def verify(self, settle_s: float) -> None:
        """Read back everything, and wait until the listings say the same: they may be told of an object up to `settle_s`
        after a failure. Raises NoAnswer."""
        with ThreadPoolExecutor(_VERIFY_THREADS) as pool:
            list(pool.map(lambda where: self._check(*where), list(self.state)))
        end = self.clock.now() + settle_s
        for bucket in sorted({bucket for bucket, _ in self.state}):
            while True:
                wrong = self._listed_wrongly(bucket)
                if not wrong or self.clock.now() > end:
                    break
                threading.Event().wait(1.0)
            for key, kind in wrong.items():
                self._find(kind, bucket, key, "in the listing")

    def _listed_wrongly(self, bucket: str) -> dict[str, str]:
        """Key → unlisted or ghost."""
        listed: dict[str, tuple[int, str]] = {}
        self._asked(bucket, "", "list", lambda: listed.update(self.client.listing(bucket)))
        wrong: dict[str, str] = {}
        for (where, key), number in self.state.items():
            if where != bucket:
                continue
            data = content(self.run, bucket, key, number)
            wanted = (len(data), hashlib.md5(data, usedforsecurity=False).hexdigest()) if number else None
            if listed.get(key) != wanted:
                wrong[key] = UNLISTED if number else GHOST
        return wrong

    def _find(self, kind: str, bucket: str, key: str, detail: str) -> None:
        with self._lock:
            self.found[kind].add(f"{bucket}/{key}")
            self._log(wrong=kind, key=f"{bucket}/{key}", at=self.clock.now(), detail=detail)

    # --- what it says

    def summary(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "acked": self.acked,
            "objects": sum(number > 0 for number in self.state.values()),
            "read_back": self.read_back,
            **{kind: len(keys) for kind, keys in self.found.items()},
            "max_stall_s": round(max(self.stalls.values(), default=0.0), 3),
            "repeated": dict(self.repeated),
        }

    def _log(self, **values: float | str) -> None:
        rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()}
        print(json.dumps(rounded), file=self.out, flush=True)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Write until told to stop; the summary."""
    lanes = read_lanes(options.lanes) if options.lanes else lanes_of(options.buckets, options.threads, options.objects)
    access, secret = read_keys(options.keys)
    client = S3Client(
        options.endpoint,
        access,
        secret,
        timeout_s=options.timeout,
        path_style=options.path_style,
        connections=len(lanes),
    )
    with Path(options.out).open("w") as out:
        journal = Journal(client, lanes, out, options.patience)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: journal.stop.set())
        if options.seconds:
            threading.Timer(options.seconds, journal.stop.set).start()
        journal.prepare()
        journal.write(options.interval)
        journal.verify(options.settle)
        return journal.summary()


def read_lanes(path: str) -> list[Lane]:
    """A file with {lane: [bucket, [key, …]]}. Raises ConfigError."""
    try:
        return [Lane(name, bucket, tuple(keys)) for name, (bucket, keys) in json.loads(Path(path).read_text()).items()]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} has no lanes: {error}", 'Write {"name": ["bucket", ["key", …]]}.') from error


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m holdfast.services.s3.journal", description=__doc__)
    made.add_argument("--endpoint", required=True, help="http://DOMAIN[:PORT]")
    made.add_argument("--keys", required=True, help="file with the access key and the secret, each on a line")
    made.add_argument("--out", default="/dev/null", help="one JSON line per acknowledged request and per finding")
    made.add_argument(
        "--lanes", default="", help='file with {"lane": ["bucket", ["key", …]]}; instead of the next three'
    )
    made.add_argument("--buckets", type=int, default=3)
    made.add_argument("--threads", type=int, default=6, help="so many lanes")
    made.add_argument("--objects", type=int, default=8, help="in each lane")
    made.add_argument("--interval", type=float, default=0.5, help="seconds between two requests of a lane")
    made.add_argument("--timeout", type=float, default=5.0, help="seconds until an attempt is given up")
    made.add_argument("--path-style", action="store_true", help="the bucket's name in the path, not before the domain")
    made.add_argument("--for", dest="seconds", type=float, default=0.0, help="stop by itself after so many seconds")
    made.add_argument("--patience", type=float, default=120.0, help="seconds to wait for one request to be served")
    made.add_argument(
        "--settle", type=float, default=60.0, help="seconds to wait at the end until everything is listed"
    )
    return made


def main() -> None:
    try:
        summary = run(parser().parse_args())
    except HoldfastError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(1)
    print(json.dumps(summary), flush=True)
    sys.exit(2 if any(summary[kind] for kind in FINDINGS) else 0)


if __name__ == "__main__":
    main()
