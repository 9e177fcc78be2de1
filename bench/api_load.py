#!/usr/bin/env python3
"""Panel clients and API requests, as bench/api.py starts them: open pages that follow the stream, and programs that ask.

    api_load.py HOST PORT TOKEN_FILE --streams 200 --rate 200 [--changes 1] [--plain-socket PATH]

Standard library only. Says once a second what it saw, as a line of JSON; ends at SIGTERM.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

RETRY_S = 0.3
"""As the panel's page (link.js)."""
ASKERS = 40
"""Connections of programs; each asks RATE / ASKERS times a second."""
PATIENCE_S = 5.0
SILENCE_S = 1.7
"""Until an open page gives its stream up, as the panel's does."""
PATHS = ("/instances", "/nodes", "/nodes/n1", "/services", "/tasks", "/ha", "/alarms", "/status")


@dataclass
class Seen:
    """Since the last line."""

    open: int = 0
    pictures: int = 0
    lines: int = 0
    reconnects: int = 0
    answers: int = 0
    refused: int = 0
    failed: int = 0
    late_ms: list[float] = field(default_factory=list)


class Load:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.token = options.token_file.read_text().strip() if options.token_file else ""
        self.tls = ssl.create_default_context()
        self.tls.check_hostname = False
        self.tls.verify_mode = ssl.CERT_NONE
        self.seen = Seen()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.options.plain_socket:
            return await asyncio.open_unix_connection(self.options.plain_socket, limit=1 << 22)
        async with asyncio.timeout(PATIENCE_S):
            where = self.options
            return await asyncio.open_connection(where.host, where.port, ssl=self.tls, limit=1 << 22)

    def request(self, method: str, path: str, body: str = "", more: str = "") -> bytes:
        lines = [f"{method} /api/v1{path} HTTP/1.1", f"Host: {self.options.host}", "X-Holdfast-Request: 1"]
        lines += [f"Authorization: Bearer {self.token}"] if self.token else []
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
        return ("\r\n".join(lines) + f"\r\n{more}\r\n{body}").encode()

    async def stream(self, number: int) -> None:
        """One open page, for ever."""
        await asyncio.sleep(number * 0.01)
        last = ""
        while True:
            writer = None
            try:
                reader, writer = await self.connect()
                writer.write(self.request("GET", "/stream", more=f"Last-Event-ID: {last}\r\n" if last else ""))
                async with asyncio.timeout(PATIENCE_S):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.judge(head)
                self.seen.open += 1
                try:
                    last = await self.read_events(reader, last)
                finally:
                    self.seen.open -= 1
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                pass
            finally:
                if writer is not None:
                    writer.transport.abort()
            self.seen.reconnects += 1
            await asyncio.sleep(RETRY_S)

    async def read_events(self, reader: asyncio.StreamReader, last: str) -> str:
        while True:
            async with asyncio.timeout(SILENCE_S):
                chunk = await reader.read(1 << 20)
            if not chunk:
                return last
            self.seen.pictures += chunk.count(b"event: status")
            self.seen.lines += chunk.count(b"event: event")
            _, found, rest = chunk.rpartition(b"\nid: ")
            if found and b"\n" in rest:
                last = rest.partition(b"\n")[0].decode()

    async def ask(self, number: int) -> None:
        """One program, for ever."""
        period = ASKERS / self.options.rate
        due = time.monotonic() + number * period / ASKERS
        link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        turn = number
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due = max(due + period, time.monotonic() - 1.0)
            turn += 1
            began = time.monotonic()
            try:
                link = link or await self.connect()
                async with asyncio.timeout(PATIENCE_S):
                    status = await self.exchange(*link, self.request("GET", PATHS[turn % len(PATHS)]))
                self.seen.answers += status < 400
                self.seen.refused += status >= 400
                self.seen.late_ms.append((time.monotonic() - began) * 1000)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                self.seen.failed += 1
                if link is not None:
                    link[1].transport.abort()
                link = None

    async def change(self) -> None:
        """Something to look at: a setting that changes, for ever."""
        number = 0
        while True:
            await asyncio.sleep(1 / self.options.changes)
            number += 1
            body = json.dumps({"failure_domain": f"rack-{number % 7}"})
            try:
                link = await self.connect()
                async with asyncio.timeout(PATIENCE_S):
                    await self.exchange(*link, self.request("PUT", f"/nodes/{self.options.changed}", body))
                link[1].transport.abort()
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                continue

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:"))
        await reader.readexactly(length)
        self.judge(head)
        return int(head.split(" ", 2)[1])

    def judge(self, head: str) -> None:
        """What is refused is told once, and ends it: then nothing is measured. (5xx passes.)"""
        if head.split(" ", 2)[1].startswith("4"):
            raise SystemExit(f"refused: {head}")

    async def report(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            seen, self.seen = self.seen, Seen(open=self.seen.open)
            late = sorted(seen.late_ms)
            line = {
                "at": time.clock_gettime(time.CLOCK_BOOTTIME),
                "open": seen.open,
                "pictures": seen.pictures,
                "lines": seen.lines,
                "reconnects": seen.reconnects,
                "answers": seen.answers,
                "refused": seen.refused,
                "failed": seen.failed,
                "p50_ms": late[len(late) // 2] if late else None,
                "p99_ms": late[len(late) * 99 // 100] if late else None,
            }
            print(json.dumps(line), flush=True)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self.options.streams):
                group.create_task(self.stream(number))
            for number in range(ASKERS if self.options.rate else 0):
                group.create_task(self.ask(number))
            if self.options.changes:
                group.create_task(self.change())
            group.create_task(self.report())


async def until_terminated(load: Load) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await load.run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("token_file", type=Path, nargs="?")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--changes", type=float, default=0.0, help="changes a second")
    parser.add_argument("--changed", default="n4", help="node whose failure domain changes")
    parser.add_argument("--plain-socket", default="", help="a Unix socket instead of HOST and PORT")
    options = parser.parse_args()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(until_terminated(Load(options)))


if __name__ == "__main__":
    main()
